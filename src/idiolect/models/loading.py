"""The networks that the published files hold, under the names that they have here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from idiolect.base.errors import CheckpointError
from idiolect.base.files import read_json
from idiolect.models.adapter import open_weights
from idiolect.models.checkpoint import (
    Shapes,
    Weights,
    load_tensors,
    load_weights,
    read_header,
    shapes_of,
)
from idiolect.models.codec import SemanticCodec
from idiolect.models.config import GptDims, VocoderDims
from idiolect.models.emotion import EmotionMatrices
from idiolect.models.gpt import UnifiedVoice
from idiolect.models.published import VOCODER_FILE, BaseFiles
from idiolect.models.s2mel import S2Mel
from idiolect.models.semantic import SemanticEncoder, semantic_state
from idiolect.models.speaker import CampPlus
from idiolect.models.vocoder import BigVgan
from idiolect.models.weight_norm import fold_weight_norm

Module = TypeVar("Module", bound=nn.Module)
Value = TypeVar("Value")

IGNORED_GPT_KEYS = re.compile(
    r"inference_model\.|ds_engine\.|accel_engine\.|gpt\.wte\.|gpt\.wpe\."
    r"|gpt\.h\.\d+\.attn\.(bias|masked_bias)$|.*\.lora_"
)
"""Aliases and left-overs that some files carry and no network needs."""
CONDITIONER_KEYS = re.compile(
    r"(emo_)?conditioning_encoder\.|(emo_)?perceiver_encoder\.|emovec_layer\.|emo_layer\."
)
"""The conditioners and the emotion branch: frozen, and absent where their outputs are cached."""


def load_gpt(
    path: Path,
    dims: GptDims,
    *,
    bases: Sequence[Path] = (),
    conditioners: bool = True,
    dropout: float = 0.0,
) -> UnifiedVoice:
    """Return the GPT in ``path``, published or ours, on the CPU.

    Args:
        path: The file.
        dims: Of the base; the numbers of rows are taken from the tensors instead.
        bases: Files of weights that adapters in ``path`` may have been trained beside.
        conditioners: Whether the conditioners and the emotion branch are wanted.
        dropout: Of the transformer, while training.

    Raises:
        CheckpointError: The file cannot be read, or does not fit ``dims``.
    """
    weights = gpt_weights(open_weights(path, bases=bases)[0], conditioners=conditioners)
    dims = gpt_dims_of(shapes_of(weights), dims)
    return _materialize(
        lambda: UnifiedVoice(dims, conditioners=conditioners, dropout=dropout), weights, path
    )


def load_semantic_encoder(files: BaseFiles) -> SemanticEncoder:
    """Return w2v-bert up to the layer that is read, with the statistics that normalise it."""
    config, layer = read_json(files.semantic_dir / "config.json"), files.config.semantic_layer
    path = files.semantic_dir / "model.safetensors"
    state = semantic_state(_tensors(path), _tensors(files.stats), layer)
    return _materialize(lambda: SemanticEncoder(config, layer), state, path)


def load_codec(files: BaseFiles) -> SemanticCodec:
    """Return the semantic codec."""
    state = _tensors(files.codec)
    return _materialize(lambda: SemanticCodec(files.config.codec), state, files.codec)


def load_s2mel(files: BaseFiles) -> S2Mel:
    """Return the flow-matching network; optimizer states in its file are never read."""
    state = s2mel_weights(load_tensors(files.s2mel), where=files.s2mel)
    return _materialize(lambda: S2Mel(files.config.s2mel), state, files.s2mel)


def load_speaker_encoder(files: BaseFiles) -> CampPlus:
    """Return CAMPPlus."""
    state = _tensors(files.speaker)
    return _materialize(lambda: CampPlus(files.config.speaker), state, files.speaker)


def load_vocoder(files: BaseFiles) -> BigVgan:
    """Return BigVGAN; its weight norm is folded only if it is in the file."""
    path = files.vocoder_dir / VOCODER_FILE
    content = load_tensors(path)
    state = _named_tensors(content.get("generator", content), path)
    folded = not any(name.endswith(".weight_g") for name in state)

    def build() -> BigVgan:
        vocoder = BigVgan(vocoder_dims(files))
        if folded:
            fold_weight_norm(vocoder)
        return vocoder

    return _materialize(build, state, path)


def vocoder_dims(files: BaseFiles) -> VocoderDims:
    """Return the sizes that the vocoder's own ``config.json`` says."""
    path = files.vocoder_dir / "config.json"
    try:
        return VocoderDims.of(read_json(path))
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"not a BigVGAN configuration: {error!r}", where=str(path)) from error


