"""Cutting pieces into segments."""

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.text.segments import QUOTES, split_segments

PIECES = st.lists(st.sampled_from(["▁A", "B", ".", "!", "?", "▁.", ",", "▁,", "-", "...", "▁..."]))


def test_a_short_text_is_one_segment():
    assert split_segments(["▁A", "▁B", "▁C", "."]) == [["▁A", "▁B", "▁C", "."]]


def test_no_pieces_are_no_segments():
    assert split_segments([]) == []


def test_sentences_that_fit_are_joined_and_others_are_not():
    first, second = ["▁A", "B", "."], ["▁C", "D", "."]

    assert split_segments(first + second, 6) == [first + second]
    assert split_segments(first + second, 5) == [first, second]


def test_a_text_without_marks_is_cut_hard():
    assert split_segments(["▁A"] * 7, 3) == [["▁A"] * 3, ["▁A"], ["▁A"] * 3]


def test_a_comma_is_a_place_to_cut():
    assert split_segments(["▁A", "▁B", ",", "▁C", "▁D"], 3) == [["▁A", "▁B", ","], ["▁C", "▁D"]]


def test_a_quote_after_a_sentence_closes_it_and_begins_the_next():
    pieces = ["▁A", "B", ".", "'", "▁C"]

    assert split_segments(pieces, 4) == [["▁A", "B", ".", "'"], ["'", "▁C"]]


def test_a_stream_begins_with_short_segments():
    sentences = ["▁A", "B", "."] * 4

    assert list(map(len, split_segments(sentences, 9, 0))) == [9, 3]
    assert list(map(len, split_segments(sentences, 9, 6))) == [3, 9]
    assert list(map(len, split_segments(sentences, 9, 5))) == [9, 3]


def test_a_segment_of_no_tokens_is_no_setting():
    with pytest.raises(ValueError, match="at least one token"):
        split_segments(["▁A"], 0)


@given(pieces=PIECES, max_tokens=st.integers(1, 12), quick_tokens=st.integers(0, 12))
def test_segments_joined_are_the_text_and_none_is_too_long(pieces, max_tokens, quick_tokens):
    segments = split_segments(pieces, max_tokens, quick_tokens)

    assert list(chain.from_iterable(segments)) == pieces
    assert all(0 < len(segment) <= max_tokens for segment in segments)


@given(pieces=st.lists(st.sampled_from(["▁A", ".", "'", "▁'", ",", "-"])))
def test_only_quotes_are_ever_repeated(pieces):
    joined = list(chain.from_iterable(split_segments(pieces, 9)))

    assert [p for p in joined if p not in QUOTES] == [p for p in pieces if p not in QUOTES]
