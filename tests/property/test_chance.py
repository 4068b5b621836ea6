"""Intervals and exact tests against values that others published or that follow by hand."""

from __future__ import annotations

from math import isclose

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.evaluation.chance import (
    at_least_by_chance,
    difference_interval,
    ratio,
    wilson_interval,
)

amounts = st.floats(0.1, 100)
measured = st.tuples(amounts, st.floats(0.5, 20))
counts = st.integers(0, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_of_a_share_is_that_of_the_literature(successes, n, low, high):
    found = wilson_interval(successes, n)

    assert found.low == pytest.approx(low, abs=5e-5)
    assert found.high == pytest.approx(high, abs=5e-5)


@given(counts)
def test_a_share_lies_in_its_interval_and_mirrors(count):
    k, n = count
    interval, mirrored = wilson_interval(k, n), wilson_interval(n - k, n)

    assert 0 <= interval.low <= interval.high <= 1
    assert n == 0 or interval.low - 1e-12 <= k / n <= interval.high + 1e-12
    assert isclose(interval.low, 1 - mirrored.high, abs_tol=1e-9)


@pytest.mark.parametrize(
    ("right", "n", "p"), [(5, 5, 1 / 32), (9, 10, 11 / 1024), (12, 16, 2517 / 65536), (0, 7, 1.0)]
)
def test_guessing_right_so_often_is_as_likely_as_counting_says(right, n, p):
    assert at_least_by_chance(right, n) == pytest.approx(p)


@given(counts)
def test_more_right_answers_are_never_more_likely_by_chance(count):
    k, n = count

    p = at_least_by_chance(k, n)
    assert 0 < p <= 1
    assert k == n or at_least_by_chance(k + 1, n) <= p
    # As many or more right, and as many or more wrong, are everything and what is in both.
    assert isclose(p + at_least_by_chance(n - k + 1, n), 1, abs_tol=1e-9)


@settings(max_examples=30)
@given(st.lists(measured, min_size=2, max_size=12), st.floats(-3, 3))
def test_a_difference_that_is_the_same_everywhere_is_certain(first, shift):
    means = [(amount, 1.0) for amount, _ in first]
    second = [(amount + shift, 1.0) for amount, _ in first]

    found = difference_interval(means, second)

    assert found.low == pytest.approx(shift, abs=1e-9)
    assert found.high == pytest.approx(shift, abs=1e-9)


@settings(max_examples=30)
@given(st.lists(st.tuples(measured, measured), min_size=2, max_size=12))
def test_changing_sides_changes_the_sign(pairs):
    first, second = zip(*pairs, strict=True)

    there, back = difference_interval(first, second), difference_interval(second, first)

    assert there.low == pytest.approx(-back.high)
    assert there.high == pytest.approx(-back.low)


def test_an_interval_holds_the_truth_about_as_often_as_it_says():
    import numpy as np

    rng = np.random.default_rng(0)
    held = 0
    for turn in range(200):
        hard = rng.normal(5, 2, 30)  # what a sentence costs both
        first = [(x, 1.0) for x in hard + rng.normal(0, 0.3, 30)]
        second = [(x, 1.0) for x in hard + 0.2 + rng.normal(0, 0.3, 30)]
        found = difference_interval(first, second, seed=turn)
        held += found.low <= 0.2 <= found.high
    assert 0.88 <= held / 200 <= 0.99


def test_one_sentence_has_no_interval():
    assert difference_interval([(1.0, 1.0)], [(2.0, 1.0)]) is None


def test_long_sentences_count_for_more_in_a_ratio():
    assert ratio([(1, 1), (0, 9)]) == pytest.approx(0.1)
