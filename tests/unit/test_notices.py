"""What is said of a run, by tables of made-up figures and by two runs that really were."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.base.files import read_jsonl
from idiolect.training.history import History, should_stop
from idiolect.training.notices import find_notices

RUNS = Path(__file__).with_name("training_runs")


def real_run(name: str) -> list[dict]:
    return [record for _, record in read_jsonl(RUNS / f"{name}.jsonl")]


def train(step: int, **given) -> dict:
    plain = {"loss": 2.0, "grad_norm": 1.0, "lr": 1e-4, "step_sec": 1.0, "wait_sec": 0.0}
    return {"kind": "train", "step": step, **plain, **given}


def val(step: int, loss: float) -> dict:
    return {"kind": "val", "step": step, "loss": loss}


def probe(step: int, **cer: float) -> dict:
    languages = {language: {"cer": rate} for language, rate in cer.items()}
    return {"kind": "probe", "step": step, "languages": languages}


def run(*losses: tuple[float, float], heard: list[dict] | None = None) -> list[dict]:
    """Return a run of (train, validation) losses, ten steps each, behind a first validation."""
    heard_at = {line["step"]: [line] for line in heard or []}
    records = [val(0, 4.0), *heard_at.get(0, [])]
    for step, (learnt, measured) in zip(count(10, 10), losses, strict=False):
        records += [train(step, loss=learnt), val(step, measured), *heard_at.get(step, [])]
    return records


def probes(*pairs: tuple[float, float]) -> list[dict]:
    """Return probes of (Catalan, English) letters wrong, the first before any step."""
    return [probe(10 * number, ca=ca, en=en) for number, (ca, en) in enumerate(pairs)]


def lines(norms: list[float]) -> list[dict]:
    return [train(step, grad_norm=norm) for step, norm in enumerate(norms, start=1)]


def waits(*shares: float) -> list[dict]:
    return [train(step, wait_sec=share) for step, share in enumerate(shares, start=1)]


FLAT = [(2.0, 3.0), *((2.0, 3.0 - 0.001 * n) for n in range(5))]
RISING = [(2.0, 3.0), (1.8, 3.1), (1.5, 3.2)]


@pytest.mark.parametrize(
    ("records", "kind", "step", "said"),
    [
        pytest.param([val(0, 3.0), val(10, 3.7)], "diverges", 10, "3.700", id="diverges"),
        pytest.param([val(0, 3.0), val(10, 3.5)], None, 0, "", id="a-warm-up-costs-a-little"),
        pytest.param([val(10, 1.0), val(20, 9.0)], None, 0, "", id="nothing-to-diverge-from"),
        pytest.param(lines([1.0] * 20 + [11.0]), "leaps", 21, "11 times", id="leaps"),
        pytest.param(lines([1.0] * 20 + [9.0]), None, 0, "", id="long-gradients-happen"),
        pytest.param(lines([1.0] * 5 + [50.0]), None, 0, "", id="the-first-steps-leap"),
        pytest.param(run(*FLAT), "flattens", 60, "less than 0.5%", id="flattens"),
        pytest.param(run(*FLAT[:-1]), None, 0, "", id="not-flat-for-long-enough"),
        pytest.param(
            [*run(*FLAT[:-1]), train(60, lr=4e-5), val(60, 2.999)],
            *(None, 0, ""),
            id="flat-at-the-end-of-the-schedule",
        ),
        pytest.param(run(*RISING), "by-heart", 30, "since step 10", id="by-heart"),
        pytest.param(run(*RISING[:2]), None, 0, "", id="one-rise-is-a-slip"),
        pytest.param(run((2.0, 3.0), (2.1, 3.1), (2.2, 3.2)), None, 0, "", id="both-losses-rise"),
        pytest.param(
            run(*RISING, heard=[probe(10, ca=0.4), probe(30, ca=0.2)]),
            *("by-heart", 30, "Fewer letters are heard wrong all the same (40.0% to 20.0%)"),
            id="by-heart-but-clearer",
        ),
        pytest.param(
            run(*RISING, heard=[probe(10, ca=0.2), probe(30, ca=0.4)]),
            *("by-heart", 30, "do not fall either (20.0% to 40.0%)"),
            id="by-heart-and-less-clear",
        ),
        pytest.param(
            probes((0.5, 0.05), (0.2, 0.06), (0.2, 0.07), (0.21, 0.08), (0.2, 0.09)),
            *("forgets", 40, "en 4.0 points"),
            id="forgets",
        ),
        pytest.param(
            probes((0.5, 0.05), (0.4, 0.06), (0.3, 0.07), (0.2, 0.08), (0.1, 0.09)),
            *(None, 0, ""),
            id="forgets-but-still-gains",
        ),
        pytest.param(
            probes((0.5, 0.05), (0.2, 0.05), (0.2, 0.05), (0.2, 0.05), (0.2, 0.07)),
            *(None, 0, ""),
            id="stalls-but-forgets-little",
        ),
        pytest.param(
            probes((0.24, 0.0), (0.88, 0.08), (0.73, 0.05), (0.82, 0.04)),
            *("spoils", 30, "82.0% of its letters are heard wrong, not 24.0%"),
            id="spoils",
        ),
        pytest.param(
            probes((0.24, 0.0), (0.88, 0.08), (0.3, 0.05), (0.82, 0.04), (0.7, 0.0)),
            *(None, 0, ""),
            id="worse-and-better-by-turns",
        ),
        pytest.param(waits(1.0, *[0.2] * 10), "waits", 11, "20%", id="waits"),
        pytest.param(waits(1.0, *[0.05] * 10), None, 0, "", id="waits-only-at-the-start"),
        pytest.param(
            [{"kind": "rows", "step": 0, "learnt": 97, "total": 100}],
            *("rows", 0, "3 of the 100 new pieces"),
            id="rows",
        ),
        pytest.param(
            [{"kind": "rows", "step": 0, "learnt": 5, "total": 5}], None, 0, "", id="all-rows"
        ),
    ],
)
def test_what_figures_say(records, kind, step, said):
    notices = find_notices(records, {"en"})

    assert [(notice.kind, notice.step) for notice in notices] == ([(kind, step)] if kind else [])
    assert said in "".join(notice.text for notice in notices)


def test_nothing_is_said_of_a_run_in_which_nothing_goes_wrong():
    assert find_notices(real_run("one_epoch")) == []


def test_a_run_that_learns_by_heart_is_told_so_and_when_it_was_best():
    (notice,) = find_notices(real_run("by_heart"))

    assert (notice.kind, notice.step) == ("by-heart", 144)
    assert "since step 72" in notice.text
    assert "1.751 to 1.930" in notice.text


@given(
    st.lists(st.tuples(st.floats(0.1, 8), st.floats(0.1, 8)), max_size=14),
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=8),
    st.integers(0, 140),
)
def test_what_was_said_stays_as_it_was_when_more_is_known(losses, heard, last_step):
    records = run(*losses, heard=probes(*heard))

    earlier = find_notices([line for line in records if line["step"] <= last_step], {"en"})

    assert set(earlier) <= set(find_notices(records, {"en"}))


def stop_step(records: list[dict], patience: int) -> int | None:
    """Return the step behind which a run would have stopped; None when it goes to its end."""
    for length, line in enumerate(records, start=1):
        if should_stop(records[:length], patience, {"en"}):
            return line["step"]
    return None


@pytest.mark.parametrize(("patience", "step"), [(0, None), (1, 96), (3, 144), (5, 192)])
def test_a_run_stops_when_its_patience_is_at_its_end(patience, step):
    assert stop_step(real_run("by_heart"), patience) == step


def test_a_run_that_gets_better_is_not_stopped():
    assert stop_step(real_run("one_epoch"), 1) is None


def test_letters_decide_where_somebody_listened():
    rising = run((2.0, 3.0), (1.9, 3.1), (1.8, 3.2), heard=probes((9, 9), (3, 3), (2, 4), (1, 5)))
    falling = run((2.0, 3.0), (1.9, 2.9), (1.8, 2.8), heard=probes((9, 9), (1, 3), (2, 2), (3, 1)))

    assert not should_stop(rising, 1, {"en"})
    assert should_stop(falling, 2, {"en"})


def test_the_loss_decides_where_nobody_listened():
    unheard = {"kind": "probe", "step": 10, "languages": {"ca": {"similarity": 0.5}}}

    assert should_stop([*run((2.0, 3.0), (2.0, 3.0)), unheard], 1)


def test_what_the_base_scored_is_no_reason_to_stop():
    assert not should_stop([val(0, 1.0), val(10, 2.0)], 1)
    assert should_stop([val(0, 1.0), val(10, 2.0), val(20, 2.0)], 1)


def test_all_languages_count_where_the_base_spoke_each_of_them():
    history = History.of([probe(0, en=0.2, es=0.4)], {"en", "es"})

    assert history.cer_of_taught(history.probes[0]) == pytest.approx(0.3)


def test_a_base_that_is_forgotten_is_not_taken_for_learning_by_heart():
    records = run(*RISING)
    for line in records:
        if line["kind"] == "val":
            falling = {"loss": 3.0 - line["step"] / 100}
            line["languages"] = {"ca": falling, "en": {"loss": line["loss"]}}

    assert find_notices(records, {"en"}) == []
    assert [notice.kind for notice in find_notices(records, {"ca", "en"})] == ["by-heart"]


def test_a_line_of_a_kind_that_is_not_known_does_no_harm():
    assert find_notices([{"kind": "weather", "step": 1}, val(0, 3.0)]) == []
