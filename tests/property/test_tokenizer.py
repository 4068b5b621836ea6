"""For every text: its ids spell it; an extended tokenizer changes nothing old."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.text.extend_bpe import append_pieces, base_samples, known_runs, learn_pieces
from idiolect.text.normalize import prepare_text
from idiolect.text.tokenizer import Tokenizer
from idiolect.text.train_bpe import TokenizerConfig, train_tokenizer

BASE = Tokenizer.load(Path(__file__).parents[1] / "golden" / "data" / "bpe.model")
GUARD, HELD_OUT = base_samples()
KNOWN = known_runs(BASE, GUARD)
LETTERS = "abcdefghijklmnopqrstuvwxyzàçèéíïòóúü"
WORD = st.text(alphabet=LETTERS, min_size=1, max_size=8)
TEXT = st.lists(WORD | st.sampled_from([".", ",", "!", "l'home", "col·legi"]), max_size=8)


@pytest.fixture(scope="module")
def catalan(tmp_path_factory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("catalan")
    texts = [(f"{a}{b} l'home del col·legi, sí!", "ca") for a in LETTERS for b in LETTERS]
    config = TokenizerConfig(output_prefix=folder / "ca", vocab_size=150)
    return Tokenizer.load(train_tokenizer(texts, config).path)


@given(words=TEXT)
def test_decoding_gives_the_prepared_text_back(catalan, words):
    text = " ".join(words)

    prepared = prepare_text(text, "ca").replace("…", "...")  # as SentencePiece folds it
    assert catalan.decode(catalan.encode(text, "ca")) == prepared
    assert catalan.ids_of(catalan.split(text, "ca")) == catalan.encode(text, "ca")


@settings(max_examples=20, deadline=None)
@given(words=st.lists(WORD, min_size=1, max_size=40))
def test_an_extension_keeps_every_old_id_and_every_old_encoding(words):
    counts = Counter({word.upper(): 9 for word in words})
    appended = learn_pieces(BASE, counts, KNOWN, max_new=200)

    extended = Tokenizer.from_bytes(append_pieces(BASE.path.read_bytes(), appended), Path("x"))

    assert extended.all_pieces() == BASE.all_pieces() + appended
    assert len(set(extended.all_pieces())) == extended.vocab_size
    for line in GUARD[:75]:
        assert extended.encode_prepared(line) == BASE.encode_prepared(line)


@given(text=st.text(max_size=60), language=st.sampled_from([None, "zh", "en", "ca", "xx"]))
@settings(max_examples=200, deadline=None)
def test_any_text_can_be_prepared_and_is_in_capitals(text, language):
    prepared = prepare_text(text, language)

    assert "\n" not in prepared
    if language is not None or len(prepared) > 1:
        assert prepared == prepared.strip()
        assert prepared == prepared.upper()
