"""The models in a folder (the guide's ``models``): listed, found by name, verified.

What ``idiolect install`` put there has an entry, ``gpt_<name>.json``; what was copied by hand is
told from the files. An entry is believed only while the weights beside it are still the ones that
it speaks of. ``registry.json`` is an index for others to read; nothing here depends on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from idiolect.base.config import to_mapping
from idiolect.base.errors import RegistryError, TokenizerError, UserError, did_you_mean
from idiolect.base.files import write_json
from idiolect.base.hashes import sha256_file
from idiolect.models.adapter import read_outline
from idiolect.models.checkpoint import CheckpointHeader, CheckpointOutline, read_header
from idiolect.models.config import BaseConfig, read_base_config
from idiolect.models.memory import model_bytes
from idiolect.models.published import BaseFiles, locate_base
from idiolect.registry.detect import SHOWN_HASH, find_tokenizer, fits
from idiolect.registry.entry import (
    GPT_PREFIX,
    FileRecord,
    ModelEntry,
    config_name,
    entry_path,
    name_of,
    read_entry,
    with_header,
    write_entry,
)
from idiolect.text.normalize import check_front_end
from idiolect.text.tokenizer import Tokenizer

BASE_NAME = "base"
BASE_LANGUAGES = ("zh", "en")
REGISTRY_FILE = "registry.json"


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


def list_models(model_dir: Path, base: BaseFiles | None = None) -> list[ModelEntry]:
    """Return the models in ``model_dir``, by name; one that cannot be loaded says why.

    Args:
        model_dir: The folder; one that does not exist holds no models.
        base: Of these models, for the GPU memory that the whole stack takes.
    """
    found = [_describe(path, base) for path in _checkpoints(Path(model_dir))]
    return sorted(found, key=lambda entry: entry.name)


def base_entry(base: BaseFiles) -> ModelEntry:
    """Return the base itself as an entry, the first in the dropdown."""
    tokenizer = Tokenizer.load(base.tokenizer)
    outline = read_header(base.gpt)
    return ModelEntry(
        name=BASE_NAME,
        description="the published base" if base.config.mark is None else base.config.mark.name,
        languages=languages_of_base(base),
        checkpoint=_record(base.gpt, base.gpt.parent),
        tokenizer=_record(base.tokenizer, base.tokenizer.parent),
        vocab_size=tokenizer.vocab_size,
        version=base.config.version,
        weight_bytes=outline.weight_bytes,
        vram_bytes=model_bytes(outline, base),
    )


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
    outline = read_outline(path, bases=[files.gpt])
    tokenizer = _tokenizer_of(path, outline, files)
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
    path = entry_path(Path(model_dir), name)
    if path.is_file():
        entry = replace(read_entry(path), vram_bytes=vram_bytes, vram_is_measured=True)
        write_entry(Path(model_dir), entry)


def rebuild_index(model_dir: Path) -> Path:
    """Write ``registry.json`` from the entries in ``model_dir``; return its path."""
    entries = [read_entry(path) for path in sorted(model_dir.glob(f"{GPT_PREFIX}*.json"))]
    models = {entry.name: {"label": entry.label, **to_mapping(entry)} for entry in entries}
    write_json(model_dir / REGISTRY_FILE, {"models": models})
    return model_dir / REGISTRY_FILE


def _checkpoints(model_dir: Path) -> Iterator[Path]:
    return (path for path in sorted(model_dir.glob(f"{GPT_PREFIX}*.pth")) if path.is_file())


def _describe(path: Path, base: BaseFiles | None) -> ModelEntry:
    """Never raises for a bad file: one must not hide the others."""
    bare = ModelEntry(name=name_of(path), checkpoint=_record(path, path.parent))
    try:
        outline = read_outline(path, bases=[base.gpt] if base is not None else [])
        entry = _entry_of(path, outline) or _detected(bare, outline)
        tokenizer = _tokenizer_of(path, outline, base)
    except UserError as error:
        return replace(bare, problem=error.problem)
    if base is not None and not entry.vram_is_measured:
        entry = replace(entry, vram_bytes=model_bytes(outline, base))
    return replace(
        entry,
        tokenizer=entry.tokenizer or _record(tokenizer.path, path.parent),
        vocab_size=tokenizer.vocab_size,
        weight_bytes=outline.weight_bytes,
    )


def _entry_of(path: Path, outline: CheckpointOutline) -> ModelEntry | None:
    """Return the entry beside ``path`` while it still speaks of these weights."""
    written = entry_path(path.parent, name_of(path))
    if not written.is_file():
        return None
    entry, header = read_entry(written), outline.header or CheckpointHeader()
    same_file = entry.checkpoint.size_bytes == path.stat().st_size and entry.step == header.step
    return entry if same_file else None


def _detected(bare: ModelEntry, outline: CheckpointOutline) -> ModelEntry:
    entry = with_header(bare, outline.header or CheckpointHeader())
    return replace(entry, vram_bytes=outline.weight_bytes)


def _tokenizer_of(path: Path, outline: CheckpointOutline, base: BaseFiles | None) -> Tokenizer:
    tokenizer = find_tokenizer(path, outline, base_tokenizer=base.tokenizer if base else None)
    check_pair(outline, tokenizer, where=path)
    return tokenizer


def check_pair(outline: CheckpointOutline, tokenizer: Tokenizer, *, where: Path) -> None:
    """Make sure that weights, tokenizer and text front-end belong together.

    Raises:
        TokenizerError: They do not; both hashes, sizes or identities are shown.
    """
    header = outline.header or CheckpointHeader()
    check_front_end(header.front_end, where=where)
    wanted = header.tokenizer_sha256
    if wanted and wanted != tokenizer.sha256:
        raise TokenizerError(
            f"{where.name} was trained with the tokenizer {wanted[:SHOWN_HASH]}, but "
            f"{tokenizer.path} is {tokenizer.sha256[:SHOWN_HASH]}",
            where=str(where),
            fix="give the tokenizer of that training: its --tokenizer",
        )
    if not fits(tokenizer, outline):
        raise TokenizerError(
            f"{where.name} has {outline.text_rows} text rows, but {tokenizer.path} has "
            f"{tokenizer.vocab_size} pieces, which takes {tokenizer.vocab_size + 1}",
            where=str(where),
            fix="give the tokenizer that these weights were trained with",
        )


def _resolve(name: str, model_dir: Path, base: BaseFiles) -> Path:
    if name in {BASE_NAME, base.gpt.name}:
        return base.gpt
    installed = {name_of(path): path for path in _checkpoints(model_dir)}
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


def languages_of_base(base: BaseFiles) -> tuple[str, ...]:
    """Return what ``base`` speaks: what it says of itself, or what the published one does."""
    mark = base.config.mark
    return mark.languages if mark is not None and mark.languages else BASE_LANGUAGES


def _languages(entry: ModelEntry | None, outline: CheckpointOutline) -> tuple[str, ...]:
    if entry is not None and entry.languages:
        return entry.languages
    return outline.header.languages if outline.header is not None else ()


def _record(path: Path, folder: Path) -> FileRecord:
    name = path.relative_to(folder) if path.is_relative_to(folder) else path
    return FileRecord(name=str(name), size_bytes=path.stat().st_size)


def _fault(record: FileRecord, folder: Path) -> str:
    path = folder / record.name
    if not path.is_file():
        return f"{record.name} is missing"
    return "" if sha256_file(path) == record.sha256 else f"{record.name} was changed"
