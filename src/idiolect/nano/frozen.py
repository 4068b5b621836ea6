"""The networks of finished stages, as the stages behind them use them: frozen, in float32."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file

from idiolect.base.files import read_json
from idiolect.listening.recogniser import WEIGHTS_FILE
from idiolect.models.checkpoint import load_tensors, load_weights
from idiolect.models.codec import SemanticCodec
from idiolect.models.config import CodecDims
from idiolect.models.published import CODEC_FILE, SEMANTIC_DIR, SPEAKER_FILE
from idiolect.models.semantic import SemanticEncoder, semantic_state
from idiolect.models.speaker import CampPlus
from idiolect.nano.codec import STATS_FILE
from idiolect.nano.sizes import READ_LAYER, base_config


def frozen_encoder(encoder_folder: Path, codec_folder: Path) -> SemanticEncoder:
    """Return the semantic encoder up to the layer that is read, with the codec's statistics."""
    folder = encoder_folder / SEMANTIC_DIR
    encoder = SemanticEncoder(read_json(folder / "config.json"), READ_LAYER)
    stats = load_tensors(codec_folder / STATS_FILE)
    weights = {name: tensor.float() for name, tensor in load_file(folder / WEIGHTS_FILE).items()}
    load_weights(encoder, semantic_state(weights, stats, READ_LAYER), where=folder)
    return encoder.eval().requires_grad_(requires_grad=False)


def frozen_codec(codec_folder: Path, dims: CodecDims | None = None) -> SemanticCodec:
    """Return the semantic codec; ``dims`` are nano's when they are left out."""
    path = codec_folder / CODEC_FILE
    codec = SemanticCodec(dims or base_config().codec)
    load_weights(codec, {name: t.float() for name, t in load_tensors(path).items()}, where=path)
    return codec.eval().requires_grad_(requires_grad=False)


def frozen_speaker(speaker_folder: Path) -> CampPlus:
    """Return the speaker encoder."""
    path = speaker_folder / SPEAKER_FILE
    speaker = CampPlus(base_config().speaker)
    load_weights(speaker, load_tensors(path), where=path)
    return speaker.eval().requires_grad_(requires_grad=False)
