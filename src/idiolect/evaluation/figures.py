"""What two models are compared by: each figure, what it is, and which way is better."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from idiolect.base.units import format_bytes
from idiolect.evaluation.chance import (
    MIN_SENTENCES,
    Interval,
    Measured,
    difference_interval,
    ratio,
)
from idiolect.evaluation.reading import Reading, Side

Verdict = Literal["a", "b", "open", "too few", "neither"]
"""Who is better; ``open`` where chance may have made the difference; ``neither`` is no contest."""
Of = Callable[[Reading], Measured | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One way to compare."""

    name: str
    label: str
    explanation: str
    better: Literal[-1, 0, 1]
    """1 where more is better, -1 where less is; 0 where it is neither."""
    of: Of
    """What a reading adds to it; None where it was not measured."""
    form: Callable[[float], str]
    """A value as it is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A figure of both models, over the sentences that both have spoken."""

    figure: Figure
    num_sentences: int
    a: float
    b: float
    interval: Interval | None
    """Of b less a; None for one sentence."""

    @property
    def difference(self) -> float:
        """Of b less a."""
        return self.b - self.a

    @property
    def verdict(self) -> Verdict:
        """Who is better by this figure, as far as can be said."""
        if not self.figure.better:
            return "neither"
        if self.interval is None or self.num_sentences < MIN_SENTENCES:
            return "too few"
        if self.interval.holds_zero:
            return "open"
        return "b" if self.difference * self.figure.better > 0 else "a"

    @property
    def shown_difference(self) -> str:
        """The difference with its interval: ``+3.0% (+1.2% … +4.9%)``."""
        form = self.figure.form
        told = _signed(form, self.difference)
        if self.interval is None:
            return told
        return f"{told} ({_signed(form, self.interval.low)} … {_signed(form, self.interval.high)})"


def scores_of(readings: Sequence[Reading]) -> list[Score]:
    """Return each figure that was measured of both models, of the sentences of both."""
    by_side = {side: _by_sentence(readings, side) for side in ("a", "b")}
    both = [number for number in by_side["a"] if number in by_side["b"]]
    scores = []
    for figure in FIGURES:
        pairs = [(figure.of(by_side["a"][n]), figure.of(by_side["b"][n])) for n in both]
        known = [(a, b) for a, b in pairs if a is not None and b is not None]
        if known:
            scores.append(_score(figure, known))
    return scores


def _by_sentence(readings: Sequence[Reading], side: Side | str) -> dict[int, Reading]:
    return {r.sentence: r for r in readings if r.side == side and r.sound is not None}


def _score(figure: Figure, known: Sequence[tuple[Measured, Measured]]) -> Score:
    first, second = [a for a, _ in known], [b for _, b in known]
    return Score(
        figure=figure,
        num_sentences=len(known),
        a=ratio(first),
        b=ratio(second),
        interval=difference_interval(first, second),
    )


def _signed(form: Callable[[float], str], value: float) -> str:
    return ("−" if value < 0 else "+") + form(abs(value))


def _mean(value: float | None) -> Measured | None:
    return None if value is None else (value, 1.0)


def _rtf(reading: Reading) -> Measured | None:
    if reading.elapsed_sec is None or not reading.duration_sec:
        return None
    return reading.elapsed_sec, reading.duration_sec


def _rate(reading: Reading) -> Measured | None:
    if not reading.letters_said or not reading.duration_sec:
        return None
    return reading.letters_said, reading.duration_sec


def _letters(reading: Reading) -> Measured | None:
    errors = reading.letters
    return None if errors is None or not errors.letters else (errors.edits, errors.letters)


def _words(reading: Reading) -> Measured | None:
    errors = reading.words
    return None if errors is None or not errors.words else (errors.edits, errors.words)


def _percent(value: float) -> str:
    return f"{value:.1%}"


def _seconds(value: float) -> str:
    return f"{value:.2f} s"


def _hundredths(value: float) -> str:
    return f"{value:.2f}"


def _thousandths(value: float) -> str:
    return f"{value:.3f}"


FIGURES = (
    Figure(
        name="rtf",
        label="real-time factor (RTF)",
        explanation="Seconds of work for one second of sound, on this machine now. Below 1 is "
        "faster than one listens. Loading, and a first word of each model, are not counted; "
        "waiting for other work on the machine is.",
        better=-1,
        of=_rtf,
        form=_hundredths,
    ),
    Figure(
        name="first_sound",
        label="time to first sound",
        explanation="Seconds until the first segment can be heard. A text of one segment is "
        "heard when all of it is done. The features of the voice were read before.",
        better=-1,
        of=lambda reading: _mean(reading.first_sound_sec),
        form=_seconds,
    ),
    Figure(
        name="letters",
        label="letters heard wrong (CER)",
        explanation="Share of the letters that the recogniser hears otherwise than the text has "
        "them; numbers are written out first. The recogniser makes mistakes of its own, the same "
        "in both.",
        better=-1,
        of=_letters,
        form=_percent,
    ),
    Figure(
        name="words",
        label="words heard wrong (WER)",
        explanation="The same in whole words; absent for languages that write no spaces.",
        better=-1,
        of=_words,
        form=_percent,
    ),
    Figure(
        name="similarity",
        label="likeness of the voice",
        explanation="Cosine of the speaker embeddings of sound and prompt, by the base's own "
        "CAMPPlus: 1 is the same voice to it. The models speak with that embedding, so it flatters "
        "both.",
        better=1,
        of=lambda reading: _mean(reading.similarity),
        form=_thousandths,
    ),
    Figure(
        name="naturalness",
        label="predicted naturalness (MOS)",
        explanation="What DistillMOS predicts that people would give, 1 (bad) to 5 (excellent). A "
        "prediction, not a vote.",
        better=1,
        of=lambda reading: _mean(reading.naturalness),
        form=_hundredths,
    ),
    Figure(
        name="duration",
        label="length of the sound",
        explanation="Seconds of sound, as a mean over sentences. Neither longer nor shorter is "
        "better.",
        better=0,
        of=lambda reading: _mean(reading.duration_sec),
        form=_seconds,
    ),
    Figure(
        name="rate",
        label="letters a second",
        explanation="How fast is spoken: letters of the text, numbers written out, on seconds of "
        "sound with its pauses. Neither faster nor slower is better.",
        better=0,
        of=_rate,
        form=lambda value: f"{value:.1f}",
    ),
    Figure(
        name="memory",
        label="memory while speaking",
        explanation="Most memory above what was there before the sentence, weights not counted: "
        "on a GPU what torch allocated, exactly; on the CPU what the process grew by, looked at 50 "
        "times a second. It follows from the length of the sound.",
        better=0,
        of=lambda reading: _mean(reading.peak_bytes),
        form=format_bytes,
    ),
    Figure(
        name="clipped",
        label="clipped samples",
        explanation="Samples of a sentence at the largest number that there is: they crackle.",
        better=-1,
        of=lambda reading: _mean(reading.clipped),
        form=lambda value: f"{value:.1f}",
    ),
)
"""In the order in which they are shown."""
