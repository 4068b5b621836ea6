"""The page of a run: where it stands, how it came there, how it sounds; one file, made anew.

It is made of what lies in the folder of the run alone, so it can be made at any time, also of a
run that was killed.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import yaml

from idiolect.base.config import to_mapping
from idiolect.base.errors import DataError
from idiolect.base.files import read_jsonl
from idiolect.base.log import get_logger
from idiolect.base.page import (
    Code,
    Note,
    Section,
    Table,
    Tile,
    Tiles,
    write_page,
)
from idiolect.base.units import format_bytes, format_duration
from idiolect.data.language_names import NAMES
from idiolect.training.config import (
    BEST_FILE,
    CONFIG_FILE,
    LATEST_FILE,
    TrainConfig,
    read_run_config,
)
from idiolect.training.history import History, languages_in
from idiolect.training.metrics import METRICS_FILE, Record
from idiolect.training.notices import find_notices
from idiolect.training.report_curves import curves
from idiolect.training.report_sounds import spoken
from idiolect.training.run_log import LogFacts, read_log_facts
from idiolect.training.state import LOG_FILE, REPORT_FILE

PUBLISHED_LANGUAGES = ("zh", "en")
"""What the published base speaks."""
SPEED_LINES = 20
"""Newest lines of progress of which the speed is a mean."""
MOST_VALIDATIONS = 200
"""Rows of the table; of more, evenly chosen ones are shown, and said so."""

NO_VALIDATION = "Nothing was measured yet."
HOW_HEARD = (
    "Letters wrong: what the listener writes down, against what was to be said. It expects the "
    "words that it knows, and makes mistakes of its own."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What the folder of a run says of it."""

    folder: Path
    config: TrainConfig
    history: History
    records: Sequence[Record]
    facts: LogFacts
    install_command: str

    @property
    def step(self) -> int:
        """The newest step of which something was written."""
        return max((record["step"] for record in self.records), default=0)

    @property
    def best_step(self) -> int | None:
        """The step of the best checkpoint; None before there is one."""
        for judged in (self.history.probes, self.history.val):
            best = [record["step"] for record in judged if record.get("is_best")]
            if best:
                return int(best[-1])
        return None

    @property
    def steps_of_interest(self) -> dict[str, int]:
        """What is compared, by what it is called: before, at its best, last."""
        measured = sorted({r["step"] for r in (*self.history.val, *self.history.probes)})
        found: dict[str, int] = {}
        if measured and measured[0] == 0:
            found["before"] = 0
        if self.best_step is not None:
            found["best"] = self.best_step
        if measured and measured[-1] not in found.values():
            found["last"] = measured[-1]
        return found


def write_run_report(
    folder: Path, base_languages: Collection[str] | None = None, install_command: str = ""
) -> Path:
    """Write the page of the run in ``folder`` there; return its path.

    Args:
        folder: Of the run; what is damaged or missing in it is missing on the page.
        base_languages: What the base spoke before. By default those of the settings, else those
            of the published base.
        install_command: What installs the best checkpoint; by default made of the settings.

    Raises:
        ConfigError: The folder holds no settings of a run.
        GuardError: It lies in a base.
    """
    run = _read_run(folder, base_languages, install_command)
    sections = [
        Section(title="In short", blocks=_in_short(run)),
        Section(title="What to know", blocks=_notices(run)),
        Section(title="How it sounds", blocks=spoken(folder, run.steps_of_interest)),
        Section(title="How it was learnt", blocks=curves(run.history)),
        Section(title="Every validation", blocks=_validations(run)),
        Section(title="To use it", blocks=_to_use(run)),
        Section(title="The run", blocks=_facts(run)),
        Section(title="Settings", blocks=_settings(run.config)),
    ]
    path = folder / REPORT_FILE
    write_page(
        path,
        f"Training {run.config.output_name or folder.resolve().name}",
        [section for section in sections if section.blocks],
        subtitle=_subtitle(run),
    )
    return path


def _read_run(folder: Path, base_languages: Collection[str] | None, install_command: str) -> Run:
    config = read_run_config(folder)
    records = _read_records(folder / METRICS_FILE)
    if base_languages is None:
        base_languages = config.base_languages or PUBLISHED_LANGUAGES
    return Run(
        folder=folder,
        config=config,
        history=History.of(records, base_languages),
        records=records,
        facts=read_log_facts(folder / LOG_FILE),
        install_command=install_command or _install_command(folder, config),
    )


