"""Built at the published size, the GPT has the published keys, shapes and types."""

from __future__ import annotations

import json

import torch

from golden.fixtures import KEYS, OFFICIAL_CONFIG
from idiolect.models.config import read_base_config
from idiolect.models.gpt import UnifiedVoice


def test_the_gpt_has_the_published_keys_shapes_and_types():
    with torch.device("meta"):
        model = UnifiedVoice(read_base_config(OFFICIAL_CONFIG).gpt)

    got = {
        key: [list(tensor.shape), str(tensor.dtype).removeprefix("torch.")]
        for key, tensor in model.state_dict().items()
    }

    assert got == json.loads((KEYS / "gpt_v2.json").read_text())
