"""The GPT of nano, from zero: text and a prompt to codes, through the trainer's own loss and step.

Fine-tuning reads the outputs of the conditioners from a store, for they are frozen. Here they
learn, too: each batch carries the prompts' features, and their latents are computed in the step.

``B`` is samples of a batch, ``T`` code frames of a prompt, ``F`` features of a frame.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.nn.utils.rnn import pad_sequence

from idiolect.base.errors import DataError
from idiolect.base.units import CODE_RATE_HZ
from idiolect.data.batches import GptBatch, GptSample, make_batch
from idiolect.data.manifest import Utterance
from idiolect.models.checkpoint import load_checkpoint, load_weights, save_checkpoint
from idiolect.models.config import NUM_LATENTS, GptDims
from idiolect.models.gpt import PREFIX_ROWS, UnifiedVoice
from idiolect.nano.frames import Frames
from idiolect.nano.gpt_swift import speed_up
from idiolect.nano.guide import Guide, GuideConfig
from idiolect.nano.stage import (
    Ahead,
    Pace,
    Part,
    Scores,
    averaged_weights,
    device_at_hand,
    halved,
    run_stage,
    running_average,
    step_generator,
    weights_to_begin_with,
)
from idiolect.text.tokenizer import Tokenizer
from idiolect.training.loss import (
    LossWeights,
    count_labels,
    loss_sums,
    mean_loss,
    with_noisy_codes,
)
from idiolect.training.optimizer import make_optimizer

GPT_FILE = "gpt.pth"
AVERAGE_DECAY = 0.998
POOL_BATCHES = 30
"""Clips of so many batches are sorted by length together: little padding, and still chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceConfig:
    """How the GPT learns."""

    pace: Pace = field(default_factory=lambda: Pace(total_steps=3100, learning_rate=1.5e-3))
    batch_rows: int = 5000
    """Rows of a batch: prefix, text and codes, padding included."""
    prompt_sec: tuple[float, float] = (1.0, 3.0)
    """Shortest and longest piece of a prompt that is heard."""
    first_clip_sec: float = 2.2
    """Longest clip at the beginning: sound is found for letters in short clips first."""
    short_steps: int = 500
    """Steps over which the longest clip grows to any length."""
    dropout: float = 0.0
    code_noise: float = 0.1
    """Share of the codes that are replaced where they are read, not where they are learnt."""
    weight_decay: float = 0.01
    grad_clip: float = 1.0
    weights: LossWeights = field(default_factory=lambda: LossWeights(text=0.1, codes=0.9))
    guide: GuideConfig = field(default_factory=GuideConfig)


@dataclass(frozen=True, slots=True)
class Lessons:
    """Clips as the GPT learns them."""

    utterances: Sequence[Utterance]
    frames: Frames
    text_ids: dict[int, NDArray[np.int64]]
    """By place of the clip; clips without any are prompts only."""
    by_speaker: dict[str, list[int]]
    pieces_said: Mapping[int, NDArray[np.int64]] = field(default_factory=dict)
    """By place of the clip: the piece of the text at each code, as far as it is known."""

    def said(self, place: int) -> NDArray[np.int64]:
        """Return the piece of the text at each code of a clip and at its stop, ``[T + 1]``.

        Where nobody listened, the pieces are taken to be equally long.
        """
        count, num_frames = len(self.text_ids[place]), self.frames.num_frames(place)
        heard = self.pieces_said.get(place)
        if heard is None:
            heard = np.arange(num_frames) * count // max(1, num_frames)
        return np.append(heard, count)

    @classmethod
    def of(
        cls,
        utterances: Sequence[Utterance],
        frames: Frames,
        tokenizer: Tokenizer,
        dims: GptDims,
        languages: Sequence[str],
    ) -> Lessons:
        """Encode the texts in ``languages``; leave out what the model has no room for."""
        by_speaker: defaultdict[str, list[int]] = defaultdict(list)
        text_ids = {}
        for place, utterance in enumerate(utterances):
            if utterance.language not in languages:
                continue
            by_speaker[utterance.speaker].append(place)
            ids = tokenizer.encode(utterance.text, utterance.language)
            fits = len(ids) <= dims.max_text_len and frames.num_frames(place) <= dims.max_code_len
            if ids and fits:
                text_ids[place] = np.asarray(ids, dtype=np.int64)
        if not text_ids:
            raise DataError(f"no clip in {' or '.join(languages)} to learn from")
        return cls(utterances, frames, text_ids, dict(by_speaker))


