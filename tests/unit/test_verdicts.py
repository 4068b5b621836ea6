from dataclasses import replace

import pytest

from idiolect.audio.checks import AudioLimits, ClipMeasures
from idiolect.data.sources import Clip
from idiolect.data.verdicts import (
    MENDS,
    Limits,
    foreign_letters,
    judge_clips,
    learn_norms,
    mend_of,
    text_fault,
)

LIMITS = Limits(audio=AudioLimits(), max_foreign=0.1, max_same_text=0)
TEXT = "Una frase de mida normal per provar-ho."


def clip(number, text=TEXT, speaker="marta", seconds=2.5, sound=None):
    measures = ClipMeasures(
        duration_sec=seconds,
        sample_rate=16_000,
        num_channels=1,
        peak=0.5,
        loudness_db=-20.0,
        silence_share=0.0,
        clipped_share=0.0,
        dc_offset=0.0,
        sound_hash=f"{sound or number:x}",
    )
    told = Clip(
        where=f"t.txt:{number}",
        id=str(number),
        audio=f"{number}.wav",
        text=text,
        speaker=speaker,
        language="ca",
        start_sec=None,
        end_sec=None,
        source=None,
        emotion=None,
        extra=None,
    )
    return told, measures


def verdicts(clips, limits=LIMITS):
    return list(judge_clips(clips, learn_norms(clips, limits), limits))


def many(count=30):
    longer = [n % 4 for n in range(count)]
    return [
        clip(n, f"{TEXT} {'ben ' * longer[n]}", seconds=2.5 + 0.3 * longer[n])
        for n in range(1, count)
    ]


def test_good_clips_are_kept():
    assert {verdict.reason for verdict in verdicts(many())} == {""}


def test_a_text_of_another_clip_is_found_by_how_fast_it_would_be():
    fast = clip(101, TEXT * 3, seconds=3.4)
    slow = clip(102, "Sí, i després res més.", seconds=12.0)

    found = verdicts([*many(), fast, slow])[-2:]

    assert [v.reason for v in found] == [
        "the text is too long for the sound",
        "the text is too short for the sound",
    ]
    assert "letters a second, usual are 1" in found[0].detail


def test_a_short_answer_may_be_slow():
    assert verdicts([*many(), clip(101, "No.", seconds=0.8)])[-1].reason == ""


def test_many_wrong_texts_do_not_widen_the_limits():
    wrong = [clip(200 + n, TEXT * 6) for n in range(12)]

    assert {v.reason for v in verdicts([*many(40), *wrong])[-12:]} == {
        "the text is too long for the sound"
    }


def test_without_enough_clips_only_the_impossible_is_refused():
    found = verdicts([clip(1, "Sí.", seconds=9.0), clip(2, TEXT * 5, seconds=1.0)])

    assert [v.reason for v in found] == ["", "the text is too long for the sound"]
    assert found[1].detail.endswith("nobody says more than 30")


def test_of_two_equal_sounds_with_one_text_the_first_is_kept():
    found = verdicts([clip(1, sound=77), clip(2), clip(3, f"{TEXT}!", sound=77)])

    assert [v.reason for v in found] == ["", "", "another clip has the same sound"]
    assert found[2].detail == "as t.txt:1"


def test_equal_sounds_with_different_texts_are_all_left_out():
    found = verdicts([clip(1, sound=77), clip(2), clip(3, "Una altra cosa.", sound=77)])

    reason = "the same sound has different texts"
    assert [v.reason for v in found] == [reason, "", reason]


def test_a_text_may_be_said_as_often_as_allowed():
    limits = replace(LIMITS, max_same_text=2)

    found = verdicts([clip(1), clip(2), clip(3), clip(4, speaker="biel")], limits)

    assert [v.reason for v in found] == ["", "", "the speaker says this text often enough", ""]


def test_a_clip_that_cannot_be_heard_keeps_its_reason():
    told, _ = clip(1)

    (verdict,) = verdicts([(told, ("not audio", "unknown format"))])

    assert (verdict.reason, verdict.detail) == ("not audio", "unknown format")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Bon dia, l'home i la col·lecció!", None),
        ("1984", None),
        ("AdÃ©u a tothom", "the text holds damaged characters"),
        ("Ad\ufffdu", "the text holds damaged characters"),
        ("Hola [riu] a tothom", "the text holds notes that nobody says"),
        ("Hola <unk>", "the text holds notes that nobody says"),
        ("... ?!", "the text has no word"),
        ("Привет всем", "the text is in the letters of another language"),
        ("El senyor Dvořák va arribar ahir", None),
    ],
)
def test_what_a_text_cannot_be(text, reason):
    fault = text_fault(text, "ca", 0.1)

    assert (fault and fault[0]) == reason


def test_a_language_without_a_row_has_no_foreign_letters():
    assert foreign_letters("Привет", "ru") == ""
    assert foreign_letters("Привет", "es") == "привет"


def test_every_reason_says_what_to_do():
    assert all(MENDS.values())
    assert mend_of("not audio") == "copy, convert or download the file again, or leave it out"
