"""Files of weights: read without executing anything, written whole or not at all.

A checkpoint of ours is ``{"model": {name: tensor}, "header": {plain values}}``. The names and
shapes are the published ones, so the published inference code loads it as it is; the header says
what made it. A published file has no header and may be the bare mapping of tensors. A checkpoint of
adapters holds what was trained alone, and its header says so: see :mod:`idiolect.models.adapter`.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from idiolect.base.config import from_mapping, to_mapping
from idiolect.base.errors import CheckpointError, ConfigError
from idiolect.base.files import atomic_path
from idiolect.base.log import get_logger
from idiolect.text.tokenizer import START_ID, STOP_ID, UNKNOWN_ID, Tokenizer

FORMAT_VERSION = 2
SHOWN_DIFFERENCES = 3
SPACE_PIECE = "▁"
LEFT_OUT_COST = 1000
"""Of a character that no piece covers, in pieces: it is left out only when it must be."""
ZIP_MAGIC = b"PK\x03\x04"
TORCH_MAGIC = b"\x80\x02\x8a\x0a"
"""How files of weights begin, those of today and those before torch 1.6."""

Weights = dict[str, Tensor]
Shapes = dict[str, tuple[int, ...]]

TEXT_TABLES = ("text_embedding.weight", "text_head.weight", "text_head.bias")
"""The tensors with one row for each piece of the tokenizer, and one row more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterRecord:
    """What adapters are, of a checkpoint that holds these only and no whole GPT."""

    rank: int
    alpha: float
    """They count for ``alpha / rank``."""
    base_sha256: str
    """Of the file of weights that they were trained beside."""
    base_path: str = ""
    """Where it lay then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointHeader:
    """What a checkpoint is: what it was made from, with what, and how far."""

    format_version: int = FORMAT_VERSION
    step: int = 0
    epoch: int = 0
    base_sha256: str = ""
    """Of the base's ``gpt.pth``."""
    base_version: str = "2.0"
    base_name: str = ""
    """Of a base that is not the published one."""
    tokenizer_sha256: str = ""
    vocab_size: int = 0
    languages: tuple[str, ...] = ()
    front_end: dict[str, str] = field(default_factory=dict)
    """Language to the identity of the text front-end that it was trained with."""
    code_positions: str = "decode"
    """Which position rows the codes were trained on: ``decode`` or ``published``."""
    data: dict[str, Any] = field(default_factory=dict)
    """Manifests, hours, clips and speakers it was trained on."""
    settings: dict[str, Any] = field(default_factory=dict)
    """The settings of the run that made it."""
    scores: dict[str, float] = field(default_factory=dict)
    licence: str = ""
    adapter: AdapterRecord | None = None
    """None when the weights are whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointOutline:
    """What can be told of a checkpoint without reading its weights."""

    header: CheckpointHeader | None
    shapes: Shapes
    weight_bytes: int

    @property
    def text_rows(self) -> int | None:
        """Rows of the text embedding; None when this is no GPT."""
        shape = self.shapes.get(TEXT_TABLES[0])
        return shape[0] if shape else None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferReport:
    """Where the text rows of a new vocabulary came from."""

    carried: int
    """Pieces that the base has too: their rows, bit for bit."""
    composed: int
    """Pieces that the base spells with several of its own: the mean of their rows."""
    new: int
    """Pieces that the base cannot spell: the mean of all its rows."""
    new_examples: tuple[str, ...] = ()

    def summary(self) -> str:
        """Return one line for the log of a run."""
        line = f"vocabulary: {self.carried} rows carried over, {self.composed} composed"
        line += f", {self.new} new"
        return line + (f" ({' '.join(self.new_examples)})" if self.new_examples else "")


def load_tensors(path: Path | str, *, mmap: bool = True) -> Any:
    """Return what ``path`` holds, on the CPU; nothing in the file is executed.

    Args:
        path: A ``.pth``, ``.pt`` or ``.bin`` of tensors and plain values, or a ``.safetensors``.
        mmap: Leave the tensors on disk until they are read. They then follow the file if somebody
            writes into it, so weights that live long are read with False.

    Raises:
        CheckpointError: The file is missing, truncated, not a file of weights, or holds code.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no such file of weights: {path}", fix="check the path")
    with path.open("rb") as handle:
        magic = handle.read(len(ZIP_MAGIC))
        if not mmap and hasattr(os, "posix_fadvise"):  # the disk works while tensors are made
            os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)
    if path.suffix != ".safetensors" and magic not in {ZIP_MAGIC, TORCH_MAGIC}:
        raise _damaged(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        mmap = mmap and magic == ZIP_MAGIC
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        raise _refusal(path, str(error)) from error
    except Exception as error:  # damage makes the unpickler stumble in any way
        raise _damaged(path) from error


def load_checkpoint(path: Path | str) -> tuple[Weights, CheckpointHeader | None]:
    """Return the weights of ``path`` and its header, which a published file does not have.

    Raises:
        CheckpointError: As :func:`load_tensors`; or the content is no checkpoint, or newer than
            this program.
    """
    return parts_of(load_tensors(path, mmap=False), Path(path))


def read_header(path: Path | str) -> CheckpointOutline:
    """Return header, shapes and size of the weights of ``path`` without reading the weights.

    Raises:
        CheckpointError: As :func:`load_checkpoint`.
    """
    weights, header = parts_of(load_tensors(path), Path(path))
    return CheckpointOutline(
        header=header,
        shapes=shapes_of(weights),
        weight_bytes=sum(tensor.nbytes for tensor in weights.values()),
    )


def parts_of(content: Any, path: Path) -> tuple[Weights, CheckpointHeader | None]:
    """Return the weights and the header in the ``content`` of ``path``.

    Raises:
        CheckpointError: It is no checkpoint, or newer than this program.
    """
    values = content.get("header") if isinstance(content, dict) else None
    found = content.get("model", content) if isinstance(content, dict) else None
    weights: dict[Any, Any] = found if isinstance(found, dict) else {}
    strangers = [
        k for k, v in weights.items() if not (isinstance(k, str) and isinstance(v, Tensor))
    ]
    if not weights or strangers:
        detail = f"{strangers[0]!r} is no tensor" if strangers else "it holds no named tensors"
        raise CheckpointError(
            f"not a checkpoint: {detail}", where=str(path), fix="give a file of GPT weights"
        )
    return weights, _header(values, path) if isinstance(values, dict) else None


def map_weights(path: Path) -> Weights:
    """Return the weights in ``path``, left on disk until they are read.

    Raises:
        CheckpointError: As :func:`parts_of`.
    """
    return parts_of(load_tensors(path), path)[0]


def save_checkpoint(
    path: Path, weights: Mapping[str, Tensor], header: CheckpointHeader | None = None
) -> None:
    """Write ``weights`` and ``header`` to ``path``, whole or not at all.

    Raises:
        GuardError: ``path`` lies in a base folder.
    """
    content: dict[str, Any] = {"model": {name: _compact(t) for name, t in weights.items()}}
    if header is not None:
        content["header"] = to_mapping(header)
    save_tensors(path, content)


def save_tensors(path: Path, content: object) -> None:
    """Write ``content`` (tensors and plain values) to ``path``; equal content, equal bytes."""
    # A handle and not a path: torch writes the name of the file into the archive.
    with atomic_path(path) as partial, partial.open("wb") as out:
        try:
            torch.save(content, out)
        except RuntimeError as error:
            # Closing the archive fails too, and hides why it could not be written.
            raise error.__context__ if isinstance(error.__context__, OSError) else error from None


def weights_digest(module: nn.Module) -> str:
    """Return the SHA-256 of all tensors of ``module``: whoever computes it, and with what."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def shapes_of(weights: Mapping[str, Tensor]) -> Shapes:
    """Return the shape of each tensor."""
    return {name: tuple(tensor.shape) for name, tensor in weights.items()}


def shape_differences(
    wanted: Mapping[str, Sequence[int]], found: Mapping[str, Sequence[int]]
) -> list[str]:
    """Return how ``found`` (a file) differs from ``wanted`` (a network), one line a tensor."""
    lines = []
    for name in wanted:
        if name not in found:
            lines.append(f"{name}: not in the file")
        elif tuple(wanted[name]) != tuple(found[name]):
            lines.append(f"{name}: {list(wanted[name])} expected, {list(found[name])} in the file")
    return lines + [f"{name}: not in the network" for name in found if name not in wanted]


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], *, where: Path | str) -> None:
    """Give ``module`` (also one built on the meta device) the tensors of a file.

    Raises:
        CheckpointError: The module lacks one, or has it in another shape; the first three
            differences are shown. What the file has beyond the module is passed over, and said.
    """
    wanted, found = shapes_of(module.state_dict()), shapes_of(weights)
    lines = shape_differences(wanted, found)
    if any(wanted[name] != found.get(name) for name in wanted):
        shown = "\n".join(f"  {line}" for line in lines[:SHOWN_DIFFERENCES])
        raise CheckpointError(
            f"these weights do not fit {type(module).__name__}: {len(lines)} differences in "
            f"{len(wanted)} tensors\n{shown}",
            where=str(where),
            fix="give the file and the config.yaml that belong together",
        )
    if lines:
        get_logger().warning("%s: %d tensors are not used, %s ...", where, len(lines), lines[0])
    module.load_state_dict({name: weights[name] for name in wanted}, assign=True)


def transfer_vocabulary(
    weights: Mapping[str, Tensor], base_tokenizer: Tokenizer, new_tokenizer: Tokenizer
) -> tuple[Weights, TransferReport]:
    """Return ``weights`` with text rows for ``new_tokenizer``, carried over by piece.

    A piece of the base keeps its row wherever its id went; another starts as the mean of the base
    pieces that spell it; the row behind the last piece stays behind the last piece.

    Raises:
        CheckpointError: The weights were not made with ``base_tokenizer``.
    """
    base, new = base_tokenizer.all_pieces(), new_tokenizer.all_pieces()
    _check_rows(weights, base_tokenizer)
    speller = Speller(base)
    # Start, stop and unknown are what they are by their id, whatever the files call them.
    special = [[index] for index in (START_ID, STOP_ID, UNKNOWN_ID)]
    sources = special + [speller.spell(piece) for piece in new[len(special) :]]
    tables = {name: _compose_rows(weights[name], sources) for name in TEXT_TABLES}
    unspelt = [piece for piece, source in zip(new, sources, strict=True) if not source]
    carried = len(special) + sum(piece in speller.ids for piece in new[len(special) :])
    report = TransferReport(
        carried=carried,
        composed=len(new) - carried - len(unspelt),
        new=len(unspelt),
        new_examples=tuple(unspelt[:10]),
    )
    return {**weights, **tables}, report


class Speller:
    """Spells new pieces with those of a base."""

    def __init__(self, base_pieces: Sequence[str]) -> None:
        self.ids = {piece: index for index, piece in enumerate(base_pieces)}
        self.alphabet = set("".join(base_pieces))
        self.longest = max(map(len, base_pieces))

    def spell(self, piece: str) -> list[int]:
        """Return the fewest base ids that spell ``piece``; empty when there are none.

        A character that the base lacks is replaced by its letter without marks (``È`` by ``E``),
        or else left out.
        """
        if piece in self.ids:
            return [self.ids[piece]]
        text = "".join(map(self._known_form, piece))
        return self._fewest_pieces(text) if text.strip(SPACE_PIECE) else []

    def _known_form(self, character: str) -> str:
        forms = (character, *unicodedata.normalize("NFKD", character))
        return next((form for form in forms if form in self.alphabet), "")

    def _fewest_pieces(self, text: str) -> list[int]:
        best: list[tuple[int, list[int]]] = [(0, [])]  # best[n]: cost and ids of n characters
        for end in range(1, len(text) + 1):
            cost, ids = best[end - 1]
            ways = [(cost + LEFT_OUT_COST, ids)]
            for start in range(max(0, end - self.longest), end):
                if (index := self.ids.get(text[start:end])) is not None:
                    cost, ids = best[start]
                    ways.append((cost + 1, [*ids, index]))
            best.append(min(ways, key=lambda way: way[0]))
        return best[-1][1]


def _compose_rows(table: Tensor, sources: Sequence[Sequence[int]]) -> Tensor:
    """Return a table with one row for each of ``sources``, and the last row of ``table``."""
    default = table[:-1].float().mean(0)
    rows = [_mean_row(table, ids, default) for ids in sources]
    return torch.stack([*rows, table[-1]])


def _mean_row(table: Tensor, ids: Sequence[int], default: Tensor) -> Tensor:
    if len(ids) == 1:
        return table[ids[0]]
    row = table[list(ids)].float().mean(0) if ids else default
    return row.to(table.dtype)


def _check_rows(weights: Mapping[str, Tensor], tokenizer: Tokenizer) -> None:
    for name in TEXT_TABLES:
        if name not in weights:
            raise CheckpointError(f"these weights have no {name!r}", fix="give a GPT of IndexTTS-2")
        rows = len(weights[name])
        if rows != tokenizer.vocab_size + 1:
            raise CheckpointError(
                f"{name} has {rows} rows, but the tokenizer {tokenizer.path} has "
                f"{tokenizer.vocab_size} pieces, which takes {tokenizer.vocab_size + 1}",
                fix="give the tokenizer that these weights were trained with",
            )


def _header(values: dict[str, Any], path: Path) -> CheckpointHeader:
    # First the version: a newer header may have new fields.
    version = values.get("format_version", 0)
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise CheckpointError(
            f"format {version} is newer than this program's {FORMAT_VERSION}",
            where=str(path),
            fix="upgrade idiolect",
        )
    try:
        return from_mapping(CheckpointHeader, values, where=str(path))
    except ConfigError as error:
        raise CheckpointError(
            f"the header is damaged: {error.problem}", where=str(path), fix="use another copy"
        ) from error


def _compact(tensor: Tensor) -> Tensor:
    """Return ``tensor`` on the CPU, alone in its storage: a view would save what it looks into."""
    tensor = tensor.detach().cpu().contiguous()
    shared = tensor.untyped_storage().nbytes() != tensor.nbytes
    return tensor.clone() if shared else tensor


def _refusal(path: Path, message: str) -> CheckpointError:
    found = re.search(r"GLOBAL ([\w.]+)", message)
    if found is None:
        return _damaged(path)
    return CheckpointError(
        f"this file holds Python objects, not only weights: it asks for {found[1]}",
        where=str(path),
        fix="nothing was executed; get the file from its author as safetensors or plain weights",
    )


def _damaged(path: Path) -> CheckpointError:
    return CheckpointError(
        f"not a file of weights, or only half of one ({path.stat().st_size} bytes)",
        where=str(path),
        fix="copy or download it again, and compare its SHA-256 with the source's",
    )
