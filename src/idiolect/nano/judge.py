"""Judges nano: is what it says understood, and by others than ourselves; whose voice is it in.

========  ==================================================================================
Test      What is asked
========  ==================================================================================
copy      A clip of a voice that no training heard, made again from its codes in its own
          voice: nano's recogniser gets at most 8 % of the letters wrong.
speech    Sentences and voices that no training heard: at most 15 % by nano's recogniser; by
          one of other authors at most 15 points more than of the engines' own speech.
voice     What is said is nearer to its prompt than to nine other voices, for 80 % of prompts,
          by nano's speaker encoder and by the published one.
========  ==================================================================================

Measures are defined in :mod:`idiolect.listening.scores`. Recognisers of other authors come from
:mod:`idiolect.listening.listeners`; nano's own is :mod:`idiolect.nano.recogniser`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from idiolect.audio.fbank import speaker_fbank
from idiolect.audio.io import read_audio, write_wav
from idiolect.base.errors import DataError, SynthesisError
from idiolect.base.log import get_logger
from idiolect.base.progress import track
from idiolect.base.units import SAMPLE_RATE, code_frames_to_mel_frames
from idiolect.data.manifest import Utterance, read_manifest
from idiolect.listening.listeners import (
    Listener,
    OwnListener,
    errors_of,
    knowing,
    read_16k,
)
from idiolect.listening.scores import cosine, mel_cepstral_distortion
from idiolect.models.speaker import CampPlus
from idiolect.nano.verdict import Verdict

if TYPE_CHECKING:
    from idiolect.synthesis.pipeline import IndexTTS2
    from idiolect.synthesis.stack import FrozenStack

LANGUAGES = ("en", "es")
HELD_OUT_VOICES = "heldout_voices.jsonl"
UNSEEN_TEXTS = "unseen_texts.jsonl"
VERDICT_FILE = "verdict.json"
SEED = 1

MOST_COPY_ERRORS = 0.08
MOST_SPEECH_ERRORS = 0.15
MOST_POINTS_ABOVE_ENGINES = 0.15
LEAST_NEAREST = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeConfig:
    """How much is heard."""

    copies: int = 10
    """Clips of each language that are made again."""
    sentences: int = 16
    """Sentences of each language that are spoken."""
    voices: int = 10
    """Prompts that an output is compared with: its own, and the others."""
    per_voice: int = 2
    """Sentences in each of these voices."""
    seed: int = SEED


class VoicePrint(Protocol):
    """Tells voices apart."""

    name: str

    def embed(self, audio: Tensor) -> Tensor:
        """Return the embedding ``[D]`` of ``audio`` ``[N]`` at 16 kHz."""
        ...


class OwnVoicePrint:
    """nano's own speaker encoder."""

    name = "nano's CAMPPlus"

    def __init__(self, network: CampPlus) -> None:
        self._network = network

    @torch.inference_mode()
    def embed(self, audio: Tensor) -> Tensor:
        """Return the embedding ``[D]`` of ``audio`` ``[N]`` at 16 kHz."""
        return self._network(speaker_fbank(audio)[None])[0]  # type: ignore[no-any-return]


