"""When each piece of a text is said: the likeliest path of the recogniser through its letters.

``B`` is batch, ``T`` code frames, ``A`` rows of the recogniser's head, ``L`` letters of a text,
``S`` states of a path: a silence before, between and behind the letters, ``2 * L + 1``.

Source:
    Graves et al. 2006, "Connectionist temporal classification", section 4.1; of all paths the best
    one is kept instead of their sum.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from idiolect.base.progress import track
from idiolect.listening.spelling import spelling, to_rows
from idiolect.nano.codec import Ear, Features
from idiolect.nano.stage import device_at_hand, halved
from idiolect.text.extend_bpe import WORD_MARK
from idiolect.text.tokenizer import Tokenizer

BATCH_CLIPS = 48
IMPOSSIBLE = -1e9


@torch.inference_mode()
def align_pieces(
    features: Features,
    ear: Ear,
    texts: Sequence[tuple[str, str]],
    places: Sequence[int],
    tokenizer: Tokenizer,
) -> dict[int, NDArray[np.int64]]:
    """Return, for each code frame of the clips at ``places``, the piece of the text that is said.

    Args:
        features: Of all clips.
        ear: What spells them.
        texts: Text and language of every clip.
        places: Of the clips that are wanted.
        tokenizer: What cuts the texts.

    Returns:
        By place of the clip ``[T]``, counting the pieces from 0; texts without a letter have none.
    """
    targets = {place: torch.tensor(to_rows(spelling(*texts[place]))) for place in places}
    lengths = np.diff(features.ends, prepend=0)
    spelled = [place for place in places if len(targets[place])]
    order = sorted(spelled, key=lambda place: lengths[place])
    found = {}
    device = device_at_hand()
    ear = ear.to(device)
    for first in track(range(0, len(order), BATCH_CLIPS), "aligning texts", unit="batches"):
        batch = order[first : first + BATCH_CLIPS]
        x, lens = features.batch(batch)
        mask = torch.arange(x.shape[1]) < lens[:, None]
        with halved(device):
            log_probs = ear(x.to(device), mask.to(device)).float().log_softmax(dim=-1).cpu()
        rows = [targets[place] for place in batch]
        states = best_path(log_probs, lens, rows)
        for place, path, length, letters in zip(batch, states, lens.tolist(), rows, strict=True):
            letter = letters_said(path[:length].numpy(), len(letters))
            found[place] = pieces_of_letters(tokenizer, *texts[place])[letter]
    return found


def best_path(log_probs: Tensor, lens: Tensor, targets: Sequence[Tensor]) -> Tensor:
    """Return the state of the likeliest path in each frame, ``[B, T]``; beyond a clip's end 0.

    Args:
        log_probs: ``[B, T, A]``; row 0 is silence.
        lens: Frames of each clip, ``[B]``.
        targets: The rows of its letters, ``[L]`` each, one at least.
    """
    extended = [_with_silence(target) for target in targets]
    sizes = torch.tensor([len(row) for row in extended])
    labels = pad_sequence(extended, batch_first=True)  # [B, S]
    B, S = labels.shape
    emitted = log_probs.gather(2, labels[:, None].expand(-1, log_probs.shape[1], -1))  # [B, T, S]
    may_skip = torch.zeros(B, S, dtype=torch.bool)
    may_skip[:, 2:] = (labels[:, 2:] != 0) & (labels[:, 2:] != labels[:, :-2])
    score = torch.full((B, S), IMPOSSIBLE)
    score[:, :2] = emitted[:, 0, :2]
    came = torch.zeros(log_probs.shape[1], B, S, dtype=torch.long)  # how many states back
    final = score
    for t in range(1, log_probs.shape[1]):
        one, two = _shifted(score, 1), _shifted(score, 2).where(may_skip, IMPOSSIBLE)
        best, came[t] = torch.stack([score, one, two]).max(dim=0)
        score = best + emitted[:, t]
        is_last = lens == t + 1
        final = torch.where(is_last[:, None], score, final)
    return _traced_back(final, came, lens, sizes)


def _with_silence(target: Tensor) -> Tensor:
    row = torch.zeros(2 * len(target) + 1, dtype=torch.long)
    row[1::2] = target
    return row


def _shifted(score: Tensor, by: int) -> Tensor:
    return torch.nn.functional.pad(score, (by, 0), value=IMPOSSIBLE)[:, :-by]


def _traced_back(final: Tensor, came: Tensor, lens: Tensor, sizes: Tensor) -> Tensor:
    rows = torch.arange(len(final))
    last, before = sizes - 1, (sizes - 2).clamp(min=0)
    state = torch.where(final[rows, last] >= final[rows, before], last, before)
    path = torch.zeros(len(final), len(came), dtype=torch.long)
    for t in reversed(range(len(came))):
        is_real = t < lens
        path[:, t] = torch.where(is_real, state, 0)
        state = torch.where(is_real, state - came[t, rows, state], state)
    return path


def letters_said(path: NDArray[np.int64], num_letters: int) -> NDArray[np.int64]:
    """Return the letter that is said in each frame, ``[T]``: the one whose frames are nearest."""
    middles = np.full(num_letters, np.nan)
    for letter in range(num_letters):
        frames = np.flatnonzero(path == 2 * letter + 1)
        middles[letter] = frames.mean() if len(frames) else np.nan
    known = np.flatnonzero(~np.isnan(middles))
    if not len(known):
        return np.minimum(np.arange(len(path)) * num_letters // len(path), num_letters - 1)
    borders = (middles[known][1:] + middles[known][:-1]) / 2
    return known[np.searchsorted(borders, np.arange(len(path)), side="right")]


def pieces_of_letters(tokenizer: Tokenizer, text: str, language: str) -> NDArray[np.int64]:
    """Return which piece of ``text`` each letter of its spelling stands in, ``[L]``."""
    letters = spelling(text, language)
    places: list[int] = []
    for place, piece in enumerate(tokenizer.split(text, language)):
        for letter in piece.replace(WORD_MARK, " ").lower():
            if len(places) < len(letters) and letters[len(places)] == letter:
                places.append(place)
    last = places[-1] if places else 0
    return np.array(places + [last] * (len(letters) - len(places)), dtype=np.int64)
