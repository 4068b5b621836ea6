"""Training a tokenizer, and extending one."""

import json
from pathlib import Path

import pytest
import sentencepiece

from idiolect.base.errors import ConfigError, DataError, GuardError, TokenizerError
from idiolect.cli.tokenizer import main
from idiolect.text import extend_bpe
from idiolect.text.coverage import measure_coverage
from idiolect.text.tokenizer import Tokenizer
from idiolect.text.train_bpe import TokenizerConfig, train_tokenizer

BASE = Path(__file__).parents[1] / "golden" / "data" / "bpe.model"
EXAMPLES = Path(__file__).parent / "text_examples" / "ca.tsv"
SENTENCES = [line.split("\t")[0] for line in EXAMPLES.read_text(encoding="utf-8").splitlines()]
CATALAN = [(sentence, "ca") for sentence in SENTENCES]


def config(folder: Path, **settings) -> TokenizerConfig:
    return TokenizerConfig(**{"output_prefix": folder / "ca_bpe", "vocab_size": 200} | settings)


def manifest(folder: Path, texts=SENTENCES, language="ca") -> Path:
    lines = (
        {"id": f"u{i}", "audio": "a.wav", "text": text, "speaker": "s", "language": language,
         "duration": 2.0}
        for i, text in enumerate(texts)
    )  # fmt: skip
    path = folder / "train.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_a_cased_language_uses_its_vocabulary(tmp_path):
    report = train_tokenizer(CATALAN, config(tmp_path, vocab_size=12000))

    tokenizer = Tokenizer.load(report.path)
    measured = measure_coverage(tokenizer, CATALAN)
    assert measured == report.coverage
    assert measured.used_share >= 0.95
    assert measured.unknown_rate < 0.001
    assert 200 < tokenizer.vocab_size == report.vocab_size < 12000
    assert f"vocabulary lowered from 12000 to {report.vocab_size}" in report.summary()


def test_middle_dot_and_apostrophe_are_learnt(tmp_path):
    tokenizer = Tokenizer.load(train_tokenizer(CATALAN, config(tmp_path)).path)

    ids = tokenizer.encode("l'home, la col·lecció", "ca")

    assert tokenizer.unk_id not in ids
    assert tokenizer.decode(ids) == "L'HOME, LA COL·LECCIÓ"


def test_special_ids_and_sentence_marks_are_the_published_ones(tmp_path):
    tokenizer = Tokenizer.load(train_tokenizer(CATALAN, config(tmp_path)).path)

    assert tokenizer.all_pieces()[:3] == ["<s>", "</s>", "<unk>"]
    assert {".", "!", "?", ",", "..."} <= set(tokenizer.split("Sí. Sí! Sí? Sí, sí...", "ca"))


def test_letters_of_the_language_get_a_piece_without_occurring(tmp_path):
    few = [("una casa", "ca")] * 9
    tokenizer = Tokenizer.load(train_tokenizer(few, config(tmp_path)).path)

    assert tokenizer.unk_id not in tokenizer.encode("àçèéíïòóúü abcdefghijklmnopqrstuvwxyz'-", "ca")


def test_three_files_are_written_and_know_each_other(tmp_path):
    report = train_tokenizer(CATALAN, config(tmp_path))

    identity = json.loads((tmp_path / "ca_bpe.json").read_text(encoding="utf-8"))
    rows = (tmp_path / "ca_bpe.vocab").read_text(encoding="utf-8").splitlines()
    assert identity["sha256"] == report.sha256 == Tokenizer.load(report.path).sha256
    assert identity["vocab_size"] == len(rows) == report.vocab_size
    assert identity["languages"] == ["ca"]
    assert identity["front_end"] == {"ca": "idiolect-text/1:ca"}
    assert identity["corpus"]["texts"] == {"ca": len(SENTENCES)}
    assert rows[0] == "<s>\t0"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "ca_bpe.json",
        "ca_bpe.model",
        "ca_bpe.vocab",
    ]


def test_dots_of_the_prefix_stay(tmp_path):
    report = train_tokenizer(CATALAN, config(tmp_path, output_prefix=tmp_path / "ca.v1.2"))

    assert report.path == tmp_path / "ca.v1.2.model"


def test_the_same_command_gives_the_same_bytes_and_may_be_repeated(tmp_path):
    first = train_tokenizer(CATALAN, config(tmp_path))

    assert train_tokenizer(CATALAN, config(tmp_path)).sha256 == first.sha256


def test_a_tokenizer_of_other_settings_is_not_replaced_unasked(tmp_path):
    first = train_tokenizer(CATALAN, config(tmp_path))

    with pytest.raises(TokenizerError, match="made with other settings"):
        train_tokenizer(CATALAN, config(tmp_path, vocab_size=80))

    assert Tokenizer.load(first.path).sha256 == first.sha256
    changed = train_tokenizer(CATALAN, config(tmp_path, vocab_size=80, overwrite=True))
    assert changed.vocab_size == 80


