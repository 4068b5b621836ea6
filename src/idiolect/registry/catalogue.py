"""The models of a folder, as they are now: cheap to ask each second, from any thread.

Only headers are read, and only of what changed on disk since the last time; a file that was added,
copied over or taken away is seen by the next question.
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock

from idiolect.base.errors import RegistryError, did_you_mean
from idiolect.models.published import BaseFiles
from idiolect.registry.describe import Reader
from idiolect.registry.detect import RUN_TOKENIZER_DIR, TOKENIZERS_DIR
from idiolect.registry.entry import ModelEntry, entry_path, name_of
from idiolect.registry.shelf import Stamp


class Catalogue:
    """The base and the models that run on it.

    Args:
        model_dir: The folder of the models; one that does not exist holds none.
        base: What they run on; None when it is not there: only models are listed then.
    """

    def __init__(self, model_dir: Path, base: BaseFiles | None = None) -> None:
        self.model_dir = Path(model_dir)
        self.base = base
        self._reader = Reader(base)
        self._lock = Lock()
        self._seen: object = None
        self._shared: object = None
        self._generation = 0
        self._version = 0
        self._base_entry: tuple[object, ModelEntry] | None = None
        self._models: dict[Path, tuple[object, ModelEntry]] = {}
        self._listed: list[ModelEntry] = []

    def entries(self) -> list[ModelEntry]:
        """Return the base, then the models by name; one that cannot be loaded says why."""
        with self._lock:
            self._look()
            return list(self._listed)

    def models(self) -> list[ModelEntry]:
        """Return the models without the base, by name."""
        with self._lock:
            self._look()
            return self._listed[len(self._listed) - len(self._models) :]

    def by_label(self) -> dict[str, ModelEntry]:
        """Return what can be loaded, by what the page calls it; the base first."""
        return {entry.label: entry for entry in self.entries() if not entry.problem}

    def problems(self) -> list[str]:
        """Return why models of the folder cannot be offered, one line each."""
        return [
            f"{entry.checkpoint.name} is not offered: {entry.problem}"
            for entry in self.models()
            if entry.problem
        ]

    def version(self) -> int:
        """Return a number that grows whenever what is listed becomes another."""
        with self._lock:
            self._look()
            return self._version

    def _look(self) -> None:
        shelf = self._reader.shelf
        shelf.look_again()
        seen = self._state()
        if seen == self._seen:
            return
        self._note_shared()
        weights = shelf.weights_in(self.model_dir)
        self._models = {path: self._model(path) for path in weights}
        self._reader.forget_others(weights)
        models = sorted((entry for _, entry in self._models.values()), key=lambda each: each.name)
        listed = [*self._base(), *models]
        self._version += listed != self._listed
        self._listed, self._seen = listed, seen

    def _state(self) -> object:
        """Return what decides what is listed: every file that could have a say."""
        files = [self._reader.shelf.files_in(folder) for folder in self._folders()]
        return (*files, self._base_state())

    def _folders(self) -> tuple[Path, ...]:
        folder = self.model_dir
        return (folder, folder / TOKENIZERS_DIR, folder.parent / RUN_TOKENIZER_DIR)

    def _base_state(self) -> tuple[Stamp | None, ...]:
        if self.base is None:
            return ()
        shelf = self._reader.shelf
        files = (self.base.gpt, self.base.tokenizer, self.base.s2mel)
        return tuple(shelf.stamp(path) for path in files)

    def _note_shared(self) -> None:
        """Notice whether anything changed that has a say in every model."""
        shelf = self._reader.shelf
        tokenizers = [p for folder in self._folders() for p in shelf.tokenizers_in(folder)]
        shared = (
            shelf.weights_in(self.model_dir),  # a name may have a better claim to a tokenizer
            [(path, shelf.stamp(path)) for path in tokenizers],
            self._base_state(),
        )
        if shared != self._shared:
            self._shared = shared
            self._generation += 1

    def _model(self, path: Path) -> tuple[object, ModelEntry]:
        """Return ``path`` described; anew when anything that has a say changed."""
        shelf, written = self._reader.shelf, entry_path(path.parent, name_of(path))
        state = (shelf.stamp(path), shelf.stamp(written), self._generation)
        kept = self._models.get(path)
        if kept is not None and kept[0] == state:
            return kept
        return state, self._reader.describe(path)

    def _base(self) -> list[ModelEntry]:
        if self.base is None:
            return []
        if self._base_entry is None or self._base_entry[0] != self._base_state():
            self._base_entry = (self._base_state(), self._reader.describe_base(self.base))
        return [self._base_entry[1]]


def entry_named(name: str, catalogue: Catalogue) -> ModelEntry:
    """Return the installed model that is called ``name``, or whose file is.

    Raises:
        RegistryError: There is none.
    """
    models = catalogue.models()
    for entry in models:
        if name in {entry.name, entry.checkpoint.name}:
            return entry
    raise RegistryError(
        f"{name!r} is not installed",
        where=str(catalogue.model_dir),
        fix=did_you_mean(name, [entry.name for entry in models]),
    )
