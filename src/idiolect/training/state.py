"""What a run leaves behind so that it can go on, and so that its results can be used.

``state/`` holds what goes with the newest checkpoint only: the state of the optimizer, where the
run stands, what it has not reported yet. Order and chance are functions of the seed and the
number of the step, so there is nothing of a sampler or a generator to keep.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from torch import nn
from torch.optim import Optimizer

from idiolect.base.config import from_mapping, to_mapping
from idiolect.base.errors import CheckpointError, TrainingError
from idiolect.base.files import copy_file, free_bytes
from idiolect.base.guard import check_output
from idiolect.base.log import get_logger
from idiolect.base.units import format_bytes
from idiolect.models.checkpoint import (
    CheckpointHeader,
    Weights,
    load_tensors,
    map_weights,
    read_header,
    save_checkpoint,
    save_tensors,
)
from idiolect.models.loading import CONDITIONER_KEYS, gpt_weights
from idiolect.models.memory import OPTIMIZER_COPIES
from idiolect.training.config import BEST_FILE, CONFIG_FILE, LATEST_FILE
from idiolect.training.metrics import METRICS_FILE, TENSORBOARD_DIR, Meter, Scores
from idiolect.training.schedule import Schedule

STATE_FILE = Path("state") / "state.pth"
LOG_FILE = "train.log"
LEFT_OUT_FILE = "left_out.jsonl"
EARLIER_DIR = "earlier"
LOCK_FILE = ".lock"
STEP_PATTERN = "model_step*.pth"
RUN_FILES = (
    STEP_PATTERN,
    *(LATEST_FILE, BEST_FILE, CONFIG_FILE, METRICS_FILE, LOG_FILE, LEFT_OUT_FILE),
    *(STATE_FILE.parent.name, TENSORBOARD_DIR),
)
"""All that a run writes into its folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What the course of a run depends on besides its settings: SHA-256 by path."""

    hashes: dict[str, str]

    def changed(self, other: Identity) -> list[str]:
        """Return the paths that are not the same in ``other``."""
        paths = sorted(self.hashes.keys() | other.hashes.keys())
        return [path for path in paths if self.hashes.get(path) != other.hashes.get(path)]


@dataclass(slots=True, kw_only=True)
class RunState:
    """Where a run stands behind ``step``."""

    identity: Identity
    schedule: Schedule
    step: int = 0
    epoch: int = 0
    best_step: int = 0
    first_scores: Scores | None = None
    """Of the validation before the first step."""
    best_scores: Scores | None = None
    last_scores: Scores | None = None
    scored_step: int = 0
    """The step behind which ``last_scores`` were measured."""
    meter: Meter = field(default_factory=Meter)


class Checkpoints:
    """The checkpoints of a run: written whole, the newest few kept, and always the best.

    Args:
        folder: Of the run.
        base_checkpoint: Where the frozen tensors are copied from, unchanged.
        header: What is the same in all checkpoints of the run.
        keep: How many of the newest stay.
    """

    def __init__(
        self, folder: Path, *, base_checkpoint: Path, header: CheckpointHeader, keep: int
    ) -> None:
        self.folder = folder
        self._base_checkpoint = base_checkpoint
        self._header = header
        self._keep = keep

    @property
    def best_path(self) -> Path:
        """The best checkpoint by validation loss."""
        return self.folder / BEST_FILE

    def step_path(self, step: int) -> Path:
        """Return where the checkpoint of ``step`` is."""
        return self.folder / f"model_step{step}.pth"

    def save_best(self, gpt: nn.Module, state: RunState) -> None:
        """Write ``best.pth``, which is not at a step that gets a checkpoint of its own."""
        save_checkpoint(self.best_path, self._all_weights(gpt), self._header_of(state))

    def save(self, gpt: nn.Module, optimizer: Optimizer, state: RunState) -> Path:
        """Write the checkpoint of ``state.step`` and all that it takes to go on from it.

        ``latest.pth`` moves last. A kill before that leaves the earlier ``latest.pth``; if the
        state was written already, :func:`open_state` finds the checkpoint that it belongs to.
        """
        path = self.step_path(state.step)
        save_checkpoint(path, self._all_weights(gpt), self._header_of(state))
        if state.best_step == state.step:
            _link(path, self.best_path)
        content = {"run": to_mapping(state), "optimizer": optimizer.state_dict()}
        save_tensors(self.folder / STATE_FILE, content)
        _link(path, self.folder / LATEST_FILE)
        self._prune()
        return path

    def _all_weights(self, gpt: nn.Module) -> Weights:
        """Return the trained tensors and, from the base, the frozen ones, in the base's order."""
        trained = gpt.state_dict()
        base = gpt_weights(map_weights(self._base_checkpoint))
        frozen = {name: tensor for name, tensor in base.items() if CONDITIONER_KEYS.match(name)}
        order = [*base, *(name for name in trained if name not in base)]
        return {name: (frozen if name in frozen else trained)[name] for name in order}

    def _header_of(self, state: RunState) -> CheckpointHeader:
        is_scored = state.last_scores is not None and state.scored_step == state.step
        scores = to_mapping(state.last_scores) if is_scored else {}
        return replace(
            self._header,
            step=state.step,
            epoch=state.epoch,
            scores={f"val_{name}": value for name, value in scores.items()},
        )

    def _prune(self) -> None:
        for path in step_files(self.folder)[: -self._keep]:
            path.unlink()


