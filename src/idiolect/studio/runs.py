"""The runs of training below the declared folders, and what each says of itself now."""

from __future__ import annotations

import hashlib
import os
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import RLock

from idiolect.base.errors import ConfigError, DataError, UserError
from idiolect.studio.run_follow import Followed
from idiolect.studio.run_state import RunState, state_of, written_sec
from idiolect.training.config import BEST_FILE, LATEST_FILE, TrainConfig, read_run_config
from idiolect.training.history import History
from idiolect.training.metrics import METRICS_FILE, TENSORBOARD_DIR, Record
from idiolect.training.notices import Notice, find_notices
from idiolect.training.probing import SAMPLES_DIR
from idiolect.training.report import PUBLISHED_LANGUAGES
from idiolect.training.state import EARLIER_DIR, LOG_FILE, REPORT_FILE, step_files

MOST_RUNS = 500
MOST_DEPTH = 8
"""Folders below a root: a run lies in ``training/<name>/checkpoints``."""
LOOK_EVERY_SEC = 3.0
"""How often folders are walked through: a disk of many clips takes its time."""
KEPT_IN_MEMORY = 8
"""Runs whose figures are held; those of another are read again."""
PASSED_BY = frozenset({SAMPLES_DIR, TENSORBOARD_DIR, "features", "node_modules", "__pycache__"})
"""Names of folders that hold many files, and no run."""
LOG_TAIL_BYTES = 32 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRun:
    """A folder with figures of a run."""

    id: str
    """Of its path: what an address or a choice names it by."""
    folder: Path
    title: str
    """Its path below the root."""
    written_sec: float
    """When something was written there last, in seconds of the clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A checkpoint on disk."""

    name: str
    step: int | None
    """None for one that the figures do not name."""
    size_bytes: int
    loss: float | None
    """Of the validation at its step."""
    cer: float | None
    """Letters heard wrong in the languages that are being taught, a share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """What a run is doing; what nobody measured is None."""

    state: RunState
    step: int
    last_step: int | None
    epoch: int
    steps_per_sec: float | None
    eta_sec: float | None
    """To the last step, at the speed of the newest line: an estimate."""
    silent_sec: float
    """Since something was written last."""
    tokens_per_sec: float | None
    speech_ratio: float | None
    """Hours of speech learnt from in an hour."""
    waiting: float | None
    """Share of the time of a step in which the device waited for data."""
    memory_bytes: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """All that can be shown of a run, as it was at one look."""

    found: FoundRun
    config: TrainConfig | None
    """None where the settings are missing or damaged."""
    records: Sequence[Record]
    history: History
    num_damaged: int
    changes: int
    """The same number means the same figures."""
    now: Now

    @property
    def id(self) -> str:
        """Return the name of the run in addresses."""
        return self.found.id

    @property
    def best_step(self) -> int | None:
        """Return the step of the newest best; None before there is one."""
        for judged in (self.history.probes, self.history.val):
            best = [int(line["step"]) for line in judged if line.get("is_best")]
            if best:
                return best[-1]
        return None


class Runs:
    """The runs below ``roots``; what they write is followed as it comes.

    Args:
        roots: Folders that may be looked through, with all below them.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = [Path(root).resolve() for root in roots]
        self._lock = RLock()
        self._found: list[FoundRun] = []
        self._looked_sec = float("-inf")
        self._followed: OrderedDict[str, Followed] = OrderedDict()
        self._notices: dict[str, tuple[int, list[Notice]]] = {}

    def listed(self) -> list[FoundRun]:
        """Return what there is, the newest first; folders are walked every few seconds only."""
        with self._lock:
            if time.monotonic() - self._looked_sec > LOOK_EVERY_SEC:
                found = {run.id: run for root in self._roots for run in _runs_below(root)}
                by_age = sorted(found.values(), key=lambda run: -run.written_sec)
                self._found, self._looked_sec = by_age[:MOST_RUNS], time.monotonic()
            return list(self._found)

    def get(self, run_id: str) -> FoundRun:
        """Return the run of that name.

        Raises:
            UserError: There is none, or no longer.
        """
        for run in self.listed():
            if run.id == run_id and run.folder.is_dir():
                return run
        raise UserError("this run is no longer there", fix="choose another one")

    def look(self, run_id: str) -> RunView:
        """Return what the run says now; only what it wrote since the last look is read.

        Raises:
            UserError: There is no such run.
        """
        found = self.get(run_id)
        with self._lock:
            followed = self._follow(found)
            followed.read()
            records, changes = list(followed.records), followed.changes
        config = _config_of(found.folder)
        spoken = (config.base_languages if config else ()) or PUBLISHED_LANGUAGES
        return RunView(
            found=found,
            config=config,
            records=records,
            history=History.of(records, spoken),
            num_damaged=followed.num_damaged,
            changes=changes,
            now=_now(found.folder, records),
        )

    def notices(self, view: RunView) -> list[Notice]:
        """Return what is to be known of the run, in order of its steps; found once a change."""
        seen = self._notices.get(view.id)
        if seen is None or seen[0] != view.changes:
            found = find_notices(view.records, view.history.base_languages)
            seen = self._notices[view.id] = (view.changes, found)
        return seen[1]

    def _follow(self, found: FoundRun) -> Followed:
        if found.id not in self._followed:
            self._followed[found.id] = Followed(path=found.folder / METRICS_FILE)
        self._followed.move_to_end(found.id)
        while len(self._followed) > KEPT_IN_MEMORY:
            forgotten, _ = self._followed.popitem(last=False)
            self._notices.pop(forgotten, None)
        return self._followed[found.id]


