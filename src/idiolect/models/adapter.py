"""Low-rank adapters: a small training beside weights that stay as they are.

A map of a block is ``x W + b``, W ``[in, out]``; adapted, it is ``x W + b + s (x Aᵀ) Bᵀ`` with A
``[rank, in]``, B ``[out, rank]`` and ``s = alpha / rank``. B begins at zero, so that the first step
begins at the base. What has no map trains whole: the text rows, which a new language needs, and the
last norms.

While it trains, ``peft`` holds the adapters. Merging is a product and a sum and needs torch only,
so whoever installs such a checkpoint does without ``peft``.

Source:
    Hu et al. 2021, "LoRA: low-rank adaptation of large language models", section 4.1.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from idiolect.base.errors import CheckpointError, ConfigError
from idiolect.base.extras import import_extra
from idiolect.base.hashes import sha256_file
from idiolect.models.checkpoint import (
    SHOWN_DIFFERENCES,
    AdapterRecord,
    CheckpointHeader,
    CheckpointOutline,
    Weights,
    load_checkpoint,
    load_tensors,
    parts_of,
    shape_differences,
    shapes_of,
)

ADAPTED_MAPS = re.compile(r"gpt\.h\.\d+\.(attn\.(c_attn|c_proj)|mlp\.(c_fc|c_proj))$")
TRAINED_WHOLE = re.compile(r"(text_embedding|text_head|final_norm|gpt\.ln_f)\.")
DOWN, UP = ".lora_A.weight", ".lora_B.weight"
"""How A and B of a map are called in a file, behind the name of the map."""
PEFT_ADAPTER = ".default."
"""What peft puts into the names of the adapter that it calls so."""

Whole = tuple[Weights, CheckpointHeader | None]
Loader = Callable[[Path], Whole]


def add_adapters(gpt: nn.Module, *, rank: int, alpha: float, seed: int) -> None:
    """Let adapters of the maps of ``gpt`` learn, and what trains whole; all else stays.

    What was frozen before stays frozen: a map whose weight does not learn gets no adapter.

    Args:
        gpt: Changed in place.
        rank: Of every adapter.
        alpha: Adapters count for ``alpha / rank``.
        seed: Of the numbers that A begins with.

    Raises:
        ConfigError: ``peft`` is not installed, or nothing is left to learn.
    """
    learns = {name for name, parameter in gpt.named_parameters() if parameter.requires_grad}
    maps = [n for n, _ in gpt.named_modules() if ADAPTED_MAPS.match(n) and f"{n}.weight" in learns]
    whole = [name for name in learns if TRAINED_WHOLE.match(name)]
    if not maps and not whole:
        raise ConfigError(
            "nothing is left to learn: neither a map to adapt, nor a text row, nor a last norm",
            where="--freeze, --mode lora",
            fix="freeze less",
        )
    gpt.requires_grad_(requires_grad=False)
    if maps:
        _inject(gpt, maps, rank=rank, alpha=alpha, seed=seed)
    for name in whole:
        gpt.get_parameter(name).requires_grad_()


def _inject(gpt: nn.Module, maps: Sequence[str], *, rank: int, alpha: float, seed: int) -> None:
    """Put peft's layers in the place of ``maps``."""
    peft = import_extra("peft", extra="lora", where="--mode lora")
    layers = import_extra("peft.tuners.lora", extra="lora", where="--mode lora")
    for name in maps:
        sizes = zip(
            ("in_features", "out_features"), gpt.get_parameter(f"{name}.weight").shape, strict=True
        )
        vars(gpt.get_submodule(name)).update(sizes)  # where peft looks for them
    config = peft.LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=list(maps), fan_in_fan_out=True
    )
    # peft's way for classes that it does not know ("custom modules" in its developers' guide).
    config._register_custom_module({type(gpt.get_submodule(maps[0])): layers.Linear})
    # It warns of every class that is not torch's own, also of one that was registered.
    quiet = warnings.catch_warnings(action="ignore", category=UserWarning)
    with quiet, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        peft.inject_adapter_in_model(config, gpt)


def is_adapted(weights: Mapping[str, Tensor]) -> bool:
    """Tell whether ``weights``, of a network or a file, hold adapters."""
    return any(".lora_A." in name for name in weights)


def adapter_weights(state: Mapping[str, Tensor]) -> Weights:
    """Return what adapters add to a base, of the ``state_dict`` of an adapted GPT.

    The names are those of the file: ``gpt.h.0.attn.c_attn.lora_A.weight``, and the published ones
    of what trains whole.
    """
    return {_file_name(name): state[name] for name in state if _is_trained(name)}


