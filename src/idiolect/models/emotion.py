"""Emotions by name: eight weights, from sliders or from a text, to one emotion vector.

The base ships two matrices with the same rows: styles of speakers, and the emotion vectors that
belong to them. The rows stand in eight groups, one for each of :data:`EMOTIONS`. Of each group
the row whose style is nearest to the voice is taken, and the eight are mixed by weight.

Letters: R rows of the matrices, S width of a style, D width of an emotion vector.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from idiolect.base.errors import CheckpointError, SynthesisError

EMOTIONS: Final = (
    "happy", "angry", "sad", "afraid", "disgusted", "melancholic", "surprised", "calm",
)  # fmt: skip
"""The order of the weights everywhere."""
SLIDER_BIAS: Final = (0.9375, 0.875, 1.0, 1.0, 0.9375, 0.9375, 0.6875, 0.5625)
"""How far each slider of the page reaches: emotions that overwhelm the voice reach less far."""
MAX_SLIDER_SUM: Final = 0.8
"""More than this in all leaves too little of the voice's own emotion."""
STRENGTH_STEPS: Final = 10_000
"""Scaled weights are cut to so many steps: four decimals."""

READER_LABELS: Final = dict(
    zip(("高兴", "愤怒", "悲伤", "恐惧", "反感", "低落", "惊讶", "自然"), EMOTIONS, strict=True)
)
"""The words of the Qwen reader."""
LABEL_KEYS: Final = ("emotion", "emotion_label", "label", "情感", "情绪")
"""Keys under which the reader may name one emotion instead of weighing all."""
MAX_WEIGHT: Final = 1.2
READER_SYSTEM_PROMPT: Final = "文本情感分类"
END_OF_THOUGHT_ID: Final = 151_668
MAX_ANSWER_LEN: Final = 1024
"""Tokens; a whole answer has about a hundred."""
MELANCHOLY_WORDS: Final = (
    "低落", "melancholy", "melancholic", "depression", "depressed", "gloomy",
)  # fmt: skip
"""The reader calls these sad; they are what "melancholic" means."""
SAD, MELANCHOLIC = "悲伤", "低落"
PAIR = re.compile(r"""([^\s"':.,]+?)["']?\s*:\s*([\d.]+)""")
"""A label and its number in an answer that is not quite JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmotionMatrices:
    """The two matrices of a base.

    Raises:
        CheckpointError: The rows do not add up to the groups.
    """

    speaker: Tensor
    """Styles ``[R, S]``."""
    emotion: Tensor
    """Emotion vectors ``[R, D]``."""
    groups: tuple[int, ...]
    """Rows of each emotion, in the order of :data:`EMOTIONS`."""

    def __post_init__(self) -> None:
        rows = (len(self.speaker), len(self.emotion))
        if rows != (sum(self.groups), sum(self.groups)) or len(self.groups) != len(EMOTIONS):
            raise CheckpointError(
                f"emotion matrices of {rows[0]} and {rows[1]} rows do not fit groups {self.groups}",
                fix="take feat1.pt, feat2.pt and config.yaml from one base",
            )

    def to(self, device: torch.device | str) -> EmotionMatrices:
        """Return the matrices on ``device``."""
        return EmotionMatrices(
            speaker=self.speaker.to(device), emotion=self.emotion.to(device), groups=self.groups
        )

    def select(self, style: Tensor, generator: torch.Generator | None = None) -> list[int]:
        """Return which row of each group is taken, counted within the group.

        Args:
            style: Of the voice, ``[1, S]``; the nearest row is taken.
            generator: Takes a row by chance instead.
        """
        if generator is not None:
            device = generator.device
            return [
                int(torch.randint(size, (), generator=generator, device=device))
                for size in self.groups
            ]
        styles = self.speaker.split_with_sizes(list(self.groups))
        return [int(F.cosine_similarity(style, rows).argmax()) for rows in styles]

    def blend(self, rows: Sequence[int], weights: Sequence[float]) -> Tensor:
        """Return the weighted sum ``[1, D]`` of the chosen ``rows``, one of each group."""
        groups = self.emotion.split_with_sizes(list(self.groups))
        chosen = torch.stack([group[row] for group, row in zip(groups, rows, strict=True)])
        return chosen.new_tensor([weights]) @ chosen

    def mix(
        self,
        base: Tensor,
        style: Tensor,
        weights: Sequence[float],
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the emotion ``[1, D]`` of ``weights``, filled up to 1 with ``base`` ``[1, D]``.

        Neither clipped nor normalised: weights of more than 1 in all take away from the base.
        """
        return self.blend(self.select(style, generator), weights) + (1 - sum(weights)) * base


def normalize_weights(weights: Sequence[float], *, apply_bias: bool = True) -> tuple[float, ...]:
    """Return slider positions as weights that leave the voice its own emotion, too.

    The published page does this, and nothing else: weights given to a program are taken as they
    are.
    """
    if apply_bias:
        weights = [weight * bias for weight, bias in zip(weights, SLIDER_BIAS, strict=True)]
    total = sum(weights)
    scale = MAX_SLIDER_SUM / total if total > MAX_SLIDER_SUM else 1.0
    return tuple(weight * scale for weight in weights)


def scale_weights(weights: Sequence[float], strength: float) -> tuple[float, ...]:
    """Return ``weights`` times ``strength`` (0…1), cut to four decimals; at 1 as they are."""
    strength = min(max(strength, 0.0), 1.0)
    if strength == 1.0:
        return tuple(weights)
    return tuple(
        math.trunc(weight * strength * STRENGTH_STEPS) / STRENGTH_STEPS for weight in weights
    )


