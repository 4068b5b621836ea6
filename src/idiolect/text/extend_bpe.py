"""Extend a tokenizer with the pieces of a new language: every old id, and old texts, as before.

New pieces are joined from the pieces into which the base cuts the new language, and rank below
all of the base's. One that could occur in a text of the base languages is not taken: every
appended piece holds a run of letters that neither the base's own pieces nor a sample of its
languages know. What this leaves of the base's segmentation is measured on another sample.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

from idiolect.base.errors import TokenizerError
from idiolect.text.model_file import parse_model
from idiolect.text.normalize import prepare_text
from idiolect.text.tokenizer import Tokenizer

SAMPLE_FILE = "base_languages.tsv"
"""Sentences of the base languages, one a line after their language code."""
WORDS_FILE = "english_words.txt"
"""Frequent English words: Chinese has no spelling that a new piece could disturb."""

MIN_KEPT_SHARE = 0.995
"""Below this share of the base's tokens kept, an extension is refused."""
RUN_LETTERS = 3
"""Length of the runs of letters by which a piece is told from the base languages."""
MAX_PIECE_CHARS = 16
MIN_COUNT = 2
"""A sign that occurs less often gets no piece; letters always do."""
MIN_JOINS = 5
"""A join that occurs less often would be learnt from too little."""
SCORE_STEP = {"bpe": 1.0, "unigram": 1e-4}
"""Between appended pieces: BPE only compares scores, unigram adds them up."""

WORD_MARK = "▁"


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """What was appended to a base, and what that changed."""

    base_size: int
    num_appended: int
    base_tokens_per_token: float
    """Tokens of the new language's corpus before, for each token after."""
    num_held_out: int
    """Tokens of the sample of the base languages that was not used to choose pieces."""
    kept_share: float
    """Share of them that is cut as before."""

    def summary(self) -> str:
        """Return the report in a few lines."""
        return (
            f"{self.num_appended} pieces appended to {self.base_size}; the corpus takes "
            f"{self.base_tokens_per_token:.2f} times fewer tokens than with the base\n"
            f"base segmentation kept: {self.kept_share:.2%} of {self.num_held_out} tokens of a "
            f"held-out text (at least {MIN_KEPT_SHARE:.1%} is asked)"
        )


def extend_model(base_path: Path, lines: Sequence[str], *, max_new: int) -> tuple[bytes, Extension]:
    """Return the base in ``base_path`` with pieces appended for ``lines``, and what it changed.

    Args:
        base_path: A SentencePiece model, BPE or unigram.
        lines: Prepared texts of the new language.
        max_new: How many pieces may be appended.

    Raises:
        TokenizerError: The base cannot be read, or its segmentation would not stay.
    """
    base = Tokenizer.load(base_path)
    guard, held_out = base_samples()
    words = Counter(word for line in lines for word in line.split())
    appended = learn_pieces(base, words, known_runs(base, guard), max_new=max_new)
    model = append_pieces(base_path.read_bytes(), appended)
    extended = Tokenizer.from_bytes(model, base_path)
    kept, total = kept_tokens(base, extended, held_out)
    extension = Extension(
        base_size=base.vocab_size,
        num_appended=len(appended),
        base_tokens_per_token=_num_tokens(base, words) / _num_tokens(extended, words),
        num_held_out=total,
        kept_share=kept / total,
    )
    if extension.kept_share < MIN_KEPT_SHARE:
        raise TokenizerError(
            f"the extension would change how the base cuts its own languages: only "
            f"{extension.kept_share:.2%} of a held-out text stays",
            where=str(base_path),
            fix="lower --vocab-size, or train a tokenizer of its own without --extend",
        )
    return model, extension


def base_samples() -> tuple[list[str], list[str]]:
    """Return prepared text of the base languages: to choose pieces by, and to measure on."""
    folder = files("idiolect.text")
    rows = (folder / SAMPLE_FILE).read_text(encoding="utf-8").splitlines()
    prepared = [prepare_text(text, language) for language, text in (r.split("\t") for r in rows)]
    words = (folder / WORDS_FILE).read_text(encoding="utf-8").upper().split()
    return [*prepared[::2], *words, *(word + "S" for word in words)], prepared[1::2]


def known_runs(base: Tokenizer, lines: Iterable[str]) -> set[str]:
    """Return the runs of up to :data:`RUN_LETTERS` letters that the base languages know."""
    words = {WORD_MARK + word for line in lines for word in line.split()}
    return {run for text in words.union(base.ordinary_pieces()) for run in _runs(text)}


