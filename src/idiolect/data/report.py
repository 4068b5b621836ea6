"""The report of a preparation: what is there, what was left out and why, and the worst to hear."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from idiolect.base.page import (
    Bar,
    Figures,
    Note,
    Player,
    Section,
    Table,
    Tile,
    Tiles,
    histogram_svg,
    write_page,
)
from idiolect.base.units import format_duration
from idiolect.data.sources import Source
from idiolect.data.split import Split
from idiolect.data.tally import Share, Tally
from idiolect.data.transcripts import Fault
from idiolect.data.verdicts import Verdict, mend_of

STOPPED = (
    "So much is left out that no manifest was written: look at the reasons first, or give "
    "--allow-skips to go on without these clips."
)
WENT_ON = "Every clip that is left out is in the file of rejected clips, with its reason."

MOST_SPEAKERS = 30
MOST_LETTERS = 40
MOST_TEXT = 160
"""Letters of a text that a table shows."""


def write_report(
    path: Path, tally: Tally, source: Source, split: Split, *, title: str, stopped: bool
) -> None:
    """Write the report to ``path``.

    Args:
        path: Players name the audio relative to its folder.
        tally: What was counted.
        source: Where the clips come from.
        split: How validation was chosen.
        title: What the page is called.
        stopped: Whether too much is left out for a manifest to be written.
    """
    sections = [
        Section(
            title="In short", blocks=[_tiles(tally), Note(text=STOPPED if stopped else WENT_ON)]
        ),
        _left_out(tally),
        _shapes(tally),
        _speakers(tally),
        _rest(tally, source, split),
        _worst(tally, source.audio.folder, path.parent),
        _oddest(tally, source.audio.folder, path.parent),
    ]
    subtitle = f"{source.transcript.path} ({source.transcript.form}), {source.audio.folder}"
    write_page(path, title, [s for s in sections if s.blocks], subtitle=subtitle)


def _tiles(tally: Tally) -> Tiles:
    middle = sorted(tally.durations_sec)[len(tally.durations_sec) // 2] if tally.kept.clips else 0.0
    languages = ", ".join(sorted(tally.by_language)) or "none"
    return Tiles(
        tiles=[
            Tile(label="kept", value=format_duration(tally.kept.seconds), note="of speech"),
            Tile(label="clips kept", value=f"{tally.kept.clips:,}", note=f"of {tally.found:,}"),
            Tile(
                label="left out",
                value=f"{tally.left_out_share:.1%}",
                note=f"{tally.left_out.clips:,} clips",
            ),
            Tile(label="speakers", value=f"{len(tally.by_speaker):,}"),
            Tile(label="language", value=languages),
            Tile(label="middle length", value=format_duration(middle)),
        ]
    )


def _left_out(tally: Tally) -> Section:
    reasons = sorted(tally.reasons.items(), key=lambda item: -item[1].clips)
    most = max((share.clips for _, share in reasons), default=1)
    rows = [
        (reason, Bar(share=share.clips / most, text=f"{share.clips:,}"), mend_of(reason))
        for reason, share in reasons
    ]
    table = Table(headers=["reason", "clips", "what to do"], rows=rows)
    return Section(title="Left out, by reason", blocks=[table] if rows else [])


def _shapes(tally: Tally) -> Section:
    if not tally.kept.clips:
        return Section(title="", blocks=[])
    figures = [
        ("length", histogram_svg(tally.durations_sec, "seconds")),
        ("loudness", histogram_svg(tally.loudness_db, "dBFS")),
        ("silence", histogram_svg(tally.silence, "% of the clip")),
        ("speed of speech", histogram_svg(tally.rates, "letters a second")),
    ]
    return Section(title="The clips that are kept", blocks=[Figures(figures=figures)])


def _speakers(tally: Tally) -> Section:
    ranked = sorted(tally.by_speaker.items(), key=lambda item: (-item[1].seconds, item[0]))
    if len(ranked) > MOST_SPEAKERS:
        rest = Share()
        for _, share in ranked[MOST_SPEAKERS:]:
            rest.clips += share.clips
            rest.seconds += share.seconds
        ranked[MOST_SPEAKERS:] = [(f"{len(ranked) - MOST_SPEAKERS} others", rest)]
    most = max((share.seconds for _, share in ranked), default=1.0)
    rows = [
        (name, Bar(share=s.seconds / most, text=format_duration(s.seconds)), s.clips)
        for name, s in ranked
    ]
    table = Table(headers=["speaker", "speech", "clips"], rows=rows)
    return Section(title="Speech by speaker", blocks=[table] if rows else [])


def _rest(tally: Tally, source: Source, split: Split) -> Section:
    rates = ", ".join(f"{rate} Hz: {n:,}" for rate, n in tally.sample_rates.most_common())
    letters = ", ".join(f"{c} ({n})" for c, n in tally.foreign.most_common(MOST_LETTERS))
    rows = [
        ("speakers told by", source.speaker_told_by),
        ("validation chosen by", split.by),
        ("sample rates", rates or "none"),
        ("clips that repeat a text of their speaker", f"{tally.repeated_texts:,}"),
        ("letters that the language does not write, in so many clips", letters or "none"),
    ]
    return Section(title="Also good to know", blocks=[Table(headers=["what", "is"], rows=rows)])


def _worst(tally: Tally, audio_dir: Path, folder: Path) -> Section:
    rows = [
        (fault.reason, *_heard(fault, audio_dir, folder))
        for reason in sorted(tally.examples)
        for fault in tally.examples[reason]
    ]
    table = Table(headers=["reason", "detail", "text", "where", "sound"], rows=rows)
    return Section(title="Left out: examples to hear", blocks=[table] if rows else [])


def _oddest(tally: Tally, audio_dir: Path, folder: Path) -> Section:
    rows = [
        tuple(_heard(verdict, audio_dir, folder))
        for oddness, _, verdict in sorted(tally.oddest, key=lambda item: -item[0])
        if oddness > 0
    ]
    table = Table(headers=["detail", "text", "where", "sound"], rows=rows)
    note = Note(text="Kept, and nearest to being left out: do text and sound agree?")
    return Section(title="The oddest clips that are kept", blocks=[note, table] if rows else [])


def _heard(fault: Verdict | Fault, audio_dir: Path, folder: Path) -> Iterator[str | Player]:
    """Yield the cells of one clip: detail, text, where it is written, and a player."""
    if isinstance(fault, Fault):
        yield from (fault.detail, fault.text[:MOST_TEXT], fault.where, "")
        return
    clip = fault.clip
    yield fault.detail or f"{fault.rate:.1f} letters a second"
    yield clip.text[:MOST_TEXT]
    yield clip.where
    path = os.path.relpath((audio_dir / clip.audio).resolve(), folder.resolve())
    part = f"#t={clip.start_sec or 0:g}" + (f",{clip.end_sec:g}" if clip.end_sec else "")
    yield Player(src=quote(path) + (part if clip.start_sec is not None else ""), label=clip.id)