class Lesson(NamedTuple):
    """A target and the prompt that it is spoken after."""

    target: int
    prompt: int


def train_voice(lessons: Lessons, dims: GptDims, folder: Path, config: VoiceConfig) -> None:
    """Train the GPT, or go on; ``folder`` gains ``gpt.pth``, the average of its last steps.

    Raises:
        TrainingError: The loss is not finite.
    """
    torch.manual_seed(config.pace.seed)
    gpt = UnifiedVoice(dims, dropout=config.dropout).train()
    if begun := weights_to_begin_with(folder, GPT_FILE):
        load_weights(gpt, load_checkpoint(begun)[0], where=begun)
    device = device_at_hand()
    average = running_average(gpt.to(device), AVERAGE_DECAY)
    if device.type == "cpu":
        speed_up(gpt)
    optimizer = make_optimizer(gpt, weight_decay=config.weight_decay, device=device)
    schedule, guide = _Schedule(lessons, config), Guide(gpt, config.guide)

    def lay_out(number: int) -> LaidOut:
        generator = step_generator(config.pace.seed, number)
        return LaidOut.of(schedule.batch_of(number), lessons, gpt.dims, config, generator)

    laid_out_ahead = Ahead(lay_out, device)

    def step(number: int) -> Scores:
        laid_out = laid_out_ahead.of_step(number)
        torch.manual_seed(step_generator(config.pace.seed, number).initial_seed())
        noisy = with_noisy_codes(laid_out.targets, config.code_noise, gpt.dims.start_code)
        laid_out = laid_out._replace(targets=noisy)
        scores = learn(gpt, laid_out, config.weights, guide, config.guide.weight_at(number))
        clip_grad_norm_(gpt.parameters(), config.grad_clip)
        optimizer.step()
        optimizer.zero_grad()
        average.update_parameters(gpt)
        return scores

    parts: dict[str, Part] = {"gpt": gpt, "average": average, "optimizer": optimizer}
    run_stage("voice", folder, parts, step, config.pace)
    export_voice(folder)


def export_voice(folder: Path) -> None:
    """Write ``gpt.pth`` of the state that is kept in ``folder``, also of a run that goes on."""
    save_checkpoint(folder / GPT_FILE, averaged_weights(folder, "average"))


class LaidOut(NamedTuple):
    """A batch as the GPT reads it, on the CPU."""

    targets: GptBatch
    prompts: Tensor
    """Random pieces of their features, ``[B, T, F]``."""
    prompt_lens: Tensor
    said: Tensor
    """The piece of its text at each code of all targets, ``[N]``."""

    @classmethod
    def of(
        cls,
        batch: Sequence[Lesson],
        lessons: Lessons,
        dims: GptDims,
        config: VoiceConfig,
        generator: torch.Generator,
    ) -> LaidOut:
        """Lay out ``batch``; ``generator`` chooses the pieces of the prompts."""
        said = np.concatenate([lessons.said(lesson.target) for lesson in batch])
        return cls(
            make_batch([_sample(lesson, lessons, dims) for lesson in batch], dims),
            *_prompts(batch, lessons, config, generator),
            torch.from_numpy(said),
        )


def learn(
    gpt: UnifiedVoice, batch: LaidOut, weights: LossWeights, guide: Guide, guide_weight: float
) -> Scores:
    """Add the gradient of ``batch`` to ``gpt``; return the losses of a token, in nats."""
    device = next(gpt.parameters()).device
    counts = count_labels([batch.targets])
    targets = batch.targets.to(device)
    features, lens = batch.prompts.to(device), batch.prompt_lens.to(device)
    with halved(device):
        latents = gpt.speaker_latents(features, lens)
        emotion = gpt.emotion_vector(features, lens)
        sums = loss_sums(gpt, replace(targets, latents=latents, emotion=emotion))
        astray = guide.loss(targets, batch.said.to(device)) if guide_weight else torch.zeros(())
    loss = mean_loss(sums.text, sums.codes, counts, weights) + guide_weight * astray
    loss.backward()  # type: ignore[no-untyped-call]  # untyped in torch
    return {
        "astray": float(astray.detach()),
        "codes": float(sums.codes.detach()) / counts.codes,
        "text": float(sums.text.detach()) / counts.text,
        "right": float(sums.correct) / counts.codes,
    }


