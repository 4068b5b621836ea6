"""What a visitor orders is spoken, measured, kept and said again, on a nano base."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import numpy as np
import pytest
import soundfile

from clips import write_clip
from idiolect.base.errors import DataError, GuardError, SynthesisError
from idiolect.base.units import SAMPLE_RATE
from idiolect.models.emotion import EMOTIONS
from idiolect.models.published import locate_base
from idiolect.studio.history import History
from idiolect.studio.preview import Previews
from idiolect.studio.settings import (
    EmotionMode,
    SpeechSettings,
    settings_of_mapping,
    settings_to_mapping,
)
from idiolect.studio.speech import SegmentDone, Speech, SpeechOrder, last_of
from idiolect.studio.waiting import WaitingRoom
from idiolect.synthesis.sampling import Cancelled, SamplingSettings
from idiolect.synthesis.swap import ModelSlot

FEW = SamplingSettings(max_codes=8, num_beams=1)
THREE = "One two three four. Five six seven eight. Nine ten eleven twelve."


@pytest.fixture(scope="module")
def slot(nano_base, tmp_path_factory) -> ModelSlot:
    return ModelSlot(locate_base(nano_base), tmp_path_factory.mktemp("models"))


@pytest.fixture
def speech(slot, tmp_path) -> Speech:
    return Speech(slot, History(tmp_path / "out"), tmp_path / "out")


@pytest.fixture
def voice(tmp_path) -> Path:
    return write_clip(tmp_path / "voice.wav", seconds=0.4)


def order(voice: Path, text: str = "Hello.", **given) -> SpeechOrder:
    settings = SpeechSettings(**{"sampling": FEW, "max_segment_tokens": 20, **given})
    return SpeechOrder(model="base", device="cpu", voice=voice, text=text, settings=settings)


def test_each_segment_is_heard_before_the_whole_is_there(speech, voice):
    events = list(speech.speak(order(voice, THREE, seed=1)))

    *segments, done = events
    assert [type(event) for event in segments] == [SegmentDone] * len(segments)
    assert [segment.index for segment in segments] == list(range(len(segments)))
    assert {segment.count for segment in segments} == {len(segments)}
    assert len(segments) > 1
    silence = int(SAMPLE_RATE * 0.2) * (len(segments) - 1)
    assert len(done.wave) == sum(len(segment.wave) for segment in segments) + silence
    assert segments[-1].left_sec == 0


def test_what_was_spoken_is_a_file_with_figures_and_a_record(speech, voice, tmp_path):
    done = last_of(speech.speak(order(voice, seed=7)))

    sound, rate = soundfile.read(done.path)
    assert rate == SAMPLE_RATE
    assert done.path.parent == tmp_path / "out"
    assert done.record.duration_sec == pytest.approx(len(sound) / rate)
    assert 0 < done.record.first_sound_sec <= done.record.elapsed_sec
    assert done.rtf == done.record.elapsed_sec / done.record.duration_sec
    assert done.seed == 7
    assert not done.is_partial
    assert speech.history.get(done.record.id) == done.record


def test_a_seed_that_was_drawn_is_told_and_makes_the_same_sound_again(speech, voice):
    first = last_of(speech.speak(order(voice)))
    other = last_of(speech.speak(order(voice)))
    again = last_of(speech.speak(order(voice, seed=first.seed)))

    assert first.seed != other.seed
    assert again.path.read_bytes() == first.path.read_bytes()


def test_a_record_is_said_again_exactly_though_its_clips_are_gone(speech, voice, tmp_path):
    other = write_clip(tmp_path / "emotion.flac", seconds=0.5, seed=3)
    asked = order(
        voice,
        emotion=EmotionMode.CLIP,
        emotion_clip=other,
        emotion_alpha=0.6,
        speed=1.3,
        volume=0.7,
    )
    first = last_of(speech.speak(asked))
    voice.unlink()
    other.unlink()

    record = speech.history.get(first.record.id)
    again = last_of(speech.speak(speech.again(record, device="cpu", user="other")))

    assert again.path != first.path
    assert again.path.read_bytes() == first.path.read_bytes()


def test_a_record_whose_clip_was_forgotten_says_so(speech, voice):
    done = last_of(speech.speak(order(voice)))
    speech.clips.forget(voice)

    with pytest.raises(DataError, match="is no longer kept"):
        speech.again(done.record, device="cpu", user="page")


def test_what_was_spoken_before_a_cancel_is_kept_and_called_partial(speech, voice):
    whole = last_of(speech.speak(order(voice, THREE, seed=1)))
    cancel = Event()
    stream = speech.speak(order(voice, THREE, seed=1), cancel.is_set)
    first = next(stream)
    cancel.set()

    (done,) = stream

    assert done.is_partial
    assert done.record.settings["partial"] is True
    assert len(first.wave) <= len(done.wave) < len(whole.wave)
    assert np.array_equal(done.wave, whole.wave[: len(done.wave)])


def test_a_cancel_within_the_first_segment_ends_it_there(speech, voice):
    asked = []
    stream = speech.speak(order(voice, seed=1), lambda: not asked.append(1))

    with pytest.raises(Cancelled):
        last_of(stream)

    assert asked
    assert speech.history.search() == []
    assert speech.room.num_waiting == 0


def test_what_a_visitor_who_left_had_heard_is_kept(speech, voice):
    stream = speech.speak(order(voice, THREE, seed=1))
    next(stream)
    stream.close()

    (record,) = speech.history.search()
    assert record.settings["partial"] is True
    assert record.path.is_file()
    assert speech.room.num_waiting == 0


@pytest.mark.parametrize(
    "given",
    [
        {"emotion": EmotionMode.WEIGHTS, "emotion_weights": (0.9, *(0.0,) * 7)},
        {"emotion": EmotionMode.WEIGHTS, "emotion_weights": (*(0.0,) * 6, 0.9, 0.0)},
        {"speed": 1.5},
        {"volume": 0.5},
    ],
)
def test_each_setting_is_heard(speech, voice, given):
    plain = last_of(speech.speak(order(voice, seed=1)))
    other = last_of(speech.speak(order(voice, seed=1, **given)))

    assert other.path.read_bytes() != plain.path.read_bytes()


def test_weights_are_ordered_and_limited_as_published():
    given = SpeechSettings(
        emotion=EmotionMode.WEIGHTS,
        emotion_weights=tuple(float(name == "afraid") for name in EMOTIONS),
    ).call()

    assert given["emo_vector"] == tuple(0.8 * (name == "afraid") for name in EMOTIONS)
    assert "emo_audio_prompt" not in given


def test_settings_outlive_being_written_down(tmp_path):
    settings = SpeechSettings(
        language="ca",
        seed=3,
        emotion=EmotionMode.CLIP,
        emotion_clip=tmp_path / "a.wav",
        sampling=FEW,
    )

    assert settings_of_mapping({**settings_to_mapping(settings), "partial": False}) == settings


@pytest.mark.parametrize(
    "given",
    [
        {"volume": 2.1},
        {"speed": 0.4},
        {"emotion_alpha": 1.5},
        {"max_segment_tokens": 5},
        {"emotion_weights": (2.0, *(0.0,) * 7)},
        {"emotion": EmotionMode.CLIP},
    ],
)
def test_a_setting_out_of_range_is_refused(given):
    with pytest.raises(SynthesisError):
        SpeechSettings(**given)


def test_a_full_disk_is_told_before_anything_is_computed(speech, voice, monkeypatch):
    monkeypatch.setattr("idiolect.studio.speech.free_bytes", lambda _: 1)

    with pytest.raises(SynthesisError, match="less than 100 MB are free"):
        next(speech.speak(order(voice)))
    assert speech.room.num_waiting == 0


def test_nothing_is_spoken_into_a_base_folder(slot, nano_base, tmp_path):
    with pytest.raises(GuardError):
        Speech(slot, History(tmp_path / "out"), nano_base)


def test_one_user_cannot_take_all_places():
    room = WaitingRoom(most=3, most_of_one=2)

    with room.place("anna"), room.place("anna"):
        with pytest.raises(SynthesisError, match="2 of your requests"), room.place("anna"):
            pass
        full = pytest.raises(SynthesisError, match="3 requests are waiting")
        with room.place("berta"), full, room.place("carla"):
            pass
    assert room.num_waiting == 0


def test_sentences_and_unknown_pieces_are_seen_without_loading_a_model(slot, speech, nano_base):
    previews = Previews(locate_base(nano_base), slot.models_dir, speech.history)

    preview = previews.of("base", THREE + " ж", "en", 20)

    assert len(preview.segments) > 1
    assert all(0 < segment.num_tokens <= 20 for segment in preview.segments)
    assert preview.estimate is None


def test_an_estimate_comes_from_what_was_spoken(slot, speech, voice, nano_base):
    previews = Previews(locate_base(nano_base), slot.models_dir, speech.history)
    done = last_of(speech.speak(order(voice, "Hello there.", language="en")))

    estimate = previews.of("base", "Hello there. Hello there.", "en").estimate

    assert estimate.num_records == 1
    assert estimate.duration_sec == pytest.approx(2 * done.record.duration_sec)