def log_tail(folder: Path) -> str:
    """Return the newest whole lines of the run's log; empty where there is none."""
    try:
        with (folder / LOG_FILE).open("rb") as log:
            start = max(0, log.seek(0, os.SEEK_END) - LOG_TAIL_BYTES)
            log.seek(start)
            text = log.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    return text.partition("\n")[2] if start else text


def checkpoints(view: RunView) -> list[Kept]:
    """Return the checkpoints on disk, oldest first, with what was measured at each."""
    losses = {line["step"]: line["loss"] for line in view.history.val}
    rates = {line["step"]: view.history.cer_of_taught(line) for line in view.history.probes}
    folder = view.found.folder
    named = [folder / BEST_FILE, folder / LATEST_FILE]
    kept = []
    for path in [*step_files(folder), *(path for path in named if path.is_file())]:
        step = _step_of(path, view)
        try:
            size_bytes = path.stat().st_size
        except OSError:  # it was just replaced by a newer one
            continue
        loss = None if step is None else losses.get(step)
        cer = None if step is None else rates.get(step)
        kept.append(Kept(name=path.name, step=step, size_bytes=size_bytes, loss=loss, cer=cer))
    return kept


def report_path(folder: Path) -> Path | None:
    """Return the run's own page; None before it has one."""
    path = folder / REPORT_FILE
    return path if path.is_file() else None


def _step_of(path: Path, view: RunView) -> int | None:
    """Return the step of a checkpoint: of its name, or of the file that it is a second name of."""
    if path.name not in {BEST_FILE, LATEST_FILE}:
        digits = path.stem.removeprefix("model_step")
        return int(digits) if digits.isdecimal() else None
    twin = next((p for p in step_files(path.parent) if p.samefile(path)), None)
    if twin is not None:
        return _step_of(twin, view)
    return view.best_step if path.name == BEST_FILE else None


def _runs_below(root: Path) -> Iterator[FoundRun]:
    """Yield every folder with figures; links are not followed, they could lead outside."""
    for place, folders, files in os.walk(root):
        folder = Path(place)
        depth = len(folder.relative_to(root).parts)
        is_run = METRICS_FILE in files
        if is_run:
            yield _found(folder, root)
        folders[:] = sorted(name for name in folders if _is_worth(name, depth, is_run=is_run))


def _is_worth(name: str, depth: int, *, is_run: bool) -> bool:
    if is_run:  # below a run there are only its earlier ones
        return name == EARLIER_DIR
    return depth < MOST_DEPTH and not name.startswith(".") and name not in PASSED_BY


def _found(folder: Path, root: Path) -> FoundRun:
    path = str(folder)
    title = str(folder.relative_to(root)) if folder != root else folder.name
    return FoundRun(
        id=hashlib.sha256(path.encode(errors="surrogateescape")).hexdigest()[:12],
        folder=folder,
        title=title.encode(errors="replace").decode(),
        written_sec=written_sec(folder),
    )


def _config_of(folder: Path) -> TrainConfig | None:
    try:
        return read_run_config(folder)
    except (ConfigError, DataError, OSError):
        return None


def _now(folder: Path, records: Sequence[Record]) -> Now:
    now_sec = time.time()
    newest = next((line for line in reversed(records) if line["kind"] == "train"), {})
    state = state_of(folder, records, now_sec)
    step_sec: float | None = newest.get("step_sec")
    eta_sec: float | None = newest.get("eta_sec")
    silent_sec = max(0.0, now_sec - written_sec(folder))
    wait_sec = newest.get("wait_sec")
    waiting = wait_sec / step_sec if step_sec and wait_sec is not None else None
    last_step: int | None = None
    if step_sec and eta_sec is not None:  # it was computed from both
        last_step = newest["step"] + round(eta_sec / step_sec)
    left_sec = max(0.0, eta_sec - silent_sec) if eta_sec is not None else None
    return Now(
        state=state,
        step=max((line["step"] for line in records), default=0),
        last_step=last_step,
        epoch=max((line.get("epoch", 0) for line in records), default=0),
        steps_per_sec=1 / step_sec if step_sec else None,
        eta_sec=left_sec if state is RunState.RUNNING else None,
        silent_sec=silent_sec,
        tokens_per_sec=newest.get("tokens_per_sec"),
        speech_ratio=newest.get("audio_hours_per_hour"),
        waiting=waiting,
        memory_bytes=newest.get("memory_bytes"),
    )
