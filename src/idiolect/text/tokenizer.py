"""The tokenizer: prepared text to pieces and ids, and what it is known by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from sentencepiece import SentencePieceProcessor

from idiolect.base.errors import TokenizerError
from idiolect.base.files import read_json
from idiolect.text.normalize import check_front_end, prepare_text

START_ID, STOP_ID, UNKNOWN_ID = 0, 1, 2
"""``<s>``, ``</s>`` and ``<unk>`` of the published tokenizer; the GPT frames its text by them."""


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """A SentencePiece model behind the text front-end."""

    path: Path
    sha256: str
    _processor: SentencePieceProcessor

    @classmethod
    def load(cls, path: Path | str) -> Tokenizer:
        """Read the tokenizer in ``path``.

        Raises:
            TokenizerError: There is no such file, it is not a SentencePiece model, or its special
                ids are not those of the published tokenizer.
        """
        path = Path(path)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise TokenizerError(
                f"cannot read the tokenizer {path}: {error.strerror}",
                fix="train one with: idiolect tokenizer --manifest … --output-prefix …",
            ) from error
        return cls.from_bytes(content, path)

    @classmethod
    def from_bytes(cls, content: bytes, path: Path) -> Tokenizer:
        """Return the tokenizer that the bytes of a ``.model`` file are; ``path`` names it.

        Raises:
            TokenizerError: As :meth:`load`.
        """
        return cls(path, sha256(content).hexdigest(), _processor(content, path))

    def check_front_end(self) -> None:
        """Make sure that this program prepares text as it was prepared for this tokenizer.

        Only what ``idiolect tokenizer`` made says how; another file is taken as it is.

        Raises:
            TokenizerError: The text front-end has changed since.
        """
        identity_path = self.path.with_suffix(".json")
        if identity_path.is_file():
            identity = read_json(identity_path)
            if isinstance(identity, dict) and identity.get("sha256") == self.sha256:
                check_front_end(identity.get("front_end", {}), where=identity_path)

    @property
    def vocab_size(self) -> int:
        """How many pieces there are, special ones included."""
        return int(self._processor.get_piece_size())

    @property
    def unk_id(self) -> int:
        """The id of what the vocabulary cannot spell."""
        return UNKNOWN_ID

    def all_pieces(self) -> list[str]:
        """Return every piece, in order of its id."""
        return [self._processor.id_to_piece(index) for index in range(self.vocab_size)]

    def ordinary_pieces(self) -> list[str]:
        """Return the pieces that spell text: all but the special ones and single bytes."""
        model = self._processor
        special = (model.is_control, model.is_unknown, model.is_unused, model.is_byte)
        return [
            model.id_to_piece(index)
            for index in range(self.vocab_size)
            if not any(is_special(index) for is_special in special)
        ]

    def split(self, text: str, language: str | None) -> list[str]:
        """Return the pieces of raw ``text``; the unknown ones as they are written."""
        return self.split_prepared(prepare_text(text, language))

    def split_prepared(self, prepared: str) -> list[str]:
        """Return the pieces of what :func:`prepare_text` returned."""
        pieces: list[str] = self._processor.encode(prepared, out_type=str)
        return pieces

    def encode(self, text: str, language: str | None) -> list[int]:
        """Return the ids of raw ``text``, without start and stop."""
        return self.encode_prepared(prepare_text(text, language))

    def encode_prepared(self, prepared: str) -> list[int]:
        """Return the ids of what :func:`prepare_text` returned."""
        ids: list[int] = self._processor.encode(prepared)
        return ids

    def ids_of(self, pieces: Sequence[str]) -> list[int]:
        """Return the id of each piece; :attr:`unk_id` where there is none."""
        return [self._processor.piece_to_id(piece) for piece in pieces]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text that ``ids`` spell, in capitals and with CJK characters apart."""
        text: str = self._processor.decode(list(ids))
        return text


def _processor(content: bytes, path: Path) -> SentencePieceProcessor:
    try:
        processor = SentencePieceProcessor(model_proto=content) if content else None
    except RuntimeError:
        processor = None
    if processor is None or not processor.get_piece_size():
        raise TokenizerError(
            f"{path} is not a SentencePiece model", fix="give the .model file, not the .vocab"
        )
    found = (processor.bos_id(), processor.eos_id(), processor.unk_id())
    if found != (START_ID, STOP_ID, UNKNOWN_ID):
        raise TokenizerError(
            f"the ids of <s>, </s> and <unk> are {found}, not {(START_ID, STOP_ID, UNKNOWN_ID)}",
            where=str(path),
            fix="train the tokenizer with: idiolect tokenizer",
        )
    return processor