class EmotionReader:
    """The Qwen model of the base that reads the emotions of a text; loaded only when asked."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model = model
        self._tokenizer = tokenizer

    @classmethod
    def load(cls, folder: Path | None, device: torch.device | str = "cpu") -> EmotionReader:
        """Read the model in ``folder``, half precision on a GPU.

        Raises:
            CheckpointError: There is no such folder, or no model in it.
        """
        if folder is None or not (folder / "config.json").is_file():
            raise CheckpointError(
                "the reader of emotions in text is not there",
                where=str(folder or ""),
                fix="run idiolect download, or give the emotion as eight weights",
            )
        from transformers import AutoModelForCausalLM, AutoTokenizer

        dtype = torch.float16 if torch.device(device).type == "cuda" else torch.float32
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
        return cls(model.to(device).eval(), AutoTokenizer.from_pretrained(folder))

    def weights(self, text: str, *, seed: int = 0) -> tuple[float, ...]:
        """Return the weights of the emotions in ``text``, in the order of :data:`EMOTIONS`.

        Args:
            text: What to read.
            seed: The reader draws its words; same seed, same weights.

        Raises:
            SynthesisError: The answer of the reader is no list of emotions.
        """
        answer = self.answer(text, seed=seed)
        try:
            return tuple(weights_of_answer(answer, text).values())
        except ValueError as error:
            raise SynthesisError(
                f"the reader of emotions gave an answer that is none: {answer[:80]!r}",
                where=f"text {text[:60]!r}",
                fix="give the emotion as eight weights",
            ) from error

    @torch.no_grad()
    def answer(self, text: str, *, seed: int = 0) -> str:
        """Return what the reader says of ``text``, without its thoughts."""
        inputs = self._tokenizer.apply_chat_template(
            [
                {"role": "system", "content": READER_SYSTEM_PROMPT},
                {"role": "user", "content": text},
            ],
            add_generation_prompt=True,
            enable_thinking=False,
            return_tensors="pt",
            return_dict=True,
        ).to(self._model.device)
        # transformers draws from torch's own generators: they are put back as they were.
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            ids = self._model.generate(
                **inputs,
                max_new_tokens=MAX_ANSWER_LEN,
                pad_token_id=self._tokenizer.eos_token_id,
            )[0, inputs["input_ids"].shape[1] :].tolist()
        spoken = self._tokenizer.decode(ids[answer_start(ids) :], skip_special_tokens=True)
        return str(spoken).strip()


def answer_start(ids: Sequence[int]) -> int:
    """Return where the answer begins in the ``ids`` that the reader generated."""
    ends = [index for index, token in enumerate(ids) if token == END_OF_THOUGHT_ID]
    return ends[-1] + 1 if ends else 0


def weights_of_answer(answer: str, text: str) -> dict[str, float]:
    """Return the weight of each of :data:`EMOTIONS` by the reader's ``answer`` to ``text``.

    Raises:
        ValueError: A weight in it is not a number.
    """
    content = parse_answer(answer)
    lowered = text.lower()
    if isinstance(content, dict) and any(word in lowered for word in MELANCHOLY_WORDS):
        swapped = {SAD: content.get(MELANCHOLIC, 0.0), MELANCHOLIC: content.get(SAD, 0.0)}
        if SAD in content or MELANCHOLIC in content:
            content = content | swapped
    return weights_of_content(content)


def parse_answer(answer: str) -> Any:
    """Return ``answer`` as JSON, or else the pairs of label and number that can be found in it."""
    try:
        return json.loads(answer)
    except json.JSONDecodeError:
        return {label: float(number) for label, number in PAIR.findall(answer)}


def weights_of_content(content: Any) -> dict[str, float]:
    """Return the weight of each of :data:`EMOTIONS` by what the reader's answer holds.

    It may hold weights by label, one label alone, or a label where a weight should be. Weights
    are clamped to 0…:data:`MAX_WEIGHT`; calm when nothing is left.

    Raises:
        ValueError: A weight is not a number.
    """
    given = _weights_by_label(content)
    weights = {
        emotion: min(max(_number(given.get(label, 0.0)), 0.0), MAX_WEIGHT)
        for label, emotion in READER_LABELS.items()
    }
    return weights if any(weights.values()) else weights | {"calm": 1.0}


def _weights_by_label(content: Any) -> dict[str, Any]:
    if not isinstance(content, Mapping):
        return _one_label(content)
    if not READER_LABELS.keys() & content.keys():
        named = (_one_label(content[key]) for key in LABEL_KEYS if key in content)
        return next((label for label in named if label), {})
    weights = dict(content)
    for key in READER_LABELS.keys() & content.keys():
        if label := _one_label(content[key]):
            weights |= {key: 0.0} | label
    return weights


def _one_label(name: Any) -> dict[str, float]:
    """Return full weight for the label that ``name`` is, in Chinese or English, or nothing."""
    if not isinstance(name, str):
        return {}
    wanted = name.strip().lower()
    return {label: 1.0 for label, emotion in READER_LABELS.items() if wanted in (label, emotion)}


def _number(value: Any) -> float:
    try:
        return float(value)
    except TypeError as error:
        raise ValueError(f"{value!r} is not a number") from error
