"""The models in a folder (the guide's ``models``): listed, found by name, verified.

What ``idiolect install`` put there has an entry, ``gpt_<name>.json``; what was copied by hand is
told from the files. An entry is believed only while the weights beside it are still the ones that
it speaks of.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from idiolect.base.errors import RegistryError, did_you_mean
from idiolect.base.hashes import sha256_file
from idiolect.models.checkpoint import CheckpointHeader, CheckpointOutline
from idiolect.models.config import BaseConfig, read_base_config
from idiolect.models.published import BaseFiles, locate_base
from idiolect.registry.catalogue import Catalogue
from idiolect.registry.change import change_entry
from idiolect.registry.describe import (
    BASE_NAME,
    Reader,
    check_pair,
    languages_of_base,
    speaks_of,
)
from idiolect.registry.detect import find_tokenizer
from idiolect.registry.entry import (
    FileRecord,
    ModelEntry,
    config_name,
    entry_path,
    name_of,
    read_entry,
)
from idiolect.registry.shelf import Shelf
from idiolect.registry.weights import outline_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """Everything that it takes to speak with a model."""

    name: str
    gpt: Path
    tokenizer: Path
    config: BaseConfig
    base: BaseFiles
    languages: tuple[str, ...]
    header: CheckpointHeader | None

    @property
    def learnt_durations(self) -> bool:
        """Whether the model was trained with ``--duration-control``."""
        return self.header is not None and bool(self.header.settings.get("duration_control"))


def list_models(model_dir: Path, base: BaseFiles | None = None) -> list[ModelEntry]:
    """Return the models in ``model_dir``, by name; one that cannot be loaded says why.

    Args:
        model_dir: The folder; one that does not exist holds no models.
        base: Of these models, for the GPU memory that the whole stack takes.
    """
    return Catalogue(model_dir, base).models()


def base_entry(base: BaseFiles) -> ModelEntry:
    """Return the base itself as an entry, the first in the dropdown."""
    return Reader(base).describe_base(base)


def find_model(name: str | Path, model_dir: Path, base: BaseFiles | Path) -> ModelFiles:
    """Return the files of the model that ``name`` names.

    Args:
        name: ``base``, an installed name (``catalan``), its file (``gpt_catalan.pth``), or a path.
        model_dir: Where installed models are.
        base: The base that it runs on.

    Raises:
        RegistryError: There is no such model, or it has no tokenizer of its own.
        TokenizerError: The tokenizer beside it belongs to another model, or the model was trained
            with another text front-end.
        CheckpointError: Its weights are damaged.
    """
    files = base if isinstance(base, BaseFiles) else locate_base(base)
    path = _resolve(str(name), Path(model_dir), files)
    if path.resolve() == files.gpt.resolve():
        return _base_model(files)
    outline = outline_of(path, bases=[files.gpt])
    tokenizer = find_tokenizer(path, outline, base_tokenizer=files.tokenizer)
    check_pair(outline, tokenizer, where=path)
    config_path = path.parent / config_name(name_of(path))
    entry = _entry_of(path, outline)
    return ModelFiles(
        name=name_of(path),
        gpt=path,
        tokenizer=tokenizer.path,
        config=read_base_config(config_path) if config_path.is_file() else files.config,
        base=files,
        languages=_languages(entry, outline),
        header=outline.header,
    )


def verify_model(name: str, model_dir: Path) -> list[str]:
    """Return what is wrong with the files of an installed model; nothing is an empty list.

    Raises:
        RegistryError: It has no entry to compare with.
    """
    path = entry_path(Path(model_dir), name)
    if not path.is_file():
        raise RegistryError(
            f"{name!r} was not installed, so there is no record of its files",
            where=str(model_dir),
            fix="install it with: idiolect install",
        )
    entry = read_entry(path)
    records = [entry.checkpoint, entry.tokenizer, entry.config]
    faults = (_fault(record, path.parent) for record in records if record is not None)
    return [fault for fault in faults if fault]


def record_vram(name: str, model_dir: Path, vram_bytes: int) -> None:
    """Keep the GPU memory that was measured when ``name`` was loaded, if it has an entry."""
    model_dir = Path(model_dir)
    if entry_path(model_dir, name).is_file():
        change_entry(
            name,
            model_dir,
            lambda entry: replace(entry, vram_bytes=vram_bytes, vram_is_measured=True),
        )


def _entry_of(path: Path, outline: CheckpointOutline) -> ModelEntry | None:
    """Return the entry beside ``path`` while it still speaks of these weights."""
    written = entry_path(path.parent, name_of(path))
    if not written.is_file():
        return None
    entry = read_entry(written)
    return entry if speaks_of(entry, path, outline) else None


def _resolve(name: str, model_dir: Path, base: BaseFiles) -> Path:
    if name in {BASE_NAME, base.gpt.name}:
        return base.gpt
    # Backwards, so that of two files of one name the first counts: a .pth before safetensors.
    weights = reversed(Shelf().weights_in(model_dir))
    installed = {name_of(path): path for path in weights}
    by_file = {path.name: path for path in installed.values()}
    if path := installed.get(name) or by_file.get(name):
        return path
    if Path(name).is_file():
        return Path(name)
    raise RegistryError(
        f"{name!r} is not installed",
        where=str(model_dir),
        fix=did_you_mean(name, [BASE_NAME, *installed]),
    )


def _base_model(files: BaseFiles) -> ModelFiles:
    return ModelFiles(
        name=BASE_NAME,
        gpt=files.gpt,
        tokenizer=files.tokenizer,
        config=files.config,
        base=files,
        languages=languages_of_base(files),
        header=None,
    )


def _languages(entry: ModelEntry | None, outline: CheckpointOutline) -> tuple[str, ...]:
    if entry is not None and entry.languages:
        return entry.languages
    return outline.header.languages if outline.header is not None else ()


def _fault(record: FileRecord, folder: Path) -> str:
    path = folder / record.name
    if not path.is_file():
        return f"{record.name} is missing"
    return "" if sha256_file(path) == record.sha256 else f"{record.name} was changed"
