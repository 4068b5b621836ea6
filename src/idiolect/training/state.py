"""What a run leaves behind so that it can go on, and so that its results can be used.

``state/`` holds what goes with the newest checkpoint only: the state of the optimizer, where the
run stands, what it has not reported yet. Order and chance are functions of the seed and the
number of the step, so there is nothing of a sampler or a generator to keep.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout
from torch import nn

from idiolect.base.config import from_mapping, to_mapping
from idiolect.base.errors import CheckpointError, TrainingError
from idiolect.base.files import copy_file, free_bytes
from idiolect.base.guard import check_output
from idiolect.base.log import get_logger
from idiolect.base.units import format_bytes
from idiolect.models.adapter import adapter_weights, average_adapters, is_adapted
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
from idiolect.training.averages import mean_of
from idiolect.training.config import BEST_FILE, CONFIG_FILE, LATEST_FILE, TrainConfig
from idiolect.training.free_duration import with_free_speed
from idiolect.training.metrics import METRICS_FILE, TENSORBOARD_DIR, Meter, Scores
from idiolect.training.probing import SAMPLES_DIR, LanguageScores
from idiolect.training.schedule import Schedule
from idiolect.training.trackers import TRACKERS_DIR

STATE_FILE = Path("state") / "state.pth"
AVERAGED_FILE = "averaged.pth"
LOG_FILE = "train.log"
REPORT_FILE = "report.html"
LEFT_OUT_FILE = "left_out.jsonl"
EARLIER_DIR = "earlier"
LOCK_FILE = ".lock"
STEP_PATTERN = "model_step*.pth"
RUN_FILES = (
    STEP_PATTERN,
    *(LATEST_FILE, BEST_FILE, AVERAGED_FILE, CONFIG_FILE, METRICS_FILE, LOG_FILE),
    *(LEFT_OUT_FILE, REPORT_FILE, STATE_FILE.parent.name, TENSORBOARD_DIR, SAMPLES_DIR),
    TRACKERS_DIR,
)
"""All that a run writes into its folder."""
HEARD, HEARD_OF_BASE = "probe_cer", "probe_cer_base"
"""Of the scores in a header, with a language behind each: letters that were heard wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What the course of a run depends on besides its settings: SHA-256 by path."""

    hashes: dict[str, str]

    def changed(self, other: Identity) -> list[str]:
        """Return the paths that are not the same in ``other``."""
        paths = sorted(self.hashes.keys() | other.hashes.keys())
        return [path for path in paths if self.hashes.get(path) != other.hashes.get(path)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A checkpoint by what it was measured at; lower is better."""

    step: int
    value: float


@dataclass(slots=True, kw_only=True)
class RunState:
    """Where a run stands behind ``step``."""

    identity: Identity
    schedule: Schedule
    step: int = 0
    epoch: int = 0
    tokens_per_step: int | None = None
    """As it was decided when the run began."""
    best: tuple[Kept, ...] = ()
    """The best first."""
    best_by: str = ""
    """What they were measured by."""
    first_scores: Scores | None = None
    """Of the validation before the first step."""
    best_scores: Scores | None = None
    last_scores: Scores | None = None
    first_heard: dict[str, LanguageScores] = field(default_factory=dict)
    """Of the sentences that were spoken before the first step, by language."""
    best_heard: dict[str, LanguageScores] = field(default_factory=dict)
    last_heard: dict[str, LanguageScores] = field(default_factory=dict)
    scored_step: int = 0
    """The step behind which the last scores were measured."""
    lost_patience: int = 0
    """The ``--patience`` that ended the run; 0 when it was not ended so."""
    meter: Meter = field(default_factory=Meter)

    @property
    def best_step(self) -> int:
        """The step of the best checkpoint; 0 when nothing was measured yet."""
        return self.best[0].step if self.best else 0

    def rank(self, value: float, *, by: str, most: int) -> bool:
        """Take in that the weights of this step measured ``value``; tell whether they are best.

        Args:
            value: Lower is better.
            by: What it is; values of another kind are forgotten.
            most: How many of the best are remembered.
        """
        others = [kept for kept in self.best if by == self.best_by and kept.step != self.step]
        ranked = sorted([*others, Kept(step=self.step, value=value)], key=lambda k: k.value)
        self.best, self.best_by = tuple(ranked[:most]), by
        return self.best_step == self.step

    @property
    def is_kept(self) -> bool:
        """Whether this step is among the best."""
        return any(kept.step == self.step for kept in self.best)


