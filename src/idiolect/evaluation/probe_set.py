"""Which sentences a probe has: unseen ones, each with a clip of the same speaker as its prompt.

The choice depends on the ids of the clips and on nothing else, so every validation of every run
on the same manifest speaks the same sentences in the same voices.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from idiolect.base.log import get_logger
from idiolect.base.units import CODE_RATE_HZ
from idiolect.data.manifest import Utterance
from idiolect.data.samples import Source
from idiolect.listening.scores import spoken_letters
from idiolect.text.tokenizer import Tokenizer

RATE_CLIPS = 200
"""Recordings of a language by which its pace is known; more tell no more."""
SLOWEST = 3.0
"""A sentence that takes so many times as long as people take does not come to its end."""
PAUSE_CODES = CODE_RATE_HZ
"""A second for silence, which even one word has around it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSentence:
    """One sentence to speak."""

    target: Utterance
    """The clip in which a person says it."""
    prompt: Utterance
    """Another clip of the same speaker."""
    number: int
    """Within its language, from 1."""
    text_ids: tuple[int, ...]
    letters: int
    """That there are to be said."""
    most_codes: int
    """Where it is cut off."""

    @property
    def language(self) -> str:
        """Of the sentence."""
        return self.target.language

    @property
    def key(self) -> tuple[str, int]:
        """What it is known by within the probe: two manifests may have one id."""
        return self.language, self.number

    @property
    def file_name(self) -> str:
        """Where its sound is, below the folder of a step."""
        return f"{re.sub(r'[^A-Za-z0-9-]', '_', self.language)}/{self.number:03d}.wav"

    @property
    def seed(self) -> int:
        """Of its speech: the same at every validation, and of its own."""
        return _lot(self.target.id) % 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSet:
    """The sentences, those of one language behind each other."""

    sentences: Sequence[ProbeSentence]
    codes_per_letter: dict[str, float]
    """How fast the recordings of each language are."""

    @property
    def languages(self) -> list[str]:
        """Languages that are spoken, in order."""
        return list(dict.fromkeys(sentence.language for sentence in self.sentences))

    def of(self, language: str) -> list[ProbeSentence]:
        """Return the sentences of ``language``."""
        return [sentence for sentence in self.sentences if sentence.language == language]


def choose_probe(
    sources: Sequence[Source], tokenizer: Tokenizer, *, count: int, max_text_len: int
) -> ProbeSet:
    """Return up to ``count`` sentences of each language of ``sources``.

    Left out are texts that say the same as another or as their prompt, and those for which the
    model has no room. A language of which none is left is named in a warning.

    Args:
        sources: What is drawn from.
        tokenizer: Of the model.
        count: Of each language.
        max_text_len: Most text ids that the model has positions for.
    """
    pairs: defaultdict[str, list[tuple[Utterance, Utterance]]] = defaultdict(list)
    for source in sources:
        for pair in source.draw(seed=0).pairs:
            target = source.utterances[pair.target]
            pairs[target.language].append((target, source.utterances[pair.prompt]))
    paces = {
        language: codes_per_letter(target for target, _ in found)
        for language, found in pairs.items()
    }
    sentences = [
        sentence
        for language in sorted(pairs)
        for sentence in _sentences(pairs[language], tokenizer, count, max_text_len, paces[language])
    ]
    for language in sorted(pairs.keys() - {sentence.language for sentence in sentences}):
        get_logger().warning(
            "no sentence of %s can be spoken at validations: every clip would be its own prompt, "
            "or none fits the model",
            language,
        )
    return ProbeSet(sentences=sentences, codes_per_letter=paces)


def codes_per_letter(clips: Iterable[Utterance]) -> float:
    """Return how many codes a letter takes in the recordings of one language."""
    once = {(clip.audio_path, clip.id): clip for clip in clips}
    chosen = sorted(once.values(), key=lambda clip: _lot(clip.id))[:RATE_CLIPS]
    letters = sum(len(spoken_letters(clip.text, clip.language)) for clip in chosen)
    return CODE_RATE_HZ * sum(clip.duration_sec for clip in chosen) / max(1, letters)


def _sentences(
    pairs: Iterable[tuple[Utterance, Utterance]],
    tokenizer: Tokenizer,
    count: int,
    max_text_len: int,
    pace: float,
) -> list[ProbeSentence]:
    """Return up to ``count`` sentences of one language."""
    chosen: dict[str, ProbeSentence] = {}
    for target, prompt in sorted(pairs, key=lambda pair: _lot(pair[0].id)):
        if len(chosen) == count:
            break
        said = spoken_letters(target.text, target.language)
        text_ids = tokenizer.encode(target.text, target.language)
        is_prompt = said == spoken_letters(prompt.text, prompt.language)
        fits = 0 < len(text_ids) <= max_text_len
        if is_prompt or not fits or not said or said in chosen:
            continue
        chosen[said] = ProbeSentence(
            target=target,
            prompt=prompt,
            number=len(chosen) + 1,
            text_ids=tuple(text_ids),
            letters=len(said),
            most_codes=int(SLOWEST * pace * len(said)) + PAUSE_CODES,
        )
    return list(chosen.values())


def _lot(name: str) -> int:
    return int.from_bytes(sha256(name.encode()).digest()[:8], "big")
