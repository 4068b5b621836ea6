from itertools import pairwise

from idiolect.base.stopwatch import Stopwatch


def test_waiting_is_added_up_and_told_once():
    watch = Stopwatch()

    assert list(pairwise(watch.waiting_for(range(3)))) == [(0, 1), (1, 2)]
    assert watch.taken() > 0
    assert watch.taken() == 0


def test_work_that_fails_took_its_time_too():
    watch = Stopwatch()

    try:
        with watch.running():
            raise ValueError
    except ValueError:
        pass

    assert watch.taken() > 0
