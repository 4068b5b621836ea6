from itertools import pairwise

import pytest

from idiolect.training.schedule import FINAL_SHARE, extend, make_schedule


def shares(schedule, steps):
    return [schedule.share_at(step) for step in steps]


def test_the_rate_rises_to_the_highest_and_falls_to_its_tenth():
    schedule = make_schedule(100, share=0.05, steps=None)

    rates = shares(schedule, range(1, 101))

    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rates[-1] == pytest.approx(FINAL_SHARE)


def test_warm_up_is_a_share_of_the_steps_so_a_small_run_reaches_the_highest_rate():
    schedule = make_schedule(20, share=0.05, steps=None)

    assert max(shares(schedule, range(1, 21))) == 1.0


def test_steps_of_warm_up_go_before_the_share():
    assert make_schedule(100, share=0.05, steps=50).share_at(25) == 0.5


def test_no_step_has_a_rate_of_zero_even_in_a_run_of_one_step():
    assert make_schedule(1, share=0.05, steps=None).share_at(1) > 0


@pytest.mark.parametrize("step", [300, 1000], ids=["on the way", "at the end"])
def test_a_longer_run_goes_on_at_the_rate_that_was_reached(step):
    schedule = make_schedule(1000, share=0.05, steps=None)
    reached = schedule.share_at(step)

    longer = extend(schedule, step=step, total_steps=2000, share=0.05)

    rates = [reached, *shares(longer, range(step + 1, 2001))]
    jumps = [abs(a - b) for a, b in pairwise(rates)]
    assert max(jumps) < 0.02
    assert max(rates[1:]) > 0.5
    assert rates[-1] == pytest.approx(FINAL_SHARE)


def test_the_same_length_is_the_same_schedule():
    schedule = make_schedule(1000, share=0.05, steps=None)

    assert extend(schedule, step=500, total_steps=1000, share=0.05) is schedule


def test_a_run_can_be_made_longer_twice_without_a_jump():
    once = extend(make_schedule(100, share=0.1, steps=None), step=100, total_steps=200, share=0.1)

    twice = extend(once, step=105, total_steps=300, share=0.1)

    assert abs(twice.share_at(106) - once.share_at(105)) < 0.1
