"""The corpus of the pocket base: what is cut off a clip, and what a second run still has to do."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from idiolect.audio.io import read_audio, write_wav
from idiolect.base.errors import DataError, UserError
from idiolect.data.manifest import read_manifest
from idiolect.nano import corpus, engines
from idiolect.nano.corpus import (
    MAX_PEAK,
    SCATTERED_FROM,
    SPEECH_RMS,
    make_corpus,
    minutes_by,
    tidy,
    trim_silence,
)
from idiolect.nano.corpus_plan import PRESETS, SETS, CorpusPlan, Share
from idiolect.nano.engines import (
    ENGINE_LICENCES,
    Engine,
    Espeak,
    Festival,
    Voice,
    open_engine,
    play,
)
from idiolect.nano.recordings import take_recordings
from idiolect.nano.texts import JUDGE_SENTENCES, is_reserved

RATE = 22_050
VOICE = Voice(name="tone", language="en", engine="espeak", engine_voice="en-us")

needs_espeak = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="espeak-ng is not installed"
)


def tone(seconds: float, hz: float = 200.0, rate: int = RATE, level: float = 0.3) -> np.ndarray:
    t = np.arange(round(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * hz * t)).astype(np.float32)


def loudest_hz(audio: np.ndarray) -> float:
    return float(np.abs(np.fft.rfft(audio)).argmax() * RATE / len(audio))


class ToneEngine(Engine):
    """Hums for as long as a text is long; stands in for an engine, and counts what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.stop_after = 10_000

    def speak(self, text: str, voice: Voice) -> tuple[np.ndarray, int]:
        if len(self.asked) >= self.stop_after:
            raise KeyboardInterrupt
        self.asked.append(text)
        return tone(0.06 * len(text), rate=16_000), 16_000


@pytest.fixture
def hum(monkeypatch) -> ToneEngine:
    engine = ToneEngine()
    monkeypatch.setattr(corpus, "open_engine", lambda name, kokoro_dir: engine)
    return engine


def small_plan(**changes) -> CorpusPlan:
    share = Share(voice=VOICE, minutes=0.3, **changes)
    return CorpusPlan(stages=((share,),))


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.25])
def test_a_voice_played_faster_is_higher_and_shorter_by_the_same_factor(factor):
    played = play(tone(2.0, 200.0, rate=16_000), 16_000, factor)

    assert len(played) / RATE == pytest.approx(2.0 / factor, abs=0.001)
    assert loudest_hz(played) == pytest.approx(200.0 * factor, abs=1.0)
    assert played.dtype == np.float32