def judge_base(
    base: Path,
    corpus: Path,
    folder: Path,
    *,
    listeners: Sequence[Listener] = (),
    real_voices: VoicePrint | None = None,
    config: JudgeConfig | None = None,
) -> Verdict:
    """Put a base to the tests of copy, speech and voice.

    Args:
        base: Folder of a nano base.
        corpus: Folder of the corpus: clips of unheard voices, and unheard sentences.
        folder: Gains every sound that was judged, and ``verdict.json``.
        listeners: Recognisers of other authors.
        real_voices: The published speaker encoder.
        config: How much is heard.

    Raises:
        CheckpointError: The base is not whole, or has no recogniser.
        DataError: The corpus lacks clips.
    """
    from idiolect.synthesis.pipeline import IndexTTS2  # networks: not to read a verdict

    tts = IndexTTS2(base / "config.yaml", base, models_dir=folder / "no-models")
    hearing = _Hearing(
        tts=tts,
        folder=folder,
        listeners=[OwnListener(tts.files.semantic_dir), *listeners],
        config=config or JudgeConfig(),
        verdict=Verdict(),
    )
    held_out = list(read_manifest(corpus / HELD_OUT_VOICES))
    unseen = list(read_manifest(corpus / UNSEEN_TEXTS))
    for language in LANGUAGES:
        hearing.judge_copies(language, held_out)
        hearing.judge_speech(language, held_out, unseen)
    prints = [OwnVoicePrint(tts.stack.speaker), real_voices]
    hearing.judge_voices([*held_out, *unseen], [p for p in prints if p is not None])
    hearing.verdict.write(folder / VERDICT_FILE)
    return hearing.verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hearing:
    """The base that is judged, who judges it, and what was found so far."""

    tts: IndexTTS2
    folder: Path
    listeners: Sequence[Listener]
    """The first is nano's own."""
    config: JudgeConfig
    verdict: Verdict

    def judge_copies(self, language: str, clips: Sequence[Utterance]) -> None:
        """Make clips of unheard voices again, and hear what is left of them."""
        pairs = list(islice(_with_prompts(_of(language, clips)), self.config.copies))
        copies, distortions = [], []
        for clip, prompt in track(pairs, f"copying {language}", unit="clips"):
            output = self.folder / "copy" / f"{clip.id}.wav"
            wave = copy_clip(
                self.tts.stack, clip.audio_path, prompt.audio_path, seed=self.config.seed
            )
            write_wav(output, wave.clamp(-1, 1).numpy(), SAMPLE_RATE)
            original, _ = read_audio(clip.audio_path, SAMPLE_RATE)
            distortions.append(mel_cepstral_distortion(torch.from_numpy(original), wave))
            copies.append((output, clip))
        heard = self._hear(language, copies)
        self.verdict.details[f"copy {language}"] = {
            "clips": len(copies),
            "mcd_db": fmean(distortions),
            "letters wrong": heard,
        }
        own = self.listeners[0].name
        self.verdict.find(
            "copy", f"{language}: letters wrong", own, heard[own]["nano"], MOST_COPY_ERRORS
        )

    def judge_speech(
        self, language: str, held_out: Sequence[Utterance], unseen: Sequence[Utterance]
    ) -> None:
        """Speak unheard sentences in unheard voices, and hear what is understood."""
        texts = _different_texts(_of(language, unseen))[: self.config.sentences]
        turns = list(zip(texts, cycle(in_turn(_of(language, held_out))), strict=False))
        said = []
        for text, prompt in track(turns, f"speaking {language}", unit="sentences"):
            said.append((self._say(prompt, text, "speech"), text))
        heard = self._hear(language, said)
        self.verdict.details[f"speech {language}"] = {
            "sentences": len(said),
            "letters wrong": heard,
        }
        for place, (judge, rates) in enumerate(heard.items()):
            measure, value, limit = "letters wrong", rates["nano"], MOST_SPEECH_ERRORS
            if place:
                measure, limit = "above the engines", MOST_POINTS_ABOVE_ENGINES
                value -= rates["engines"]
            self.verdict.find("speech", f"{language}: {measure}", judge, value, limit)

    def judge_voices(self, clips: Sequence[Utterance], prints: Sequence[VoicePrint]) -> None:
        """Speak in several voices, and compare each output with all their prompts.

        Raises:
            DataError: There are too few voices.
        """
        wanted, count = self.config.voices, self.config.per_voice
        own = by_voice(clip for clip in clips if clip.language in LANGUAGES)
        voices = [found for found in own.values() if len(found) > count][:wanted]
        if len(voices) < wanted:
            raise DataError(f"the corpus has {len(voices)} voices to compare, not {wanted}")
        turns = [(place, text) for place in range(wanted) for text in voices[place][1 : 1 + count]]
        outputs = []
        for place, text in track(turns, f"speaking in {wanted} voices", unit="sentences"):
            output = self._say(voices[place][0], text, "voice")
            outputs += [(place, output)] if output.is_file() else []
        for voice_print in prints:
            self._compare(voice_print, [found[0] for found in voices], outputs)

    def _compare(
        self,
        voice_print: VoicePrint,
        prompts: Sequence[Utterance],
        outputs: Sequence[tuple[int, Path]],
    ) -> None:
        """Find the share of ``outputs`` (place of the prompt, sound) nearest to their own."""
        sounds = [sound for _, sound in outputs]
        table = likeness(voice_print, [clip.audio_path for clip in prompts], sounds)
        own = torch.tensor([place for place, _ in outputs])
        nearest = float((table.argmax(dim=1) == own).float().mean())
        measure = "nearest to its own prompt"
        self.verdict.find("voice", measure, voice_print.name, nearest, LEAST_NEAREST, at_least=True)
        self.verdict.details[f"voice {voice_print.name}"] = {
            "prompts": [clip.speaker for clip in prompts],
            "own": table.gather(1, own[:, None]).mean().item(),
            "cosines": [[round(value, 3) for value in row] for row in table.tolist()],
        }

    def _say(self, prompt: Utterance, text: Utterance, test: str) -> Path:
        """Write ``text`` in the voice of ``prompt``; leave no file when the model says nothing."""
        output = self.folder / test / f"{text.id}.wav"
        try:
            self.tts.infer(
                prompt.audio_path,
                text.text,
                output,
                language=text.language,
                seed=self.config.seed,
            )
        except SynthesisError as error:
            output.unlink(missing_ok=True)
            get_logger().warning("%s: %s", text.id, error.problem)
        return output

    def _hear(
        self, language: str, said: Sequence[tuple[Path, Utterance]]
    ) -> dict[str, dict[str, float]]:
        """Return by judge the letters wrong in sounds, and in the engines' own of these texts."""
        engines = [(clip.audio_path, clip) for _, clip in said]
        return {
            listener.name: {
                "nano": errors_of(listener, said).rate,
                "engines": errors_of(listener, engines).rate,
            }
            for listener in track(knowing(self.listeners, language), "listening", unit="judges")
        }


