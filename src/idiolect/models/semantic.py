"""w2v-bert 2.0, cut behind the layer whose states are read: speech at 16 000 Hz to features.

``B`` is batch, ``N`` samples, ``T`` code frames of 20 ms, ``F`` the feature width. Always float32,
also where the GPT runs in half precision: codes are chosen by small differences.

Source:
    Spec 1.2, 1.3 and 2.1; golden/test_features.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from idiolect.audio.fbank import semantic_input
from idiolect.base.errors import ConfigError

LAYER_KEY = re.compile(r"encoder\.layers\.(\d+)\.")
UNUSED_KEYS = ("masked_spec_embed",)
CUT_SETTINGS = {
    "add_adapter": False,
    "apply_spec_augment": False,
    "layerdrop": 0.0,
    "mask_feature_prob": 0.0,
    "mask_time_prob": 0.0,
    "use_intermediate_ffn_before_adapter": False,
}
"""What belongs to the end of the network, which is cut off, and to its training."""


class SemanticEncoder(nn.Module):
    """Clips to normalised hidden states of one layer of w2v-bert.

    Args:
        config: What the ``config.json`` of the published folder holds.
        layer: Hidden state to read; 0 is the input of the first layer.

    Raises:
        ConfigError: The network has fewer layers than that.
    """

    mean: Tensor
    var: Tensor

    def __init__(self, config: Mapping[str, Any], layer: int) -> None:
        super().__init__()
        from transformers import Wav2Vec2BertConfig, Wav2Vec2BertModel

        full = Wav2Vec2BertConfig(**config)
        if layer > full.num_hidden_layers:
            raise ConfigError(
                f"hidden state {layer} is wanted of a w2v-bert of {full.num_hidden_layers} layers",
                where="semantic_encoder.layer in config.yaml",
                fix="use the w2v-bert that belongs to this base",
            )
        cut = {**config, **CUT_SETTINGS, "num_hidden_layers": layer}
        self.network = Wav2Vec2BertModel(Wav2Vec2BertConfig(**cut))
        self.register_buffer("mean", torch.zeros(full.hidden_size))
        self.register_buffer("var", torch.ones(full.hidden_size))

    def forward(self, audios: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the features of a batch of clips; no clip's rows depend on its neighbours.

        Args:
            audios: One waveform ``[N]`` at 16 000 Hz a clip, in -1 ... 1.

        Returns:
            Features ``[B, T, F]`` float32, and the rows ``[B]`` int64 that belong to each clip.
            A last row that is half padding is one of them (Q5); what lies beyond means nothing.

        Raises:
            DataError: A clip is too short to analyse.
        """
        inputs, mask, lens = semantic_input(audios)
        device = self.mean.device
        return self.features_of(inputs.to(device), mask.to(device)), lens.to(device)

    def features_of(self, inputs: Tensor, mask: Tensor) -> Tensor:
        """Return ``[B, T, F]`` for the filter banks ``[B, T, 2 * M]``; ``mask`` True = real."""
        with torch.autocast(inputs.device.type, enabled=False):
            states: Tensor = self.network(inputs, attention_mask=mask).last_hidden_state
            return (states - self.mean) / torch.sqrt(self.var)


def semantic_state(
    weights: Mapping[str, Tensor], stats: Mapping[str, Tensor], layer: int
) -> dict[str, Tensor]:
    """Return the published tensors under the names that a :class:`SemanticEncoder` has.

    Args:
        weights: All tensors of the published w2v-bert.
        stats: ``mean`` and ``var`` ``[F]`` of the hidden state that is read.
        layer: The one given to the encoder; the layers behind it are left out.
    """
    kept = {f"network.{key}": value for key, value in weights.items() if _is_read(key, layer)}
    return kept | {name: stats[name] for name in ("mean", "var")}


def _is_read(key: str, layer: int) -> bool:
    numbered = LAYER_KEY.match(key)
    return key not in UNUSED_KEYS and (numbered is None or int(numbered[1]) < layer)
