"""What is heard in the codes that the GPT of nano says, without flow and vocoder.

``T`` is code frames of a prompt, ``n`` codes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from idiolect.listening.recogniser import Recogniser, heard_errors
from idiolect.listening.scores import LetterErrors
from idiolect.models.codec import SemanticCodec
from idiolect.models.gpt import UnifiedVoice
from idiolect.nano.codec import Ear, decode
from idiolect.synthesis.sampling import SamplingSettings, generate
from idiolect.text.tokenizer import Tokenizer

BATCH_SENTENCES = 20


class Task(NamedTuple):
    """A sentence to say."""

    text: str
    language: str
    prompt: Tensor  # [T, F] features of a clip


@dataclass(frozen=True, slots=True)
class VoiceReport:
    """Measured on sentences that the GPT was not trained on."""

    cer: dict[str, float]
    """Of the recogniser's upper layers on the codes, by language."""
    unfinished: int
    """Sentences that came to no end."""
    worst: list[tuple[str, str]]
    """What was to be said and what was heard, where they differ most."""

    def as_dict(self) -> dict[str, object]:
        """Return plain values, for a file."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class CodeListener:
    """Reads codes as speech."""

    codec: SemanticCodec
    ear: Ear
    recogniser: Recogniser

    def read(self, codes: Sequence[Tensor]) -> list[str]:
        """Return what is heard in each of ``codes`` ``[n]``."""
        lens = torch.tensor([max(1, len(row)) for row in codes])
        rows = torch.nn.utils.rnn.pad_sequence(
            [row if len(row) else row.new_zeros(1) for row in codes], batch_first=True
        )
        mask = torch.arange(rows.shape[1]) < lens[:, None]
        features = decode(self.codec, self.codec.embed(rows), mask)
        return self.recogniser.spell(self.ear(features, mask), lens)


@torch.inference_mode()
def judge_voice(
    gpt: UnifiedVoice,
    tokenizer: Tokenizer,
    listener: CodeListener,
    tasks: Sequence[Task],
    settings: SamplingSettings,
    seed: int = 0,
) -> VoiceReport:
    """Return what is heard of ``tasks`` when ``gpt`` says them.

    Args:
        gpt: In evaluation mode.
        tokenizer: Of the GPT.
        listener: Of the same encoder and codec that the GPT learnt from.
        tasks: Sentences and prompts.
        settings: How codes are chosen; without beams.
        seed: Of the draws.
    """
    generator = torch.Generator().manual_seed(seed)
    errors: defaultdict[str, list[LetterErrors]] = defaultdict(list)
    unfinished, heard_all = 0, []
    for start in range(0, len(tasks), BATCH_SENTENCES):
        batch = tasks[start : start + BATCH_SENTENCES]
        spoken, is_finished = _say(gpt, tokenizer, batch, settings, generator)
        unfinished += int((~is_finished).sum())
        for task, heard in zip(batch, listener.read(spoken), strict=True):
            error = heard_errors(task.text, heard, task.language)
            errors[task.language].append(error)
            heard_all.append((error.rate, task.text, heard))
    return VoiceReport(
        cer={language: LetterErrors.total(parts).rate for language, parts in errors.items()},
        unfinished=unfinished,
        worst=[(text, heard) for _, text, heard in sorted(heard_all, reverse=True)[:10]],
    )


def _say(
    gpt: UnifiedVoice,
    tokenizer: Tokenizer,
    batch: Sequence[Task],
    settings: SamplingSettings,
    generator: torch.Generator,
) -> tuple[list[Tensor], Tensor]:
    """Return the codes ``[n]`` of each task, and which came to an end."""
    prefix = torch.cat([_prefix(gpt, task.prompt) for task in batch])
    ids = [torch.tensor(tokenizer.encode(task.text, task.language)) for task in batch]
    text_ids = torch.nn.utils.rnn.pad_sequence(
        ids, batch_first=True, padding_value=gpt.dims.stop_text
    )
    found = generate(gpt, prefix, text_ids, settings, generator)
    lens = found.code_lens.tolist()
    rows = zip(found.codes, lens, strict=True)
    return [row[:length] for row, length in rows], found.is_finished


def _prefix(gpt: UnifiedVoice, features: Tensor) -> Tensor:
    """Return the rows ``[1, 34, D]`` that a prompt's ``features`` ``[T, F]`` give."""
    prompt = features[None]
    return gpt.prefix(gpt.speaker_latents(prompt), gpt.emotion_vector(prompt))