def step_files(folder: Path) -> list[Path]:
    """Return the checkpoints of the run in ``folder``, the oldest first."""
    return sorted(folder.glob(STEP_PATTERN), key=_step_of)


def _step_of(path: Path) -> int:
    digits = path.stem.removeprefix("model_step")
    return int(digits) if digits.isdecimal() else -1


def _link(source: Path, target: Path) -> None:
    """Give ``source`` the second name ``target``; a copy where the disk knows no links."""
    check_output(target)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)
    try:
        partial.hardlink_to(source)
    except OSError:
        copy_file(source, target)
    else:
        partial.replace(target)
        partial.unlink(missing_ok=True)  # left over when both were names of one file already


def open_state(checkpoint: Path) -> tuple[RunState, dict[str, Any], Path]:
    """Return the state that goes with ``checkpoint``, that of its optimizer, and its weights.

    Raises:
        TrainingError: There is none: it belongs to a newer checkpoint.
        CheckpointError: A file is missing or damaged.
    """
    path = checkpoint.parent / STATE_FILE
    if not checkpoint.is_file() or not path.is_file():
        raise CheckpointError(
            f"no such {'state' if checkpoint.is_file() else 'checkpoint'}: "
            f"{path if checkpoint.is_file() else checkpoint}",
            where="--resume",
            fix="name latest.pth in the folder of a run; other weights go to --base-checkpoint",
        )
    content = load_tensors(path, mmap=False)
    if not isinstance(content, dict) or not all(
        isinstance(content.get(part), dict) for part in ("run", "optimizer")
    ):
        raise CheckpointError(
            "not the state of a run",
            where=str(path),
            fix=f"begin a new run with --base-checkpoint {checkpoint} and another --output-dir",
        )
    state = from_mapping(RunState, content["run"], where=str(path))
    header = read_header(checkpoint).header
    step = header.step if header is not None else -1
    own = checkpoint.with_name(f"model_step{state.step}.pth")
    if step != state.step and checkpoint.name == LATEST_FILE and own.is_file():
        get_logger().info("latest.pth is of step %d; going on from %s", step, own.name)
        return state, content["optimizer"], own
    if step != state.step:
        raise TrainingError(
            f"{checkpoint.name} is of step {step}, but the state to go on from is of step "
            f"{state.step}",
            where="--resume",
            fix=f"resume from {checkpoint.with_name(LATEST_FILE)}, or begin a new run with "
            f"--base-checkpoint {checkpoint} and another --output-dir",
        )
    return state, content["optimizer"], checkpoint


@contextmanager
def only_run_in(folder: Path) -> Iterator[None]:
    """Keep other processes from training in ``folder``.

    Raises:
        TrainingError: One does already.
    """
    check_output(folder / LOCK_FILE)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / LOCK_FILE, timeout=0):
            yield
    except Timeout as error:
        raise TrainingError(
            "another process trains here",
            where=str(folder),
            fix="wait for it, or choose another --output-dir",
        ) from error


def move_earlier_run(folder: Path) -> Path | None:
    """Move a run with checkpoints in ``folder`` aside; return where to, or None without one."""
    if not step_files(folder):
        return None
    number = 1
    while (target := folder / EARLIER_DIR / str(number)).exists():
        number += 1
    check_output(target).mkdir(parents=True)
    for path in run_files(folder):
        path.rename(target / path.name)
    return target


def check_disk(folder: Path, gpt: nn.Module, base_checkpoint: Path, *, keep: int) -> None:
    """Refuse to start when the disk will be full before the run ends.

    Raises:
        TrainingError: The checkpoints to keep, the best, and the one being written do not fit.
    """
    trained_bytes = sum(p.nbytes for p in gpt.parameters())
    frozen = gpt_weights(map_weights(base_checkpoint))
    frozen_bytes = sum(t.nbytes for n, t in frozen.items() if CONDITIONER_KEYS.match(n))
    # While a file is replaced, the old and the new one are both there.
    state_bytes = OPTIMIZER_COPIES * trained_bytes
    wanted_bytes = (keep + 2) * (trained_bytes + frozen_bytes) + 2 * state_bytes
    needed_bytes = wanted_bytes - sum(_own_bytes(path) for path in run_files(folder))
    left_bytes = free_bytes(folder)
    if needed_bytes > left_bytes:
        raise TrainingError(
            f"the run needs {format_bytes(needed_bytes)} for {keep} checkpoints, the best and "
            f"its state; {format_bytes(left_bytes)} are free",
            where=str(folder),
            fix="free some space, give a smaller --keep, or an --output-dir on another disk",
        )


def _own_bytes(path: Path) -> int:
    """Return the bytes of ``path``, shared among the names that its file has."""
    status = path.stat()
    return status.st_size // status.st_nlink if path.is_file() else 0


def run_files(folder: Path) -> Iterator[Path]:
    """Return what a run left in ``folder``."""
    return (path for pattern in RUN_FILES for path in sorted(folder.glob(pattern)))
