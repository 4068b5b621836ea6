"""Whatever the two vocabularies are, a carried row is bit-equal and nothing else is lost."""

from pathlib import Path

import torch
from hypothesis import given
from hypothesis import strategies as st

from idiolect.models.checkpoint import TEXT_TABLES, transfer_vocabulary

SPECIAL = ["<s>", "</s>", "<unk>"]
PIECES = st.lists(
    st.text(alphabet="ABCÀ▁·Ж", min_size=1, max_size=4), min_size=1, max_size=20, unique=True
)


class Pieces:
    path = Path("pieces.model")

    def __init__(self, pieces: list[str]) -> None:
        self.pieces = SPECIAL + pieces
        self.vocab_size = len(self.pieces)

    def all_pieces(self) -> list[str]:
        return self.pieces


def weights_for(tokenizer: Pieces) -> dict[str, torch.Tensor]:
    rows = tokenizer.vocab_size + 1
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(rows, 3, generator=generator)
    return {name: table if name != "text_head.bias" else table[:, 0] for name in TEXT_TABLES}


@given(base=PIECES, new=PIECES)
def test_every_carried_row_is_bit_equal_and_every_piece_is_counted(base, new):
    old, other = Pieces(base), Pieces(new)
    weights = weights_for(old)

    moved, report = transfer_vocabulary(weights, old, other)

    assert report.carried + report.composed + report.new == other.vocab_size
    for name in TEXT_TABLES:
        assert len(moved[name]) == other.vocab_size + 1
        assert torch.isfinite(moved[name]).all()
        assert torch.equal(moved[name][-1], weights[name][-1])
        for index, piece in enumerate(other.pieces):
            if piece in old.pieces:
                assert torch.equal(moved[name][index], weights[name][old.pieces.index(piece)])


@given(pieces=PIECES)
def test_a_transfer_to_the_same_vocabulary_changes_nothing(pieces):
    tokenizer = Pieces(pieces)
    weights = weights_for(tokenizer)

    moved, report = transfer_vocabulary(weights, tokenizer, Pieces(pieces))

    assert report.carried == tokenizer.vocab_size
    assert all(torch.equal(moved[name], weights[name]) for name in weights)


@given(pieces=PIECES, data=st.data())
def test_there_and_back_again_changes_nothing(pieces, data):
    shuffled = data.draw(st.permutations(pieces))
    first, second = Pieces(pieces), Pieces(shuffled)
    weights = weights_for(first)

    back, _ = transfer_vocabulary(transfer_vocabulary(weights, first, second)[0], second, first)

    assert all(torch.equal(back[name], weights[name]) for name in weights)
