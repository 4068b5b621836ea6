"""Taking an installed model away: planned, shown, and then done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from idiolect.base.guard import check_output
from idiolect.registry.catalogue import Catalogue, entry_named
from idiolect.registry.change import changing
from idiolect.registry.detect import TOKENIZERS_DIR
from idiolect.registry.entry import ModelEntry, card_name, config_name, entry_path, tokenizer_name
from idiolect.registry.index import REGISTRY_FILE, rebuild_index


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """What removing a model would delete, and what would stay."""

    name: str
    model_dir: Path
    files: tuple[Path, ...]
    """In the order of deleting: the weights last, so that half a removal can be repeated."""
    shared: tuple[tuple[Path, str], ...]
    """Files that stay, each with the model that uses it."""
    size_bytes: int


def plan_removal(name: str, catalogue: Catalogue) -> Removal:
    """Return what removing ``name`` would delete; nothing is deleted yet.

    Only files of the model's folder, under the names that a model has there: what an entry says
    of other places is not followed.

    Raises:
        RegistryError: No such model is installed; the base is none.
        GuardError: A file of it is another name of one in a base folder.
    """
    entry = entry_named(name, catalogue)
    folder = catalogue.model_dir
    own = [entry_path(folder, entry.name), folder / card_name(entry.name)]
    own.append(folder / config_name(entry.name))
    tokenizers = _tokenizers(entry, folder)
    users = _users(entry, catalogue)
    shared = tuple((path, users[path.name]) for path in tokenizers if path.name in users)
    own += [path for path in tokenizers if path.name not in users]
    weights = folder / entry.checkpoint.name
    files = tuple(check_output(path) for path in (*own, weights) if path.is_file())
    return Removal(
        name=entry.name,
        model_dir=folder,
        files=files,
        shared=shared,
        size_bytes=sum(path.stat().st_size for path in files),
    )


def remove_model(removal: Removal) -> None:
    """Delete what ``removal`` lists."""
    with changing(removal.model_dir):
        for path in removal.files:
            check_output(path).unlink(missing_ok=True)
        if (removal.model_dir / REGISTRY_FILE).is_file():
            rebuild_index(removal.model_dir)


def _tokenizers(entry: ModelEntry, folder: Path) -> list[Path]:
    """Return the tokenizer that ``entry`` speaks with, and the one that is named after it."""
    names = {tokenizer_name(entry.name)}
    if entry.tokenizer is not None:
        names.add(entry.tokenizer.name)
    places = {folder / name for name in names if Path(name).name == name}
    subfolder = folder / TOKENIZERS_DIR
    places |= {folder / name for name in names if (folder / name).parent == subfolder}
    return sorted(path for path in places if path.is_file())


def _users(entry: ModelEntry, catalogue: Catalogue) -> dict[str, str]:
    """Return by file name the tokenizers of the other models, each with one that uses it."""
    others = [each for each in catalogue.models() if each.checkpoint.name != entry.checkpoint.name]
    return {
        Path(other.tokenizer.name).name: other.name
        for other in others
        if other.tokenizer is not None
    }
