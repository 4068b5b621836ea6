"""Cutting a long text, already split into pieces, into segments that are spoken one by one.

Source:
    The published inference code, its repeated quotation mark included: a quote that follows a
    sentence mark closes that segment and begins the next one as well.
    Parity: golden/test_text.py, exact.
"""

from __future__ import annotations

from collections.abc import Sequence

MAX_SEGMENT_TOKENS = 120

SENTENCE_MARKS = frozenset({".", "!", "?", "▁.", "▁?", "▁..."})
COMMAS = frozenset({",", "▁,"})
HYPHENS = frozenset({"-"})
QUOTES = frozenset({"'", "▁'"})
MIN_SENTENCE_TOKENS = 3
"""A sentence mark closes no segment shorter than this."""

Segment = list[str]


def split_segments(
    pieces: Sequence[str], max_tokens: int = MAX_SEGMENT_TOKENS, quick_tokens: int = 0
) -> list[Segment]:
    """Return ``pieces`` cut at sentence marks, commas and hyphens, and joined up again.

    Args:
        pieces: What :meth:`Tokenizer.split` returns.
        max_tokens: No segment is longer.
        quick_tokens: Keep segments short until this many pieces have passed, so that a stream
            begins to sound early.
    """
    if max_tokens < 1:
        raise ValueError(f"a segment holds at least one token, not {max_tokens}")
    return _split(list(pieces), SENTENCE_MARKS, max_tokens, quick_tokens)


def _split(
    pieces: Segment, marks: frozenset[str], max_tokens: int, quick_tokens: int
) -> list[Segment]:
    segments: list[Segment] = []
    current: Segment = []
    for index, piece in enumerate(pieces):
        current.append(piece)
        finer = _finer_marks(marks, current)
        if finer:
            segments += _split(current, finer, max_tokens, quick_tokens)
        elif len(current) > max_tokens:
            segments += [
                current[start : start + max_tokens] for start in range(0, len(current), max_tokens)
            ]
        elif piece in marks and len(current) >= MIN_SENTENCE_TOKENS:
            following = pieces[index + 1 : index + 2]
            segments.append(
                current + following if following and following[0] in QUOTES else current
            )
        else:
            continue
        current = []
    if current:
        segments.append(current)
    return _merge(segments, max_tokens, quick_tokens)


def _finer_marks(marks: frozenset[str], current: Segment) -> frozenset[str]:
    """Return the marks to cut ``current`` at when it holds a finer one than ``marks``."""
    if not marks & COMMAS and not COMMAS.isdisjoint(current):
        return COMMAS
    if not marks & HYPHENS and not HYPHENS.isdisjoint(current):
        return HYPHENS
    return frozenset()


def _merge(segments: list[Segment], max_tokens: int, quick_tokens: int) -> list[Segment]:
    merged: list[Segment] = []
    total = 0
    for segment in segments:
        if not segment:
            continue
        total += len(segment)
        joined = len(merged[-1]) + len(segment) if merged else 0
        fits = joined <= max_tokens and total > quick_tokens
        if merged and (fits or joined <= max_tokens / 2):
            merged[-1] = merged[-1] + segment
        else:
            merged.append(segment)
    return merged
