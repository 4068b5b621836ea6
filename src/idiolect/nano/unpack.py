"""A finished base, taken apart into the stages of a run, which go on from its weights.

The encoder, the codec and the speaker encoder are left as they are, unless they are asked for by
name: the others learnt from what they hear. The rest learns on, with the corpus and the length that
the run has.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from idiolect.models.published import CACHE_DIR, SEMANTIC_DIR
from idiolect.nano.folders import CODEC_DIR, ENCODER_DIR, HEARING_DIR, SPEAKER_DIR
from idiolect.nano.pack import STAGE_FILES, check_sums, convert_file

TAKEN = (ENCODER_DIR, CODEC_DIR, SPEAKER_DIR)
"""Stages that a run which starts from a base does not repeat."""


def unpack_base(base: Path, run: Path) -> None:
    """Write the files of ``base`` where the stages of ``run`` leave theirs, in float32.

    What a stage has left there already stays.

    Raises:
        CheckpointError: The base is not whole.
    """
    check_sums(base)
    of_encoder = {
        name: stage.replace(f"{HEARING_DIR}/", f"{ENCODER_DIR}/", 1)
        for name, stage in STAGE_FILES.items()
        if name.startswith(f"{CACHE_DIR}/{SEMANTIC_DIR}/")
    }
    for name, stage in (*STAGE_FILES.items(), *of_encoder.items()):
        if not (run / stage).exists():
            convert_file(base / name, run / stage, widened)


def widened(content: Any) -> Any:
    """Return ``content`` (tensors in mappings) in float32."""
    if isinstance(content, dict):
        return {name: widened(value) for name, value in content.items()}
    is_float = isinstance(content, Tensor) and content.is_floating_point()
    return content.float() if is_float else content
