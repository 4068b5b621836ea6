"""Values that go together: for the memory of a card, and for the hours of speech.

A preset gives defaults only; what the user types goes before it. Those of a card are computed on
paper for the published size (:mod:`idiolect.training.memory`), those of the hours are choices,
each with its reason. Where nobody has measured one at that size, the reason says so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from idiolect.base.errors import ConfigError, did_you_mean
from idiolect.base.log import get_logger
from idiolect.data.manifest import parse_source
from idiolect.data.samples import Source, read_source
from idiolect.models.config import GptDims
from idiolect.training.config import AUTO, CUT_OF_A_STEP, TrainConfig
from idiolect.training.memory import TrainingMemory, tokens_for_memory, training_memory

GIGABYTE = 1 << 30
CARD_SHARE = 0.97
"""Of the gigabytes in a card's name, that a program finds; a card of 24 has 23.6."""
CONTEXT_BYTES = round(0.8 * GIGABYTE)
"""Taken by CUDA and by the libraries of its kernels before the first tensor. An assumption."""
UNTESTED = "untested at this size"
BY_HOURS = ("under-5h", "5-30h", "30-300h", "over-300h")
TOKENS_PER_HOUR = 255_000
"""Of speech, about: 50 codes a second, 14 pieces of text, and the 34 rows before a clip of 5 s."""
LAST_HOUR = (5.0, 30.0, 300.0)
"""Where each of :data:`BY_HOURS` ends; the last has no end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A value of a setting, and why."""

    name: str
    """Of the field of :class:`~idiolect.training.config.TrainConfig`."""
    value: Any
    why: str

    @property
    def flag(self) -> str:
        """As it is typed."""
        flag = f"--{self.name.replace('_', '-')}"
        if self.value is True:
            return flag
        return f"{flag} {self.value:g}" if isinstance(self.value, float) else f"{flag} {self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """How a card of so many gigabytes trains the published size."""

    gigabytes: int
    mode: Literal["full", "lora"] = "full"
    checkpointing: bool = False
    why: str

    @property
    def free_bytes(self) -> int:
        """What a card of this size has left for training."""
        return round(CARD_SHARE * self.gigabytes * GIGABYTE) - CONTEXT_BYTES

    @property
    def config(self) -> TrainConfig:
        """The settings that memory depends on."""
        config = TrainConfig(mode=self.mode, gradient_checkpointing=self.checkpointing)
        return replace(config, tokens_per_pass=tokens_for_memory(self.free_bytes, DIMS, config))

    @property
    def memory(self) -> TrainingMemory:
        """What training takes on it, on paper."""
        return training_memory(DIMS, self.config)

    def choices(self) -> list[Choice]:
        """Return its settings."""
        tokens = self.config.tokens_per_pass
        found = [Choice(name="tokens_per_pass", value=tokens, why="fills the memory, on paper")]
        if self.checkpointing:
            why = "activations would not leave room for a long clip"
            found.insert(0, Choice(name="gradient_checkpointing", value=True, why=why))
        if self.mode != "full":
            found.insert(0, Choice(name="mode", value=self.mode, why=self.why))
        return found


DIMS = GptDims()
"""The published size."""
CARDS = {
    "8gb": Card(
        gigabytes=8,
        mode="lora",
        checkpointing=True,
        why="the weights, gradients and states of a full training are more than the card holds",
    ),
    "12gb": Card(gigabytes=12, checkpointing=True, why="all weights fit, activations do not"),
    "16gb": Card(gigabytes=16, why="all fits, in small passes"),
    "24gb": Card(gigabytes=24, why="all fits"),
    "48gb": Card(gigabytes=48, why="all fits"),
    "80gb": Card(gigabytes=80, why="all fits, with room to spare"),
}
NAMES = (*CARDS, *BY_HOURS, AUTO)


def card_for(total_bytes: int) -> str | None:
    """Return the largest preset that a device of ``total_bytes`` holds; None if it holds none."""
    held = [name for name, c in CARDS.items() if 0.93 * c.gigabytes * GIGABYTE <= total_bytes]
    return held[-1] if held else None


def hours_preset(hours: float) -> str:
    """Return the preset for so many hours of speech."""
    return BY_HOURS[sum(hours >= last for last in LAST_HOUR)]


def check_names(names: Iterable[str]) -> tuple[str | None, str | None]:
    """Return the card and the hours that ``names`` mean; None where they leave it to us.

    Raises:
        ConfigError: One is unknown, or two are of one kind.
    """
    cards: list[str] = []
    hours: list[str] = []
    for name in names:
        if name not in NAMES:
            raise ConfigError(
                f"no preset is called {name!r}", where="--preset", fix=did_you_mean(name, NAMES)
            )
        cards += [name] if name in CARDS else []
        hours += [name] if name in BY_HOURS else []
    for kind in (cards, hours):
        if len(kind) > 1:
            raise ConfigError(
                f"{' and '.join(kind)} do not go together",
                where="--preset",
                fix="give one for the card and one for the hours at most",
            )
    return next(iter(cards), None), next(iter(hours), None)


def choices(card: str | None, hours: str, mode: str | None = None) -> list[Choice]:
    """Return the settings of a card and of so many hours together, each once.

    Adapters are trained where either asks for them, unless the user typed a ``mode``; the
    learning rate is that of the mode. What a card holds in one mode is not known for another.
    """
    of_card = CARDS[card].choices() if card else []
    of_hours = hours_choices(hours)
    asked = [choice for choice in (*of_card, *of_hours) if choice.name == "mode"][:1]
    chosen = mode or (asked[0].value if asked else "full")
    if card and CARDS[card].mode == "lora" and chosen != "lora":
        of_card = [choice for choice in of_card if choice.name != "tokens_per_pass"]
    rest = [choice for choice in (*of_card, *of_hours) if choice.name != "mode"]
    return [*(asked if mode is None else []), _rate(hours, is_lora=chosen == "lora"), *rest]


def hours_choices(hours: str) -> list[Choice]:
    """Return the settings for so many hours, less the learning rate, which the mode decides."""
    epochs, tokens, noise = _AMOUNTS[hours]
    found = [
        Choice(name="epochs", value=epochs, why=f"fewer with more speech; {UNTESTED}"),
        Choice(name="tokens_per_step", value=tokens, why=_step_why(tokens)),
    ]
    if noise:
        found.append(Choice(name="code_noise", value=noise, why=NOISE_WHY))
    if hours == "under-5h":
        found[:0] = [Choice(name="mode", value="lora", why=LORA_WHY)]
        found.append(Choice(name="text_loss_weight", value=0.1, why=TEXT_WHY))
    if hours != "over-300h":
        found.append(Choice(name="patience", value=3, why="ends when validation gets no better"))
        found.append(Choice(name="keep_best", value=2, why="to listen to more than the best"))
    else:
        found.append(Choice(name="save_minutes", value=30.0, why="a kill loses half an hour"))
    return found


def _step_why(tokens: int) -> str:
    steps = TOKENS_PER_HOUR / tokens
    return f"about {steps:.0f} steps an hour of speech (estimate); {UNTESTED}"


def choose(
    names: Sequence[str],
    manifests: Sequence[str],
    typed: Collection[str],
    mode: str | None = None,
) -> TrainConfig:
    """Return the defaults of the presets ``names``; what they leave open is found out.

    Args:
        names: As they were typed.
        manifests: Of the run; read for their hours, unless those are named.
        typed: Settings that a preset has no say in.
        mode: As it was typed; None where it was not.

    Raises:
        ConfigError: A name is unknown, two are of one kind, or there is no manifest to tell by.
        DataError: A manifest is missing or bad.
    """
    card, hours = check_names(names)
    if card is None and torch.cuda.is_available():
        card = card_for(torch.cuda.mem_get_info()[1])
    if hours is None:
        hours = hours_preset(spoken_hours([read_source(parse_source(m)) for m in manifests]))
    get_logger().info("preset: %s", ", ".join(name for name in (card, hours) if name))
    return preset_config(choices(card, hours, mode), typed)


def spoken_hours(sources: Sequence[Source]) -> float:
    """Return the hours of what is learnt from ``sources``, each clip once.

    Raises:
        ConfigError: There are none.
    """
    if not sources:
        raise ConfigError(
            "there is no manifest to tell the hours by",
            where="--preset",
            fix=f"give --train-manifest, or name the hours: {', '.join(BY_HOURS)}",
        )
    clips = (s.utterances[target] for s in sources for target in s.targets)
    return sum(clip.duration_sec for clip in clips) / 3600


def preset_config(chosen: Sequence[Choice], typed: Collection[str]) -> TrainConfig:
    """Return the defaults with ``chosen``, less what is decided by the settings ``typed``.

    A number of clips in a step that is typed goes before a number of tokens.
    """
    taken = set(typed)
    if taken & CUT_OF_A_STEP:
        taken.add("tokens_per_step")
    values = {choice.name: choice.value for choice in chosen if choice.name not in taken}
    return replace(TrainConfig(), **values)


def _rate(hours: str, *, is_lora: bool) -> Choice:
    rate, why = LORA_RATE if is_lora else _RATES[hours]
    return Choice(name="learning_rate", value=rate, why=f"{why}; {UNTESTED}")


LORA_RATE = (1e-4, "adapters begin at nothing, and have far to go")
_RATES = {
    "under-5h": (1e-5, "half that of the guide: little speech is soon known by heart"),
    "5-30h": (2e-5, "that of the guide"),
    "30-300h": (2e-5, "that of the guide"),
    "over-300h": (5e-5, "larger steps bear a higher rate"),
}
"""Highest learning rate of all weights, and why."""
_AMOUNTS = {
    "under-5h": (10, 4096, 0.2),
    "5-30h": (8, 8192, 0.1),
    "30-300h": (4, 16_384, 0.0),
    "over-300h": (2, 32_768, 0.0),
}
"""Epochs, tokens in a step, noise among the codes."""
LORA_WHY = (
    "adapters move few numbers: little speech is learnt less by heart, and the base forgets "
    f"less; {UNTESTED}"
)
NOISE_WHY = (
    "the model has to read the text; the demo learns its minutes on nano with 0.25, here it is "
    f"{UNTESTED}"
)
TEXT_WHY = (
    "few texts are soon known by heart; with 13 minutes on nano, 0 read better than 0.2, here it "
    f"is {UNTESTED}"
)