class Checkpoints:
    """The checkpoints of a run: written whole; the newest few are kept, and the best.

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
        """The best checkpoint."""
        return self.folder / BEST_FILE

    def step_path(self, step: int) -> Path:
        """Return where the checkpoint of ``step`` is."""
        return self.folder / f"model_step{step}.pth"

    def save_weights(self, trained: Weights, state: RunState) -> Path:
        """Write the checkpoint of ``state.step``, and let ``best.pth`` be it if it is the best.

        Args:
            trained: The state of the network.
            state: Where the run stands.
        """
        path = self.step_path(state.step)
        weights = checkpoint_weights(trained, self._base_checkpoint)
        if self._header.settings.get("duration_control"):
            weights = with_free_speed(weights)
        save_checkpoint(path, weights, self._header_of(state))
        if state.best_step == state.step:
            _link(path, self.best_path)
        self._prune(state)
        return path

    def save(
        self,
        trained: Weights,
        optimizer: dict[str, Any],
        state: RunState,
        *,
        held: Weights | None = None,
    ) -> Path:
        """Write the checkpoint of ``state.step`` and all that it takes to go on from it.

        ``latest.pth`` moves last. A kill before that leaves the earlier ``latest.pth``; if the
        state was written already, :func:`open_state` finds the checkpoint that it belongs to.

        Args:
            trained: The state of the network.
            optimizer: That of the optimizer.
            state: Where the run stands.
            held: What learns, when ``trained`` is a running mean of it.
        """
        path = self.save_weights(trained, state)
        content = {"run": to_mapping(state), "optimizer": optimizer, "held": held or {}}
        save_tensors(self.folder / STATE_FILE, content)
        _link(path, self.folder / LATEST_FILE)
        return path

    def average(self, steps: Sequence[int], state: RunState) -> Path:
        """Write the mean of the checkpoints of ``steps`` to ``averaged.pth``."""
        path = self.folder / AVERAGED_FILE
        header = replace(self._header, step=state.step, epoch=state.epoch)
        paths = [self.step_path(step) for step in steps]
        if header.adapter is None:
            save_checkpoint(path, mean_of(paths), header)
        else:
            weights, adapter = average_adapters([map_weights(p) for p in paths], header.adapter)
            save_checkpoint(path, weights, replace(header, adapter=adapter))
        return path

    def forget_after(self, state: RunState) -> None:
        """Take away what was saved behind ``state.step``: the run goes on from there."""
        for path in step_files(self.folder):
            if _step_of(path) > state.step:
                path.unlink()
        if state.best_step and self.step_path(state.best_step).is_file():
            _link(self.step_path(state.best_step), self.best_path)

    def _header_of(self, state: RunState) -> CheckpointHeader:
        is_scored = state.scored_step == state.step
        return replace(
            self._header,
            step=state.step,
            epoch=state.epoch,
            scores=_flat_scores(state) if is_scored else {},
        )

    def _prune(self, state: RunState) -> None:
        best = {kept.step for kept in state.best}
        for path in step_files(self.folder)[: -self._keep]:
            if _step_of(path) not in best:
                path.unlink()


def _flat_scores(state: RunState) -> dict[str, float]:
    """Return what was measured behind the last step, and how the base spoke, by name."""
    scores = {f"val_{k}": v for k, v in to_mapping(state.last_scores).items()}
    for stem, heard in ((HEARD, state.last_heard), (HEARD_OF_BASE, state.first_heard)):
        for language, found in heard.items():
            if found.cer is not None:
                scores[f"{stem}.{language}"] = found.cer
    return scores


def checkpoint_weights(trained: Weights, base_checkpoint: Path) -> Weights:
    """Return the tensors of a checkpoint: the trained ones and the base's frozen, in its order.

    Adapters stand alone: :func:`idiolect.models.adapter.open_weights` finds their base again.
    """
    if is_adapted(trained):
        return adapter_weights(trained)
    base = gpt_weights(map_weights(base_checkpoint))
    frozen = {name: tensor for name, tensor in base.items() if CONDITIONER_KEYS.match(name)}
    order = [*base, *(name for name in trained if name not in base)]
    return {name: (frozen if name in frozen else trained)[name] for name in order}


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


class Stand(NamedTuple):
    """Where a run stands, on disk."""

    state: RunState
    optimizer: dict[str, Any] | None = None
    held: Weights | None = None
    """What learns, where the checkpoint is a running mean of it."""
    checkpoint: Path | None = None
    """None when it stands at the base."""


def open_state(checkpoint: Path) -> Stand:
    """Return the state that goes with ``checkpoint``.

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
    stand = Stand(state, content["optimizer"], content.get("held", {}), checkpoint)
    header = read_header(checkpoint).header
    step = header.step if header is not None else -1
    own = checkpoint.with_name(f"model_step{state.step}.pth")
    if step != state.step and checkpoint.name == LATEST_FILE and own.is_file():
        get_logger().info("latest.pth is of step %d; going on from %s", step, own.name)
        return stand._replace(checkpoint=own)
    if step != state.step:
        raise TrainingError(
            f"{checkpoint.name} is of step {step}, but the state to go on from is of step "
            f"{state.step}",
            where="--resume",
            fix=f"resume from {checkpoint.with_name(LATEST_FILE)}, or begin a new run with "
            f"--base-checkpoint {checkpoint} and another --output-dir",
        )
    return stand


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


