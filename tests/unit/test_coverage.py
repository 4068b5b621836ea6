"""What a tokenizer does to a corpus, in numbers."""

from pathlib import Path

import pytest

from idiolect.text.coverage import measure_coverage, measure_prepared
from idiolect.text.tokenizer import Tokenizer

GOLDEN = Path(__file__).parents[1] / "golden" / "data" / "bpe.model"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.load(GOLDEN)


def test_tokens_characters_and_unknowns_are_counted(tokenizer):
    report = measure_prepared(tokenizer, ["THE THE", "Ж Ж Щ"])

    assert report.num_texts == 2
    assert report.num_chars == len("THE THE") + len("Ж Ж Щ")
    assert report.num_tokens == 2 + 6
    assert report.num_unknown == 3
    assert report.unknown == (("Ж", 2), ("Щ", 1))
    assert report.unknown_rate == 3 / 8
    assert report.chars_per_token == 12 / 8


def test_pieces_that_nothing_uses_are_listed_without_the_special_ones(tokenizer):
    report = measure_prepared(tokenizer, ["THE"])

    assert report.num_pieces == tokenizer.vocab_size - 3
    assert len(report.unused) == report.num_pieces - 1
    assert "▁THE" not in report.unused
    assert "<unk>" not in report.unused
    assert report.used_share == pytest.approx(1 / report.num_pieces)


def test_raw_texts_are_measured_as_the_tokenizer_sees_them(tokenizer):
    raw = measure_coverage(tokenizer, [("the 2 ships", "en")])

    assert raw == measure_prepared(tokenizer, ["THE TWO SHIPS"])


def test_the_summary_gives_numbers_and_examples(tokenizer):
    summary = measure_prepared(tokenizer, ["THE Ж Ж"]).summary()

    assert "1 texts, 7 characters, 5 tokens: 1.40 characters per token" in summary
    assert "unknown: 2 tokens (40.000%); 'Ж' ×2" in summary
    assert "never used: " in summary


def test_no_text_gives_no_rates(tokenizer):
    report = measure_prepared(tokenizer, [])

    assert (report.chars_per_token, report.unknown_rate, report.used_share) == (0, 0, 0)
