"""A corpus of synthetic speech: sentences of :mod:`texts` read by the engines of :mod:`engines`.

Who says how much is planned in :mod:`corpus_plan`.

What is on disk decides what is left to do. The name of a clip is made of its voice and its text,
so a clip that exists is not spoken again, and a run that was killed goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from idiolect.audio.io import Waveform, probe_audio, write_flac
from idiolect.base.files import remove_left_over
from idiolect.base.progress import progress
from idiolect.base.units import SAMPLE_RATE
from idiolect.data.manifest import Utterance, read_manifest, write_manifest
from idiolect.nano.corpus_plan import SETS, CorpusPlan, SetName, Share
from idiolect.nano.engines import Engine, EngineName, Voice, open_engine, play
from idiolect.nano.texts import (
    JUDGE_SENTENCES,
    scattered_words,
    sentences,
    unseen_sentences,
)

AUDIO_DIR = "audio"

MIN_CLIP_SEC = 0.4
MAX_CLIP_SEC = 8.0
SPEECH_RMS = 10 ** (-23 / 20)
MAX_PEAK = 0.9
FRAME_SEC = 0.01
SILENCE_DB = -38.0
"""Below the loudest frame; what is quieter at either end is cut off."""
MARGIN_SEC = 0.05
"""Of what is quieter, kept at either end: soft sounds fade into it."""

WRITE_EVERY_SEC = 120.0
"""Between two writings of the manifests, so that a training can begin on the first part."""
SCATTERED_FROM = 10_000
"""What texts of scattered words are numbered from; sentences from 0."""
SHORTEST_MEAN_SEC = 0.9
"""No voice speaks clips shorter than this on average: how many texts are drawn for it."""


@dataclass(slots=True)
class _Progress:
    """What there is of a share."""

    share: Share
    texts: list[str]
    folder: Path
    spoken: list[Utterance] = field(default_factory=list)
    next: int = 0
    done_sec: float = 0.0
    """Of the voice itself, without those in ``also``."""
    num_clips: int = 0

    @property
    def first_number(self) -> int:
        """What the texts are numbered from."""
        return SCATTERED_FROM if self.share.scattered else 0

    @property
    def fraction(self) -> float:
        """From 0 to 1; 1 is complete."""
        share = self.share
        if self.next >= len(self.texts):
            return 1.0
        return min(1.0, max(self.done_sec / (60 * share.minutes), self.num_clips / share.max_clips))

    def add(self, clips: list[Utterance]) -> None:
        """Take in the clips of one text; the last is that of the voice itself."""
        self.spoken += clips
        self.done_sec += clips[-1].duration_sec
        self.num_clips += 1


def make_corpus(
    folder: Path, plan: CorpusPlan, *, kokoro_dir: Path | None = None
) -> dict[SetName, list[Utterance]]:
    """Speak what ``plan`` asks for and ``folder`` does not hold yet; return the sets.

    ``folder`` gains ``audio/`` and one manifest a set (``train.jsonl`` ...), 22 050 Hz FLAC.

    Args:
        folder: Of the corpus; what a run that was stopped left there is used.
        plan: Who says how much.
        kokoro_dir: Folder of Kokoro's model; None asks the environment.

    Raises:
        UserError: An engine of the plan is not installed, or failed.
    """
    told = _told(folder)
    stages = [[_look(folder, share, plan.seed, told) for share in stage] for stage in plan.stages]
    everything = [state for stage in stages for state in stage]
    for state in everything:
        remove_left_over(folder / AUDIO_DIR / state.share.key)
    names = [state.share.voice.engine for state in everything if state.fraction < 1]
    with _engines(names, kokoro_dir) as engines:
        for number, stage in enumerate(stages, start=1):
            label = f"speaking, part {number} of {len(stages)}"
            _speak_stage(label, stage, engines, lambda: _write_sets(folder, everything))
            _write_sets(folder, everything)
    return _sets(everything)


@contextmanager
def _engines(
    names: Iterable[EngineName], kokoro_dir: Path | None
) -> Iterator[Mapping[EngineName, Engine]]:
    """Yield the engines that are needed, all opened before the first clip is spoken."""
    with ExitStack() as stack:
        engines: dict[EngineName, Engine] = {}
        for name in dict.fromkeys(names):
            engines[name] = open_engine(name, kokoro_dir=kokoro_dir)
            stack.callback(engines[name].close)
        yield engines


def _expected_sec(share: Share) -> float:
    return min(60 * share.minutes, 2.0 * share.max_clips)


def _told(folder: Path) -> dict[SetName, list[Utterance]]:
    """Return the clips that the manifests in ``folder`` list, if there are any yet."""
    paths = {name: folder / f"{name}.jsonl" for name in SETS}
    return {name: list(read_manifest(path)) for name, path in paths.items() if path.is_file()}


def _look(
    folder: Path, share: Share, seed: int, told: Mapping[SetName, Sequence[Utterance]]
) -> _Progress:
    """Return what ``folder`` holds of ``share``."""
    state = _Progress(share, _texts(share, seed), folder)
    _recall(state, told.get(share.set_name, ()))
    for place, text in enumerate(state.texts):
        if state.fraction >= 1:
            break
        number = state.first_number + place
        found = [
            _utterance(folder, voice, number, text, probe_audio(path).duration_sec)
            for voice in _speakers(share)
            if (path := folder / _clip_file(voice, number, text)).is_file()
        ]
        if found and found[-1].speaker == share.voice.name:
            state.next = place + 1
            state.add(found)
    return state


def _texts(share: Share, seed: int) -> list[str]:
    """Return what the voice of ``share`` may be asked to say, in order."""
    language, own_seed = share.voice.language, zlib.crc32(f"{seed} {share.key}".encode())
    wanted = min(share.max_clips, int(60 * share.minutes / SHORTEST_MEAN_SEC) + 20)
    if share.scattered:
        drawn = scattered_words(language, 2 * wanted, own_seed)
    elif share.set_name == "train":
        drawn = sentences(language, 2 * wanted, own_seed)
    else:
        drawn = unseen_sentences(language, 6 * wanted, own_seed)
    fitting = [text for text in drawn if share.min_chars <= len(text) <= share.max_chars]
    if share.set_name == "unseen_texts":
        judged = JUDGE_SENTENCES[language]
        start = own_seed % len(judged)
        fitting[: wanted // 2] = (*judged[start:], *judged[:start])[: wanted // 2]
    return fitting


def _recall(state: _Progress, told: Iterable[Utterance]) -> None:
    """Put what the voice has said already in its places among the texts of ``state``.

    The grammar may have changed since: what was spoken before it did still counts.
    """
    voice, texts = state.share.voice, state.texts
    for clip in told:
        if (clip.speaker, clip.language) != (voice.name, voice.language):
            continue
        number = int(clip.id.rsplit("-", 2)[1])
        place = number - state.first_number
        if 0 <= place < len(texts) and clip.id == _clip_id(voice, number, clip.text):
            texts[place] = clip.text


def _speak_stage(
    label: str,
    stage: Sequence[_Progress],
    engines: Mapping[EngineName, Engine],
    write: Callable[[], None],
) -> None:
    """Speak until every share is complete, always for the one that has the least."""
    written, shown_sec = time.monotonic(), 0
    left = sum((1 - state.fraction) * _expected_sec(state.share) for state in stage)
    already = sum(state.done_sec for state in stage)
    with progress(label, round(left), unit="s of speech") as advance:
        while (state := min(stage, key=lambda state: state.fraction)).fraction < 1:
            _speak_next(state, engines[state.share.voice.engine])
            done_sec = int(sum(state.done_sec for state in stage) - already)
            advance(done_sec - shown_sec)
            shown_sec = done_sec
            if time.monotonic() - written > WRITE_EVERY_SEC:
                write()
                written = time.monotonic()


def _speak_next(state: _Progress, engine: Engine) -> None:
    """Speak the next text of a share, if its sound has a length that can be used."""
    voice, number = state.share.voice, state.first_number + state.next
    text = state.texts[state.next]
    state.next += 1
    audio, rate = engine.speak(text, voice)
    waves = {v: tidy(play(audio, rate, v.factor)) for v in _speakers(state.share)}
    if not is_usable(waves[voice]):
        return
    clips = []
    for speaker, wave in waves.items():
        if is_usable(wave):
            write_flac(state.folder / _clip_file(speaker, number, text), wave, SAMPLE_RATE)
            seconds = len(wave) / SAMPLE_RATE
            clips.append(_utterance(state.folder, speaker, number, text, seconds))
    state.add(clips)


def _speakers(share: Share) -> list[Voice]:
    """Return the voices of ``share``; the one itself last, as its file says that all are there."""
    voice = share.voice
    others = [
        replace(voice, name=f"{voice.name}_x{100 * factor:03.0f}", factor=factor * voice.factor)
        for factor in share.also
    ]
    return [*others, voice]


def tidy(audio: Waveform) -> Waveform:
    """Return speech ``[T]`` at 22 050 Hz without the silence around it, at the corpus' level."""
    audio = trim_silence(audio)
    rms = float(np.sqrt(np.mean(audio**2))) if len(audio) else 0.0
    if rms == 0:
        return audio
    gain = min(SPEECH_RMS / rms, MAX_PEAK / float(np.abs(audio).max()))
    return audio * np.float32(gain)