def _sample(lesson: Lesson, lessons: Lessons, dims: GptDims) -> GptSample:
    """Return the sample without what its prompt gives: that is computed in the step."""
    return GptSample(
        text_ids=lessons.text_ids[lesson.target],
        codes=lessons.frames.codes(lesson.target),
        latents=np.zeros((NUM_LATENTS, dims.dim), dtype=np.float32),
        emotion=np.zeros(dims.dim, dtype=np.float32),
    )


def _prompts(
    batch: Sequence[Lesson], lessons: Lessons, config: VoiceConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return a random piece of each prompt's features ``[B, T, F]``, and their lengths ``[B]``."""
    pieces = []
    for lesson in batch:
        features = lessons.frames.features(lesson.prompt)
        low, high = config.prompt_sec
        share = float(torch.rand((), generator=generator))
        wanted = round((low + share * (high - low)) * CODE_RATE_HZ)
        latest = max(1, len(features) - wanted + 1)
        start = int(torch.randint(latest, (), generator=generator))
        pieces.append(features[start : start + wanted])
    lens = torch.tensor([len(piece) for piece in pieces])
    return pad_sequence(pieces, batch_first=True), lens


class _Schedule:
    """The batch of each step: a pure function of the seed and its number."""

    def __init__(self, lessons: Lessons, config: VoiceConfig) -> None:
        self._lessons = lessons
        self._config = config
        self._batches = self._all()
        self._next = 1

    def batch_of(self, step: int) -> list[Lesson]:
        """Return the batch of ``step``; steps are asked for in order."""
        batch: list[Lesson] = []
        while self._next <= step:
            batch = next(self._batches)
            self._next += 1
        return batch

    def _all(self) -> Iterator[list[Lesson]]:
        epoch, given = 0, 0
        while True:
            longest = self._longest_frames(given)
            rng = np.random.default_rng([self._config.pace.seed, epoch])
            for batch in self._epoch(rng, longest):
                yield batch
                given += 1
                if longest < self._longest_frames(given):
                    break  # longer clips are due: draw anew
            epoch += 1

    def _longest_frames(self, given: int) -> int:
        """Return how long a clip may be; grows in five jumps."""
        config, most = self._config, 10**6
        if given >= config.short_steps:
            return most
        part = int(5 * given / max(1, config.short_steps)) / 5
        return round(config.first_clip_sec * (1 + 2 * part) * CODE_RATE_HZ)

    def _epoch(self, rng: np.random.Generator, longest: int) -> Iterator[list[Lesson]]:
        frames = self._lessons.frames
        targets = [i for i in self._lessons.text_ids if frames.num_frames(i) <= longest]
        order = rng.permutation(targets or list(self._lessons.text_ids)).tolist()
        mean = float(np.mean([self._num_rows(i) for i in order]))
        pool_size = max(1, round(POOL_BATCHES * self._config.batch_rows / mean))
        for start in range(0, len(order), pool_size):
            pool = sorted(order[start : start + pool_size], key=self._num_rows)
            batches = list(self._cut(pool))
            for place in rng.permutation(len(batches)).tolist():
                yield [Lesson(target, self._prompt_of(target, rng)) for target in batches[place]]

    def _cut(self, pool: Sequence[int]) -> Iterator[list[int]]:
        """Yield neighbours that, padded to the longest, fill a batch."""
        batch: list[int] = []
        for target in pool:
            if batch and (len(batch) + 1) * self._num_rows(target) > self._config.batch_rows:
                yield batch
                batch = []
            batch.append(target)
        if batch:
            yield batch

    def _num_rows(self, target: int) -> int:
        lessons = self._lessons
        return PREFIX_ROWS + len(lessons.text_ids[target]) + lessons.frames.num_frames(target)

    def _prompt_of(self, target: int, rng: np.random.Generator) -> int:
        """Return another clip of the speaker; the clip itself when there is none."""
        clips = self._lessons.by_speaker[self._lessons.utterances[target].speaker]
        chosen = clips[int(rng.integers(len(clips)))]
        if chosen == target and len(clips) > 1:
            chosen = clips[(clips.index(target) + 1) % len(clips)]
        return chosen