def test_a_base_folder_is_never_written_to(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(GuardError, match="base folder"):
        train_tokenizer(CATALAN, config(tmp_path / "checkpoints"))

    assert not list(tmp_path.iterdir())


def test_a_smaller_vocabulary_is_the_beginning_of_a_larger(tmp_path):
    small = train_tokenizer(CATALAN, config(tmp_path, output_prefix=tmp_path / "s", vocab_size=80))
    large = train_tokenizer(CATALAN, config(tmp_path, output_prefix=tmp_path / "l"))

    merges = [p for p in Tokenizer.load(small.path).ordinary_pieces() if len(p) > 1]
    assert small.vocab_size == 80 < large.vocab_size
    assert (
        merges
        == [p for p in Tokenizer.load(large.path).ordinary_pieces() if len(p) > 1][: len(merges)]
    )


def test_a_corpus_of_few_words_still_gets_joined_pieces(tmp_path):
    report = train_tokenizer([("una casa blanca", "ca")] * 50, config(tmp_path))

    assert report.coverage.chars_per_token > 1.2
    assert {len(piece) for piece in report.coverage.unused} == {1, len("...")}


def test_a_corpus_too_small_for_a_bpe_gets_unigram_pieces_and_is_told(tmp_path):
    joined = train_tokenizer(CATALAN, config(tmp_path, model_type="bpe", vocab_size=12000))
    chosen = train_tokenizer(
        CATALAN, config(tmp_path, output_prefix=tmp_path / "auto", vocab_size=12000)
    )

    assert f"a bpe would have {joined.vocab_size} pieces" in chosen.summary()
    assert chosen.vocab_size > joined.vocab_size
    assert chosen.coverage.chars_per_token > joined.coverage.chars_per_token


def test_a_bpe_that_reaches_the_size_asked_for_stays_a_bpe(tmp_path):
    chosen = train_tokenizer(CATALAN, config(tmp_path, vocab_size=100))

    assert chosen.vocab_size == 100
    assert "unigram" not in chosen.summary()


def test_the_middle_dot_has_a_piece_in_catalan_however_rare(tmp_path):
    texts = [("una casa blanca", "ca")] * 5000 + [("novel·la", "ca")]

    report = train_tokenizer(texts, config(tmp_path, vocab_size=60))

    assert report.coverage.num_unknown == 0


def test_a_vocabulary_smaller_than_the_alphabet_says_how_many_it_needs(tmp_path):
    with pytest.raises(TokenizerError, match=r"vocabulary of 20 pieces is too small: .* alone are"):
        train_tokenizer(CATALAN, config(tmp_path, vocab_size=20))


def test_texts_in_which_nothing_is_spoken_are_counted(tmp_path):
    report = train_tokenizer([*CATALAN, ("", "ca"), ("🙂", "ca")], config(tmp_path))

    assert "2 texts left out: nothing in them is spoken" in report.summary()
    with pytest.raises(DataError, match="no text to learn from"):
        train_tokenizer([("", "ca")], config(tmp_path))


def test_a_script_without_capitals_is_learnt_too(tmp_path):
    texts = [("ქართული ენა", "ka"), ("ენა და წიგნი", "ka")] * 20

    report = train_tokenizer(texts, config(tmp_path, vocab_size=60))

    assert report.coverage.num_unknown == 0
    assert report.languages == ("ka",)


def test_unigram_and_bytes_are_offered(tmp_path):
    report = train_tokenizer(CATALAN, config(tmp_path, model_type="unigram"))
    spelled = train_tokenizer(
        CATALAN, config(tmp_path, output_prefix=tmp_path / "b", byte_fallback=True, vocab_size=400)
    )

    assert report.coverage.num_unknown == 0
    tokenizer = Tokenizer.load(spelled.path)
    assert tokenizer.unk_id not in tokenizer.encode("Ж", "ca")
    assert not any(piece.startswith("<0x") for piece in spelled.coverage.unused)


def test_a_sample_of_the_texts_depends_on_the_seed_only(tmp_path):
    def sample(name: str, seed: int) -> str:
        prefix = tmp_path / name
        settings = config(tmp_path, output_prefix=prefix, input_sentence_size=150, seed=seed)
        return train_tokenizer(CATALAN, settings).sha256

    assert sample("a", 1) == sample("b", 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vocab_size": 0}, "vocabulary of 0"),
        ({"character_coverage": 1.5}, "1.5 is not a share"),
        ({"input_sentence_size": -1}, "-1 texts"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        config(tmp_path, **settings)


# --- extension ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    folder = tmp_path_factory.mktemp("extended")
    before = BASE.read_bytes()
    report = train_tokenizer(CATALAN * 5, config(folder, extend=BASE, vocab_size=300))
    assert BASE.read_bytes() == before
    return report


def test_an_extension_keeps_every_old_id(extended):
    old, new = Tokenizer.load(BASE), Tokenizer.load(extended.path)

    assert new.all_pieces()[: old.vocab_size] == old.all_pieces()
    assert new.vocab_size == old.vocab_size + extended.extension.num_appended
    assert extended.extension.num_appended > 20


def test_an_extension_keeps_how_the_base_cuts_its_languages(extended):
    assert extended.extension.kept_share >= extend_bpe.MIN_KEPT_SHARE
    assert extended.extension.num_held_out > 1000
    assert "base segmentation kept: " in extended.summary()


def test_an_extension_spells_the_new_language_in_fewer_tokens(extended):
    old, new = Tokenizer.load(BASE), Tokenizer.load(extended.path)

    before, after = measure_coverage(old, CATALAN), measure_coverage(new, CATALAN)

    assert before.num_unknown > after.num_unknown
    assert after.num_unknown == 0
    assert after.num_tokens < before.num_tokens
    assert extended.extension.base_tokens_per_token == pytest.approx(
        before.num_tokens / after.num_tokens, rel=1e-6
    )


def test_appended_pieces_rank_below_all_of_the_base(extended):
    processor = sentencepiece.SentencePieceProcessor(model_file=str(extended.path))
    size = extended.extension.base_size

    scores = [processor.get_score(index) for index in range(processor.get_piece_size())]

    assert max(scores[size:]) < min(scores[:size])


def test_an_extension_reports_on_its_own_pieces_only(extended):
    assert extended.coverage.num_pieces == extended.extension.num_appended


def test_a_unigram_base_can_be_extended(tmp_path):
    texts = [(line, None) for line in extend_bpe.base_samples()[0][:75]]
    base = train_tokenizer(
        texts, config(tmp_path, output_prefix=tmp_path / "base", model_type="unigram")
    )

    report = train_tokenizer(CATALAN, config(tmp_path, extend=base.path))

    old, new = Tokenizer.load(base.path), Tokenizer.load(report.path)
    assert new.all_pieces()[: old.vocab_size] == old.all_pieces()
    assert report.extension.kept_share >= extend_bpe.MIN_KEPT_SHARE
    assert report.coverage.num_tokens < measure_coverage(old, CATALAN).num_tokens


def test_an_extension_that_changes_the_base_languages_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(extend_bpe, "known_runs", lambda base, lines: set())
    english = [(text, "en") for text in extend_bpe.base_samples()[1]] * 5

    with pytest.raises(TokenizerError, match=r"only \d+\.\d+% of a held-out text stays"):
        train_tokenizer(english, config(tmp_path, extend=BASE))

    assert not list(tmp_path.iterdir())


def test_only_a_tokenizer_can_be_extended(tmp_path):
    with pytest.raises(TokenizerError, match="cannot read the tokenizer"):
        train_tokenizer(CATALAN, config(tmp_path, extend=tmp_path / "none.model"))


def test_the_held_out_text_is_not_the_one_that_pieces_are_chosen_by():
    guard, held_out = extend_bpe.base_samples()

    assert len(held_out) >= 100
    assert not set(guard) & set(held_out)


# --- command --------------------------------------------------------------------------------------


def test_the_command_runs_as_the_guide_prints_it(tmp_path, capsys):
    prefix = tmp_path / "training/catalan/tokenizer/catalan_bpe"

    flags = f"--output-prefix {prefix} --vocab-size 12000 --character-coverage 0.9995"
    code = main(["--manifest", str(manifest(tmp_path)), *flags.split()])

    assert code == 0
    assert Tokenizer.load(f"{prefix}.model").encode("la col·lecció", "ca")
    assert "characters per token" in capsys.readouterr().out


def test_the_language_is_that_of_the_manifest_unless_it_is_given(tmp_path):
    path = manifest(tmp_path, language="es")

    def languages(name: str, *flags: str) -> list[str]:
        prefix = str(tmp_path / name)
        assert main(["--output_prefix", prefix, "--vocab_size", "150", *flags]) == 0
        return json.loads(Path(f"{prefix}.json").read_text(encoding="utf-8"))["languages"]

    assert languages("a", "--manifest", str(path)) == ["es"]
    assert languages("b", "--manifest", str(path), "--language", "ca") == ["ca"]
    assert languages("c", "--manifest", f"{path}::pt", "--manifest", str(path)) == ["es", "pt"]


def test_the_command_refuses_the_base_folder(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)

    code = main(["--manifest", str(manifest(tmp_path)), "--output-prefix", "checkpoints/bpe"])

    assert code == 2
    assert "base folder" in capsys.readouterr().err


def test_the_command_asks_for_a_manifest(tmp_path, capsys):
    assert main(["--output-prefix", str(tmp_path / "x")]) == 2
    assert "--manifest" in capsys.readouterr().err


def test_a_tokenizer_of_another_text_front_end_is_refused_with_both_identities(tmp_path):
    report = train_tokenizer(CATALAN, config(tmp_path))
    tokenizer = Tokenizer.load(report.path)
    tokenizer.check_front_end()
    identity = report.path.with_suffix(".json")
    identity.write_text(identity.read_text().replace("idiolect-text/1", "idiolect-text/0"))

    with pytest.raises(TokenizerError, match=r"idiolect-text/0:ca, but .* has idiolect-text/1:ca"):
        tokenizer.check_front_end()
