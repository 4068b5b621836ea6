"""``idiolect compare``: two models, the same sentences; what differs beyond chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from idiolect.audio.io import probe_audio
from idiolect.base.errors import ConfigError, DataError, summarize
from idiolect.base.guard import check_output
from idiolect.base.places import ModelPlace
from idiolect.base.progress import progress
from idiolect.cli.sampling import DeviceFlags, SamplingFlags
from idiolect.cli.surface import run_command
from idiolect.data.lines import ASK_FOR_UTF8, read_lines

if TYPE_CHECKING:
    from idiolect.evaluation.comparing import Comparisons
    from idiolect.evaluation.comparison import Comparison, ComparisonOrder

OUTPUT_DIR = Path("outputs/comparisons")
SETTINGS = ("speed", "interval_silence")
"""Settings that go to the call as they are, by the same name."""
DESCRIPTION = (
    "Let two models speak the same sentences, with the same voice, seed and settings; measure "
    "both, and say which differences chance does not explain: six sentences or more are needed "
    "for that. Writes sounds, comparison.json and a report with players. Interrupted, the same "
    "command goes on."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareConfig:
    """Which models, what they say, and who listens."""

    model_a: str = "base"
    """An installed model's name, or base."""
    model_b: str
    """The model that is compared with it."""
    prompt: Path
    """A clip of the voice that both imitate; its first 15 s are heard."""
    text: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A sentence; may be repeated."""
    text_file: Path | None = None
    """A UTF-8 file with a sentence a line."""
    language: str | None = None
    """Language of the sentences (ca, es, fr ...); when left out, that of the model that has one."""
    seed: int = 1
    """The same for every sentence and both models: idiolect synth gives the same sound with it."""
    asr: str = "none"
    """Who writes down what is heard, to count wrong letters: nano (en, es, ca), whisper-base,
    whisper-small, moonshine, faster-whisper:MODEL, or none."""
    asr_dir: Path | None = None
    """Folder of whisper-base, whisper-small and moonshine; see recipes/nano/JUDGES.md."""
    output_dir: Path = OUTPUT_DIR
    """Each comparison gets a folder of its own in this one."""
    speed: float | None = None
    """0.5 to 2; 1 when left out."""
    interval_silence: int | None = None
    """Silence between segments, in milliseconds; 200 when left out."""
    sampling: Annotated[SamplingFlags, tyro.conf.arg(name="")]
    where: Annotated[DeviceFlags, tyro.conf.arg(name="")]
    place: Annotated[ModelPlace, tyro.conf.arg(name="")]


def main(argv: Sequence[str] | None = None, prog: str = "idiolect compare") -> int:
    """Run the command; return its exit code."""
    return run_command(CompareConfig, _compare, argv, prog=prog, description=DESCRIPTION)


def _compare(config: CompareConfig) -> None:
    texts = _texts(config)
    check_output(config.output_dir)
    probe_audio(config.prompt)
    from idiolect.evaluation.comparison import ComparisonOrder

    order = ComparisonOrder(
        model_a=config.model_a,
        model_b=config.model_b,
        prompt=config.prompt,
        texts=texts,
        language=config.language,
        seed=config.seed,
        settings=_settings(config),
        asr=config.asr,
        asr_dir=config.asr_dir,
        device=config.where.device,
    )
    folder, comparison = _run(_comparisons(config), order)
    from idiolect.evaluation.comparison_report import write_report

    report = write_report(folder, comparison)
    print("\n".join(_told(comparison)))
    print(f"wrote {report}")


def _settings(config: CompareConfig) -> dict[str, Any]:
    """Return the settings that were given, by the names that the call has for them."""
    own = {name: v for name in SETTINGS if (v := getattr(config, name)) is not None}
    return own | config.sampling.given()


def _comparisons(config: CompareConfig) -> Comparisons:
    from idiolect.evaluation.comparing import Comparisons
    from idiolect.models.published import locate_base
    from idiolect.synthesis.swap import ModelSlot

    files = locate_base(config.place.base, aux_dir=config.place.aux_dir)
    # Both stay where there is room: a swap a sentence would take longer than the sentences.
    slot = ModelSlot(files, config.place.model_dir, keep_loaded=2, half=config.where.fp16)
    return Comparisons(slot, files, config.place.model_dir, config.output_dir)


def _run(comparisons: Comparisons, order: ComparisonOrder) -> tuple[Path, Comparison]:
    """Return the folder and the finished comparison."""
    steps = comparisons.run(order)
    made = next(steps)
    folder, comparison = made
    done = len(comparison.readings)
    print(f"{'going on in' if done else 'writing to'} {folder}", flush=True)
    left = comparison.num_readings - done
    with progress("comparing", left, unit="sounds") as advance:
        for step in steps:
            made = step
            advance(1)
    return made


def _told(comparison: Comparison) -> list[str]:
    """Return the table and what it does not hold, as lines."""
    from idiolect.evaluation.comparison_report import figures_table, notes_of
    from idiolect.evaluation.figures import scores_of

    table = figures_table(comparison, scores_of(comparison.readings))
    rows = [list(table.headers), *([str(cell) for cell in row] for row in table.rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    failed = [
        f"sentence {r.sentence}, {comparison.model(r.side).name}: {r.error}"
        for r in comparison.readings
        if r.error
    ]
    told = [f"not spoken:\n{summarize(failed)}"] if failed else []
    return ["", *lines, "", *notes_of(comparison), *told]


def _texts(config: CompareConfig) -> tuple[str, ...]:
    """Return the sentences.

    Raises:
        ConfigError: There are none, or from two places.
        DataError: The file is not UTF-8, or has none.
    """
    if bool(config.text) == (config.text_file is not None):
        raise ConfigError("give --text or --text-file, one of them", where="--text")
    if config.text_file is None:
        return config.text
    lines = list(read_lines(config.text_file))
    if damages := [f"{number}: {damage}" for number, _, damage in lines if damage]:
        raise DataError(
            f"the text is {summarize(damages)}", where=str(config.text_file), fix=ASK_FOR_UTF8
        )
    texts = tuple(line for _, line, _ in lines if line.strip())
    if not texts:
        raise DataError("there is no line to speak", where=str(config.text_file))
    return texts
