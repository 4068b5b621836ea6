"""What single sentences add up to."""

from __future__ import annotations

import pytest

from idiolect.evaluation.probe_set import ProbeSentence
from idiolect.evaluation.spoken import Spoken, record_of, scores_of
from training_kit import utterance

PROMPT = "El vell mestre llegia cada diumenge."


def spoken(text: str = "Bon dia.", heard: str | None = None, **given) -> Spoken:
    sentence = ProbeSentence(
        target=utterance("target", text, language=given.pop("language", "ca")),
        prompt=utterance("prompt", PROMPT),
        number=1,
        text_ids=(1,),
        letters=7,
        most_codes=100,
    )
    plain = {"num_codes": 35, "is_ended": True, "duration_sec": 0.7, "similarity": 0.5}
    return Spoken(sentence=sentence, heard=heard, **(plain | given))


def test_errors_are_added_up_before_they_are_divided():
    scores = scores_of([spoken("Bon dia.", "bon"), spoken("Hola a tothom.", "hola a tothom")], 5.0)

    assert scores.cer == pytest.approx(4 / 20)
    assert scores.wer == pytest.approx(1 / 5)


def test_what_nobody_listened_to_has_no_errors_but_a_pace_and_an_end():
    scores = scores_of([spoken(), spoken(is_ended=False, duration_sec=1.7)], 5.0)

    assert (scores.cer, scores.wer) == (None, None)
    assert (scores.leak_rate, scores.lost_end_rate) == (None, None)
    assert scores.missing_end_rate == 0.5
    assert scores.duration_sec == pytest.approx(1.2)


def test_a_pace_of_two_is_twice_as_slow_as_the_recordings():
    assert scores_of([spoken(num_codes=70), spoken(num_codes=70)], 5.0).rate_ratio == pytest.approx(
        2.0
    )


def test_leaks_and_lost_ends_are_shares_of_the_sentences():
    said = [spoken(heard="bon dia"), spoken(heard="el vell mestre llegia")]
    scores = scores_of(said, 5.0)

    assert (scores.leak_rate, scores.lost_end_rate) == (0.5, 0.5)


def test_a_sentence_too_short_for_a_voice_does_not_count_for_likeness():
    assert scores_of([spoken(similarity=0.8), spoken(similarity=None)], 5.0).similarity == 0.8
    assert scores_of([spoken(similarity=None)], 5.0).similarity is None


def test_a_line_says_what_was_said_and_heard():
    line = record_of(spoken("Bon dia.", "bon"))

    assert (line["sound"], line["text"], line["heard"]) == ("ca/001.wav", "Bon dia.", "bon")
    assert line["cer"] == pytest.approx(4 / 7)


def test_characters_are_counted_where_words_are_not_written_apart():
    scores = scores_of([spoken("今天天气很好", "今天天气", language="zh")], 5.0)

    assert 0 < scores.cer < 0.5
    assert scores.wer is None
