"""Which voices of a corpus are understood, by which recogniser."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from idiolect.base.progress import track
from idiolect.data.manifest import Utterance
from idiolect.listening.listeners import Listener, errors_of
from idiolect.listening.scores import LetterErrors


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceScore:
    """How well one voice of a corpus is understood by one recogniser."""

    speaker: str
    language: str
    listener: str
    errors: LetterErrors
    clips: int


def survey_voices(
    clips: Iterable[Utterance], listeners: Sequence[Listener], *, per_voice: int
) -> Iterator[VoiceScore]:
    """Yield how well each voice is understood by each recogniser that knows its language.

    The first ``per_voice`` clips of a voice are heard.
    """
    voices: dict[tuple[str, str], list[Utterance]] = {}
    for clip in clips:
        voices.setdefault((clip.language, clip.speaker), []).append(clip)
    turns = [(own[:per_voice], judge) for _, own in sorted(voices.items()) for judge in listeners]
    for own, listener in track(turns, "listening", unit="voices"):
        if listener.speaks(own[0].language):
            yield VoiceScore(
                speaker=own[0].speaker,
                language=own[0].language,
                listener=listener.name,
                errors=errors_of(listener, [(clip.audio_path, clip) for clip in own]),
                clips=len(own),
            )
