"""Texts in the languages of the base, in the base's own pieces: what its judgement is asked on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from idiolect.base.errors import DataError
from idiolect.data.samples import EncodedSource
from idiolect.models.config import GptDims
from idiolect.text.tokenizer import Tokenizer


def with_base_texts(
    source: EncodedSource, tokenizer: Tokenizer, languages: Collection[str], dims: GptDims
) -> EncodedSource:
    """Return ``source`` with the texts that the base is to judge.

    With a tokenizer of one's own, the id of a piece means another piece to the base, so its texts
    are encoded again. A text that is too long for the base so is learnt, but not judged.

    Args:
        source: Of any languages.
        tokenizer: The base's.
        languages: Those that the base speaks.
        dims: Of the base.
    """
    utterances = source.source.utterances
    judged = {}
    for target in source.text_ids:
        utterance = utterances[target]
        if utterance.language in languages:
            ids = tokenizer.encode(utterance.text, utterance.language)
            if 0 < len(ids) <= dims.max_text_len:
                judged[target] = np.asarray(ids, dtype=np.int32)
    return replace(source, base_text_ids=judged)


def check_judged(sources: Sequence[EncodedSource], languages: Collection[str]) -> None:
    """Make sure that there is something for the base to judge.

    Raises:
        DataError: No clip is in a language of the base.
    """
    if not any(source.base_text_ids for source in sources):
        raise DataError(
            f"no clip is in a language of the base ({', '.join(sorted(languages))}), so there is "
            "nothing on which to stay near it",
            where="--base-kl",
            fix="add clips of such a language: --train-manifest PATH::LANG@WEIGHT; or leave "
            "--base-kl out",
        )
