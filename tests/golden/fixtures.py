"""Reading the golden fixtures: small networks with given weights, inputs and expected outputs.

The folder is ``tests/golden/data``, or the one that ``IDIOLECT_GOLDEN`` names; every size comes
from the fixture's own JSON, so another set of the same form runs through the same tests.
"""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

HERE = Path(__file__).parent / "data"
FOLDER = Path(os.environ.get("IDIOLECT_GOLDEN", HERE))
KEYS = HERE / "keys"
OFFICIAL_CONFIG = HERE / "config_v2_official.yaml"


@dataclass(frozen=True)
class Fixture:
    meta: dict[str, Any]
    state: dict[str, Tensor]
    ins: dict[str, Tensor]
    outs: dict[str, Tensor]

    @property
    def config(self) -> dict[str, Any]:
        return self.meta["config"]

    def state_of(self, prefix: str) -> dict[str, Tensor]:
        """The tensors below ``prefix/``, without it."""
        return {k[len(prefix) :]: v for k, v in self.state.items() if k.startswith(prefix)}

    def check(self, name: str, got: Tensor) -> None:
        """Compare ``got`` with the output ``name`` by the entry's own rule and tolerance."""
        want, entry = self.outs[name], self.meta["outputs"][name]
        assert tuple(got.shape) == tuple(want.shape), f"{name}: {got.shape} != {want.shape}"
        if entry.get("compare") == "exact":
            assert torch.equal(got.to(want.dtype), want), name
            return
        got, want = got.double(), want.double()
        infinite = torch.isinf(want)
        assert torch.equal(torch.isinf(got), infinite), f"{name}: infinities elsewhere"
        error = (got - want)[~infinite].abs()
        bound = entry["atol"] + entry["rtol"] * want[~infinite].abs()
        worst = (error / bound).max().item() if error.numel() else 0.0
        assert worst <= 1, f"{name}: {worst:.2f} times the tolerance"


def read_json(name: str) -> Any:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def load_fixture(name: str) -> Fixture:
    meta, data = read_json(f"{name}.json"), load_file(FOLDER / f"{name}.safetensors")
    seed = meta.get("state", {}).get("seed", 0)
    state = {}
    for key, entry in meta.get("state", {}).get("tensors", {}).items():
        if f"state.{key}" in data:
            state[key] = data[f"state.{key}"]
        elif entry["source"] == "recipe":
            state[key] = _from_recipe(key, entry, seed)
    ins = {k.removeprefix("in."): v for k, v in data.items() if k.startswith("in.")}
    outs = {k.removeprefix("out."): v for k, v in data.items() if k.startswith("out.")}
    return Fixture(meta, state, ins, outs)


def _from_recipe(key: str, entry: dict[str, Any], seed: int) -> Tensor:
    numbers = np.random.RandomState((zlib.crc32(key.encode()) + seed) % 2**32)
    uniform = numbers.random_sample(int(np.prod(entry["shape"], dtype=np.int64)))
    values = entry["lo"] + (entry["hi"] - entry["lo"]) * uniform
    return torch.from_numpy(values.astype(np.float32).reshape(entry["shape"]))
