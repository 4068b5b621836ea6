"""The small Catalan corpus that comes with the program: made once, copied by each demo.

=====================  ==================================================================
In the corpus          What it is
=====================  ==================================================================
``recordings/``        what the demo learns from, as a user's own recordings would be
``transcripts.txt``    ``file|speaker|text``
``sentences/``         what is said afterwards: ``sentences.jsonl`` (see
                       :mod:`idiolect.nano.demo_speech`), readings to compare with, prompts
``base_languages/``    ``train.jsonl``: clips of the languages of the base, against forgetting
``README.md``          who made it, how, under which licence
=====================  ==================================================================
"""

from __future__ import annotations

import filecmp
import random
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
import soxr

from idiolect.audio.io import Waveform
from idiolect.base.files import atomic_path, copy_file, write_text
from idiolect.base.guard import check_output
from idiolect.base.places import SHIPPED_DIR
from idiolect.base.progress import track
from idiolect.base.units import SAMPLE_RATE, format_duration
from idiolect.data.manifest import Utterance, write_manifest
from idiolect.nano.corpus import tidy
from idiolect.nano.corpus_plan import PICO_ENGLISH, PICO_SPANISH, pico_voices
from idiolect.nano.demo_speech import PROMPT_KEY
from idiolect.nano.engines import (
    ENGINE_LICENCES,
    Engine,
    EngineName,
    Voice,
    open_engine,
    speak_with,
)
from idiolect.nano.texts import JUDGE_SENTENCES, covering_sentences, unseen_sentences

CORPUS_DIR = SHIPPED_DIR.with_name("catalan")
LANGUAGE = "ca"
RECORDINGS_DIR = "recordings"
TRANSCRIPTS_FILE = "transcripts.txt"
SENTENCES_DIR = "sentences"
SENTENCES_FILE = "sentences.jsonl"
REPLAY_DIR = "base_languages"
REPLAY_FILE = "train.jsonl"

NUM_CLIPS = 200
DRAWN_FOR_ONE = 5
"""Sentences that are drawn for each that is read: the longer ones are. No clip has two, for nano
has learnt to end with a sentence, and a pause is where a small model likes to stay."""
NUM_UNSEEN = 12
UNSEEN_WORDS = (8, 14)
"""As many as the recordings have."""
NUM_PROBES = 8
"""Sentences of each language of the base."""
NUM_REPLAYED = 40
"""Clips of each language of the base."""
SEED = 29
"""Other sentences than nano's own corpus has."""
SUFFIX = ".opus"
OPUS_RATE = 24_000
"""Hz; Opus has no 22 050."""
OPUS_LEVEL = 0.92
"""0 best to 1 smallest: about 25 kbit a second."""

ONA = {"anna": (1.02, 1.0), "bernat": (0.91, 1.07), "carla": (1.1, 0.95), "dolors": (1.2, 0.88)}
"""Speaker to how fast Ona is played, and how fast she speaks: four speakers from one voice."""
PROMPT_SPEAKER = "anna"
PROBE_SPEAKERS = {"en": "us3", "es": "es4"}
"""Of nano's own corpus."""

README = """\
# A small Catalan corpus

{clips} clips of synthetic speech, {duration}, {voices} speakers, made by `make_demo_corpus` in
`src/idiolect/nano/demo_corpus.py`. Nobody recorded it and no person's voice is imitated: the
speakers are one synthetic voice played faster or slower. The sentences are this project's own.

| what | engine | licence of the engine |
|---|---|---|
{engines}

The clips are output of these programs and hold no part of them; they are given under this
project's licence (Apache-2.0).
"""


def copy_corpus(folder: Path, corpus: Path = CORPUS_DIR) -> int:
    """Copy the corpus to where the guide keeps recordings, below ``folder``.

    What is there already is kept.

    Returns:
        How many recordings there are.
    """
    raw = folder / "data/raw"
    _copy_tree(corpus / RECORDINGS_DIR, raw / "catalan_audio")
    _copy(corpus / TRANSCRIPTS_FILE, raw / "catalan_transcripts.txt")
    _copy_tree(corpus / SENTENCES_DIR, folder / "data" / SENTENCES_DIR)
    _copy_tree(corpus / REPLAY_DIR, folder / "data" / REPLAY_DIR)
    return len(list((corpus / RECORDINGS_DIR).glob(f"*{SUFFIX}")))


def _copy_tree(source: Path, target: Path) -> None:
    for file in sorted(path for path in source.rglob("*") if path.is_file()):
        _copy(file, target / file.relative_to(source))


