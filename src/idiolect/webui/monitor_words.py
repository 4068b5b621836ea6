"""What curves, units and labels are called in the reader's language."""

from __future__ import annotations

from idiolect.webui.messages import Say

CURVES = (
    *("loss", "text_loss", "mel_loss", "mel_top1", "cer", "wer", "similarity", "forgotten"),
    *("lr", "grad_norm", "tokens_per_sec", "memory_bytes", "waiting"),
)
UNITS = ("nats", "percent", "points", "cosine", "per_sec", "gib")
LABELS = ("step", "learnt", "validation")


def words_of(say: Say) -> dict[str, str]:
    """Return what the curves of a run need, by the names that they have there."""
    curves = {name: say(f"monitor.curve_{name}") for name in CURVES}
    units = {name: say(f"monitor.unit_{name}") for name in UNITS}
    return curves | units | {name: say(f"monitor.{name}") for name in LABELS}
