"""What is in memory, as it is told: which models, on which devices, how large."""

from __future__ import annotations

from dataclasses import dataclass

from idiolect.synthesis.stack import FrozenStack


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatus:
    """A model in memory."""

    name: str
    device: str
    num_bytes: int
    """Of its weights, counted on the tensors."""
    tokenizer: str
    vocab_size: int
    leases: int
    """Requests that it is lent to at present."""
    times_leased: int
    since_sec: float
    """When it was loaded, in seconds since 1970."""
    load_sec: float
    """How long that took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StackStatus:
    """The frozen networks of one device."""

    device: str
    num_bytes: int
    """Of their weights, counted on the tensors."""
    num_prompts: int
    num_waiting: int
    """Requests that wait for a turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotStatus:
    """What is in memory."""

    models: tuple[ModelStatus, ...]
    """The one that was asked for last stands first."""
    stacks: tuple[StackStatus, ...]

    @property
    def num_bytes(self) -> int:
        """Of all weights in memory."""
        models = sum(model.num_bytes for model in self.models)
        return models + sum(stack.num_bytes for stack in self.stacks)


def stack_status(stack: FrozenStack) -> StackStatus:
    """Return what ``stack`` is at present."""
    return StackStatus(
        device=str(stack.device),
        num_bytes=stack.num_bytes,
        num_prompts=stack.num_prompts,
        num_waiting=stack.turns.num_waiting,
    )
