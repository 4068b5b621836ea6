import logging

from idiolect.base import progress
from idiolect.base.progress import progress as show_progress
from idiolect.base.progress import track


def test_work_that_is_quick_says_nothing(caplog):
    caplog.set_level(logging.INFO, logger="idiolect")

    assert list(track(range(3), "counting")) == [0, 1, 2]

    assert caplog.text == ""


def test_long_work_in_a_log_tells_count_rate_and_time_left(caplog, monkeypatch):
    caplog.set_level(logging.INFO, logger="idiolect")
    clock = iter(range(0, 100, 4))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))

    list(track(["a", "b"], "reading", unit="clips"))

    assert caplog.messages[0] == "reading: 1/2 clips, 0.2/s, 4.0 s left"
    assert caplog.messages[-1].startswith("reading: 2/2 clips, 0.2/s")


def test_work_that_reports_itself_gets_no_second_line_in_a_log(caplog, monkeypatch):
    caplog.set_level(logging.INFO, logger="idiolect")
    clock = iter(range(0, 100, 20))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))

    with show_progress("training", 2, reports_itself=True) as advance:
        advance(1)
        advance(1)

    assert caplog.text == ""


def test_work_within_work_writes_no_lines_of_its_own(caplog, monkeypatch):
    caplog.set_level(logging.INFO, logger="idiolect")
    clock = iter(range(0, 1000, 20))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))

    for _ in track(["a", "b"], "sentences"):
        list(track(["x", "y"], "segments"))
    list(track(["c", "d"], "files"))

    shown = [message.split(":")[0] for message in caplog.messages]
    assert set(shown) == {"sentences", "files"}