def learn_pieces(
    base: Tokenizer, words: Counter[str], known: set[str], *, max_new: int
) -> list[str]:
    """Return the pieces to append, the most useful first: unknown characters, then joins.

    Joining is byte-pair encoding that starts from the base's pieces instead of characters.

    Args:
        base: The tokenizer to extend.
        words: Words of the new language and how often they occur.
        known: Runs of letters of the base languages; a join must hold another.
        max_new: How many pieces at most.
    """
    pieces = set(base.all_pieces())
    cut = {word: _cut(base, word, pieces) for word in words}
    characters: Counter[str] = Counter()
    for word, parts in cut.items():
        characters.update({c: parts.count(c) * words[word] for c in set(parts) - pieces})
    kept = [c for c, count in characters.items() if count >= MIN_COUNT or c.isalpha()]
    new = sorted(kept, key=lambda c: (-characters[c], c))[:max_new]
    joins = _Joins([(cut[word], count) for word, count in words.items()], pieces, known)
    while len(new) < max_new and (piece := joins.next_piece()):
        new.append(piece)
    return new


def append_pieces(model: bytes, appended: Sequence[str]) -> bytes:
    """Return ``model`` with ``appended`` after its pieces, each scored below all before it."""
    proto = parse_model(model)
    unigram = proto.trainer_spec.model_type == proto.trainer_spec.UNIGRAM
    step = SCORE_STEP["unigram" if unigram else "bpe"]
    lowest = min(piece.score for piece in proto.pieces)
    for rank, text in enumerate(appended, start=1):
        piece = proto.pieces.add()
        piece.piece, piece.score = text, lowest - step * rank
    proto.trainer_spec.vocab_size = len(proto.pieces)
    return bytes(proto.SerializeToString())


def kept_tokens(base: Tokenizer, extended: Tokenizer, lines: Iterable[str]) -> tuple[int, int]:
    """Return how many tokens of ``lines`` are cut as before, and how many there are."""
    kept = total = 0
    for line in lines:
        for word in line.split():
            before = base.encode_prepared(word)
            total += len(before)
            kept += len(before) if extended.encode_prepared(word) == before else 0
    return kept, total


def _cut(base: Tokenizer, word: str, pieces: set[str]) -> list[str]:
    """Return the pieces of ``word``; a character that the base does not know is one of them."""
    parts: list[str] = []
    for piece in base.split_prepared(word):
        parts += [piece] if piece in pieces else list(piece)
    return parts


def _num_tokens(tokenizer: Tokenizer, words: Counter[str]) -> int:
    return sum(len(tokenizer.encode_prepared(word)) * count for word, count in words.items())


def _runs(text: str) -> set[str]:
    return {
        text[start : start + length]
        for length in range(1, RUN_LETTERS + 1)
        for start in range(len(text) - length + 1)
    }


class _Joins:
    """Words as pieces, and which two neighbours to join next."""

    def __init__(
        self, words: list[tuple[list[str], int]], pieces: set[str], known: set[str]
    ) -> None:
        self.words = words
        self.pieces = pieces
        self.made: set[str] = set()
        self.known = known
        self.counts: Counter[tuple[str, str]] = Counter()
        self.places: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
        for index in range(len(words)):
            self._count(index, 1)
        self.queue = [(-count, pair) for pair, count in self.counts.items()]
        heapq.heapify(self.queue)

    def next_piece(self) -> str | None:
        """Join the most frequent neighbours that make a new piece; return it."""
        while self.queue:
            count, pair = heapq.heappop(self.queue)
            if -count < MIN_JOINS:
                return None
            text = "".join(pair)
            if -count != self.counts[pair] or not (text in self.made or self._may_join(text)):
                continue
            self._join(pair)
            if text not in self.made:
                self.made.add(text)
                return text
        return None

    def _may_join(self, text: str) -> bool:
        letters = text.removeprefix(WORD_MARK)
        fits = text not in self.pieces and len(text) <= MAX_PIECE_CHARS and letters.isalpha()
        return fits and not _runs(text) <= self.known

    def _join(self, pair: tuple[str, str]) -> None:
        touched: set[tuple[str, str]] = set()
        for index in sorted(self.places[pair]):
            touched |= self._count(index, -1)
            _join_in(self.words[index][0], pair)
            touched |= self._count(index, 1)
        for changed in touched:
            heapq.heappush(self.queue, (-self.counts[changed], changed))

    def _count(self, index: int, sign: int) -> set[tuple[str, str]]:
        parts, count = self.words[index]
        pairs = list(pairwise(parts))
        for pair in pairs:
            self.counts[pair] += sign * count
            (self.places[pair].add if sign > 0 else self.places[pair].discard)(index)
        return set(pairs)


def _join_in(parts: list[str], pair: tuple[str, str]) -> None:
    """Join every ``pair`` of neighbours in ``parts``, from the left, in place."""
    index = 0
    while index < len(parts) - 1:
        if (parts[index], parts[index + 1]) == pair:
            parts[index : index + 2] = ["".join(pair)]
        index += 1
