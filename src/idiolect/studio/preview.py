"""What would be said, before anything is computed: the segments of a text, and an estimate.

Only the tokenizer of a model is read, never its weights.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from idiolect.base.errors import SynthesisError
from idiolect.models.published import BaseFiles
from idiolect.registry.describe import spoken_language
from idiolect.registry.store import find_model
from idiolect.studio.history import History, SpokenRecord, Wanted
from idiolect.text.normalize import prepare_text
from idiolect.text.segments import MAX_SEGMENT_TOKENS, split_segments
from idiolect.text.tokenizer import Tokenizer

SPACE_MARK = "▁"
MAX_TEXT_LEN = 20_000
"""Characters of one request; longer texts are for a batch."""
PACE_RECORDS = 50
"""How many of the newest sounds an estimate looks at."""
TOKENIZERS_KEPT = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentPreview:
    """One segment as it will be spoken."""

    text: str
    """As the tokenizer sees it: read out, in capitals."""
    num_tokens: int
    unknown: tuple[str, ...]
    """Pieces that the tokenizer cannot spell; they will not be spoken well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """How long a text will be, by what was spoken before."""

    duration_sec: float
    num_records: int
    """How many sounds of this model and language it is taken from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPreview:
    """A text, cut as it will be spoken."""

    segments: tuple[SegmentPreview, ...]
    estimate: Estimate | None
    """None where nothing was spoken yet with this model in this language."""

    @property
    def unknown(self) -> tuple[str, ...]:
        """Every piece that the tokenizer cannot spell, once."""
        return tuple(dict.fromkeys(piece for one in self.segments for piece in one.unknown))


class Previews:
    """Previews for the models of a folder.

    Args:
        files: The base.
        models_dir: Where installed models are.
        history: What estimates are taken from.
    """

    def __init__(self, files: BaseFiles, models_dir: Path, history: History) -> None:
        self.files = files
        self.models_dir = models_dir
        self.history = history

    def of(
        self, model: str, text: str, language: str | None, max_tokens: int = MAX_SEGMENT_TOKENS
    ) -> TextPreview:
        """Return what ``model`` would say of ``text``.

        Raises:
            RegistryError: The model is not installed.
            SynthesisError: The text is too long, nothing of it is left to say, or the model has to
                be told the language.
        """
        check_length(text)
        found = find_model(model, self.models_dir, self.files)
        asked = spoken_language(found.name, found.languages, language)
        limit = min(max_tokens, found.config.gpt.max_text_len)
        status = found.tokenizer.stat()
        tokenizer = _tokenizer(found.tokenizer, status.st_mtime_ns, status.st_size)
        return TextPreview(
            segments=tuple(segments_of_text(tokenizer, text, asked, limit)),
            estimate=self._estimate(model, text, asked),
        )

    def knows_durations(self, model: str) -> bool:
        """Return whether ``model`` learnt to keep to a duration.

        Raises:
            RegistryError: The model is not installed.
        """
        return find_model(model, self.models_dir, self.files).learnt_durations

    def _estimate(self, model: str, text: str, language: str | None) -> Estimate | None:
        spoken = self.history.search(Wanted(model=model), limit=PACE_RECORDS)
        paces = [
            pace
            for record in spoken
            if record.language == (language or "") and (pace := _pace(record)) is not None
        ]
        letters = count_letters(text, language)
        if not paces or not letters:
            return None
        return Estimate(duration_sec=statistics.median(paces) * letters, num_records=len(paces))


def check_length(text: str) -> None:
    """Make sure that ``text`` is one request.

    Raises:
        SynthesisError: It is too long.
    """
    if len(text) > MAX_TEXT_LEN:
        raise SynthesisError(
            f"the text has {len(text)} characters, and {MAX_TEXT_LEN} are the most",
            fix="cut it up: the Batch tab speaks many texts one after the other",
        )


def segments_of_text(
    tokenizer: Tokenizer, text: str, language: str | None, max_tokens: int
) -> list[SegmentPreview]:
    """Return the segments of ``text`` as they will be spoken.

    Raises:
        SynthesisError: Nothing of it is left to say.
    """
    segments = [
        _preview(tokenizer, pieces)
        for pieces in split_segments(tokenizer.split(text, language), max_tokens)
        if pieces
    ]
    if not segments:
        raise SynthesisError(f"nothing to say in {text[:60]!r}", fix="give a text with words")
    return segments


def count_letters(text: str, language: str | None) -> int:
    """Return how many letters of ``text`` are said: digits and signs are read out first."""
    return sum(sign.isalpha() for sign in prepare_text(text, language))


def _preview(tokenizer: Tokenizer, pieces: Sequence[str]) -> SegmentPreview:
    ids = tokenizer.ids_of(pieces)
    unknown = [
        piece.replace(SPACE_MARK, " ").strip()
        for piece, token_id in zip(pieces, ids, strict=True)
        if token_id == tokenizer.unk_id
    ]
    return SegmentPreview(
        text="".join(pieces).replace(SPACE_MARK, " ").strip(),
        num_tokens=len(ids),
        unknown=tuple(unknown),
    )


def _pace(record: SpokenRecord) -> float | None:
    """Return the seconds of a letter at speed 1, or None where that tells nothing."""
    free = not record.settings.get("partial") and not record.settings.get("target_duration_sec")
    letters = count_letters(record.text, record.language or None)
    if not free or not letters:
        return None
    return record.duration_sec * float(record.settings.get("speed", 1.0)) / letters


@lru_cache(maxsize=TOKENIZERS_KEPT)
def _tokenizer(path: Path, _written_ns: int, _size_bytes: int) -> Tokenizer:
    return Tokenizer.load(path)
