"""What a run reports while it goes: means over tokens, to the log, a file and TensorBoard.

``metrics.jsonl`` is what monitors read: one JSON object a line, in order of ``step``.

==================  ==================================================================
Key                 Meaning
==================  ==================================================================
``kind``            ``train``: a mean over the steps since the last such line; ``val``
``step, epoch``     the step behind which it was written; the first of both is 1
``loss``            weighted loss, in nats
``text_loss``       of a text token, ``mel_loss`` of a code: mean over tokens, in nats
``mel_top1``        share of codes of which the likeliest is the right one
``lr, grad_norm``   only ``train``: of the last step; the norm before clipping
``tokens_per_sec``  only ``train``: labels learnt from in a second
``eta_sec``         only ``train``: seconds to the last step, at this speed
``is_best``         only ``val``: whether it is the best so far
==================  ==================================================================
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from idiolect.base.errors import DataError
from idiolect.base.files import read_jsonl, write_jsonl
from idiolect.base.guard import check_output
from idiolect.base.log import get_logger
from idiolect.base.units import format_duration
from idiolect.training.loss import LabelCounts, LossWeights, mean_loss
from idiolect.training.step import StepReport

METRICS_FILE = "metrics.jsonl"
TENSORBOARD_DIR = "runs"


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


class MetricsLog:
    """The reports of one run, on disk and on the screen.

    Args:
        folder: Of the run.
        first_step: What an earlier part of the run wrote from this step on is taken out: it was
            not saved with a checkpoint, and comes again.
    """

    def __init__(self, folder: Path, *, first_step: int) -> None:
        self._path = check_output(folder / METRICS_FILE)
        board = check_output(folder / TENSORBOARD_DIR)
        write_jsonl(self._path, _kept_records(self._path, first_step))
        self._file = self._path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(board), purge_step=first_step)

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
    ) -> None:
        """Report the last ``num_steps`` steps, which had ``num_labels`` labels."""
        eta_sec = elapsed_sec / num_steps * (last_step - report.step)
        line = f"step {report.step}/{last_step}, epoch {report.epoch}: {scores.summary()}, "
        line += f"lr {report.learning_rate:.2e}, {num_steps / elapsed_sec:.2f} steps/s"
        if report.step < last_step:
            line += f", {format_duration(eta_sec)} left"
        get_logger().info(line)
        more = {
            "lr": report.learning_rate,
            "grad_norm": report.grad_norm,
            "tokens_per_sec": num_labels / elapsed_sec,
            "eta_sec": eta_sec,
        }
        self._write("train", report.step, report.epoch, asdict(scores) | more)

    def report_val(self, step: int, epoch: int, scores: Scores, *, is_best: bool) -> None:
        """Report a validation."""
        best = ", the best so far" if is_best else ""
        get_logger().info("validation at step %d: %s%s", step, scores.summary(), best)
        self._write("val", step, epoch, asdict(scores) | {"is_best": is_best})

    def _write(self, kind: str, step: int, epoch: int, values: dict[str, Any]) -> None:
        record = {"kind": kind, "step": step, "epoch": epoch} | values
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(f"{kind}/{name}", value, step)


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
