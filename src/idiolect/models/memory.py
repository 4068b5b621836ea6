"""How much GPU memory a model takes, told from the files before anything is loaded.

An estimate: the bytes of the tensors that stay on the device, in float32, and of the largest
things that one request of default length adds. Said to be an estimate wherever it is shown.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from idiolect.base.errors import CheckpointError
from idiolect.base.units import code_frames_to_mel_frames
from idiolect.models.checkpoint import CheckpointOutline, load_tensors, map_weights, read_header
from idiolect.models.config import NUM_LATENTS, GptDims
from idiolect.models.loading import gpt_weights, vocoder_dims
from idiolect.models.published import BaseFiles

REQUEST_BEAMS = 3
REQUEST_TEXT_LEN = 120
REQUEST_CODES = 1500
"""One segment at the default settings of synthesis."""
FLOAT_BYTES = 4
OPTIMIZER_COPIES = 2
"""Tensors that AdamW keeps for each one that is trained."""
VOCODER_COPIES = 6
"""Of its widest activation, that the vocoder holds at once."""


def model_bytes(gpt: CheckpointOutline, files: BaseFiles) -> int:
    """Return the GPU memory to speak with ``gpt`` on the base ``files``, in bytes."""
    request = cache_bytes(files.config.gpt) + vocoder_bytes(files)
    return gpt.weight_bytes + stack_bytes(files) + request


def gpt_bytes(outline: CheckpointOutline) -> int:
    """Return what a GPT takes once it is loaded, in float32, whatever type its file has."""
    return sum(map(math.prod, gpt_weights(outline.shapes).values())) * FLOAT_BYTES


def request_bytes(files: BaseFiles) -> int:
    """Return what one request adds, in bytes: the larger of decoding and of making sound."""
    return max(cache_bytes(files.config.gpt), vocoder_bytes(files))


def base_bytes(files: BaseFiles) -> int:
    """Return the GPU memory to speak with the base itself, in bytes."""
    return model_bytes(read_header(files.gpt), files)


def trained_bytes(files: BaseFiles) -> int:
    """Return the bytes of the weights that a full fine-tuning of the base trains."""
    trained = gpt_weights(map_weights(files.gpt), conditioners=False)
    return sum(tensor.nbytes for tensor in trained.values())


def stack_bytes(files: BaseFiles) -> int:
    """Return the bytes of the networks that every model shares."""
    total = _semantic_bytes(files) + safetensors_bytes(files.codec)
    total += _nested_bytes(load_tensors(files.s2mel).get("net", {}))
    total += _nested_bytes(load_tensors(files.speaker))
    return total + sum(_nested_bytes(load_tensors(p)) for p in files.vocoder_dir.glob("*.pt"))


def cache_bytes(dims: GptDims) -> int:
    """Return the bytes of the keys and values of one request."""
    rows = NUM_LATENTS + 2 + REQUEST_TEXT_LEN + 2 + REQUEST_CODES
    return REQUEST_BEAMS * rows * dims.num_layers * 2 * dims.dim * FLOAT_BYTES


def vocoder_bytes(files: BaseFiles) -> int:
    """Return the bytes of the activations of the vocoder in one request."""
    dims = vocoder_dims(files)
    samples, channels = int(code_frames_to_mel_frames(REQUEST_CODES)), dims.initial_channels
    widest = 0
    for rate in dims.upsample_rates:
        samples, channels = samples * rate, channels // 2
        widest = max(widest, samples * channels)
    return VOCODER_COPIES * widest * FLOAT_BYTES


def safetensors_bytes(path: Path) -> int:
    """Return the bytes of the tensors in ``path``."""
    return sum(_safetensors_sizes(path).values())


def _semantic_bytes(files: BaseFiles) -> int:
    """Only the layers up to the one that is read are loaded."""
    kept = (f"encoder.layers.{index}." for index in range(files.config.semantic_layer))
    prefixes = ("feature_projection.", *kept)
    sizes = _safetensors_sizes(files.semantic_dir / "model.safetensors")
    return sum(size for name, size in sizes.items() if name.startswith(prefixes))


def _safetensors_sizes(path: Path) -> dict[str, int]:
    """Read the table at the head of the file, and nothing else."""
    try:
        with path.open("rb") as handle:
            table = json.loads(handle.read(int.from_bytes(handle.read(8), "little")))
        entries = {name: entry["data_offsets"] for name, entry in _tensors(table)}
    except (OSError, ValueError, KeyError, OverflowError, MemoryError) as error:
        raise CheckpointError("not a file of weights", where=str(path)) from error
    return {name: end - start for name, (start, end) in entries.items()}


def _tensors(table: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((name, entry) for name, entry in table.items() if name != "__metadata__")


def _nested_bytes(content: object) -> int:
    if isinstance(content, Tensor):
        return content.nbytes
    if isinstance(content, Mapping):
        return sum(map(_nested_bytes, content.values()))
    return 0
