"""When each piece of a text is said, as a recogniser hears it."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from idiolect.listening.spelling import spelling
from idiolect.nano.alignment import best_path, letters_said, pieces_of_letters
from registry_kit import make_tokenizer

TEXT = "Where did you put it? On the table, of course."


def _spelled(path: list[int], letters: list[int]) -> list[int]:
    """The letters of a path of states, repeats once and silence left out."""
    states = [state for place, state in enumerate(path) if not place or state != path[place - 1]]
    return [letters[state // 2] for state in states if state % 2]


@given(st.lists(st.integers(1, 3), min_size=1, max_size=3), st.integers(0, 10_000))
def test_the_path_is_the_likeliest_of_all_that_spell_the_text(letters: list[int], seed: int):
    num_frames = 2 * len(letters)
    generator = torch.Generator().manual_seed(seed)
    log_probs = torch.randn(1, num_frames, 4, generator=generator).log_softmax(dim=-1)
    (path,) = best_path(log_probs, torch.tensor([num_frames]), [torch.tensor(letters)]).tolist()
    assert _spelled(path, letters) == letters
    rows = [letters[state // 2] if state % 2 else 0 for state in path]
    found = sum(float(log_probs[0, t, row]) for t, row in enumerate(rows))
    best = max(
        sum(float(log_probs[0, t, row]) for t, row in enumerate(frames))
        for frames in product(range(4), repeat=num_frames)
        if _collapsed(frames) == letters
    )
    assert found == pytest.approx(best, abs=1e-4)


def _collapsed(frames: tuple[int, ...]) -> list[int]:
    kept = [row for place, row in enumerate(frames) if not place or row != frames[place - 1]]
    return [row for row in kept if row]


def test_a_clip_has_the_same_path_in_any_batch():
    generator = torch.Generator().manual_seed(1)
    log_probs = torch.randn(2, 12, 5, generator=generator).log_softmax(dim=-1)
    rows = [torch.tensor([1, 2, 2, 3]), torch.tensor([4])]
    both = best_path(log_probs, torch.tensor([12, 5]), rows)
    alone = best_path(log_probs[1:, :5], torch.tensor([5]), rows[1:])
    assert both[1, :5].tolist() == alone[0].tolist()


def test_a_frame_belongs_to_the_nearest_letter():
    path = np.array([0, 1, 0, 0, 0, 0, 3, 3, 4])
    assert letters_said(path, 2).tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1]


def test_letters_without_a_frame_share_the_clip_evenly():
    assert letters_said(np.zeros(6, dtype=np.int64), 3).tolist() == [0, 0, 1, 1, 2, 2]


def test_every_letter_stands_in_the_piece_that_spells_it(tmp_path: Path):
    tokenizer = make_tokenizer(tmp_path / "bpe.model", [TEXT] * 3, vocab_size=60)
    places = pieces_of_letters(tokenizer, TEXT, "en")
    letters, pieces = spelling(TEXT, "en"), tokenizer.split(TEXT, "en")
    assert len(places) == len(letters)
    assert (np.diff(places) >= 0).all()
    for letter, place in zip(letters, places, strict=True):
        assert letter in pieces[place].replace("▁", " ").lower()
