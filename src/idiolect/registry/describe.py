"""One model of a folder, told from its files; what cannot be loaded says why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from idiolect.base.errors import RegistryError, SynthesisError, TokenizerError, UserError
from idiolect.models.checkpoint import CheckpointHeader, CheckpointOutline
from idiolect.models.memory import model_bytes
from idiolect.models.published import BaseFiles
from idiolect.models.safe_file import SAFE_SUFFIX, loaded_bytes
from idiolect.models.terms import terms_of
from idiolect.registry.detect import SHOWN_HASH, find_tokenizer, fits, tokenizer_of_hash
from idiolect.registry.entry import (
    FileRecord,
    ModelEntry,
    entry_path,
    name_of,
    read_entry,
    with_header,
)
from idiolect.registry.shelf import Kept, Shelf, Stamp, TokenizerFacts
from idiolect.registry.weights import outline_of
from idiolect.text.normalize import check_front_end
from idiolect.text.tokenizer import Tokenizer

BASE_NAME = "base"
BASE_LANGUAGES = ("zh", "en")
NO_WEIGHTS = CheckpointOutline(header=None, shapes={}, weight_bytes=0)


class Reader:
    """Reads models, each file once while it stays as it is; not for several threads at a time.

    Args:
        base: What the models run on; None when it is not there.
    """

    def __init__(self, base: BaseFiles | None) -> None:
        self.base = base
        self.shelf = Shelf()
        self._outlines: Kept[CheckpointOutline] = Kept()
        self._written: Kept[ModelEntry] = Kept()
        self._shared: tuple[object, int] | None = None

    def describe_base(self, base: BaseFiles) -> ModelEntry:
        """Return the base itself as an entry, the first in the dropdown."""
        tokenizer = Tokenizer.load(base.tokenizer)
        outline = self._outline(base.gpt)
        return ModelEntry(
            name=BASE_NAME,
            description="the published base" if base.config.mark is None else base.config.mark.name,
            languages=languages_of_base(base),
            checkpoint=record_of(base.gpt, base.gpt.parent),
            tokenizer=record_of(base.tokenizer, base.tokenizer.parent),
            vocab_size=tokenizer.vocab_size,
            version=base.config.version,
            base_name=base.config.mark.name if base.config.mark is not None else "",
            licence=terms_of(base.config).licence,
            weight_bytes=outline.weight_bytes,
            loaded_bytes=loaded_bytes(outline.shapes),
            vram_bytes=self.vram_bytes(loaded_bytes(outline.shapes)),
        )

    def describe(self, path: Path) -> ModelEntry:
        """Return the model whose weights are ``path``; never raises for a bad file."""
        size_bytes = self._stamp(path)[0]
        record = FileRecord(name=path.name, size_bytes=size_bytes)
        bare = ModelEntry(name=name_of(path), checkpoint=record)
        twin = path.with_suffix(".pth")
        if path.suffix == SAFE_SUFFIX and self.shelf.stamp(twin):
            return replace(bare, problem=f"{twin.name} is here, too, and has the same name")
        try:
            return self._read(path, bare)
        except UserError as error:
            return replace(bare, problem=error.problem, tokenizer=self._recorded_tokenizer(path))

    def vram_bytes(self, weights_bytes: int) -> int:
        """Return the GPU memory to speak with weights that take ``weights_bytes`` once loaded."""
        if self.base is None:
            return weights_bytes
        stamp = self.shelf.stamp(self.base.s2mel)
        if self._shared is None or self._shared[0] != stamp:
            self._shared = (stamp, model_bytes(NO_WEIGHTS, self.base))
        return weights_bytes + self._shared[1]

    def _read(self, path: Path, bare: ModelEntry) -> ModelEntry:
        written = self._entry_at(entry_path(path.parent, name_of(path)))
        if written is not None and (tokenizer := self._as_installed(path, written)):
            return self._with_memory(replace(written, vocab_size=tokenizer.vocab_size))
        outline = self._outline(path)
        if written is None or not speaks_of(written, path, outline):
            written = with_header(bare, outline.header or CheckpointHeader())
        tokenizer = find_tokenizer(
            path, outline, base_tokenizer=self._base_tokenizer(), shelf=self.shelf
        )
        check_pair(outline, tokenizer, where=path)
        entry = replace(
            written,
            checkpoint=replace(written.checkpoint, name=path.name),
            tokenizer=written.tokenizer or record_of(tokenizer.path, path.parent),
            vocab_size=tokenizer.vocab_size,
            weight_bytes=outline.weight_bytes,
            loaded_bytes=loaded_bytes(outline.shapes),
        )
        return self._with_memory(entry)

    def _as_installed(self, path: Path, written: ModelEntry) -> TokenizerFacts | None:
        """Return the tokenizer when the weights are, by size and time, those of the entry.

        They were checked when they were written, and are not opened again.
        """
        record, stamp = written.checkpoint, self.shelf.stamp(path)
        untouched = stamp is not None and stamp[:2] == (record.size_bytes, record.modified_ns)
        if not untouched or not written.loaded_bytes or written.tokenizer is None:
            return None
        check_front_end(written.front_end, where=path)
        return tokenizer_of_hash(path, written.tokenizer.sha256, self._base_tokenizer(), self.shelf)

    def _with_memory(self, entry: ModelEntry) -> ModelEntry:
        if entry.vram_is_measured:
            return entry
        return replace(entry, vram_bytes=self.vram_bytes(entry.loaded_bytes))

    def _outline(self, path: Path) -> CheckpointOutline:
        bases = [self.base.gpt] if self.base is not None else []
        return self._outlines.get(
            path, self._stamp(path), lambda each: outline_of(each, bases=bases)
        )

    def _entry_at(self, path: Path) -> ModelEntry | None:
        stamp = self.shelf.stamp(path)
        return None if stamp is None else self._written.get(path, stamp, read_entry)

    def _recorded_tokenizer(self, path: Path) -> FileRecord | None:
        try:
            written = self._entry_at(entry_path(path.parent, name_of(path)))
        except UserError:
            return None
        return written.tokenizer if written is not None else None

    def _base_tokenizer(self) -> Path | None:
        return self.base.tokenizer if self.base is not None else None

    def _stamp(self, path: Path) -> Stamp:
        return self.shelf.stamp(path) or (0, 0, 0)

    def forget_others(self, weights: list[Path]) -> None:
        """Forget the files of models that are not among ``weights`` any more."""
        own = {*weights, *([self.base.gpt] if self.base is not None else [])}
        self._outlines.forget_others(own)
        self._written.forget_others({entry_path(p.parent, name_of(p)) for p in weights})


def speaks_of(entry: ModelEntry, path: Path, outline: CheckpointOutline) -> bool:
    """Return whether ``entry`` still is of the weights in ``path``."""
    header = outline.header or CheckpointHeader()
    return entry.checkpoint.size_bytes == path.stat().st_size and entry.step == header.step


def check_pair(
    outline: CheckpointOutline, tokenizer: Tokenizer | TokenizerFacts, *, where: Path
) -> None:
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


def tells_language(languages: Sequence[str]) -> bool:
    """Return whether a model that speaks ``languages`` need not be told that of a text."""
    return len(languages) == 1 or set(languages) <= set(BASE_LANGUAGES)


def spoken_language(name: str, languages: Sequence[str], asked: str | None) -> str | None:
    """Return the language that a text for a model is read in.

    Args:
        name: Of the model.
        languages: What it speaks.
        asked: What the request says; None where it does not.

    Returns:
        None is the published choice by characters, for what the published base speaks.

    Raises:
        SynthesisError: None was asked for, and the model speaks several of its own.
    """
    if asked or len(languages) == 1:
        return asked or languages[0]
    if tells_language(languages):
        return None
    raise SynthesisError(
        f"{name} speaks {', '.join(languages)}: the text may be any of them",
        fix=f"say which language it is, such as {languages[0]}",
    )


def languages_of_base(base: BaseFiles) -> tuple[str, ...]:
    """Return what ``base`` speaks: what it says of itself, or what the published one does."""
    mark = base.config.mark
    return mark.languages if mark is not None and mark.languages else BASE_LANGUAGES


def record_of(path: Path, folder: Path) -> FileRecord:
    """Return ``path`` as a file of a model in ``folder``, without its hash.

    Raises:
        RegistryError: It was taken away.
    """
    name = path.relative_to(folder) if path.is_relative_to(folder) else path
    try:
        return FileRecord(name=str(name), size_bytes=path.stat().st_size)
    except OSError as error:
        raise RegistryError(f"{path.name} was taken away", where=str(folder)) from error
