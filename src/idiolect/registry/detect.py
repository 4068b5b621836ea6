"""Which tokenizer belongs to a file of weights: by identity, else by the guide's names.

A checkpoint of ours names its tokenizer by SHA-256, and no file name can overrule that. Of plain
weights only the number of text rows is known; then the guide's three naming options are tried in
order, and a tokenizer must have exactly as many pieces as the weights have rows for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from idiolect.base.errors import RegistryError, TokenizerError
from idiolect.base.hashes import sha256_file
from idiolect.models.checkpoint import CheckpointOutline
from idiolect.registry.entry import GPT_PREFIX, name_of, tokenizer_name
from idiolect.text.tokenizer import Tokenizer

TOKENIZERS_DIR = "tokenizers"
RUN_TOKENIZER_DIR = "tokenizer"
"""Beside the ``checkpoints`` of a training run, in the guide's tree."""
WORD_BREAK = re.compile(r"[_\-.]")
SHOWN_HASH = 12


def find_tokenizer(
    checkpoint: Path, outline: CheckpointOutline, *, base_tokenizer: Path | None = None
) -> Tokenizer:
    """Return the tokenizer of ``checkpoint``.

    Args:
        checkpoint: A file of GPT weights; its folder, and ``tokenizers`` in it, are searched.
        outline: Of that file.
        base_tokenizer: The base's own, which a model may have been trained with.

    Raises:
        RegistryError: There is none, or several fit equally well.
    """
    if outline.header is not None and outline.header.tokenizer_sha256:
        return _by_identity(checkpoint, outline.header.tokenizer_sha256, base_tokenizer)
    return _by_name(checkpoint, (outline.text_rows or 0) - 1)


def fits(tokenizer: Tokenizer, outline: CheckpointOutline) -> bool:
    """Return whether the text tables have one row for each piece, and the one row more."""
    return outline.text_rows == tokenizer.vocab_size + 1


def _by_identity(checkpoint: Path, wanted: str, base_tokenizer: Path | None) -> Tokenizer:
    folder = checkpoint.parent
    folders = (folder, folder / TOKENIZERS_DIR, folder.parent / RUN_TOKENIZER_DIR)
    candidates = [path for place in folders for path in _models_in(place)]
    if base_tokenizer is not None:
        candidates.append(base_tokenizer)
    hashes = {path: sha256_file(path) for path in candidates}
    match = next((path for path, found in hashes.items() if found == wanted), None)
    if match is None:
        seen = [f"{path.name} is {found[:SHOWN_HASH]}" for path, found in hashes.items()]
        raise RegistryError(
            f"{checkpoint.name} was trained with the tokenizer {wanted[:SHOWN_HASH]}, which is "
            f"not here; {', '.join(seen) or 'there is no tokenizer'}",
            where=str(folder),
            fix=f"copy the tokenizer of that training to {folder / _standard(checkpoint)}",
        )
    return Tokenizer.load(match)


def _by_name(checkpoint: Path, vocab_size: int) -> Tokenizer:
    seen: list[str] = []
    for option in _options(checkpoint):
        readable = [(path, _load(path)) for path in option]
        fitting = [t for _, t in readable if t is not None and t.vocab_size == vocab_size]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise _ambiguous(checkpoint, [tokenizer.path for tokenizer in fitting])
        seen += [f"{p.name} has {t.vocab_size if t else 'no'} pieces" for p, t in readable]
    raise RegistryError(
        f"no tokenizer for {checkpoint.name}, which needs one of {vocab_size} pieces"
        + (f"; {', '.join(seen)}" if seen else ""),
        where=str(checkpoint.parent),
        fix=f"copy its tokenizer to {checkpoint.parent / _standard(checkpoint)}",
    )


def _options(checkpoint: Path) -> list[list[Path]]:
    """Return the candidates of the guide's options, the surest first."""
    folder, name = checkpoint.parent, name_of(checkpoint)
    exact = [folder / f"{GPT_PREFIX}{name}_bpe.model", folder / tokenizer_name(name)]
    subfolder = folder / TOKENIZERS_DIR
    in_subfolder = [subfolder / path.name for path in reversed(exact)]
    return [
        *([path] for path in exact if path.is_file()),
        _containing(folder, checkpoint),
        *([path] for path in in_subfolder if path.is_file()),
        _containing(subfolder, checkpoint),
    ]


def _containing(folder: Path, checkpoint: Path) -> list[Path]:
    """Return the tokenizers whose name has the model's name in it, as whole words.

    Whole words, so that ``gpt_ca.pth`` does not take ``catalan_bpe.model``; and none that another
    file of weights has a better claim to.
    """
    words = WORD_BREAK.split(name_of(checkpoint))
    rivals = [name_of(p) for p in checkpoint.parent.glob(f"{GPT_PREFIX}*.pth") if p != checkpoint]
    longer = [other for other in map(WORD_BREAK.split, rivals) if _is_within(words, other)]
    return [
        path
        for path in _models_in(folder)
        if _is_within(words, found := WORD_BREAK.split(path.stem))
        and not any(_is_within(other, found) for other in longer)
    ]


def _is_within(words: Sequence[str], found: Sequence[str]) -> bool:
    count = len(words)
    runs = (list(found[start : start + count]) for start in range(len(found) - count + 1))
    return list(words) in runs


def _models_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.model") if path.is_file())


def _standard(checkpoint: Path) -> str:
    return tokenizer_name(name_of(checkpoint))


def _load(path: Path) -> Tokenizer | None:
    try:
        return Tokenizer.load(path)
    except TokenizerError:
        return None


def _ambiguous(checkpoint: Path, candidates: Iterable[Path]) -> RegistryError:
    names = ", ".join(str(path) for path in candidates)
    return RegistryError(
        f"several tokenizers could belong to {checkpoint.name}: {names}",
        where=str(checkpoint.parent),
        fix=f"rename the right one to {_standard(checkpoint)}",
    )