def load_emotion_matrices(files: BaseFiles) -> EmotionMatrices:
    """Return the emotion vectors, and the styles by which a row is chosen."""
    return EmotionMatrices(
        speaker=_matrix(files.speaker_matrix),
        emotion=_matrix(files.emotion_matrix),
        groups=files.config.emotion_groups,
    )


def s2mel_weights(content: Any, *, where: Path) -> Weights:
    """Return the tensors below ``net`` under one flat name each."""
    net = content.get("net") if isinstance(content, dict) else None
    if not isinstance(net, dict):
        raise CheckpointError("not an s2mel checkpoint: no 'net'", where=str(where))
    return {
        f"{part}.{name.removeprefix('module.')}": tensor
        for part, tensors in net.items()
        for name, tensor in _named_tensors(tensors, where).items()
    }


def check_gpt(path: Path, dims: GptDims) -> None:
    """Make sure that the GPT in ``path`` would load, without reading its weights.

    Raises:
        CheckpointError: As :func:`load_gpt`.
    """
    shapes = gpt_weights(read_header(path).shapes)
    with torch.device("meta"):
        gpt = UnifiedVoice(gpt_dims_of(shapes, dims))
        load_weights(gpt, {name: torch.empty(shape) for name, shape in shapes.items()}, where=path)


def gpt_weights(weights: Mapping[str, Value], *, conditioners: bool = True) -> dict[str, Value]:
    """Return what a GPT file has for the network (tensors, or their shapes), by its own names."""
    kept = {
        name.replace(".base_layer.", "."): value
        for name, value in weights.items()
        if not IGNORED_GPT_KEYS.match(name)
    }
    if conditioners:
        return kept
    return {name: value for name, value in kept.items() if not CONDITIONER_KEYS.match(name)}


def gpt_dims_of(shapes: Shapes, dims: GptDims) -> GptDims:
    """Return ``dims`` with the numbers of rows that the tensors of a file have."""

    def rows(name: str, default: int) -> int:
        return shapes[name][0] if shapes.get(name) else default

    return replace(
        dims,
        vocab_size=rows("text_embedding.weight", dims.text_rows) - 1,
        num_codes=rows("mel_embedding.weight", dims.num_codes),
        max_text_len=rows("text_pos_embedding.emb.weight", dims.text_positions) - 2,
        max_code_len=rows("mel_pos_embedding.emb.weight", dims.code_positions) - 3,
    )


def _materialize(build: Callable[[], Module], weights: Weights, path: Path) -> Module:
    """Return the module that ``build`` makes, with ``weights``, and none of the work of an init.

    ``weights`` is emptied on the way: a half as large file is never in memory beside all of the
    network.
    """
    with torch.device("meta"):
        module = build()
    weights = {name: _full(weights.pop(name)) for name in list(weights)}
    load_weights(module, weights, where=path)
    if any(buffer.is_meta for buffer in module.buffers()):
        # Buffers that are computed and not stored: only a real build has them.
        module = build()
        load_weights(module, weights, where=path)
    return module.eval()


def _full(tensor: Tensor) -> Tensor:
    """Return ``tensor`` in float32 if it has fractions: files may be half as large as networks."""
    return tensor.float() if tensor.is_floating_point() else tensor


def _tensors(path: Path) -> Weights:
    return _named_tensors(load_tensors(path), path)


def _named_tensors(content: Any, where: Path) -> Weights:
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(
            "not a mapping of names to tensors",
            where=str(where),
            fix="download this file again: idiolect download",
        )
    return content


def _matrix(path: Path) -> Tensor:
    content = load_tensors(path)
    if not isinstance(content, Tensor) or content.ndim != 2:
        raise CheckpointError("not a matrix", where=str(path), fix="download this file again")
    return _full(content)
