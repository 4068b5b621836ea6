"""What nano hears: its own semantic encoder, whole, with the head that spells.

It is small and knows clear synthetic speech only; it judges whether nano says what it should.
``N`` is samples at 16 000 Hz, ``T`` code frames, ``A`` the rows of the head.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from idiolect.audio.fbank import semantic_input
from idiolect.base.errors import CheckpointError
from idiolect.base.files import read_json
from idiolect.listening.scores import LetterErrors, edit_distance
from idiolect.listening.spelling import from_rows, spelling
from idiolect.listening.swift import hidden_states
from idiolect.listening.word_search import WordLetters, spell_words
from idiolect.models.checkpoint import load_weights
from idiolect.models.semantic import SemanticEncoder, semantic_state

BATCH_CLIPS = 16
WEIGHTS_FILE = "model.safetensors"
HEAD_FILE = "ctc_head.safetensors"
ALPHABET_FILE = "ctc_alphabet.json"
WORDS_FILE = "ctc_words.json"
"""Language to its words, and how often sentences have each."""


class Recogniser:
    """Writes down speech in the languages that the encoder of a nano base was taught.

    Args:
        folder: The ``w2v-bert-2.0`` of a nano base.

    Raises:
        CheckpointError: It has no head, as that of a published base, or cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / HEAD_FILE).is_file():
            raise CheckpointError(
                "this semantic encoder cannot spell: it has no head",
                where=str(folder / HEAD_FILE),
                fix="give the w2v-bert-2.0 folder of a nano base",
            )
        self.encoder = whole_encoder(folder)
        self.alphabet = "".join(read_json(folder / ALPHABET_FILE))
        head = load_file(folder / HEAD_FILE)
        self.head = nn.Linear(head["weight"].shape[1], len(self.alphabet) + 1)
        load_weights(self.head, {k: v.float() for k, v in head.items()}, where=folder / HEAD_FILE)
        self.head.eval().requires_grad_(requires_grad=False)
        words = folder / WORDS_FILE
        self._counts: dict[str, dict[str, int]] = read_json(words) if words.is_file() else {}
        self._words: dict[str, WordLetters] = {}

    @torch.inference_mode()
    def transcribe(self, audios: Sequence[Tensor], language: str | None = None) -> list[str]:
        """Return what is said in each of ``audios`` (``[N]``), in letters without punctuation.

        Args:
            audios: Clips.
            language: The one that is spoken, whose words are expected. Without it, or where its
                words are not known, letters are written as they sound.

        Raises:
            DataError: A clip is too short to analyse.
        """
        texts: list[str] = []
        for start in range(0, len(audios), BATCH_CLIPS):
            states, lens = self.states(audios[start : start + BATCH_CLIPS])
            texts += self.spell(self.head(states[-1]), lens, language)
        return texts

    def states(self, audios: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Return every hidden state ``[B, T, F]``, and the rows of each clip."""
        inputs, mask, lens = semantic_input(audios)
        return hidden_states(self.encoder.network, inputs, mask), lens

    def spell(self, logits: Tensor, lens: Tensor, language: str | None = None) -> list[str]:
        """Return what ``logits`` ``[B, T, A]`` spell, as :meth:`transcribe` does."""
        rows = [row[:length] for row, length in zip(logits, lens.tolist(), strict=True)]
        words = self._words_of(language)
        if words is None:
            return [from_rows(row.argmax(dim=-1).tolist(), self.alphabet) for row in rows]
        return [spell_words(row.log_softmax(dim=-1), self.alphabet, words) for row in rows]

    def _words_of(self, language: str | None) -> WordLetters | None:
        if language is not None and language in self._counts and language not in self._words:
            self._words[language] = WordLetters(self._counts[language], self.alphabet)
        return self._words.get(language or "")


def whole_encoder(folder: Path) -> SemanticEncoder:
    """Return the encoder in ``folder`` with all its layers, whose states are not normalised."""
    config = read_json(folder / "config.json")
    layers, width = config["num_hidden_layers"], config["hidden_size"]
    weights = {name: t.float() for name, t in load_file(folder / WEIGHTS_FILE).items()}
    stats = {"mean": torch.zeros(width), "var": torch.ones(width)}
    encoder = SemanticEncoder(config, layers)
    load_weights(encoder, semantic_state(weights, stats, layers), where=folder / WEIGHTS_FILE)
    return encoder.eval().requires_grad_(requires_grad=False)


def cer(reference: str, hypothesis: str, language: str | None) -> float:
    """Return the share of the letters of ``reference`` that ``hypothesis`` has wrong.

    Args:
        reference: What was to be said, as a person writes it.
        hypothesis: What was heard.
        language: Of both; numbers are read out in it.
    """
    return heard_errors(reference, hypothesis, language).rate


def heard_errors(reference: str, hypothesis: str, language: str | None) -> LetterErrors:
    """Return the errors that :func:`cer` is the share of, to add up over many texts."""
    wanted, heard = spelling(reference, language), spelling(hypothesis, language)
    return LetterErrors(edit_distance(wanted, heard), len(wanted))
