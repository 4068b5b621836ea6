"""What a run reports while it goes: means over tokens, to the log, a file and TensorBoard.

``metrics.jsonl`` is what monitors read: one JSON object a line, in order of ``step``.

========================  ==================================================================
Key                       Meaning
========================  ==================================================================
``kind``                  ``train``: a mean over the steps since the last such line; ``val``: a
                          validation; ``probe``: what was spoken at one; ``rows``: what of the
                          vocabulary is in the data
``step, epoch``           the step behind which it was written; the first of both is 1
``loss``                  weighted loss, in nats
``text_loss``             of a text token, ``mel_loss`` of a code: mean over tokens, in nats
``mel_top1``              share of codes of which the likeliest is the right one
``lr, grad_norm``         only ``train``: of the last step; the norm before clipping
``tokens_per_sec``        only ``train``: labels learnt from in a second
``audio_hours_per_hour``  only ``train``: hours of speech learnt from in an hour
``step_sec, wait_sec``    only ``train``: seconds of a step, and those of them in which the device
                          waited for data
``memory_bytes``          only ``train``: most memory of the device so far; on a CPU, that of the
                          process now
``base_kl``               only ``train``, with ``--base-kl``: how far the model is from the base on
                          a code of its languages, in nats; of the last step
``eta_sec``               only ``train``: seconds to the last step, at this speed
``is_best``               only ``val`` and ``probe``: whether it is the best so far
``languages``             only ``val``: the losses of each; only ``probe``: the scores of each
``learnt, total``         only ``rows``: new text rows that the data has, and all new ones
========================  ==================================================================

The scores of a language in ``probe``, of which those that nobody measured are left out:

========================  ==================================================================
``cer, wer``              letters and words heard wrong, of those that were to be said
``similarity``            cosine of the voices of what was said and of its prompt
``leak_rate``             share of sentences in which words of the prompt's own text are heard
``rate_ratio``            length against what the recordings take for as many letters
``missing_end_rate``      share of sentences that did not come to an end by themselves
``lost_end_rate``         share of sentences whose end was not what was heard last
``duration_sec``          mean length
``sentences``             how many there were
========================  ==================================================================
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch.utils.tensorboard import SummaryWriter

from idiolect.audio.io import read_audio
from idiolect.audio.shown import spectrogram
from idiolect.base.errors import DataError
from idiolect.base.files import read_jsonl, write_jsonl
from idiolect.base.guard import check_output
from idiolect.base.log import get_logger
from idiolect.base.page import image_pixels
from idiolect.base.units import CODE_RATE_HZ, SAMPLE_RATE, format_duration
from idiolect.training.loss import LabelCounts, LossWeights, mean_loss
from idiolect.training.step import StepReport

METRICS_FILE = "metrics.jsonl"
TENSORBOARD_DIR = "runs"
BOARD_SOUNDS = 2
"""Sentences of each language that TensorBoard gets at each probe; the samples folder has all."""

Record = Mapping[str, Any]
"""A line of ``metrics.jsonl``."""
AlsoTo = Callable[[Mapping[str, float], int], None]
"""Gets the numbers of a report by name, and its step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Means over the tokens of an interval or of a validation."""

    loss: float
    text_loss: float
    mel_loss: float
    mel_top1: float

    def summary(self) -> str:
        """Return the scores as a line of the log has them."""
        return (
            f"loss {self.loss:.4f} (text {self.text_loss:.4f}, codes {self.mel_loss:.4f}), "
            f"top-1 {self.mel_top1:.1%}"
        )


@dataclass(slots=True)
class Meter:
    """Sums over steps or batches that have not been reported yet."""

    text_sum: float = 0.0
    code_sum: float = 0.0
    num_correct: int = 0
    text_count: int = 0
    code_count: int = 0

    def add(self, text_sum: float, code_sum: float, num_correct: int, counts: LabelCounts) -> None:
        """Add the sums of some tokens."""
        self.text_sum += text_sum
        self.code_sum += code_sum
        self.num_correct += num_correct
        self.text_count += counts.text
        self.code_count += counts.codes

    def scores(self, weights: LossWeights) -> Scores:
        """Return the means over all tokens that were added."""
        counts = LabelCounts(self.text_count, self.code_count)
        return Scores(
            loss=mean_loss(self.text_sum, self.code_sum, counts, weights),
            text_loss=self.text_sum / self.text_count,
            mel_loss=self.code_sum / self.code_count,
            mel_top1=self.num_correct / self.code_count,
        )


@dataclass(slots=True)
class LanguageMeters:
    """Sums over the batches of a validation, for each language."""

    meters: dict[str, Meter] = field(default_factory=dict)

    def add(
        self,
        language: str,
        text_sum: float,
        code_sum: float,
        num_correct: int,
        counts: LabelCounts,
    ) -> None:
        """Add the sums of some tokens of ``language``."""
        meter = self.meters.setdefault(language, Meter())
        meter.add(text_sum, code_sum, num_correct, counts)

    def total(self) -> Meter:
        """Return the sums over all languages: each token counts once, whatever it belongs to."""
        total = Meter()
        for meter in self.meters.values():
            counts = LabelCounts(meter.text_count, meter.code_count)
            total.add(meter.text_sum, meter.code_sum, meter.num_correct, counts)
        return total

    def scores(self, weights: LossWeights) -> dict[str, Scores]:
        """Return the means of each language, by its code."""
        return {language: self.meters[language].scores(weights) for language in sorted(self.meters)}


def peak_memory_bytes(device: torch.device) -> int:
    """Return the most bytes that tensors took on ``device``; on a CPU, those of the process now."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return int(psutil.Process().memory_info().rss)


