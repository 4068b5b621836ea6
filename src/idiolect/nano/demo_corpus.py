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

import random
import shutil
from collections import defaultdict
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
from idiolect.nano.corpus_plan import PICO_ENGLISH, PICO_SPANISH, kokoro_voices, pico_voices
from idiolect.nano.demo_speech import PROMPT_KEY
from idiolect.nano.engines import (
    ENGINE_LICENCES,
    Engine,
    EngineName,
    Voice,
    open_engine,
    speak_with,
)
from idiolect.nano.texts import JUDGE_SENTENCES, covering_sentences

CORPUS_DIR = SHIPPED_DIR.with_name("catalan")
LANGUAGE = "ca"
RECORDINGS_DIR = "recordings"
TRANSCRIPTS_FILE = "transcripts.txt"
SENTENCES_DIR = "sentences"
SENTENCES_FILE = "sentences.jsonl"
REPLAY_DIR = "base_languages"
REPLAY_FILE = "train.jsonl"

NUM_CLIPS = 200
DRAWN_FOR_ONE = 2
"""Sentences that are drawn for each that is read: the longer ones are. No clip has two, for nano
has learnt to end with a sentence, and a pause is where a small model likes to stay."""
NUM_UNSEEN = 6
NUM_PROBES = 4
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

SPEAKERS = {
    "anna": "ef_dora:ca",
    "bernat": "em_alex:ca",
    "carla": "if_sara:ca",
    "pere": "im_nicola:ca",
}
"""Speaker to the voice of Kokoro. nano knows these voices in Spanish: it has the language alone to
learn, in the few minutes that a demo has."""
PROMPT_SPEAKER = "anna"
PROBE_SPEAKERS = {"en": "us3", "es": "es4"}
"""Of nano's own corpus."""
REPLAYED_PICO = ("us3", "gb2", "es4", "es2")
REPLAYED_KOKORO = ("af_heart:en-us", "bm_george:en-gb", "ef_dora:es", "im_nicola:es")
"""Who reads the clips of the languages of the base, in like shares."""

README = """\
# A small Catalan corpus

{clips} clips of synthetic speech, {duration}, {voices} speakers, made by `make_demo_corpus` in
`src/idiolect/nano/demo_corpus.py`. Nobody recorded it: the speakers are voices of a speech engine,
made for other languages, that read Catalan from phones. They have an accent. The sentences are this
project's own.

| what | engine | licence of the engine |
|---|---|---|
{engines}

The clips are output of these programs and hold no part of them; they are given under this
project's licence (Apache-2.0).
"""


def copy_corpus(folder: Path, corpus: Path = CORPUS_DIR) -> int:
    """Copy the corpus to where the guide keeps recordings, below ``folder``.

    What is there with the same size is kept.

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
    if not (target.is_file() and target.stat().st_size == source.stat().st_size):
        copy_file(source, target)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Clips that one voice reads."""

    voice: Voice
    folder: str
    texts: Sequence[str]
    prefix: str = ""
    """Of the names of the files."""


def make_demo_corpus(folder: Path = CORPUS_DIR, *, kokoro_dir: Path | None = None) -> None:
    """Make the corpus in ``folder``, in place of the one that is there.

    Args:
        folder: To write.
        kokoro_dir: Folder of Kokoro's model; None asks the environment.

    Raises:
        UserError: Kokoro or Pico is not installed.
    """
    check_output(folder)
    engines: dict[EngineName, Engine] = {
        "kokoro": open_engine("kokoro", kokoro_dir=kokoro_dir),
        "pico": open_engine("pico"),
    }
    shutil.rmtree(folder, ignore_errors=True)
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
    for place, voice in enumerate(_catalan_voices()):
        yield _Part(voice=voice, folder=RECORDINGS_DIR, texts=texts[place :: len(SPEAKERS)])


def _sentences() -> Iterator[_Part]:
    for voice in _judged_voices():
        count = NUM_UNSEEN if voice.language == LANGUAGE else NUM_PROBES
        texts = JUDGE_SENTENCES[voice.language][:count]
        yield _Part(voice=voice, folder=SENTENCES_DIR, texts=texts)


def _prompts() -> Iterator[_Part]:
    """Yield one sentence each, that is in no other part."""
    for voice in _judged_voices():
        texts = JUDGE_SENTENCES[voice.language][-1:]
        yield _Part(voice=voice, folder=SENTENCES_DIR, texts=texts, prefix="prompt_")


def _replayed() -> Iterator[_Part]:
    voices = [*_pico(REPLAYED_PICO), *kokoro_voices(REPLAYED_KOKORO)]
    by_language = defaultdict(list)
    for voice in voices:
        by_language[voice.language].append(voice)
    for language, readers in by_language.items():
        texts = covering_sentences(language, NUM_REPLAYED, SEED)
        for place, voice in enumerate(readers):
            yield _Part(voice=voice, folder=REPLAY_DIR, texts=texts[place :: len(readers)])


def _catalan_voices() -> list[Voice]:
    voices = kokoro_voices(SPEAKERS.values())
    return [replace(voice, name=name) for voice, name in zip(voices, SPEAKERS, strict=True)]


def _judged_voices() -> list[Voice]:
    """Return the speaker of each language whose sentences are heard, the new one first."""
    own = next(voice for voice in _catalan_voices() if voice.name == PROMPT_SPEAKER)
    return [own, *_pico(PROBE_SPEAKERS.values())]


def _pico(names: Iterable[str]) -> list[Voice]:
    rows = {**PICO_ENGLISH, **PICO_SPANISH}
    return pico_voices({name: rows[name] for name in names})


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
        "Catalan; some English and Spanish": ENGINE_LICENCES["kokoro"],
        "English and Spanish": ENGINE_LICENCES["pico"],
    }
    rows = [
        f"| {what} | {licence.name} ({licence.package}) | {licence.licence} |"
        for what, licence in used.items()
    ]
    text = README.format(
        clips=len(recordings),
        duration=format_duration(sum(clip.duration_sec for clip in recordings)),
        voices=len(SPEAKERS),
        engines="\n".join(rows),
    )
    write_text(folder / "README.md", text)