@torch.inference_mode()
def copy_clip(stack: FrozenStack, sound: Path, prompt: Path, *, seed: int) -> Tensor:
    """Return the codes of ``sound`` made into sound again in the voice of ``prompt``, ``[N]``.

    No GPT takes part: it is what codes, s2mel and vocoder can do at best.
    """
    features, _ = stack.semantic([torch.from_numpy(read_16k(sound))])
    codes, _ = stack.codec.quantize(features)
    voice = stack.prompt(prompt)
    length = code_frames_to_mel_frames(codes.shape[1])
    condition = stack.s2mel.regulate(stack.codec.embed(codes), length)
    mel = stack.s2mel.sample(
        torch.cat([voice.condition, condition], dim=1),
        voice.mel,
        voice.style,
        generator=torch.Generator().manual_seed(seed),
    )
    wave: Tensor = stack.vocoder(mel[..., voice.mel.shape[-1] :])
    return wave[0, 0]


def likeness(voice_print: VoicePrint, prompts: Sequence[Path], outputs: Sequence[Path]) -> Tensor:
    """Return the cosine of each output with each prompt, ``[outputs, prompts]``."""
    known = [voice_print.embed(torch.from_numpy(read_16k(path))) for path in prompts]
    found = [voice_print.embed(torch.from_numpy(read_16k(path))) for path in outputs]
    return torch.tensor([[cosine(one, other) for other in known] for one in found])


def _of(language: str, clips: Iterable[Utterance]) -> list[Utterance]:
    """Return the clips of ``language``.

    Raises:
        DataError: There is none.
    """
    found = [clip for clip in clips if clip.language == language]
    if not found:
        raise DataError(f"the corpus has no clip of {language} to judge by")
    return found


def _with_prompts(clips: Sequence[Utterance]) -> Iterator[tuple[Utterance, Utterance]]:
    """Yield the clips, their voices in turn, each with another clip of its voice."""
    own = by_voice(clips)
    for clip in in_turn(clips):
        others = [other for other in own[clip.speaker] if other.text != clip.text]
        if others:
            yield clip, others[0]


def by_voice(clips: Iterable[Utterance]) -> dict[str, list[Utterance]]:
    """Return the clips of each speaker, in order."""
    found: dict[str, list[Utterance]] = defaultdict(list)
    for clip in clips:
        found[clip.speaker].append(clip)
    return found


def in_turn(clips: Iterable[Utterance]) -> list[Utterance]:
    """Return the clips with their voices in turn."""
    rows = list(by_voice(clips).values())
    longest = max(map(len, rows), default=0)
    return [row[place] for place in range(longest) for row in rows if place < len(row)]


def _different_texts(clips: Iterable[Utterance]) -> list[Utterance]:
    """Return one clip for each text, voices in turn."""
    return list({clip.text: clip for clip in reversed(in_turn(clips))}.values())[::-1]