def _read_records(path: Path) -> list[Record]:
    """Return the whole lines; the run may be writing one at this moment."""
    records: list[Record] = []
    try:
        records.extend(record for _, record in read_jsonl(path))
    except DataError as error:
        get_logger().debug("the report leaves out what follows: %s", error)
    return records


def _install_command(folder: Path, config: TrainConfig) -> str:
    """Return the command without what the settings do not say; empty without a checkpoint."""
    best = next((folder / n for n in (BEST_FILE, LATEST_FILE) if (folder / n).is_file()), None)
    if best is None:
        return ""
    command = ["idiolect", "install", "--checkpoint", str(best)]
    if config.tokenizer is not None:
        command += ["--tokenizer", str(config.tokenizer)]
    if config.output_name:
        command += ["--output-name", config.output_name]
    return shlex.join(command)


def _subtitle(run: Run) -> str:
    parts = [f"step {run.step}"]
    eta_sec = run.history.train[-1]["eta_sec"] if run.history.train else 0.0
    if eta_sec:
        parts.append(f"{format_duration(eta_sec)} to go when this was written")
    parts += [f"idiolect {run.facts.version}"] if run.facts.version else []
    return ", ".join(parts)


def _in_short(run: Run) -> list[Tiles | Note]:
    tiles = [*_loss_tiles(run), *_heard_tiles(run), *_speed_tiles(run)]
    blocks: list[Tiles | Note] = [Tiles(tiles=tiles)] if tiles else [Note(text=NO_VALIDATION)]
    return [*blocks, Note(text=HOW_HEARD)] if _heard_tiles(run) else blocks


def _loss_tiles(run: Run) -> list[Tile]:
    """Return the losses, of each language too where there are several, and the top-1."""
    found = {line["step"]: line for line in run.history.val}
    losses = {step: line["loss"] for step, line in found.items()}
    tops = {step: 100 * line["mel_top1"] for step, line in found.items()}
    named = {
        f"{name_of(language)}, loss": dict(points)
        for language in run.history.languages
        if (points := run.history.curve(run.history.val, language, "loss"))
    }
    shown = {"validation loss": losses, **(named if len(named) > 1 else {})}
    tiles = [_course_tile(run, label, values, "") for label, values in shown.items()]
    tiles.append(_course_tile(run, "top-1", tops, "%"))
    return [tile for tile in tiles if tile is not None]


def _course_tile(run: Run, label: str, values: dict[int, float], unit: str) -> Tile | None:
    """Return what was measured before and at the best; None where it was not."""
    steps = run.steps_of_interest
    shown = [values[s] for which in ("before", "best") if (s := steps.get(which, -1)) in values]
    if not shown:
        return None
    note = f"before → step {steps['best']}" if len(shown) == 2 else "so far"
    return Tile(label=label, value=_change(shown, unit), note=note)


def _change(values: Sequence[float], unit: str) -> str:
    """Return one number, or where it came from and what it is now."""
    digits = 1 if unit else 3
    return " → ".join(f"{value:.{digits}f}" for value in values) + unit


def _heard_tiles(run: Run) -> list[Tile]:
    """Return what is heard wrong in each language, before and at the best."""
    steps = run.steps_of_interest
    tiles = []
    for language in run.history.languages:
        rates = dict(run.history.curve(run.history.probes, language, "cer"))
        shown = [rates[s] for which in ("before", "best") if (s := steps.get(which, -1)) in rates]
        if not shown:
            continue
        note = "before → best"
        if not run.history.is_taught(language) and len(shown) == 2:
            points = 100 * (shown[1] - shown[0])
            note = f"{abs(points):.1f} points {'forgotten' if points > 0 else 'better'}"
        value = _change([100 * rate for rate in shown], "%")
        tiles.append(Tile(label=f"{name_of(language)}, letters wrong", value=value, note=note))
    return tiles


def _speed_tiles(run: Run) -> list[Tile]:
    timed = [line for line in run.history.train if "step_sec" in line]
    if not timed:
        return []
    newest = timed[-SPEED_LINES:]
    hours = fmean(line["audio_hours_per_hour"] for line in newest)
    tokens = fmean(line["tokens_per_sec"] for line in newest)
    waited = sum(line["wait_sec"] for line in newest) / sum(line["step_sec"] for line in newest)
    tiles = [
        Tile(label="time", value=format_duration(_seconds(timed)), note=f"{run.step} steps"),
        Tile(
            label="speed",
            value=f"{hours:.1f} ×",
            note=f"as fast as speech; {tokens:,.0f} tokens a second",
        ),
        Tile(label="waiting for data", value=f"{waited:.0%}", note="of the time"),
    ]
    if "memory_bytes" in newest[-1]:
        most = max(line.get("memory_bytes", 0) for line in timed)
        tiles.append(Tile(label="memory", value=format_bytes(most), note="at most"))
    return tiles


