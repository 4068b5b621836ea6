"""Where a model comes from, fact by fact, for whoever shows it."""

from __future__ import annotations

from collections.abc import Iterator

from idiolect.models.terms import terms_named
from idiolect.registry.entry import ModelEntry

SHOWN_HASH = 12


def lineage(entry: ModelEntry) -> Iterator[tuple[str, str]]:
    """Yield what is known of the origin of ``entry`` as (key, value); the base comes first.

    Keys: ``base``, ``source``, ``step``, ``blend``, ``data``, ``origin``.
    """
    terms = terms_named(entry.base_name, entry.licence)
    digest = f", gpt.pth {entry.base_sha256[:SHOWN_HASH]}" if entry.base_sha256 else ""
    yield "base", f"{terms.base}, v{entry.version}{digest}"
    if entry.source_sha256:
        yield "source", entry.source_sha256[:SHOWN_HASH]
    if entry.step:
        yield "step", str(entry.step)
    if entry.blend < 1:
        yield "blend", f"{entry.blend:.0%}"
    if entry.data:
        yield "data", "; ".join(_told(entry.data))
    if entry.origin:
        yield "origin", entry.origin


def _told(data: dict[str, object]) -> Iterator[str]:
    for name, value in data.items():
        if isinstance(value, list):
            parts = [_one(part) for part in value]
            yield f"{name}: {' | '.join(parts)}"
        else:
            yield f"{name}: {_one(value)}"


def _one(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_one(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return "/".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
