"""The recipe of nano: every stage in order, from nothing to a base.

Each stage has a folder of its own below that of the run, goes on where it stopped, and is left
alone once it is done. A stage reads what earlier ones left on disk, never a state in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from idiolect.base.errors import ConfigError, did_you_mean
from idiolect.base.guard import check_output
from idiolect.base.hashes import sha256_file, sha256_text
from idiolect.base.log import get_logger
from idiolect.listening.recogniser import WEIGHTS_FILE
from idiolect.models.gpt import UnifiedVoice
from idiolect.models.loading import load_gpt
from idiolect.models.published import BASE_ROLES, SEMANTIC_DIR
from idiolect.models.weight_norm import fold_weight_norm
from idiolect.nano.alignment import align_pieces
from idiolect.nano.clips import Clips, open_clips
from idiolect.nano.codec import CodecConfig, Ear, open_features, train_codec
from idiolect.nano.copies import Copier, copied_features
from idiolect.nano.corpus import make_corpus
from idiolect.nano.corpus_plan import PRESETS as CORPUS_PRESETS
from idiolect.nano.corpus_plan import CorpusPlan
from idiolect.nano.encoder import EncoderConfig, train_encoder
from idiolect.nano.flow import FlowConfig, load_flow, train_flow
from idiolect.nano.flow_data import FlowData, clip_latents, clip_styles, flow_data, keep_ragged
from idiolect.nano.folders import (
    CACHE_DIR_OF_RUN,
    CODEC_DIR,
    CORPUS_DIR,
    ENCODER_DIR,
    FLOW_DIR,
    HEARING_DIR,
    SPEAKER_DIR,
    TRAIN_MANIFEST,
    VOCODER_STAGE_DIR,
    VOICE_DIR,
)
from idiolect.nano.frames import Frames, open_frames
from idiolect.nano.frozen import frozen_codec, frozen_encoder, frozen_speaker
from idiolect.nano.hearing import HearingConfig, train_hearing
from idiolect.nano.mel_ear import MelEar, fit_bands
from idiolect.nano.pack import pack_base
from idiolect.nano.sizes import LANGUAGES, NUM_CODES, VOCAB_SIZE, base_config
from idiolect.nano.sounds import open_sounds
from idiolect.nano.speaker import SpeakerConfig, load_teacher, train_speaker
from idiolect.nano.stage import Pace
from idiolect.nano.unpack import TAKEN, unpack_base
from idiolect.nano.vocoder import VocoderConfig, load_generator, train_vocoder
from idiolect.nano.voice import GPT_FILE, Lessons, VoiceConfig, train_voice
from idiolect.text.tokenizer import Tokenizer
from idiolect.text.train_bpe import TokenizerConfig, train_tokenizer

BASE_DIR = "base"
"""Of a run: the finished base."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How long everything is learnt, and from how much."""

    corpus: Callable[[], CorpusPlan]
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    codec: CodecConfig = field(default_factory=CodecConfig)
    hearing: HearingConfig = field(default_factory=HearingConfig)
    speaker: SpeakerConfig = field(default_factory=SpeakerConfig)
    vocoder: VocoderConfig = field(default_factory=VocoderConfig)
    voice: VoiceConfig = field(default_factory=VoiceConfig)
    flow: FlowConfig = field(
        default_factory=lambda: FlowConfig(pace=Pace(total_steps=7500, learning_rate=1e-3))
    )
    joint_steps: int = 2500
    """Steps that the flow takes with the GPT's states, behind those without."""

    def within(self, minutes: float) -> Recipe:
        """Return the recipe with so much time for a run of each stage that learns.

        Raises:
            ConfigError: That is no time.
        """
        if not minutes > 0:
            raise ConfigError(
                f"a stage cannot learn in {minutes:g} minutes",
                where="--minutes",
                fix="give a number above 0",
            )
        configs = {
            part.name: replace(value, pace=replace(value.pace, minutes=minutes))
            for part in fields(self)
            if hasattr(value := getattr(self, part.name), "pace")
        }
        return replace(self, **configs)


def _fast() -> Recipe:
    """Return the recipe that proves the wiring: some steps of each stage, on minutes of speech."""
    pace = Pace(total_steps=3, learning_rate=1e-3, warmup_steps=1)
    return Recipe(
        corpus=CORPUS_PRESETS["fast"],
        encoder=EncoderConfig(pace=pace),
        codec=CodecConfig(pace=pace),
        hearing=HearingConfig(pace=pace),
        speaker=SpeakerConfig(pace=pace, batch_crops=8),
        vocoder=VocoderConfig(pace=pace, duel_from=2, blur_from=3),
        voice=VoiceConfig(pace=pace),
        flow=FlowConfig(pace=pace),
        joint_steps=2,
    )