def _copy(source: Path, target: Path) -> None:
    if not (target.is_file() and filecmp.cmp(source, target, shallow=False)):
        copy_file(source, target)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Clips that one voice reads."""

    voice: Voice
    folder: str
    texts: Sequence[str]
    prefix: str = ""
    """Of the names of the files."""


def make_demo_corpus(folder: Path = CORPUS_DIR) -> None:
    """Make the corpus in ``folder``, in place of the one that is there.

    Raises:
        UserError: Festival with Ona, or Pico, is not installed.
    """
    check_output(folder)
    shutil.rmtree(folder, ignore_errors=True)
    engines: dict[EngineName, Engine] = {name: open_engine(name) for name in ("festival", "pico")}
    recordings = _read(_recordings(), folder, engines)
    transcript = (f"{Path(c.audio).name}|{c.speaker}|{c.text}" for c in recordings)
    write_text(folder / TRANSCRIPTS_FILE, "\n".join(transcript) + "\n")
    readings = _read(_sentences(), folder, engines)
    prompts = {clip.language: clip for clip in _read(_prompts(), folder, engines)}
    write_manifest(
        folder / SENTENCES_DIR / SENTENCES_FILE,
        [replace(c, extra={PROMPT_KEY: prompts[c.language].audio}) for c in readings],
    )
    write_manifest(folder / REPLAY_DIR / REPLAY_FILE, _read(_replayed(), folder, engines))
    _write_readme(folder, recordings)


def _recordings() -> Iterator[_Part]:
    drawn = covering_sentences(LANGUAGE, DRAWN_FOR_ONE * NUM_CLIPS, SEED)
    texts = sorted(drawn, key=len)[-NUM_CLIPS:]
    random.Random(SEED).shuffle(texts)  # noqa: S311 -- sentences, not secrets
    for place, voice in enumerate(_ona_voices()):
        yield _Part(voice=voice, folder=RECORDINGS_DIR, texts=texts[place :: len(ONA)])


def _sentences() -> Iterator[_Part]:
    prompt = next(voice for voice in _ona_voices() if voice.name == PROMPT_SPEAKER)
    yield _Part(voice=prompt, folder=SENTENCES_DIR, texts=_unseen_texts())
    for voice in _pico_voices():
        texts = JUDGE_SENTENCES[voice.language][:NUM_PROBES]
        yield _Part(voice=voice, folder=SENTENCES_DIR, texts=texts)


def _unseen_texts() -> list[str]:
    """Return sentences of the kind that the demo learns from, as recordings held out would be."""
    least, most = UNSEEN_WORDS
    drawn = unseen_sentences(LANGUAGE, 10 * NUM_UNSEEN, SEED)
    return [text for text in drawn if least <= len(text.split()) <= most][:NUM_UNSEEN]


def _prompts() -> Iterator[_Part]:
    """Yield one sentence each, that is in no other part."""
    ona = [voice for voice in _ona_voices() if voice.name == PROMPT_SPEAKER]
    for voice in (*ona, *_pico_voices()):
        texts = JUDGE_SENTENCES[voice.language][-1:]
        yield _Part(voice=voice, folder=SENTENCES_DIR, texts=texts, prefix="prompt_")


def _replayed() -> Iterator[_Part]:
    for voice in _pico_voices():
        texts = covering_sentences(voice.language, NUM_REPLAYED, SEED)
        yield _Part(voice=voice, folder=REPLAY_DIR, texts=texts)


def _ona_voices() -> list[Voice]:
    return [
        Voice(
            name=name,
            language=LANGUAGE,
            engine="festival",
            engine_voice="ona",
            factor=factor,
            speed=speed,
        )
        for name, (factor, speed) in ONA.items()
    ]


def _pico_voices() -> list[Voice]:
    rows = {**PICO_ENGLISH, **PICO_SPANISH}
    return pico_voices({name: rows[name] for name in PROBE_SPEAKERS.values()})


def _read(
    parts: Iterable[_Part], folder: Path, engines: dict[EngineName, Engine]
) -> list[Utterance]:
    """Write every text of ``parts`` as a clip; return them as lines of a manifest."""
    turns = [(part, text) for part in parts for text in part.texts]
    clips = []
    for number, (part, text) in enumerate(track(turns, "speaking", unit="clips"), start=1):
        wave = tidy(speak_with(engines[part.voice.engine], text, part.voice))
        name = f"{part.prefix}{part.voice.name}_{number:03d}{SUFFIX}"
        write_opus(folder / part.folder / name, wave)
        clips.append(
            Utterance(
                id=Path(name).stem,
                audio=name,
                root=folder / part.folder,
                text=text,
                speaker=part.voice.name,
                language=part.voice.language,
                duration_sec=round(len(wave) / SAMPLE_RATE, 3),
            )
        )
    return clips


def write_opus(path: Path, wave: Waveform) -> None:
    """Write ``wave`` ``[T]`` at 22 050 Hz as Ogg Opus, whole or not at all."""
    resampled = soxr.resample(wave, SAMPLE_RATE, OPUS_RATE)
    with atomic_path(path) as partial:
        soundfile.write(
            str(partial),
            np.clip(resampled, -1.0, 1.0),
            OPUS_RATE,
            format="OGG",
            subtype="OPUS",
            compression_level=OPUS_LEVEL,
        )


def _write_readme(folder: Path, recordings: Sequence[Utterance]) -> None:
    used = {
        "recordings, Catalan sentences": ENGINE_LICENCES["festival"],
        "English and Spanish sentences": ENGINE_LICENCES["pico"],
    }
    rows = [
        f"| {what} | {licence.name} ({licence.package}) | {licence.licence} |"
        for what, licence in used.items()
    ]
    text = README.format(
        clips=len(recordings),
        duration=format_duration(sum(clip.duration_sec for clip in recordings)),
        voices=len(ONA),
        engines="\n".join(rows),
    )
    write_text(folder / "README.md", text)
