"""A GPT as safetensors with its header: the form in which models are passed on.

The format holds tensors and a mapping of texts, and nothing that could be executed. The header of
a checkpoint is one of these texts, as JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from idiolect.base.config import to_mapping
from idiolect.base.errors import CheckpointError
from idiolect.base.files import atomic_path, parse_json
from idiolect.models.checkpoint import (
    CheckpointHeader,
    CheckpointOutline,
    Shapes,
    Weights,
    parts_of,
)

SAFE_SUFFIX = ".safetensors"
HEADER_KEY = "idiolect"
"""Under which the header is kept among the texts of the file."""
FLOAT_BYTES = 4
BITS_OF = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16}
"""Of a number, by what the format calls it; eight for all others."""


def save_safe(path: Path, weights: Mapping[str, Tensor], header: CheckpointHeader | None) -> None:
    """Write ``weights`` and ``header`` to ``path`` as safetensors, whole or not at all.

    Raises:
        GuardError: ``path`` lies in a base folder.
    """
    texts = {"format": "pt"}
    if header is not None:
        texts[HEADER_KEY] = json.dumps(to_mapping(header), ensure_ascii=False)
    with atomic_path(path) as partial:
        save_file(_apart(weights), partial, metadata=texts)


def _apart(weights: Mapping[str, Tensor]) -> Weights:
    """Return each tensor in memory of its own: the format refuses two that share any."""
    apart: Weights = {}
    taken: set[int] = set()
    for name, tensor in weights.items():
        own = tensor.detach().cpu().contiguous()
        storage = own.untyped_storage()
        if storage.data_ptr() in taken or storage.nbytes() != own.nbytes:
            own = own.clone()
        taken.add(own.untyped_storage().data_ptr())
        apart[name] = own
    return apart


def load_safe(path: Path) -> tuple[Weights, CheckpointHeader | None]:
    """Return the weights in ``path`` and their header, which files of others do not have.

    Raises:
        CheckpointError: The file is damaged, is no GPT, or is newer than this program.
    """
    with _readable(path):
        weights, header = load_file(path), _header_values(path)
    return parts_of({"model": weights, "header": header}, path)


def safe_outline(path: Path) -> CheckpointOutline:
    """Return what can be told of ``path`` by its first few kilobytes.

    Raises:
        CheckpointError: As :func:`load_safe`.
    """
    with _readable(path), safe_open(path, framework="pt") as content:
        slices = {name: content.get_slice(name) for name in content.keys()}  # noqa: SIM118 -- no mapping
        shapes: Shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
        kinds = {name: str(part.get_dtype()) for name, part in slices.items()}
        values = _header_of(content.metadata())
    sizes = (math.prod(shapes[name]) * BITS_OF.get(kinds[name], 8) // 8 for name in shapes)
    header = None
    if values is not None:
        # One tensor is enough to be read as a checkpoint.
        _, header = parts_of({"model": {"": Tensor()}, "header": values}, path)
    return CheckpointOutline(header=header, shapes=shapes, weight_bytes=sum(sizes))


def loaded_bytes(shapes: Shapes) -> int:
    """Return the bytes of a network of these shapes: float32, whatever the file holds."""
    return FLOAT_BYTES * sum(map(math.prod, shapes.values()))


def _header_values(path: Path) -> dict[str, Any] | None:
    with safe_open(path, framework="pt") as content:
        return _header_of(content.metadata())


def _header_of(texts: Mapping[str, str] | None) -> dict[str, Any] | None:
    values = parse_json(texts[HEADER_KEY]) if texts and HEADER_KEY in texts else None
    return values if isinstance(values, dict) else None


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    if not path.is_file():
        raise CheckpointError(f"no such file of weights: {path}", fix="check the path")
    try:
        yield
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"not a file of weights, or only half of one ({path.stat().st_size} bytes)",
            where=str(path),
            fix="copy or download it again, and compare its SHA-256 with the source's",
        ) from error