RECIPES: Mapping[str, Callable[[], Recipe]] = {
    "full": lambda: Recipe(corpus=CORPUS_PRESETS["full"]),
    "fast": _fast,
}
"""``full`` makes the base that ships; ``fast`` ends in minutes, and its base cannot speak."""


class Run:
    """A run of the recipe in a folder."""

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        *,
        kokoro_dir: Path | None = None,
        teacher: Path | None = None,
        start: Path | None = None,
    ) -> None:
        self.folder = folder
        self.recipe = recipe
        self.kokoro_dir = kokoro_dir
        self.teacher = teacher
        self.start = start
        """A finished base to go on from, instead of from zero."""

    def of(self, stage: str) -> Path:
        """Return the folder of ``stage``."""
        return self.folder / stage

    @property
    def base(self) -> Path:
        """The finished base."""
        return self.of(BASE_DIR)

    @property
    def manifest(self) -> Path:
        """The clips that every stage learns from."""
        return self.of(CORPUS_DIR) / TRAIN_MANIFEST

    @cached_property
    def clips(self) -> Clips:
        """Those clips, decoded."""
        return open_clips(self.manifest, self.of(CACHE_DIR_OF_RUN))

    @cached_property
    def frames(self) -> Frames:
        """What the finished encoder and codec hear in them."""
        encoder = frozen_encoder(self.of(ENCODER_DIR), self.of(CODEC_DIR))
        codec = frozen_codec(self.of(CODEC_DIR))
        sounds = open_sounds(self.manifest, self.of(ENCODER_DIR) / "cache")
        return open_frames(sounds, self.manifest, encoder, codec, self.of(CACHE_DIR_OF_RUN))

    @cached_property
    def flow_data(self) -> FlowData:
        """What the flow learns, without the GPT's states."""
        cache = self.of(CACHE_DIR_OF_RUN)
        speaker = frozen_speaker(self.of(SPEAKER_DIR))
        styles = clip_styles(speaker, self.clips, cache, self.manifest.stem)
        return flow_data(self.clips, self.manifest, self.frames, styles, cache)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the base; trained when it is first asked for."""
        path = self.of(VOICE_DIR) / BASE_ROLES["tokenizer"]
        if not path.exists():
            texts = [(u.text, u.language) for u in self.clips.utterances if u.language in LANGUAGES]
            prefix = path.with_suffix("")
            train_tokenizer(
                texts,
                TokenizerConfig(output_prefix=prefix, vocab_size=VOCAB_SIZE, model_type="unigram"),
            )
        return Tokenizer.load(path)

    @cached_property
    def lessons(self) -> Lessons:
        """What the GPT learns."""
        dims = replace(base_config().gpt, vocab_size=self.tokenizer.vocab_size)
        lessons = Lessons.of(self.clips.utterances, self.frames, self.tokenizer, dims, LANGUAGES)
        return replace(lessons, pieces_said=self._pieces_said(lessons))

    def _pieces_said(self, lessons: Lessons) -> dict[int, NDArray[np.int64]]:
        """Return when the pieces of each text are said, as the encoder's recogniser hears it."""
        heard_by = sha256_file(self.of(ENCODER_DIR) / SEMANTIC_DIR / WEIGHTS_FILE)
        key = sha256_text(f"{sha256_file(self.manifest)} {heard_by} {self.tokenizer.sha256}")
        path = self.of(CACHE_DIR_OF_RUN) / f"{self.manifest.stem}.said"
        kept = keep_ragged(path, key, lambda: self._align(lessons), total=len(lessons.utterances))
        return {
            place: kept[place].astype(np.int64) for place in lessons.text_ids if len(kept[place])
        }

    def _align(self, lessons: Lessons) -> Iterator[NDArray[np.int64]]:
        encoder, codec = self.of(ENCODER_DIR), self.of(CODEC_DIR)
        features = open_features(self.manifest, encoder, codec, self.recipe.codec)
        ear = Ear(encoder / SEMANTIC_DIR, self.recipe.codec.read_layer, features.stats)
        texts = [(u.text, u.language) for u in lessons.utterances]
        found = align_pieces(features, ear, texts, list(lessons.text_ids), self.tokenizer)
        nothing = np.zeros(0, dtype=np.int64)
        return (found.get(place, nothing) for place in range(len(texts)))


def _corpus(run: Run) -> None:
    make_corpus(run.of(CORPUS_DIR), run.recipe.corpus(), kokoro_dir=run.kokoro_dir)


def _vocoder(run: Run) -> None:
    train_vocoder(run.manifest, run.of(VOCODER_STAGE_DIR), run.recipe.vocoder)