def _seconds(timed: Sequence[Record]) -> float:
    """Return how long the steps took, with what was measured and saved between them."""
    seconds, before = 0.0, 0
    for line in timed:
        seconds += line["step_sec"] * (line["step"] - before)
        before = line["step"]
    return seconds


def _notices(run: Run) -> list[Table]:
    notices = find_notices(run.records, run.history.base_languages)
    rows = [(notice.step, notice.text) for notice in notices]
    return [Table(headers=["step", "notice"], rows=rows)] if rows else []


def _validations(run: Run) -> list[Note | Table]:
    heard = {probe["step"]: languages_in(probe) for probe in run.history.probes}
    names = list(_heard_columns(run))
    chosen = _evenly(run.history.val, run.best_step)
    rows = [_validation_row(line, heard.get(line["step"], {}), names, run) for line in chosen]
    headers = ["step", "epoch", "loss", "text", "codes", "top-1"]
    headers += [f"{language} {label}" for language, _, label, _ in names]
    blocks: list[Note | Table] = []
    if len(chosen) < len(run.history.val):
        said = f"{len(chosen)} of {len(run.history.val)}, evenly chosen; {METRICS_FILE} has all."
        blocks.append(Note(text=said))
    return [*blocks, Table(headers=headers, rows=rows)] if rows else []


def _heard_columns(run: Run) -> Iterator[tuple[str, str, str, str]]:
    """Yield (language, name, label, form) of each score that somebody measured."""
    for name, label, form in (("cer", "wrong", ".1%"), ("similarity", "voice", ".2f")):
        for language in run.history.languages:
            if run.history.curve(run.history.probes, language, name):
                yield language, name, label, form


def _validation_row(
    line: Record,
    heard: dict[str, dict[str, float]],
    names: Sequence[tuple[str, str, str, str]],
    run: Run,
) -> list[str | int]:
    best = ", the best" if line["step"] == run.best_step else ""
    row: list[str | int] = [f"{line['step']}{best}", line["epoch"]]
    row += [f"{line[name]:.4f}" for name in ("loss", "text_loss", "mel_loss")]
    row.append(f"{line['mel_top1']:.1%}")
    for language, name, _, form in names:
        value = heard.get(language, {}).get(name)
        row.append("" if value is None else format(value, form))
    return row


def _evenly(lines: Sequence[Record], best_step: int | None) -> list[Record]:
    """Return the lines that the table has room for; the first, the best and the last among them."""
    if len(lines) <= MOST_VALIDATIONS:
        return list(lines)
    last = len(lines) - 1
    wanted = {round(part * last / (MOST_VALIDATIONS - 2)) for part in range(MOST_VALIDATIONS - 1)}
    wanted |= {number for number, line in enumerate(lines) if line["step"] == best_step}
    return [lines[number] for number in sorted(wanted)]


def _to_use(run: Run) -> list[Note | Code]:
    if not run.install_command:
        return []
    best = f" of step {run.best_step}" if run.best_step is not None else ""
    return [Note(text=f"The best checkpoint{best}:"), Code(text=run.install_command)]


def _facts(run: Run) -> list[Table]:
    rows = [(what, text) for what, text in run.facts.rows]
    return [Table(headers=["what", "is"], rows=rows)] if rows else []


def _settings(config: TrainConfig) -> list[Table | Note | Code]:
    """Return what was asked for, and all settings as the file has them."""
    plain, own = to_mapping(TrainConfig()), to_mapping(config)
    rows = [
        (f"--{name.replace('_', '-')}", _shown(value), _shown(plain[name]))
        for name, value in own.items()
        if value != plain[name]
    ]
    names = [field.name for field in dataclasses.fields(TrainConfig)]
    text = yaml.safe_dump({name: own[name] for name in names}, sort_keys=False, allow_unicode=True)
    return [
        Table(headers=["asked for", "is", "by default"], rows=rows),
        Note(text=f"All of them, as {CONFIG_FILE} has them:"),
        Code(text=text.rstrip()),
    ]


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None or value == "" else str(value)


def name_of(code: str) -> str:
    """Return the English name of a language, or its code where nobody gave it one."""
    names = NAMES.get(code, code).split()
    return names[0].capitalize() if code in NAMES else code
