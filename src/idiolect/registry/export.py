"""A model as a folder of its own, to be passed on: a plain copy of it is an installed model.

What is passed on says nothing of the machine where it was made: of every absolute path among the
settings and the data, the last name is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Literal

import torch
from torch import Tensor

from idiolect.base.errors import RegistryError
from idiolect.base.files import copy_file, write_text
from idiolect.base.guard import check_output
from idiolect.base.hashes import sha256_file
from idiolect.models.checkpoint import CheckpointHeader, Weights, save_checkpoint
from idiolect.models.loading import gpt_weights
from idiolect.models.safe_file import SAFE_SUFFIX, save_safe
from idiolect.models.terms import PUBLISHED_TERMS, terms_of
from idiolect.registry.card import model_card
from idiolect.registry.catalogue import Catalogue, entry_named
from idiolect.registry.entry import (
    GPT_PREFIX,
    FileRecord,
    ModelEntry,
    card_name,
    config_name,
    entry_path,
    tokenizer_name,
    write_entry,
)
from idiolect.registry.install import check_disk
from idiolect.registry.weights import weights_of

Form = Literal["safetensors", "pth"]
Precision = Literal["float32", "bf16"]
DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}
SUFFIXES = {"safetensors": SAFE_SUFFIX, "pth": ".pth"}
LICENCES = ("LICENSE*", "LICENCE*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportForm:
    """In which form a model is passed on."""

    form: Form = "safetensors"
    """safetensors, which nothing can hide code in, or pth, which the published program reads."""
    precision: Precision = "float32"
    """float32, or bf16 in half of the bytes: about three digits of each weight are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written."""

    entry: ModelEntry
    files: tuple[Path, ...]

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(path.stat().st_size for path in self.files)


def export_model(
    name: str, catalogue: Catalogue, folder: Path, form: ExportForm, *, force: bool = False
) -> Exported:
    """Write the model ``name`` with all that belongs to it to ``folder``.

    Args:
        name: Of an installed model.
        catalogue: Where it is.
        folder: Made when it is not there.
        form: How the weights are written.
        force: Write over what is there.

    Raises:
        RegistryError: There is no such model, it cannot be loaded, ``folder`` has something of
            these names, or the disk is too small.
        GuardError: ``folder`` is a base.
    """
    check_output(folder)
    entry = entry_named(name, catalogue)
    _check_sound(entry, catalogue)
    weights_path = folder / f"{GPT_PREFIX}{entry.name}{SUFFIXES[form.form]}"
    check_output(weights_path)
    _check_new(weights_path, catalogue, force=force)
    source = catalogue.model_dir / entry.checkpoint.name
    bases = [catalogue.base.gpt] if catalogue.base is not None else []
    size_bytes = entry.loaded_bytes * DTYPES[form.precision].itemsize // torch.float32.itemsize
    check_disk(folder, size_bytes)
    weights, header = weights_of(source, bases=bases)
    weights = _in_precision(gpt_weights(weights), DTYPES[form.precision])
    header = _header(header, entry, catalogue)
    if form.form == "pth":
        save_checkpoint(weights_path, weights, header)
    else:
        save_safe(weights_path, weights, header)
    return _write_rest(entry, catalogue, weights_path, weights)


def _check_sound(entry: ModelEntry, catalogue: Catalogue) -> None:
    if entry.problem or entry.tokenizer is None:
        raise RegistryError(
            f"{entry.checkpoint.name} cannot be loaded: {entry.problem}",
            where=str(catalogue.model_dir),
            fix="mend that first; idiolect models verify says which file is another",
        )


def _check_new(weights_path: Path, catalogue: Catalogue, *, force: bool) -> None:
    folder = weights_path.parent
    if folder.resolve() == catalogue.model_dir.resolve():
        raise RegistryError(
            "this is the folder of the installed models",
            where=str(folder),
            fix="choose a folder of its own",
        )
    if not force and any(folder.glob(f"{weights_path.stem}.*")):
        raise RegistryError(
            f"{weights_path.stem} is there already",
            where=str(folder),
            fix="choose another folder, or write over it with --force",
        )


def _in_precision(weights: Mapping[str, Tensor], dtype: torch.dtype) -> Weights:
    return {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for name, tensor in weights.items()
    }


def _header(
    header: CheckpointHeader | None, entry: ModelEntry, catalogue: Catalogue
) -> CheckpointHeader:
    """Return the header without the paths of this machine; one of the entry where there is none."""
    known = header or CheckpointHeader(languages=entry.languages, base_version=entry.version)
    terms = terms_of(catalogue.base.config) if catalogue.base is not None else PUBLISHED_TERMS
    assert entry.tokenizer is not None
    return replace(
        known,
        tokenizer_sha256=known.tokenizer_sha256 or _sha256_of(entry, catalogue),
        vocab_size=entry.vocab_size,
        languages=known.languages or entry.languages,
        licence=known.licence or entry.licence or terms.licence,
        settings=without_paths(known.settings),
        data=without_paths(known.data),
    )


def _sha256_of(entry: ModelEntry, catalogue: Catalogue) -> str:
    assert entry.tokenizer is not None
    return entry.tokenizer.sha256 or sha256_file(catalogue.model_dir / entry.tokenizer.name)


def _write_rest(
    entry: ModelEntry, catalogue: Catalogue, weights_path: Path, weights: Weights
) -> Exported:
    """Write what belongs to the weights, the entry after all else."""
    folder, source = weights_path.parent, catalogue.model_dir
    assert entry.tokenizer is not None
    tokenizer = folder / tokenizer_name(entry.name)
    copy_file(source / entry.tokenizer.name, tokenizer)
    config = folder / config_name(entry.name)
    if (source / config.name).is_file():
        copy_file(source / config.name, config)
    else:
        config.unlink(missing_ok=True)
    told = replace(
        entry,
        checkpoint=_record(weights_path),
        tokenizer=_record(tokenizer),
        config=_record(config) if config.is_file() else None,
        data=without_paths(entry.data),
        weight_bytes=sum(tensor.nbytes for tensor in weights.values()),
    )
    card = folder / card_name(entry.name)
    write_text(card, model_card(told))
    licences = _copy_licences(catalogue, folder)
    _forget_other_forms(weights_path)
    write_entry(folder, told)
    files = [weights_path, tokenizer, config, card, *licences, entry_path(folder, entry.name)]
    return Exported(entry=told, files=tuple(path for path in files if path.is_file()))


def _forget_other_forms(weights_path: Path) -> None:
    """Delete the same model in the form that an export before this one wrote."""
    for suffix in set(SUFFIXES.values()) - {weights_path.suffix}:
        check_output(weights_path.with_suffix(suffix)).unlink(missing_ok=True)


def _copy_licences(catalogue: Catalogue, folder: Path) -> list[Path]:
    """Copy the licences that go with the model; the base's asks for it."""
    sources = [catalogue.model_dir]
    if catalogue.base is not None:
        sources.append(catalogue.base.folder)
    found = {
        path.name: path
        for place in reversed(sources)
        for pattern in LICENCES
        for path in sorted(place.glob(pattern))
        if path.is_file()
    }
    for name, path in found.items():
        copy_file(path, folder / name)
    return [folder / name for name in found]


def _record(path: Path) -> FileRecord:
    return FileRecord(name=path.name, size_bytes=path.stat().st_size, sha256=sha256_file(path))


def without_paths(value: Any) -> Any:
    """Return ``value`` (plain values) with every absolute path cut down to its last name."""
    if isinstance(value, str):
        for kind in (PurePosixPath, PureWindowsPath):
            if (path := kind(value)).is_absolute():
                return path.name
        return value
    if isinstance(value, Mapping):
        return {name: without_paths(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(without_paths(part) for part in value)
    return value
