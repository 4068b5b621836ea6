"""Who listens, by the name that a user gives: nano's own recogniser, one of the judges, or any
Whisper that faster-whisper can read.
"""

from __future__ import annotations

from pathlib import Path

from idiolect.base.errors import CheckpointError, ConfigError, did_you_mean
from idiolect.base.places import SHIPPED_DIR
from idiolect.listening.listeners import LISTENERS, FasterWhisper, Listener, OwnListener
from idiolect.listening.recogniser import HEAD_FILE
from idiolect.models.published import CACHE_DIR, SEMANTIC_DIR

NOBODY = "none"
OWN = "nano"
FASTER_WHISPER = "faster-whisper"


def listener_named(asr: str, *, folder: Path | None, base_semantic_dir: Path) -> Listener | None:
    """Return the recogniser that ``asr`` names; None for ``none``.

    Args:
        asr: ``nano``, ``whisper-base``, ``whisper-small``, ``moonshine``, ``faster-whisper:MODEL``
            or ``none``.
        folder: Where the judges lie (see recipes/nano/JUDGES.md); ``nano`` and
            ``faster-whisper:MODEL`` need none.
        base_semantic_dir: ``w2v-bert-2.0`` of the base, whose own recogniser ``nano`` asks for.

    Raises:
        CheckpointError: ``nano`` was asked for, and neither the base nor the package has it.
        ConfigError: The name is unknown, or needs a folder that was not given.
        DataError: A file of the recogniser is missing, damaged, or not the one that is known.
        UserError: A package that it needs is not installed.
    """
    kind, _, model = asr.partition(":")
    if asr == NOBODY:
        return None
    if asr == OWN:
        return _own(base_semantic_dir)
    if kind == FASTER_WHISPER and model:
        return FasterWhisper(model)
    judges = {judge.name: judge for judge in LISTENERS}
    if asr not in judges:
        known = [NOBODY, OWN, *judges, f"{FASTER_WHISPER}:MODEL"]
        raise ConfigError(
            f"nobody is called {asr!r} who could listen",
            where="--asr",
            fix=did_you_mean(asr, known),
        )
    if folder is None:
        raise ConfigError(
            f"where {asr} lies is not known",
            where="--asr-dir",
            fix=f"name the folder that holds {asr}/, see recipes/nano/JUDGES.md; "
            f"or give --asr {OWN}, or --asr {FASTER_WHISPER}:MODEL",
        )
    return judges[asr](folder)


def own_listener(base_semantic_dir: Path) -> OwnListener | None:
    """Return nano's recogniser, of the base or of the package; None where neither has it."""
    folders = (base_semantic_dir, SHIPPED_DIR / CACHE_DIR / SEMANTIC_DIR)
    taught = [folder for folder in folders if (folder / HEAD_FILE).is_file()]
    return OwnListener(taught[0]) if taught else None


def _own(base_semantic_dir: Path) -> OwnListener:
    listener = own_listener(base_semantic_dir)
    if listener is None:
        raise CheckpointError(
            "neither the base nor the package has a recogniser",
            where=str(base_semantic_dir / HEAD_FILE),
            fix="install the package with its assets, or name another: --asr "
            f"{FASTER_WHISPER}:MODEL",
        )
    return listener