def test_silence_at_the_ends_goes_and_a_pause_inside_stays():
    silence = np.zeros(RATE // 2, dtype=np.float32)
    speech = np.concatenate([tone(0.5), silence, tone(0.5)])

    trimmed = trim_silence(np.concatenate([silence, speech, silence]))

    surplus_sec = (len(trimmed) - len(speech)) / RATE
    assert 0.08 <= surplus_sec <= 0.13
    assert np.abs(trimmed).max() == np.abs(speech).max()


def test_a_soft_end_of_a_word_is_not_cut_off():
    speech = np.concatenate([tone(0.5), tone(0.2, hz=3000.0, level=0.01)])

    assert len(trim_silence(speech)) >= 0.69 * RATE


def test_a_clip_of_silence_becomes_empty_and_is_not_usable():
    assert not len(tidy(np.zeros(RATE, dtype=np.float32)))
    assert not corpus.is_usable(tidy(np.zeros(RATE, dtype=np.float32)))


@pytest.mark.parametrize("level", [0.001, 0.9])
def test_clips_come_out_equally_loud(level):
    assert np.sqrt(np.mean(tidy(tone(1.0, level=level)) ** 2)) == pytest.approx(
        SPEECH_RMS, rel=0.02
    )


def test_a_clip_with_a_sharp_peak_is_kept_below_the_ceiling():
    audio = tone(1.0, level=0.005)
    audio[RATE // 2] = 0.9

    assert np.abs(tidy(audio)).max() == pytest.approx(MAX_PEAK, rel=1e-4)


def test_a_second_run_speaks_nothing_and_finds_the_same_clips(tmp_path, hum):
    first = make_corpus(tmp_path, small_plan())["train"]
    num_asked = len(hum.asked)

    second = make_corpus(tmp_path, small_plan())["train"]

    assert len(hum.asked) == num_asked
    assert [clip.id for clip in second] == [clip.id for clip in first]
    assert [clip.duration_sec for clip in second] == [clip.duration_sec for clip in first]


def test_a_run_that_was_stopped_goes_on_where_it_was_and_ends_with_the_same_clips(tmp_path, hum):
    whole = make_corpus(tmp_path / "whole", small_plan())["train"]
    hum.asked.clear()
    hum.stop_after = 3
    with pytest.raises(KeyboardInterrupt):
        make_corpus(tmp_path / "stopped", small_plan())
    already = list(hum.asked)
    hum.asked.clear()
    hum.stop_after = 10_000

    resumed = make_corpus(tmp_path / "stopped", small_plan())["train"]

    spoken = {clip.text for clip in resumed}
    assert not {text for text in already if text in spoken} & set(hum.asked)
    assert [clip.id for clip in resumed] == [clip.id for clip in whole]


def test_only_the_clip_that_is_missing_is_spoken_again(tmp_path, hum):
    clips = make_corpus(tmp_path, small_plan())["train"]
    clips[-1].audio_path.unlink()
    hum.asked.clear()

    again = make_corpus(tmp_path, small_plan())["train"]

    assert hum.asked[0] == clips[-1].text
    assert clips[-1].audio_path.is_file()
    assert len(hum.asked) == len(again) - len(clips) + 1


def test_a_voice_says_sentences_and_scattered_words_and_a_second_run_finds_both(tmp_path, hum):
    voice = replace(VOICE, language="es")
    said = [Share(voice=voice, minutes=0.3, scattered=scattered) for scattered in (False, True)]
    first = make_corpus(tmp_path, CorpusPlan(stages=(tuple(said),)))["train"]
    hum.asked.clear()

    second = make_corpus(tmp_path, CorpusPlan(stages=(tuple(said),)))["train"]

    assert not hum.asked
    assert [clip.id for clip in second] == [clip.id for clip in first]
    assert len({clip.text for clip in first}) == len(first)
    assert {int(clip.id.split("-")[2]) >= SCATTERED_FROM for clip in first} == {False, True}


def test_a_voice_that_changed_is_spoken_anew(tmp_path, hum):
    before = make_corpus(tmp_path, small_plan())["train"]
    share = Share(voice=replace(VOICE, factor=0.9), minutes=0.3)

    after = make_corpus(tmp_path, CorpusPlan(stages=((share,),)))["train"]

    assert not {clip.id for clip in before} & {clip.id for clip in after}


def test_clips_survive_a_change_of_the_grammar_and_only_what_is_missing_gets_new_texts(
    tmp_path, hum, monkeypatch
):
    before = make_corpus(tmp_path, small_plan())["train"]
    longer = CorpusPlan(stages=((Share(voice=VOICE, minutes=0.6),),))
    monkeypatch.setattr(corpus, "sentences", lambda *_: [f"Another one, {n}." for n in range(200)])

    after = make_corpus(tmp_path, longer)["train"]

    assert [clip.id for clip in after[: len(before)]] == [clip.id for clip in before]
    assert all(clip.text.startswith("Another") for clip in after[len(before) :])
    assert len(after) > len(before)


def test_a_corpus_that_is_complete_needs_no_engine(tmp_path, hum, monkeypatch):
    make_corpus(tmp_path, small_plan())

    def missing(*_, **__):
        raise UserError("not installed")

    monkeypatch.setattr(corpus, "open_engine", missing)

    assert make_corpus(tmp_path, small_plan())["train"]


def test_one_utterance_of_a_slow_engine_gives_other_speakers(tmp_path, hum):
    clips = make_corpus(tmp_path, small_plan(also=(0.9, 1.12)))["train"]

    by_speaker = {name: [c for c in clips if c.speaker == name] for name in ("tone", "tone_x090")}
    assert {clip.speaker for clip in clips} == {"tone", "tone_x090", "tone_x112"}
    assert len(set(hum.asked)) == len(hum.asked)
    low, own = by_speaker["tone_x090"][0], by_speaker["tone"][0]
    assert low.text == own.text
    assert low.duration_sec == pytest.approx(own.duration_sec / 0.9, rel=0.02)


def test_the_shares_of_a_stage_grow_together(tmp_path, hum):
    other = replace(VOICE, name="other")
    shares = (Share(voice=VOICE, minutes=1.0), Share(voice=other, minutes=1.0))
    hum.stop_after = 12
    with pytest.raises(KeyboardInterrupt):
        make_corpus(tmp_path, CorpusPlan(stages=(shares,)))

    spoken = {
        name: len(list(tmp_path.glob(f"audio/{name}-en/*.flac"))) for name in ("tone", "other")
    }
    assert min(spoken.values()) >= 3


def test_no_sentence_of_the_judges_is_trained_on(tmp_path, hum):
    unseen = Share(voice=VOICE, minutes=5.0, set_name="unseen_texts", max_clips=10, min_chars=12)
    plan = CorpusPlan(stages=((Share(voice=VOICE, minutes=1.0), unseen),))

    sets = make_corpus(tmp_path, plan)

    judged = [clip.text for clip in sets["unseen_texts"]]
    assert not {clip.text for clip in sets["train"]} & set(judged)
    assert not any(is_reserved(clip.text) for clip in sets["train"])
    assert len(set(judged) & set(JUDGE_SENTENCES["en"])) == 5
    assert len(judged) == 10


def test_held_out_voices_of_the_full_plan_are_in_no_training():
    shares = list(PRESETS["full"]().shares())
    sounds = {
        set_name: {
            (s.voice.engine, s.voice.engine_voice, s.voice.factor, s.voice.pitch)
            for s in shares
            if s.set_name == set_name
        }
        for set_name in SETS
    }

    assert len(sounds["heldout_voices"]) == 5
    assert not sounds["heldout_voices"] & sounds["train"]
    assert sounds["unseen_texts"] <= sounds["train"]


def test_no_two_voices_of_the_full_plan_share_a_name_unless_they_are_one_person():
    people: dict[str, set[object]] = {}
    for share in PRESETS["full"]().shares():
        for voice in corpus._speakers(share):
            body = (voice.engine, voice.engine_voice.partition(":")[0], voice.factor, voice.pitch)
            people.setdefault(voice.name, set()).add(body)

    assert all(len(bodies) == 1 for bodies in people.values())


def test_every_engine_of_a_plan_has_a_licence_on_record():
    used = {share.voice.engine for make in PRESETS.values() for share in make().shares()}

    assert used <= set(ENGINE_LICENCES)
    assert all(licence.licence and licence.package for licence in ENGINE_LICENCES.values())


@pytest.mark.parametrize("name", ["espeak", "festival"])
def test_a_program_that_is_missing_is_named_with_the_way_to_get_it(name, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(UserError, match="apt-get install"):
        open_engine(name)


def test_kokoro_without_its_folder_says_how_to_name_it(monkeypatch, tmp_path):
    monkeypatch.delenv(engines.KOKORO_VARIABLE, raising=False)

    with pytest.raises(UserError, match=engines.KOKORO_FLAG):
        open_engine("kokoro")
    with pytest.raises(UserError, match=engines.KOKORO_MODEL):
        open_engine("kokoro", kokoro_dir=tmp_path)


@needs_espeak
def test_the_fast_corpus_needs_espeak_alone_and_its_manifests_are_read_by_the_project(
    tmp_path, monkeypatch
):
    plan = PRESETS["fast"]()
    small = CorpusPlan(
        stages=tuple(
            tuple(replace(share, minutes=min(share.minutes, 0.2), max_clips=3) for share in stage)
            for stage in plan.stages
        )
    )
    program = shutil.which("espeak-ng")
    assert program is not None
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "espeak-ng").symlink_to(program)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    make_corpus(tmp_path, small)

    for name in SETS:
        for clip in read_manifest(tmp_path / f"{name}.jsonl"):
            audio, rate = read_audio(clip.audio_path)
            assert rate == RATE
            assert len(audio) / rate == pytest.approx(clip.duration_sec, abs=0.001)
            assert np.abs(audio).max() <= MAX_PEAK + 1e-3
    minutes = minutes_by(read_manifest(tmp_path / "train.jsonl"))
    assert {(engine, language) for engine, language, _ in minutes} == {
        ("espeak", "en"),
        ("espeak", "es"),
    }


@needs_espeak
def test_phones_keep_the_punctuation_of_the_text():
    phones = Espeak().phones("¿Qué hora es? Son las tres, creo.", "es")

    assert [c for c in phones if c in ",.?"] == ["?", ",", "."]
    assert "ˈoɾa" in phones


@needs_espeak
def test_a_text_that_begins_with_a_dash_is_spoken_and_not_taken_for_an_option():
    audio, _ = Espeak().speak("-w is not an option", replace(VOICE, engine_voice="en-us"))

    assert len(audio) > 10_000


@pytest.mark.skipif(
    not Path("/usr/share/festival/voices/catalan").exists() or shutil.which("festival") is None,
    reason="festival with the Catalan voice Ona is not installed",
)
def test_ona_reads_accents_as_letters_and_outlives_odd_texts():
    voice = Voice(name="ona", language="ca", engine="festival", engine_voice="ona")
    festival = Festival()
    try:
        plain, _ = festival.speak("Que fas avui, Joan?", voice)
        accents, _ = festival.speak("Què fàs avúi, Joàn?", voice)
        quoted, _ = festival.speak('L’home diu "hola" \\ — i 中 se\'n va.', voice)
    finally:
        festival.close()

    assert len(accents) == pytest.approx(len(plain), rel=0.25)
    assert len(quoted) > 10_000


def test_recordings_whose_text_is_not_what_is_heard_are_left_out(tmp_path):
    rows = {
        "good.wav": "Please hold the line.",
        "digits.wav": "Press 1 now please.",
        "brackets.wav": "[beep] Hello there.",
        "accent.wav": "La conferencia numero uno.",
        "short.wav": "No.",
    }
    (tmp_path / "audio").mkdir()
    for name in rows:
        write_wav(tmp_path / "audio" / name, tone(0.5 if name == "short.wav" else 2.0), RATE)
    lines = "".join(f"{name}|ann|{text}\n" for name, text in rows.items())
    (tmp_path / "transcripts.txt").write_text(lines, encoding="utf-8")

    (taken,) = take_recordings(tmp_path, "en", tmp_path / "corpus", 1)

    assert taken.text == "Please hold the line."
    assert taken.audio_path.is_file()
    with pytest.raises(DataError, match="1 recordings"):
        take_recordings(tmp_path, "en", tmp_path / "corpus", 2)


def test_a_program_that_fails_is_reported_with_its_own_words(monkeypatch):
    failed = subprocess.CompletedProcess(["x"], 1, b"", b"voice not found")
    monkeypatch.setattr(engines.subprocess, "run", lambda *_, **__: failed)

    with pytest.raises(UserError, match="voice not found"):
        engines._run(["espeak-ng", "hello"])
