"""Steps and passes hold every sample once, and none holds much more than its share."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from idiolect.training.cut import cut_epoch, cut_step

LENS = st.lists(st.integers(1, 500), min_size=1, max_size=60)


@given(LENS, st.data())
def test_an_epoch_is_cut_into_runs_that_follow_each_other_and_are_never_empty(lens, data):
    num_steps = data.draw(st.integers(1, len(lens)))

    runs = cut_epoch(lens, num_steps)

    places = list(range(len(lens)))
    assert [place for run in runs for place in places[run]] == places
    assert len(runs) == num_steps
    assert all(places[run] for run in runs)


@given(LENS, st.data())
def test_where_samples_are_small_every_step_has_its_share(lens, data):
    num_steps = data.draw(st.integers(1, max(1, sum(lens) // (2 * max(lens)))))

    runs = cut_epoch(lens, num_steps)

    share = sum(lens) / num_steps
    assert all(abs(sum(lens[run]) - share) <= max(lens) for run in runs)


@given(LENS, st.integers(1, 2000), st.integers(1, 4))
def test_passes_hold_every_sample_once_and_keep_to_the_budget(lens, budget, multiple_of):
    passes = cut_step(lens, budget, multiple_of=multiple_of)

    assert sorted(place for members in passes for place in members) == list(range(len(lens)))
    assert len(passes) % multiple_of == 0
    assert all(sum(lens[p] for p in m) <= budget or len(m) == 1 for m in passes)


@given(LENS, st.integers(1, 2000))
def test_passes_are_about_as_long_as_each_other(lens, budget):
    sums = [sum(lens[p] for p in members) for members in cut_step(lens, budget)]

    assert max(sums) - min(sums) <= max(lens)


def test_a_step_with_fewer_samples_than_processes_leaves_some_empty():
    assert cut_step([5], 10, multiple_of=3) == [[0], [], []]