def check_disk(folder: Path, gpt: nn.Module, base: Path, config: TrainConfig) -> None:
    """Refuse to start when the disk will be full before the run ends.

    Raises:
        TrainingError: The checkpoints to keep, and the one being written, do not fit.
    """
    wanted_bytes = run_bytes(gpt, base, config)
    needed_bytes = wanted_bytes - sum(_own_bytes(path) for path in run_files(folder))
    left_bytes = free_bytes(folder)
    if needed_bytes > left_bytes:
        raise TrainingError(
            f"the run needs {format_bytes(needed_bytes)} for {config.keep} checkpoints, the best "
            f"and its state; {format_bytes(left_bytes)} are free",
            where=str(folder),
            fix="free some space, give a smaller --keep, or an --output-dir on another disk",
        )


def run_bytes(gpt: nn.Module, base: Path, config: TrainConfig) -> int:
    """Return the most that a run has on disk: checkpoints, and the state to go on from, in bytes.

    Args:
        gpt: With what learns in it, and what does not.
        base: File that the frozen tensors are copied from.
        config: Of the run.
    """
    named = dict(gpt.named_parameters())
    learnt_bytes = sum(p.nbytes for p in named.values() if p.requires_grad)
    checkpoint_bytes = learnt_bytes
    if not is_adapted(named):
        frozen = gpt_weights(map_weights(base))
        frozen_bytes = sum(t.nbytes for n, t in frozen.items() if CONDITIONER_KEYS.match(n))
        checkpoint_bytes = frozen_bytes + sum(p.nbytes for p in named.values())
    num_best = max(config.keep_best, config.average_best)
    num_checkpoints = config.keep + num_best + bool(config.average_best) + 1  # being written
    state_bytes = (OPTIMIZER_COPIES + bool(config.ema)) * learnt_bytes
    # While a file is replaced, the old and the new one are both there.
    return num_checkpoints * checkpoint_bytes + 2 * state_bytes


def _own_bytes(path: Path) -> int:
    """Return the bytes of ``path``, shared among the names that its file has."""
    status = path.stat()
    return status.st_size // status.st_nlink if path.is_file() else 0


def run_files(folder: Path) -> Iterator[Path]:
    """Return what a run left in ``folder``."""
    return (path for pattern in RUN_FILES for path in sorted(folder.glob(pattern)))
