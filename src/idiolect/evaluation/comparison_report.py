"""The page of a comparison: one file to hear, to read and to send."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from idiolect.audio.io import Waveform, read_audio
from idiolect.audio.shown import sound_address
from idiolect.base.page import (
    Note,
    Player,
    Section,
    Sound,
    Sounds,
    Table,
    Tile,
    Tiles,
    write_page,
)
from idiolect.base.units import SAMPLE_RATE, format_bytes
from idiolect.data.language_names import NAMES
from idiolect.evaluation.chance import MIN_SENTENCES
from idiolect.evaluation.comparison import (
    REPORT_FILE,
    SIDES,
    VOTES_FILE,
    Comparison,
    ModelSide,
)
from idiolect.evaluation.figures import FIGURES, Score, scores_of
from idiolect.evaluation.naturalness import HOW_TO_INSTALL
from idiolect.evaluation.reading import Reading
from idiolect.evaluation.sound_strip import sound_strip
from idiolect.evaluation.votes import (
    BallotBox,
    Discrimination,
    Preference,
    discrimination_of,
    preference_of,
)

IN_TILES = ("rtf", "letters", "similarity", "naturalness")
"""Figures that stand at the top, where they were measured."""
HOW_TO_READ = (
    "Both models said the same sentences in the same voice, with the same seed and settings; which "
    "of them was first changed from sentence to sentence. The difference is B less A, with the "
    "interval in which it would lie in 95 of 100 such comparisons (bootstrap over sentences). "
    "“Better” names a model only where that interval does not hold zero, and there are {least} "
    "sentences or more."
)
VERDICTS = {
    "open": "no difference shown",
    "too few": f"needs {MIN_SENTENCES} sentences",
    "neither": "",
}


def write_report(folder: Path, comparison: Comparison) -> Path:
    """Write the page of ``comparison`` to its ``folder``, as far as it has come; return its path.

    Sounds are in it, so it can be sent as it is.
    """
    path = folder / REPORT_FILE
    scores = scores_of(comparison.readings)
    sections = [
        Section(title="In short", blocks=[_tiles(comparison, scores), *_notes(comparison)]),
        Section(title="The figures", blocks=[figures_table(comparison, scores)]),
        Section(title="Blind votes", blocks=_votes(folder, comparison)),
        Section(title="The sentences", blocks=list(_sentences(folder, comparison))),
        Section(title="What was compared", blocks=[_what(comparison)]),
        Section(title="What each figure is", blocks=[_explanations()]),
    ]
    write_page(
        path,
        f"{comparison.a.name} and {comparison.b.name}",
        [section for section in sections if section.blocks],
        subtitle=f"Compared on {comparison.device}, {comparison.made}",
    )
    return path


def verdict_text(comparison: Comparison, score: Score) -> str:
    """Return who is better by ``score``, or why that is not said."""
    verdict = score.verdict
    if verdict == "a" or verdict == "b":  # noqa: PLR1714 -- mypy narrows no set
        return f"{verdict.upper()}: {comparison.model(verdict).name}"
    return VERDICTS[verdict]


def figures_table(comparison: Comparison, scores: Sequence[Score]) -> Table:
    """Return the figures as a table: both models, the difference, who is better."""
    headers = [
        "figure",
        f"A: {comparison.a.name}",
        f"B: {comparison.b.name}",
        "B − A (95 %)",
        "better",
        "sentences",
    ]
    rows = [
        (
            score.figure.label,
            score.figure.form(score.a),
            score.figure.form(score.b),
            score.shown_difference,
            verdict_text(comparison, score),
            score.num_sentences,
        )
        for score in scores
    ]
    return Table(headers=headers, rows=rows)


def _tiles(comparison: Comparison, scores: Sequence[Score]) -> Tiles:
    shown = [score for score in scores if score.figure.name in IN_TILES]
    tiles = [
        Tile(
            label=score.figure.label,
            value=f"{score.figure.form(score.a)} | {score.figure.form(score.b)}",
            note=verdict_text(comparison, score),
        )
        for score in shown
    ]
    spoken = f"{len(comparison.pairs())} of {len(comparison.order.texts)}"
    return Tiles(tiles=[*tiles, Tile(label="sentences spoken by both", value=spoken)])


def _notes(comparison: Comparison) -> Iterator[Note]:
    yield Note(text=HOW_TO_READ.format(least=MIN_SENTENCES))
    for note in notes_of(comparison):
        yield Note(text=note)
    if not comparison.is_finished:
        done, total = len(comparison.readings), comparison.num_readings
        yield Note(text=f"This comparison is not finished: {done} of {total} sounds are there.")


def notes_of(comparison: Comparison) -> list[str]:
    """Return who listened, and what was not measured."""
    listener, language = comparison.listener, comparison.language
    heard = {
        "heard": f"Letters were counted by {listener}.",
        "nobody": "No letters were counted: nobody listened (--asr none).",
        "no_language": "No letters were counted: the language of the texts was not given.",
        "not_known": f"No letters were counted: {listener} does not know {language}.",
    }
    lacks = f"Naturalness was not predicted: DistillMOS is not installed ({HOW_TO_INSTALL})."
    return [heard[comparison.hearing], *([] if comparison.predictor else [lacks])]


def _votes(folder: Path, comparison: Comparison) -> list[Note]:
    votes = BallotBox(folder / VOTES_FILE).votes()
    notes = []
    if (preference := preference_of(votes)).decided + preference.same:
        notes.append(Note(text=preference_text(comparison, preference)))
    if (found := discrimination_of(votes)).n:
        notes.append(Note(text=discrimination_text(found)))
    return notes


def preference_text(comparison: Comparison, found: Preference) -> str:
    """Return the votes of preference as a sentence."""
    told = f"Preference: {comparison.a.name} {found.a}, {comparison.b.name} {found.b}, "
    told += f"no difference {found.same}."
    if found.share_b is None:
        return told
    interval = found.interval
    told += f" {comparison.b.name} has {found.share_b:.0%} of the decided votes "
    told += f"(95 %: {interval.low:.0%} … {interval.high:.0%})"
    winner = found.winner
    return f"{told}: " + (
        "no preference shown."
        if winner is None
        else f"{comparison.model(winner).name} is preferred."
    )


def discrimination_text(found: Discrimination) -> str:
    """Return the votes on X as a sentence."""
    return (
        f"ABX: X was found {found.right} times of {found.n}; who hears no difference does as well "
        f"or better with probability {found.p:.3f}."
    )


def _sentences(folder: Path, comparison: Comparison) -> Iterator[Sounds]:
    for number, text in enumerate(comparison.order.texts, start=1):
        readings = [comparison.reading(number, side) for side in SIDES]
        waves = [_wave(folder, reading) for reading in readings]
        longest = max((len(wave) for wave in waves if wave is not None), default=0)
        cards = zip(SIDES, readings, waves, strict=True)
        yield Sounds(
            title=f"{number}. “{text}”",
            sounds=[
                _card(f"{side.upper()}: {comparison.model(side).name}", reading, wave, longest)
                for side, reading, wave in cards
            ],
        )


def _wave(folder: Path, reading: Reading | None) -> Waveform | None:
    if reading is None or reading.sound is None:
        return None
    return read_audio(folder / reading.sound, SAMPLE_RATE)[0]


def _card(label: str, reading: Reading | None, wave: Waveform | None, longest: int) -> Sound:
    if reading is None:
        return Sound(label=label, player=None, note="not spoken yet")
    if wave is None:
        return Sound(label=label, player=None, note=f"failed: {reading.error}")
    return Sound(
        label=label,
        player=Player(src=sound_address(wave), label=f"{label}: {reading.text}"),
        picture=sound_strip(wave, longest),
        mark=_mark(reading),
        note="" if reading.heard is None else f"heard: “{reading.heard or '(nothing)'}”",
    )


def _mark(reading: Reading) -> str:
    told = []
    if reading.letters is not None:
        told.append(f"{reading.letters.rate:.0%} wrong")
    if reading.elapsed_sec is not None and reading.duration_sec:
        told.append(f"RTF {reading.elapsed_sec / reading.duration_sec:.2f}")
    return ", ".join(told)


def _what(comparison: Comparison) -> Table:
    order = comparison.order
    same = [
        ("voice", order.prompt.name),
        ("language", _language(comparison.language)),
        ("seed", str(order.seed)),
        *((name, str(value)) for name, value in order.settings.items()),
    ]
    return Table(
        headers=["", "A", "B"],
        rows=[
            *(_row(what, comparison.a, comparison.b) for what in MODEL_ROWS),
            *((name, value, "the same") for name, value in same),
        ],
    )


MODEL_ROWS = ("model", "file", "tokenizer", "languages", "weights of the GPT")


def _row(what: str, *models: ModelSide) -> tuple[str, ...]:
    return (what, *(_told(what, model) for model in models))


def _told(what: str, model: ModelSide) -> str:
    return {
        "model": model.name,
        "file": model.checkpoint,
        "tokenizer": f"{model.tokenizer}, {model.vocab_size} pieces",
        "languages": ", ".join(model.languages),
        "weights of the GPT": format_bytes(model.weight_bytes),
    }[what]


def _language(code: str | None) -> str:
    return "chosen by the characters" if code is None else f"{NAMES.get(code, code)} ({code})"


def _explanations() -> Table:
    rows = [(figure.label, figure.explanation) for figure in FIGURES]
    return Table(headers=["figure", "what it is"], rows=rows)
