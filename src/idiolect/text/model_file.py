"""The SentencePiece model file as a record, for what the library has no call for."""

from __future__ import annotations

from typing import Any

from sentencepiece import sentencepiece_model_pb2


def parse_model(content: bytes) -> Any:
    """Return the ``ModelProto`` message in ``content``, the bytes of a ``.model`` file."""
    return sentencepiece_model_pb2.ModelProto.FromString(content)  # type: ignore[attr-defined]
