import logging
from pathlib import Path

import pytest

from idiolect.base.errors import RegistryError
from idiolect.registry.gate import Kept, check_gate, kept_languages

SCORES = {
    "val_loss": 3.2,
    "probe_cer_base.en": 0.04,
    "probe_cer.en": 0.12,
    "probe_cer_base.es": 0.05,
    "probe_cer.es": 0.06,
    "probe_cer.ca": 0.1,
}
MILD = SCORES | {"probe_cer.en": 0.07}


def check(scores, gate=None, *, is_blended=False):
    return check_gate(scores, gate=gate, is_blended=is_blended, where=Path("best.pth"))


def test_a_language_counts_that_was_heard_before_and_after():
    assert kept_languages(SCORES) == [
        Kept(language="en", before=0.04, after=0.12),
        Kept(language="es", before=0.05, after=0.06),
    ]


def test_losing_more_than_the_gate_is_refused_with_the_languages_that_did():
    with pytest.raises(RegistryError) as caught:
        check(SCORES, 3)

    assert caught.value.problem == (
        "the training lost more than 3 points of letters: en 4.0% -> 12.0% (+8.0)"
    )
    assert "--blend 0.5" in caught.value.fix


@pytest.mark.parametrize(
    ("gate", "passes"), [(0.9, False), (1.1, False), (7.9, False), (8.1, True)]
)
def test_the_gate_is_in_points_of_a_hundred_letters(gate, passes):
    if passes:
        assert check(SCORES, gate)
    else:
        with pytest.raises(RegistryError):
            check(SCORES, gate)


def test_without_a_gate_it_is_warned_above_three_points(caplog):
    with caplog.at_level(logging.WARNING):
        line = check(SCORES)

    assert "lost more than 3 points: en 4.0% -> 12.0% (+8.0)" in caplog.text
    assert line.endswith("en 4.0% -> 12.0% (+8.0), es 5.0% -> 6.0% (+1.0)")


def test_little_is_lost_without_a_warning(caplog):
    assert "en 4.0% -> 7.0% (+3.0)" in check(MILD | {"probe_cer.en": 0.0699})
    assert caplog.text == ""


def test_a_language_that_got_better_passes_the_strictest_gate():
    better = {"probe_cer_base.en": 0.2, "probe_cer.en": 0.1}

    assert check(better, 0).endswith("en 20.0% -> 10.0% (-10.0)")


def test_a_gate_refuses_what_nobody_measured():
    with pytest.raises(RegistryError, match="nothing tells"):
        check({"val_loss": 3.2, "probe_cer.en": 0.1}, 3)


def test_nothing_is_said_of_what_nobody_measured_when_nobody_asked(caplog):
    assert check({"val_loss": 3.2}) == ""
    assert caplog.text == ""


@pytest.mark.parametrize("gate", [None, 3])
def test_a_blend_is_not_refused_for_the_scores_of_other_weights(caplog, gate):
    check(SCORES, gate, is_blended=True)

    assert "nobody measured the blend (all of the way: en 4.0% -> 12.0% (+8.0)" in caplog.text


def test_a_blend_of_what_nobody_measured_says_so_to_who_asks(caplog):
    assert check({}, is_blended=True) == ""
    assert caplog.text == ""

    check({}, 3, is_blended=True)

    assert "nor the weights that it is made of" in caplog.text
