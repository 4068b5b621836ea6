"""The sizes of nano, in the words of the published files: the small base, but wide enough to speak.

What the published files fix and nano does not change stands in :mod:`idiolect.models.nano_config`.
All weights together stay below 25 MB in float16.
"""

from __future__ import annotations

import copy
from typing import Any

from idiolect.models.config import BaseConfig
from idiolect.models.emotion import EMOTIONS
from idiolect.models.nano_config import CONFIG as RANDOM_CONFIG
from idiolect.models.nano_config import PREPROCESSOR_CONFIG as PREPROCESSOR_CONFIG
from idiolect.models.nano_config import SEMANTIC_CONFIG as RANDOM_SEMANTIC_CONFIG
from idiolect.models.nano_config import VOCODER_CONFIG as RANDOM_VOCODER_CONFIG

LANGUAGES = ("en", "es")
"""What the GPT of nano speaks."""

NUM_CODES = 256
FEATURE_DIM = 192
STYLE_DIM = 64
VOCAB_SIZE = 140
"""Nearly letters: a small GPT learns from little speech what each of few pieces sounds like."""
EMOTION_VOICES = 10
"""Voices that stand for each emotion: rows of a group of the emotion matrices."""
READ_LAYER = 3
"""Hidden state of the semantic encoder that features are."""


def _with(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of ``values`` with ``changes`` at any depth."""
    result = copy.deepcopy(values)
    for key, change in changes.items():
        both = isinstance(change, dict) and key in values
        result[key] = _with(result[key], change) if both else change
    return result


CONFIG = _with(
    RANDOM_CONFIG,
    {
        "emo_num": [EMOTION_VOICES] * len(EMOTIONS),
        "idiolect": {"languages": list(LANGUAGES)},
        # Few codes come again all the time: a penalty on what was said would forbid speech.
        # A small GPT spreads its guesses: cooler than published, fewer letters get lost.
        "generation": {"repetition_penalty": 1.0, "num_beams": 1, "temperature": 0.6},
        "gpt": {
            "model_dim": 192,
            "layers": 6,
            "heads": 3,
            "max_mel_tokens": 600,
            "max_text_tokens": 200,
            "number_text_tokens": VOCAB_SIZE,
            "number_mel_codes": NUM_CODES + 2,
            "start_mel_token": NUM_CODES,
            "stop_mel_token": NUM_CODES + 1,
            "condition_module": {
                "output_size": 48,
                "linear_units": 96,
                "attention_heads": 2,
                "perceiver_mult": 1,
            },
            "emo_condition_module": {
                "output_size": 32,
                "linear_units": 64,
                "num_blocks": 1,
                "perceiver_mult": 1,
            },
            "feature_dim": FEATURE_DIM,
        },
        "semantic_encoder": {"layer": READ_LAYER},
        "semantic_codec": {
            "codebook_size": NUM_CODES,
            "hidden_size": FEATURE_DIM,
            "vocos_dim": 128,
            "vocos_intermediate_dim": 256,
            "vocos_num_layers": 3,
        },
        "speaker_encoder": {
            "embedding_dim": STYLE_DIM,
            "growth": 24,
            "init_channels": 64,
            "block_layers": [4, 6, 4],
        },
        "s2mel": {
            # A small flow blurs. Further from what it would do without codes, and from less noise,
            # others than nano get half of the letters wrong that they do at the published values.
            "guidance": 1.5,
            "temperature": 0.6,
            "style_encoder": {"dim": STYLE_DIM},
            "length_regulator": {
                "channels": 96,
                "in_channels": FEATURE_DIM,
                # Twice the published layers: nano's codes say what was heard about 0.1 s before, so
                # what a frame sounds like is found eight mel frames ahead.
                "sampling_ratios": [1] * 8,
            },
            "DiT": {"hidden_dim": 192, "num_heads": 3, "depth": 2, "content_dim": 96},
            "wavenet": {"hidden_dim": 128, "num_layers": 3, "p_dropout": 0.0},
            "gpt_layer_dims": [192, 128, 96, FEATURE_DIM],
        },
    },
)
SEMANTIC_CONFIG = _with(
    RANDOM_SEMANTIC_CONFIG,
    {
        "hidden_size": FEATURE_DIM,
        "num_hidden_layers": 5,
        "num_attention_heads": 3,
        "intermediate_size": 384,
        "output_hidden_size": FEATURE_DIM,
        "conv_depthwise_kernel_size": 15,
        "attention_dropout": 0.1,
        "conformer_conv_dropout": 0.1,
    },
)
VOCODER_CONFIG = _with(
    RANDOM_VOCODER_CONFIG,
    {
        "upsample_initial_channel": 256,
        "upsample_rates": [4, 4, 4, 4],
        "upsample_kernel_sizes": [8, 8, 8, 8],
        "resblock_kernel_sizes": [5],
        "resblock_dilation_sizes": [[1, 3]],
    },
)
"""One block a stage, and few stages: a snake costs a core more than the convolutions around it."""


def base_config() -> BaseConfig:
    """Return the configuration that the networks are built from."""
    return BaseConfig.of(CONFIG)