def _encoder(run: Run) -> None:
    train_encoder(run.manifest, run.of(ENCODER_DIR), run.recipe.encoder)


def _codec(run: Run) -> None:
    train_codec(run.manifest, run.of(ENCODER_DIR), run.of(CODEC_DIR), run.recipe.codec)


def _speaker(run: Run) -> None:
    teacher = None if run.teacher is None else load_teacher(run.teacher)
    dims = base_config().speaker
    train_speaker(run.clips, dims, run.of(SPEAKER_DIR), run.recipe.speaker, teacher)


def _voice(run: Run) -> None:
    dims = replace(base_config().gpt, vocab_size=run.tokenizer.vocab_size)
    train_voice(run.lessons, dims, run.of(VOICE_DIR), run.recipe.voice)


def _flow(run: Run) -> None:
    _train_flow(run, run.recipe.flow)


def _joint(run: Run) -> None:
    """Go on with the flow, now that the GPT whose states it will be given is there."""
    flow = run.recipe.flow
    longer = replace(flow.pace, total_steps=flow.pace.total_steps + run.recipe.joint_steps)
    gpt = load_gpt(run.of(VOICE_DIR) / GPT_FILE, base_config().gpt)
    _train_flow(run, replace(flow, pace=longer), gpt)


def _train_flow(run: Run, config: FlowConfig, gpt: UnifiedVoice | None = None) -> None:
    data = run.flow_data
    if gpt is not None:
        data = replace(
            data,
            latents=clip_latents(gpt, run.lessons, run.of(CACHE_DIR_OF_RUN), run.manifest.stem),
        )
    table = frozen_codec(run.of(CODEC_DIR)).embed(torch.arange(NUM_CODES)[None])[0]
    sounds = open_sounds(run.manifest, run.of(ENCODER_DIR) / "cache")
    ear = MelEar(run.of(ENCODER_DIR), run.of(CODEC_DIR), fit_bands(data.mels, sounds))
    train_flow(data, table, base_config().s2mel, run.of(FLOW_DIR), config, ear)


def _hearing(run: Run) -> None:
    """Teach the recogniser on, now that nano's own sound can be made."""
    encoder, codec = run.of(ENCODER_DIR), run.of(CODEC_DIR)
    s2mel = load_flow(run.of(FLOW_DIR), base_config().s2mel)
    vocoder = load_generator(run.of(VOCODER_STAGE_DIR))
    for network in (s2mel, vocoder):
        fold_weight_norm(network)
    copier = Copier(
        codec=frozen_codec(codec),
        s2mel=s2mel,
        vocoder=vocoder,
        encoder=frozen_encoder(encoder, codec),
    )
    cache, name = run.of(CACHE_DIR_OF_RUN), run.manifest.stem
    copies = copied_features(copier, run.flow_data, cache, name)
    folder, recipe = run.of(HEARING_DIR), run.recipe
    train_hearing(run.manifest, encoder, codec, folder, recipe.hearing, recipe.codec, copies)


def _base(run: Run) -> None:
    pack_base(run.folder, run.base)


STAGES: Mapping[str, Callable[[Run], None]] = {
    "corpus": _corpus,
    "vocoder": _vocoder,
    "encoder": _encoder,
    "codec": _codec,
    "speaker": _speaker,
    "voice": _voice,
    "flow": _flow,
    "joint": _joint,
    "hearing": _hearing,
    "base": _base,
}
"""Every stage, in order. The vocoder waits for nothing but the corpus, and takes longest."""


def stages_to_do(named: Sequence[str], *, is_started: bool) -> tuple[str, ...]:
    """Return the stages that ``named`` asks for; all when it is empty.

    A run that started from a base leaves what others learnt from as it is, unless it is named.

    Raises:
        ConfigError: There is no such stage.
    """
    for name in named:
        if name not in STAGES:
            raise ConfigError(
                f"no such stage: {name}", where="--stage", fix=did_you_mean(name, STAGES)
            )
    return tuple(named) or tuple(name for name in STAGES if not (is_started and name in TAKEN))


def train_nano(run: Run, stages: Sequence[str] = ()) -> tuple[str, ...]:
    """Do what is left of ``stages``, all of them by default; return their names.

    Raises:
        ConfigError: There is no such stage.
        CheckpointError: The base that the run starts from is not whole.
        GuardError: The folder of the run lies in a base.
        UserError: A speech engine is missing; or whatever a stage raises.
    """
    chosen = stages_to_do(stages, is_started=run.start is not None)
    check_output(run.folder)
    if run.start is not None:
        unpack_base(run.start, run.folder)
    for name in chosen:
        get_logger().info("== %s", name)
        STAGES[name](run)
    return chosen
