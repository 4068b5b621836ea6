"""Which tokenizer belongs to a file of weights: by identity, else by the guide's names.

A checkpoint of ours names its tokenizer by SHA-256, and no file name can overrule that. Of plain
weights only the number of text rows is known; then the guide's three naming options are tried in
order, and a tokenizer must have exactly as many pieces as the weights have rows for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from idiolect.base.errors import RegistryError
from idiolect.models.checkpoint import CheckpointOutline
from idiolect.registry.entry import GPT_PREFIX, name_of, tokenizer_name
from idiolect.registry.shelf import Shelf, TokenizerFacts
from idiolect.text.tokenizer import Tokenizer

TOKENIZERS_DIR = "tokenizers"
RUN_TOKENIZER_DIR = "tokenizer"
"""Beside the ``checkpoints`` of a training run, in the guide's tree."""
WORD_BREAK = re.compile(r"[_\-.]")
SHOWN_HASH = 12
SHOWN = 10
"""Tokenizers that are named where the right one is not among them."""


def find_tokenizer(
    checkpoint: Path,
    outline: CheckpointOutline,
    *,
    base_tokenizer: Path | None = None,
    shelf: Shelf | None = None,
) -> TokenizerFacts:
    """Return the tokenizer of ``checkpoint``.

    Args:
        checkpoint: A file of GPT weights; its folder, and ``tokenizers`` in it, are searched.
        outline: Of that file.
        base_tokenizer: The base's own, which a model may have been trained with.
        shelf: What was read before, of tokenizers that several models may share.

    Raises:
        RegistryError: There is none, or several fit equally well.
    """
    shelf = shelf or Shelf()
    if outline.header is not None and outline.header.tokenizer_sha256:
        wanted = outline.header.tokenizer_sha256
        found = tokenizer_of_hash(checkpoint, wanted, base_tokenizer, shelf)
        if found is None:
            raise _absent(checkpoint, wanted, base_tokenizer, shelf)
        return found
    return _by_name(checkpoint, (outline.text_rows or 0) - 1, shelf)


def tokenizer_of_hash(
    checkpoint: Path, wanted: str, base_tokenizer: Path | None, shelf: Shelf
) -> TokenizerFacts | None:
    """Return the tokenizer of ``checkpoint`` with the hash ``wanted``; None when it is not here.

    Of several copies, the one that is named after the model.
    """
    folders = _searched(checkpoint)
    found = [path for place in folders for path in shelf.tokenizers_of(wanted, place)]
    if base_tokenizer is not None and shelf.tokenizer(base_tokenizer).sha256 == wanted:
        found.append(base_tokenizer)
    if not found:
        return None
    own = {f"{GPT_PREFIX}{_standard(checkpoint)}", _standard(checkpoint)}
    return shelf.tokenizer(next((path for path in found if path.name in own), found[0]))


def fits(tokenizer: Tokenizer | TokenizerFacts, outline: CheckpointOutline) -> bool:
    """Return whether the text tables have one row for each piece, and the one row more."""
    return outline.text_rows == tokenizer.vocab_size + 1


def _searched(checkpoint: Path) -> tuple[Path, ...]:
    folder = checkpoint.parent
    return (folder, folder / TOKENIZERS_DIR, folder.parent / RUN_TOKENIZER_DIR)


def _absent(
    checkpoint: Path, wanted: str, base_tokenizer: Path | None, shelf: Shelf
) -> RegistryError:
    paths = [path for place in _searched(checkpoint) for path in shelf.tokenizers_in(place)]
    known = [shelf.tokenizer(path) for path in (*paths, *filter(None, [base_tokenizer]))]
    seen = [f"{each.path.name} is {each.sha256[:SHOWN_HASH]}" for each in known]
    more = f" and {len(seen) - SHOWN} more" if len(seen) > SHOWN else ""
    return RegistryError(
        f"{checkpoint.name} was trained with the tokenizer {wanted[:SHOWN_HASH]}, which is "
        f"not here; {', '.join(seen[:SHOWN]) or 'there is no tokenizer'}{more}",
        where=str(checkpoint.parent),
        fix=f"copy the tokenizer of that training to {checkpoint.parent / _standard(checkpoint)}",
    )


def _by_name(checkpoint: Path, vocab_size: int, shelf: Shelf) -> TokenizerFacts:
    seen: list[str] = []
    for option in _options(checkpoint, shelf):
        known = [shelf.tokenizer(path) for path in option]
        fitting = [each for each in known if each.vocab_size == vocab_size]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise _ambiguous(checkpoint, [tokenizer.path for tokenizer in fitting])
        seen += [f"{each.path.name} has {each.vocab_size or 'no'} pieces" for each in known]
    raise RegistryError(
        f"no tokenizer for {checkpoint.name}, which needs one of {vocab_size} pieces"
        + (f"; {', '.join(seen)}" if seen else ""),
        where=str(checkpoint.parent),
        fix=f"copy its tokenizer to {checkpoint.parent / _standard(checkpoint)}",
    )


def _options(checkpoint: Path, shelf: Shelf) -> list[list[Path]]:
    """Return the candidates of the guide's options, the surest first."""
    folder, name = checkpoint.parent, name_of(checkpoint)
    exact = [folder / f"{GPT_PREFIX}{name}_bpe.model", folder / tokenizer_name(name)]
    subfolder = folder / TOKENIZERS_DIR
    in_subfolder = [subfolder / path.name for path in reversed(exact)]
    return [
        *([path] for path in exact if shelf.stamp(path)),
        _containing(folder, checkpoint, shelf),
        *([path] for path in in_subfolder if shelf.stamp(path)),
        _containing(subfolder, checkpoint, shelf),
    ]


def _containing(folder: Path, checkpoint: Path, shelf: Shelf) -> list[Path]:
    """Return the tokenizers whose name has the model's name in it, as whole words.

    Whole words, so that ``gpt_ca.pth`` does not take ``catalan_bpe.model``; and none that another
    file of weights has a better claim to.
    """
    words = WORD_BREAK.split(name_of(checkpoint))
    rivals = [name_of(p) for p in shelf.weights_in(checkpoint.parent) if p != checkpoint]
    longer = [other for other in map(WORD_BREAK.split, rivals) if _is_within(words, other)]
    return [
        path
        for path in shelf.tokenizers_in(folder)
        if _is_within(words, found := WORD_BREAK.split(path.stem))
        and not any(_is_within(other, found) for other in longer)
    ]


def _is_within(words: Sequence[str], found: Sequence[str]) -> bool:
    count = len(words)
    runs = (list(found[start : start + count]) for start in range(len(found) - count + 1))
    return list(words) in runs


def _standard(checkpoint: Path) -> str:
    return tokenizer_name(name_of(checkpoint))


def _ambiguous(checkpoint: Path, candidates: Iterable[Path]) -> RegistryError:
    names = ", ".join(str(path) for path in candidates)
    return RegistryError(
        f"several tokenizers could belong to {checkpoint.name}: {names}",
        where=str(checkpoint.parent),
        fix=f"rename the right one to {_standard(checkpoint)}",
    )
