"""The scores of a probe, as training keeps and reports them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from idiolect.base.config import from_mapping, to_mapping
from idiolect.training.probing import LanguageScores, ProbeScores

SCORES = LanguageScores(
    sentences=8,
    cer=0.1,
    wer=0.3,
    similarity=0.8,
    leak_rate=0.0,
    lost_end_rate=0.25,
    missing_end_rate=0.125,
    rate_ratio=1.1,
    duration_sec=4.0,
)
UNHEARD = replace(SCORES, cer=None, wer=None, leak_rate=None, lost_end_rate=None)


def test_letters_wrong_is_the_mean_over_the_languages_that_count():
    scores = ProbeScores(languages={"ca": SCORES, "en": replace(SCORES, cer=0.3)})

    assert scores.cer() == pytest.approx(0.2)
    assert scores.cer(["ca"]) == pytest.approx(0.1)
    assert scores.cer(["eu"]) is None


def test_letters_that_nobody_heard_are_not_right():
    assert ProbeScores(languages={"ca": UNHEARD}).cer() is None


def test_values_are_what_was_measured_by_language():
    values = ProbeScores(languages={"ca": UNHEARD}).values()

    assert values["ca/similarity"] == 0.8
    assert "ca/cer" not in values


def test_scores_survive_the_state_of_a_run():
    scores = ProbeScores(languages={"ca": SCORES, "en": UNHEARD})

    assert from_mapping(ProbeScores, to_mapping(scores), where="state") == scores


def test_a_line_of_the_log_has_only_what_was_measured():
    assert "letters wrong 10.0%" in SCORES.summary()
    assert "letters wrong" not in UNHEARD.summary()