class MetricsLog:
    """The reports of one run, on disk and on the screen.

    Args:
        folder: Of the run.
        first_step: What an earlier part of the run wrote from this step on is taken out: it was
            not saved with a checkpoint, and comes again.
        also_to: Gets every number too, such as :func:`idiolect.training.trackers.log_to`.
    """

    def __init__(self, folder: Path, *, first_step: int, also_to: AlsoTo | None = None) -> None:
        self._path = check_output(folder / METRICS_FILE)
        board = check_output(folder / TENSORBOARD_DIR)
        self._records = _kept_records(self._path, first_step)
        write_jsonl(self._path, self._records)
        self._file = self._path.open("a", encoding="utf-8")
        # A run that begins writes its validation before the first step too, at step 0.
        self._board = SummaryWriter(str(board), purge_step=first_step if first_step > 1 else 0)
        self._also_to = also_to

    @property
    def records(self) -> Sequence[Record]:
        """Every record of the run so far, also of its earlier parts."""
        return self._records

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        self._board.close()

    def report_train(
        self,
        report: StepReport,
        scores: Scores,
        *,
        last_step: int,
        elapsed_sec: float,
        num_labels: int,
        num_steps: int,
        num_codes: int = 0,
        wait_sec: float = 0.0,
        memory_bytes: int | None = None,
    ) -> None:
        """Report the last ``num_steps`` steps.

        Args:
            report: The last of them.
            scores: Means over them.
            last_step: Of the run.
            elapsed_sec: What they took.
            num_labels: Of text and codes.
            num_steps: How many there were.
            num_codes: Those of the labels that are codes.
            wait_sec: How long of ``elapsed_sec`` the device waited for data.
            memory_bytes: Of :func:`peak_memory_bytes`; None leaves it out.
        """
        eta_sec = elapsed_sec / num_steps * (last_step - report.step)
        line = f"step {report.step}/{last_step}, epoch {report.epoch}: {scores.summary()}, "
        line += f"lr {report.learning_rate:.2e}, {num_steps / elapsed_sec:.2f} steps/s"
        if report.step < last_step:
            line += f", {format_duration(eta_sec)} left"
        get_logger().info(line)
        more: dict[str, Any] = {
            "lr": report.learning_rate,
            "grad_norm": report.grad_norm,
            "tokens_per_sec": num_labels / elapsed_sec,
            "audio_hours_per_hour": num_codes / CODE_RATE_HZ / elapsed_sec,
            "step_sec": elapsed_sec / num_steps,
            "wait_sec": wait_sec / num_steps,
            "eta_sec": eta_sec,
        }
        if report.counts.base_codes:
            more["base_kl"] = report.kl_sum / report.counts.base_codes
        if memory_bytes is not None:
            more["memory_bytes"] = memory_bytes
        self._write("train", report.step, report.epoch, asdict(scores) | more)

    def report_val(
        self,
        step: int,
        epoch: int,
        scores: Scores,
        by_language: Mapping[str, Scores] | None = None,
        *,
        is_best: bool,
    ) -> None:
        """Report a validation: over all tokens, and ``by_language``."""
        best = ", the best so far" if is_best else ""
        each = by_language or {}
        if len(each) > 1:
            best += "".join(f"; {name} {own.loss:.4f}" for name, own in each.items())
        get_logger().info("validation at step %d: %s%s", step, scores.summary(), best)
        languages = {name: asdict(own) for name, own in each.items()}
        values = asdict(scores) | {"languages": languages, "is_best": is_best}
        self._write("val", step, epoch, values)

    def report_probe(
        self,
        step: int,
        epoch: int,
        by_language: Mapping[str, Mapping[str, float | None]],
        sounds: Iterable[Path],
        *,
        is_best: bool,
    ) -> None:
        """Report what was spoken at a validation.

        Args:
            step: Behind which it was.
            epoch: Of that step.
            by_language: Scores of each language by name; what is None or no number is left out.
            sounds: The files, each in a folder of its language; TensorBoard gets the first few.
            is_best: Whether it is the best so far.
        """
        languages = {name: _finite(scores) for name, scores in by_language.items()}
        self._write("probe", step, epoch, {"languages": languages, "is_best": is_best})
        for path in _first_of_each_folder(sounds, BOARD_SOUNDS):
            self._show_sound(path, step)

    def report_rows(self, step: int, epoch: int, *, learnt: int, total: int) -> None:
        """Report that the data has ``learnt`` of the ``total`` text rows that the base lacks."""
        self._write("rows", step, epoch, {"learnt": learnt, "total": total})

    def _write(self, kind: str, step: int, epoch: int, values: dict[str, Any]) -> None:
        record = {"kind": kind, "step": step, "epoch": epoch} | values
        self._records.append(record)
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        numbers = dict(_flat(values, kind))
        for name, value in numbers.items():
            self._board.add_scalar(name, value, step)
        if self._also_to is not None:
            self._also_to(numbers, step)

    def _show_sound(self, path: Path, step: int) -> None:
        wave, _ = read_audio(path, SAMPLE_RATE)
        tag = f"probe/{path.parent.name}/{path.stem}"
        self._board.add_audio(tag, torch.from_numpy(wave)[None], step, sample_rate=SAMPLE_RATE)
        pixels = np.ascontiguousarray(image_pixels(spectrogram(wave)))
        self._board.add_image(f"{tag}/mel", pixels, step, dataformats="HWC")


def _finite(scores: Mapping[str, float | None]) -> dict[str, float]:
    return {
        name: value for name, value in scores.items() if value is not None and math.isfinite(value)
    }


def _first_of_each_folder(paths: Iterable[Path], most: int) -> Iterator[Path]:
    seen: dict[Path, int] = {}
    for path in sorted(paths):
        seen[path.parent] = seen.get(path.parent, 0) + 1
        if seen[path.parent] <= most:
            yield path


def _flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    """Yield every number by its path; a language stands where ``languages`` does."""
    for name, value in values.items():
        path = prefix if name == "languages" else f"{prefix}/{name}"
        if isinstance(value, Mapping):
            yield from _flat(value, path)
        else:
            yield path, value


def _kept_records(path: Path, first_step: int) -> list[dict[str, Any]]:
    """Return the records before ``first_step``; a line that was cut off by a kill ends them."""
    kept: list[dict[str, Any]] = []
    if not path.is_file() or first_step <= 1:
        return kept
    try:
        for _, record in read_jsonl(path):
            if record["step"] < first_step:
                kept.append(record)
    except DataError:
        get_logger().debug("the last line of %s is not whole", path)
    return kept