def trim_silence(audio: Waveform) -> Waveform:
    """Return ``audio`` ``[T]`` at 22 050 Hz with at most 60 ms of silence at either end."""
    frame = int(FRAME_SEC * SAMPLE_RATE)
    frames = audio[: len(audio) // frame * frame].reshape(-1, frame)  # [F, frame]
    power = np.mean(frames**2, axis=1)
    if not len(power) or not power.max():
        return audio[:0]
    loud = np.flatnonzero(power > power.max() * 10 ** (SILENCE_DB / 10))
    margin = round(MARGIN_SEC * SAMPLE_RATE)
    start = max(0, int(loud[0]) * frame - margin)
    return audio[start : (int(loud[-1]) + 1) * frame + margin]


def is_usable(audio: Waveform) -> bool:
    """Tell whether a clip ``[T]`` at 22 050 Hz is neither too short nor too long."""
    return MIN_CLIP_SEC <= len(audio) / SAMPLE_RATE <= MAX_CLIP_SEC


def _clip_id(voice: Voice, number: int, text: str) -> str:
    digest = hashlib.blake2b(f"{voice.fingerprint()}\n{text}".encode(), digest_size=3).hexdigest()
    return f"{voice.name}-{voice.language}-{number:04d}-{digest}"


def _clip_file(voice: Voice, number: int, text: str) -> Path:
    name = f"{_clip_id(voice, number, text)}.flac"
    return Path(AUDIO_DIR, f"{voice.name}-{voice.language}", name)


def _utterance(folder: Path, voice: Voice, number: int, text: str, seconds: float) -> Utterance:
    return Utterance(
        id=_clip_id(voice, number, text),
        audio=str(_clip_file(voice, number, text)),
        root=folder,
        text=text,
        speaker=voice.name,
        language=voice.language,
        duration_sec=round(seconds, 4),
        extra={"engine": voice.engine},
    )


def _sets(everything: Iterable[_Progress]) -> dict[SetName, list[Utterance]]:
    sets: dict[SetName, list[Utterance]] = {name: [] for name in SETS}
    for state in everything:
        sets[state.share.set_name] += state.spoken
    return sets


def _write_sets(folder: Path, everything: Iterable[_Progress]) -> None:
    for name, clips in _sets(everything).items():
        if clips:
            write_manifest(folder / f"{name}.jsonl", clips)


def minutes_by(clips: Iterable[Utterance]) -> dict[tuple[str, str, str], float]:
    """Return the minutes of ``clips`` for each (engine, language, speaker)."""
    minutes: dict[tuple[str, str, str], float] = defaultdict(float)
    for clip in clips:
        engine = str((clip.extra or {}).get("engine", ""))
        minutes[engine, clip.language, clip.speaker] += clip.duration_sec / 60
    return dict(minutes)
