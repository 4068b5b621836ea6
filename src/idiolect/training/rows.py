"""Text rows that the base lacks: they know nothing yet, and may learn at a pace of their own.

AdamW takes no notice of how long a gradient is, so a pace is set by what a step does to a row: the
row goes only a part of the way, or further.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from idiolect.base.errors import ConfigError
from idiolect.text.tokenizer import Tokenizer

ROW_TABLES = ("text_embedding.weight", "text_head.weight", "text_head.bias")
"""A row of each belongs to one piece of the tokenizer."""


def new_rows(tokenizer: Tokenizer, base: Tokenizer, num_rows: int) -> Tensor:
    """Return which of ``num_rows`` text rows are of pieces that ``base`` lacks, ``[V]`` bool."""
    known = set(base.all_pieces())
    is_new = torch.zeros(num_rows, dtype=torch.bool)
    is_new[: tokenizer.vocab_size] = torch.tensor([p not in known for p in tokenizer.all_pieces()])
    return is_new


def check_new_rows(is_new: Tensor, *, where: str) -> None:
    """Refuse to teach new rows where there are none.

    Raises:
        ConfigError: The base has every piece of the tokenizer.
    """
    if not bool(is_new.any()):
        raise ConfigError(
            "the tokenizer has no piece that the base lacks, so there is no new row to learn",
            where=where,
            fix="leave it out; or train a tokenizer of the language: idiolect tokenizer --help",
        )


class RowRates:
    """How far a step goes for the new text rows, and whether anything else moves.

    Args:
        gpt: Whose tables hold the rows.
        is_new: ``[V]`` bool.
        new_share: Learning rate of the new rows, as a share of that of the rest.
        alone_until: Last step in which nothing but new rows moves; None is every step.
    """

    def __init__(
        self, gpt: nn.Module, is_new: Tensor, *, new_share: float, alone_until: int | None
    ) -> None:
        named = dict(gpt.named_parameters())
        self._tables = [named[name] for name in ROW_TABLES if named[name].requires_grad]
        own = {id(table) for table in self._tables}
        self._others = [p for p in gpt.parameters() if id(p) not in own]
        self._is_new = is_new
        self._new_share = new_share
        self._alone_until = alone_until

    def keep_others_still(self, step: int) -> None:
        """Drop the gradients of all but new rows, while these learn alone."""
        if not self._are_alone(step):
            return
        for parameter in self._others:
            parameter.grad = None
        for table in self._tables:
            if table.grad is not None:
                table.grad.mul_(self._by_row(self._is_new, table))

    @contextmanager
    def applied(self, step: int) -> Iterator[None]:
        """Scale what an optimizer step does to each row."""
        before = [table.detach().clone() for table in self._tables]
        yield
        others = 0.0 if self._are_alone(step) else 1.0
        shares = torch.where(self._is_new, self._new_share, others)
        with torch.no_grad():
            for table, old in zip(self._tables, before, strict=True):
                table.copy_(torch.lerp(old, table, self._by_row(shares, table)))

    def _are_alone(self, step: int) -> bool:
        return self._alone_until is None or step <= self._alone_until

    def _by_row(self, values: Tensor, table: Tensor) -> Tensor:
        """Return ``values`` ``[V]`` as wide as ``table``, laid out as it is."""
        wide = values.to(table.device, table.dtype)
        wide = wide.view(-1, *[1] * (table.dim() - 1)).expand(table.shape)
        if isinstance(table, DTensor):
            return distribute_tensor(wide.contiguous(), table.device_mesh, table.placements)
        return wide
