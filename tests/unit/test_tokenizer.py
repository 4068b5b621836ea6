"""The tokenizer file: read, refused, known by its hash."""

import hashlib
import pickle
from pathlib import Path

import pytest
import sentencepiece

from idiolect.base.errors import TokenizerError
from idiolect.cli.tokenizer import main
from idiolect.text.tokenizer import Tokenizer

GOLDEN = Path(__file__).parents[1] / "golden" / "data" / "bpe.model"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.load(GOLDEN)


def test_a_tokenizer_is_known_by_the_hash_of_its_file(tokenizer):
    assert tokenizer.path == GOLDEN
    assert tokenizer.sha256 == hashlib.sha256(GOLDEN.read_bytes()).hexdigest()


def test_ids_and_pieces_are_two_views_of_one_text(tokenizer):
    pieces = tokenizer.split("Hello world", "en")

    assert tokenizer.ids_of(pieces) == tokenizer.encode("Hello world", "en")
    assert tokenizer.decode(tokenizer.ids_of(pieces)) == "HELLO WORLD"


def test_every_piece_has_the_id_of_its_place(tokenizer):
    pieces = tokenizer.all_pieces()

    assert len(pieces) == tokenizer.vocab_size
    assert tokenizer.ids_of(pieces) == list(range(tokenizer.vocab_size))
    assert tokenizer.ordinary_pieces() == pieces[3:]


def test_what_the_vocabulary_cannot_spell_is_unknown(tokenizer):
    assert tokenizer.encode("Ж", "ru")[-1] == tokenizer.unk_id
    assert tokenizer.split("Ж", "ru")[-1] == "Ж"


def test_no_text_has_no_ids(tokenizer):
    assert tokenizer.encode("", None) == []
    assert tokenizer.encode("  ", "en") == []


def test_a_tokenizer_travels_to_another_process(tokenizer):
    copy = pickle.loads(pickle.dumps(tokenizer))

    assert copy.encode("Hello", "en") == tokenizer.encode("Hello", "en")
    assert copy.sha256 == tokenizer.sha256


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TokenizerError, match=r"cannot read the tokenizer .*none\.model"):
        Tokenizer.load(tmp_path / "none.model")


@pytest.mark.parametrize("content", [b"", b"<s>\t0\n</s>\t0\n", b"\x80\x04K\x01.", bytes(100)])
def test_a_file_that_is_no_model_is_refused(content, tmp_path):
    path = tmp_path / "x.model"
    path.write_bytes(content)

    with pytest.raises(TokenizerError, match="not a SentencePiece model") as refused:
        Tokenizer.load(path)

    assert "not the .vocab" in refused.value.fix


def test_a_truncated_model_is_refused(tmp_path):
    path = tmp_path / "x.model"
    path.write_bytes(GOLDEN.read_bytes()[:10_000])

    with pytest.raises(TokenizerError, match="not a SentencePiece model"):
        Tokenizer.load(path)


def test_other_special_ids_are_refused_with_both_triples(tmp_path):
    with (tmp_path / "x.model").open("wb") as out:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["a b c d"]), model_writer=out, vocab_size=12, minloglevel=2,
            model_type="bpe",
        )  # fmt: skip

    with pytest.raises(TokenizerError, match=r"are \(1, 2, 0\), not \(0, 1, 2\)"):
        Tokenizer.load(tmp_path / "x.model")


def test_the_command_refuses_a_weight_that_it_cannot_use(capsys):
    code = main(["--manifest", "train.jsonl::ca@0.2", "--output-prefix", "x"])

    assert code == 2
    assert "train.jsonl::ca@0.2 has a weight" in capsys.readouterr().err
