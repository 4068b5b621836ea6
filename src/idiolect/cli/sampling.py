"""The flags of sampling, and of the device, for every command that speaks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingFlags:
    """How codes are chosen; as the base says where nothing is given."""

    temperature: float | None = None
    """Lower is more regular; 0.8 unless the base says otherwise, as for all settings below."""
    top_p: float | None = None
    """Keep the most probable codes up to this share; published: 0.8."""
    top_k: int | None = None
    """Keep so many codes at each step; 0 keeps all; published: 30."""
    num_beams: int | None = None
    """How many hypotheses are followed; published: 3."""
    repetition_penalty: float | None = None
    """How much less probable a code gets once it was said; published: 10."""
    length_penalty: float | None = None
    """Above 0 favours longer speech; published: 0."""
    max_mel_tokens: int | None = None
    """Most codes in a segment; 50 are one second; published: 1500."""

    def given(self) -> dict[str, Any]:
        """Return those that were given, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFlags:
    """What computes."""

    device: str | None = None
    """cpu, cuda:0 ...; the first GPU when there is one."""
    fp16: bool = False
    """Run GPTs in half precision on a GPU."""
