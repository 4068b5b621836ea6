"""Which sentences a probe has, and whose voice says them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from idiolect.data.formants import CATALAN_SENTENCES
from idiolect.data.manifest import SourceSpec, Utterance
from idiolect.data.samples import Source
from idiolect.evaluation.probe_set import choose_probe, codes_per_letter
from registry_kit import make_tokenizer
from training_kit import utterance


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return make_tokenizer(tmp_path_factory.mktemp("bpe") / "bpe.model")


def source(*clips: Utterance) -> Source:
    utterances = {clip.id: clip for clip in clips}
    spec = SourceSpec(path=Path("val.jsonl"))
    return Source(
        spec=spec,
        manifest=spec.path,
        utterances=utterances,
        pairs=None,
        targets=frozenset(utterances),
        self_pairs=True,
    )


def clips(count: int = 8, **given) -> list[Utterance]:
    language = given.get("language", "ca")
    return [
        utterance(f"{language}{number}", CATALAN_SENTENCES[number], **given)
        for number in range(count)
    ]


def chosen(tokenizer, *sources: Source, count: int = 3, max_text_len: int = 200):
    return choose_probe(sources, tokenizer, count=count, max_text_len=max_text_len)


def test_each_language_has_as_many_as_asked_for(tokenizer):
    found = chosen(tokenizer, source(*clips()), source(*clips(language="es", speaker="luz")))

    assert found.languages == ["ca", "es"]
    assert [s.file_name for s in found.of("ca")] == ["ca/001.wav", "ca/002.wav", "ca/003.wav"]
    assert len(found.of("es")) == 3


def test_the_prompt_is_another_clip_of_the_speaker_with_another_text(tokenizer):
    both = [*clips(4, speaker="anna"), *clips(8, speaker="biel")[4:]]

    for sentence in chosen(tokenizer, source(*both), count=8).sentences:
        assert sentence.prompt.speaker == sentence.target.speaker
        assert sentence.prompt.text != sentence.target.text


def test_the_choice_does_not_depend_on_the_order_of_the_manifest(tokenizer):
    forwards, backwards = source(*clips()), source(*reversed(clips()))

    assert chosen(tokenizer, forwards) == chosen(tokenizer, backwards)


def test_a_text_is_spoken_once(tokenizer):
    same = [utterance(f"clip{number}", "Bon dia.") for number in range(3)]
    found = chosen(tokenizer, source(*same, *clips(3)), count=8)

    assert [s.target.text for s in found.sentences].count("Bon dia.") == 1
    assert [s.number for s in found.sentences] == list(range(1, len(found.sentences) + 1))


def test_what_the_model_has_no_room_for_is_left_out(tokenizer):
    short = utterance("short", "Bon dia.")
    found = chosen(tokenizer, source(*clips(), short), count=8, max_text_len=12)

    assert [sentence.target.id for sentence in found.sentences] == ["short"]


def test_a_language_that_cannot_be_spoken_is_named(tokenizer, caplog):
    alone = utterance("alone", "Hola, bon dia a tothom.", language="es", speaker="luz")
    with caplog.at_level(logging.WARNING, "idiolect"):
        found = chosen(tokenizer, source(*clips()), source(alone))

    assert found.languages == ["ca"]
    assert "no sentence of es can be spoken" in caplog.text


def test_a_language_never_leads_out_of_the_folder(tokenizer):
    found = chosen(tokenizer, source(*clips(language="../ca")))

    assert found.sentences[0].file_name == "___ca/001.wav"


def test_the_pace_of_recordings_is_codes_a_letter():
    assert codes_per_letter([utterance("a", "Bon dia."), utterance("b", "Bona nit!")]) == (
        pytest.approx(50 * 4.0 / 15)
    )


def test_a_sentence_is_cut_at_three_times_the_pace_and_a_second(tokenizer):
    sentence = chosen(tokenizer, source(*clips(2, duration_sec=3.0)), count=1).sentences[0]
    letters = sum(s.letters for s in chosen(tokenizer, source(*clips(2)), count=2).sentences)

    assert sentence.most_codes == int(3 * 50 * 6.0 / letters * sentence.letters) + 50
