"""At the published sizes, every acoustic network has the published names, shapes and types."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import nn

from golden.fixtures import KEYS, OFFICIAL_CONFIG
from idiolect.models.codec import SemanticCodec
from idiolect.models.config import BaseConfig, VocoderDims, read_base_config
from idiolect.models.s2mel import S2Mel
from idiolect.models.semantic import SemanticEncoder, semantic_state
from idiolect.models.speaker import CampPlus
from idiolect.models.vocoder import BigVgan

PUBLISHED_W2V_BERT = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "conv_depthwise_kernel_size": 31,
    "position_embeddings_type": "relative_key",
    "left_max_position_embeddings": 64,
    "right_max_position_embeddings": 8,
    "feature_projection_input_dim": 160,
}
PUBLISHED_VOCODER = {
    "num_mels": 80,
    "upsample_initial_channel": 1536,
    "upsample_rates": [4, 4, 2, 2, 2, 2],
    "upsample_kernel_sizes": [8, 8, 4, 4, 4, 4],
    "resblock_kernel_sizes": [3, 7, 11],
    "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5], [1, 3, 5]],
}


@pytest.fixture(scope="module")
def config() -> BaseConfig:
    return read_base_config(OFFICIAL_CONFIG)


@pytest.fixture(autouse=True)
def no_memory():
    with torch.device("meta"):
        yield


def published(name: str) -> Any:
    return json.loads((KEYS / f"{name}.json").read_text(encoding="utf-8"))


def inventory(network: nn.Module) -> dict[str, list[Any]]:
    state = network.state_dict()
    return {k: [list(v.shape), str(v.dtype).removeprefix("torch.")] for k, v in state.items()}


def below(prefix: str, entries: Mapping[str, Any]) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in entries.items() if k.startswith(prefix)}


def test_the_semantic_codec_has_the_published_keys(config):
    assert inventory(SemanticCodec(config.codec)) == published("semantic_codec")


def test_the_speaker_encoder_has_the_published_keys(config):
    assert inventory(CampPlus(config.speaker)) == published("campplus")


def test_the_vocoder_has_the_published_keys():
    assert inventory(BigVgan(VocoderDims.of(PUBLISHED_VOCODER))) == published("bigvgan")


def test_s2mel_has_the_published_keys(config):
    assert inventory(S2Mel(config.s2mel)) == below("models.", published("s2mel_v2"))


def test_the_parts_of_s2mel_are_those_of_its_file(config):
    have, parts = inventory(S2Mel(config.s2mel)), published("s2mel_checkpoint_layout")["net"]
    assert {part: below(f"{part}.", have) for part in parts} == parts
    assert len(have) == sum(map(len, parts.values()))


def test_w2v_bert_has_the_published_keys_but_for_what_is_cut_off(config):
    entries, layer = published("w2v_bert"), config.semantic_layer
    network = SemanticEncoder(PUBLISHED_W2V_BERT, layer)
    stats = {name: [[PUBLISHED_W2V_BERT["hidden_size"]], "float32"] for name in ("mean", "var")}
    assert inventory(network) == semantic_state(entries, stats, layer)


def test_w2v_bert_whole_has_the_published_keys():
    from transformers import Wav2Vec2BertConfig, Wav2Vec2BertModel

    network = Wav2Vec2BertModel(Wav2Vec2BertConfig(**PUBLISHED_W2V_BERT))
    assert inventory(network) == published("w2v_bert")
