"""A comparison as the page shows it: the table of figures, and one sentence by both models."""

from __future__ import annotations

from html import escape
from pathlib import Path

from idiolect.audio.io import read_audio
from idiolect.base.units import SAMPLE_RATE
from idiolect.evaluation.chance import MIN_SENTENCES
from idiolect.evaluation.comparison import SIDES, Comparison
from idiolect.evaluation.figures import Score, scores_of
from idiolect.evaluation.reading import Reading
from idiolect.evaluation.sound_strip import sound_strip
from idiolect.webui.messages import Say

COLUMNS = ("figure", "a", "b", "difference", "better", "sentences")


def figures_html(comparison: Comparison, say: Say) -> str:
    """Return the table of figures; each is explained where one points at it, and below."""
    scores = scores_of(comparison.readings)
    if not scores:
        return ""
    names = {"a": comparison.a.name, "b": comparison.b.name}
    heads = "".join(
        f'<th scope="col">{escape(say(f"compare.column_{column}", **names))}</th>'
        for column in COLUMNS
    )
    rows = "".join(_row(comparison, score, say) for score in scores)
    terms = "".join(_explained(score.figure.name, say) for score in scores)
    more = escape(say("compare.explanations", least=MIN_SENTENCES))
    return (
        f'<div style="overflow-x: auto"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
        f"<details><summary>{more}</summary><dl>{terms}</dl></details>"
    )


def _row(comparison: Comparison, score: Score, say: Say) -> str:
    name, form = score.figure.name, score.figure.form
    label = f'<th scope="row" title="{escape(say(f"compare.explain_{name}"), quote=True)}">'
    label += f"{escape(say(f'compare.figure_{name}'))}</th>"
    cells = (
        form(score.a),
        form(score.b),
        score.shown_difference,
        _verdict(comparison, score, say),
        str(score.num_sentences),
    )
    return f"<tr>{label}{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _verdict(comparison: Comparison, score: Score, say: Say) -> str:
    verdict = score.verdict
    if verdict == "a":
        return f"A: {comparison.a.name}"
    if verdict == "b":
        return f"B: {comparison.b.name}"
    name = verdict.replace(" ", "_")
    return say(f"compare.verdict_{name}", least=MIN_SENTENCES)


def _explained(name: str, say: Say) -> str:
    label, text = say(f"compare.figure_{name}"), say(f"compare.explain_{name}")
    return f"<dt><b>{escape(label)}</b></dt><dd>{escape(text)}</dd>"


def notes_text(comparison: Comparison, say: Say) -> str:
    """Return what was compared on what, and what was not measured, as Markdown."""
    done, total = len(comparison.readings), comparison.num_readings
    state = "finished" if comparison.is_finished else "unfinished"
    failed = sum(bool(reading.error) for reading in comparison.readings)
    lines = [
        say(f"compare.{state}", done=done, total=total, device=comparison.device),
        *([say("compare.num_failed", n=failed)] if failed else []),
        say(
            f"compare.hearing_{comparison.hearing}",
            listener=comparison.listener,
            language=comparison.language,
        ),
    ]
    if not comparison.predictor:
        lines.append(say("compare.no_predictor"))
    return "  \n".join(escape(line, quote=False) for line in lines)


def sentence_html(folder: Path, comparison: Comparison, sentence: int, say: Say) -> str:
    """Return pictures of a sentence by both models, side by side, equally long."""
    readings = [comparison.reading(sentence, side) for side in SIDES]
    waves = [
        read_audio(folder / r.sound, SAMPLE_RATE)[0] if r is not None and r.sound else None
        for r in readings
    ]
    longest = max((len(wave) for wave in waves if wave is not None), default=0)
    cards = []
    for side, reading, wave in zip(SIDES, readings, waves, strict=True):
        title = f"{side.upper()}: {comparison.model(side).name}"
        alt = escape(say("compare.picture_of", model=title), quote=True)
        picture = (
            ""
            if wave is None
            else (
                f'<img src="{sound_strip(wave, longest)}" alt="{alt}" '
                'style="width: 100%; height: 140px; image-rendering: auto">'
            )
        )
        cards.append(
            f'<figure style="flex: 1 1 240px; margin: 0"><figcaption>{escape(title)} '
            f"{escape(_told(reading, say))}</figcaption>{picture}</figure>"
        )
    return f'<div style="display: flex; flex-wrap: wrap; gap: 1rem">{"".join(cards)}</div>'


def _told(reading: Reading | None, say: Say) -> str:
    if reading is None:
        return say("compare.not_yet")
    if reading.error:
        return say("compare.failed", error=reading.error)
    told = []
    if reading.elapsed_sec is not None and reading.duration_sec:
        told.append(f"· RTF {reading.elapsed_sec / reading.duration_sec:.2f}")
    if reading.letters is not None:
        told.append(
            "· " + say("compare.heard", heard=reading.heard, wrong=f"{reading.letters.rate:.0%}")
        )
    return " ".join(told)