def load_adapters(gpt: nn.Module, weights: Mapping[str, Tensor], *, where: Path) -> None:
    """Give the adapted ``gpt`` the ``weights`` that :func:`adapter_weights` returned.

    Raises:
        CheckpointError: They are of adapters at other places, or of other sizes.
    """
    names = {_file_name(name): name for name in gpt.state_dict() if _is_trained(name)}
    wanted = shapes_of(adapter_weights(gpt.state_dict()))
    if lines := shape_differences(wanted, shapes_of(weights)):
        shown = "\n".join(f"  {line}" for line in lines[:SHOWN_DIFFERENCES])
        raise CheckpointError(
            f"these adapters do not fit: {len(lines)} differences\n{shown}",
            where=str(where),
            fix="go on with the --lora-rank and the --freeze of the run that wrote them",
        )
    gpt.load_state_dict({names[name]: weights[name] for name in weights}, strict=False)


def _is_trained(name: str) -> bool:
    return ".lora_" in name or TRAINED_WHOLE.match(name) is not None


def _file_name(name: str) -> str:
    return name.replace(PEFT_ADAPTER, ".")


def merge_adapters(
    base: Mapping[str, Tensor], trained: Mapping[str, Tensor], adapter: AdapterRecord
) -> Weights:
    """Return the whole weights, under the published names, in the order of ``base``.

    A map with an adapter is float32; what did not learn is as it is in ``base``, bit for bit.

    Args:
        base: What the adapters were trained beside.
        trained: Of :func:`adapter_weights`, as a checkpoint holds it.
        adapter: What its header says of it.

    Raises:
        CheckpointError: ``base`` has no map, or one of another size, for an adapter.
    """
    merged = {name: trained.get(name, tensor) for name, tensor in base.items()}
    scale = adapter.alpha / adapter.rank
    for down in (name for name in trained if name.endswith(DOWN)):
        stem = down.removesuffix(DOWN)
        a, b, weight = trained[down], trained.get(stem + UP), base.get(f"{stem}.weight")
        if b is None or weight is None or weight.shape != (a.shape[1], b.shape[0]):
            raise CheckpointError(
                f"there is no map {stem} for the adapter of this name",
                fix="give the base that these adapters were trained beside",
            )
        merged[f"{stem}.weight"] = weight.float() + scale * (b.float() @ a.float()).mT
    return merged


def average_adapters(
    parts: Sequence[Mapping[str, Tensor]], adapter: AdapterRecord
) -> tuple[Weights, AdapterRecord]:
    """Return adapters that merge to the mean of what each of ``parts`` merges to, exactly.

    The mean of products is not the product of the means: so their ranks stand side by side.

    Args:
        parts: Of one run, as checkpoints hold them.
        adapter: What their headers say.
    """
    count = len(parts)
    averaged = {}
    for name in parts[0]:
        tensors = [part[name] for part in parts]
        if name.endswith(DOWN):
            averaged[name] = torch.cat(tensors)
        elif name.endswith(UP):
            averaged[name] = torch.cat(tensors, dim=1) / count
        else:
            averaged[name] = torch.stack(tensors).mean(0)
    return averaged, replace(adapter, rank=count * adapter.rank, alpha=count * adapter.alpha)


def open_weights(path: Path, *, bases: Sequence[Path] = ()) -> Whole:
    """Return the whole weights in ``path`` and their header; adapters come merged.

    Args:
        path: A checkpoint, published or ours, whole or of adapters.
        bases: Files of weights that adapters may have been trained beside; the one that their
            header names is tried too.

    Raises:
        CheckpointError: As :func:`load_checkpoint`; or no base is the one that the adapters were
            trained beside: the hashes are shown.
    """
    return _open(path, bases, load_checkpoint)


def read_outline(path: Path, *, bases: Sequence[Path] = ()) -> CheckpointOutline:
    """Return what :func:`open_weights` would return, as an outline; no weights are read.

    Raises:
        CheckpointError: As :func:`open_weights`.
    """
    weights, header = _open(path, bases, _load_shapes)
    size_bytes = sum(tensor.nbytes for tensor in weights.values())
    return CheckpointOutline(header=header, shapes=shapes_of(weights), weight_bytes=size_bytes)


def _open(path: Path, bases: Sequence[Path], load: Loader) -> Whole:
    weights, header = load(path)
    if header is None or header.adapter is None:
        return weights, header
    base, _ = _open(_base_of(header.adapter, bases, path), bases, load)
    return merge_adapters(base, weights, header.adapter), replace(header, adapter=None)


def _load_shapes(path: Path) -> Whole:
    weights, header = parts_of(load_tensors(path), path)
    return {name: tensor.to("meta") for name, tensor in weights.items()}, header


def _base_of(adapter: AdapterRecord, bases: Sequence[Path], path: Path) -> Path:
    """Return the file that ``adapter`` of ``path`` was trained beside."""
    hashes = {}
    for base in (*bases, Path(adapter.base_path)):
        if base.is_file() and base not in hashes:
            hashes[base] = sha256_file(base)
            if hashes[base] == adapter.base_sha256:
                return base
    found = "".join(f"\n  {base}: {digest}" for base, digest in hashes.items())
    raise CheckpointError(
        f"{path.name} holds adapters beside other weights, SHA-256\n  {adapter.base_sha256}"
        f"\nwhich is not here:{found or ' no base'}",
        where=str(path),
        fix=f"give the base that it was trained from, {adapter.base_path} then: --base DIR",
    )
