"""A project: a language being learnt, where the guide keeps its files, and what exists of it.

======================================  ============================================
``data/<p>_dataset/train.jsonl``        what ``prepare`` wrote, with all beside it
``training/<p>/tokenizer/<p>_bpe.*``    its tokenizer
``training/<p>/checkpoints``            its run
======================================  ============================================
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from idiolect.base.errors import UserError
from idiolect.base.files import slug
from idiolect.base.guard import check_output
from idiolect.data.manifest import read_manifest
from idiolect.data.split import sibling, validation_path
from idiolect.models.checkpoint import read_header
from idiolect.registry.gate import Kept, kept_languages
from idiolect.text.tokenizer import Tokenizer
from idiolect.training.config import BEST_FILE, CONFIG_FILE, LATEST_FILE, TrainConfig
from idiolect.training.config import read_run_config as read_settings

DATA_DIR, DATA_SUFFIX = "data", "_dataset"
TRAINING_DIR = "training"
WEIGHTS = "*.pth"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """Where the files of a project are; nothing has to exist."""

    name: str
    root: Path

    @property
    def data_dir(self) -> Path:
        """The folder of its manifests."""
        return self.root / DATA_DIR / f"{self.name}{DATA_SUFFIX}"

    @property
    def manifest(self) -> Path:
        """What is learnt."""
        return self.data_dir / "train.jsonl"

    @property
    def validation(self) -> Path:
        """What is measured."""
        return validation_path(self.manifest)

    @property
    def pairs(self) -> Path:
        """What is learnt, with a prompt for each clip."""
        return self.data_dir / "train_paired.jsonl"

    @property
    def validation_pairs(self) -> Path:
        """What is measured, with a prompt for each clip."""
        return sibling(self.pairs, "val")

    @property
    def rejected(self) -> Path:
        """The clips that were left out."""
        return sibling(self.manifest, "rejected")

    @property
    def report(self) -> Path:
        """The page of the preparation."""
        return sibling(self.manifest, "report", ".html")

    @property
    def uploads(self) -> Path:
        """Where uploaded recordings go."""
        return self.root / DATA_DIR / "raw" / f"{self.name}_uploaded"

    @property
    def tokenizer_prefix(self) -> Path:
        """The tokenizer's files, less their suffixes."""
        return self.root / TRAINING_DIR / self.name / "tokenizer" / f"{self.name}_bpe"

    @property
    def tokenizer(self) -> Path:
        """The tokenizer."""
        return self.tokenizer_prefix.with_name(self.tokenizer_prefix.name + ".model")

    @property
    def run_dir(self) -> Path:
        """The run and its checkpoints."""
        return self.root / TRAINING_DIR / self.name / "checkpoints"

    @property
    def settings(self) -> TrainConfig | None:
        """Those of the run; None before there is one.

        Raises:
            ConfigError: They are damaged.
        """
        return read_settings(self.run_dir) if (self.run_dir / CONFIG_FILE).is_file() else None

    def named(self, path: Path) -> Path:
        """Return ``path`` as a command in ``root`` names it: relative, where it lies below."""
        full = Path(path).absolute()
        return full.relative_to(self.root) if full.is_relative_to(self.root) else full


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestSize:
    """How much a manifest holds."""

    clips: int
    seconds: float
    by_language: dict[str, float]
    """Seconds of each."""
    speakers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptCheckpoint:
    """A checkpoint of a run."""

    path: Path
    step: int
    scores: dict[str, float]
    kept: tuple[Kept, ...]
    """What each language of the base lost, where somebody listened."""
    is_best: bool
    problem: str = ""
    """Why it cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectState:
    """What exists of a project."""

    manifest: ManifestSize | None
    validation: ManifestSize | None
    has_pairs: bool
    vocab_size: int | None
    """Of its tokenizer."""
    checkpoints: tuple[KeptCheckpoint, ...]
    """The best first, then the newest."""
    problems: tuple[str, ...]
    """Files that are there and cannot be read."""


class Projects:
    """The projects below ``root``, the folder that commands run in."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root).resolve()
        self._read: dict[Path, tuple[tuple[int, int], object]] = {}

    def names(self) -> list[str]:
        """Return the projects that have a file, by name."""
        trained = {path.name for path in self._folders(TRAINING_DIR)}
        datasets = [path.name for path in self._folders(DATA_DIR)]
        prepared = {n.removesuffix(DATA_SUFFIX) for n in datasets if n.endswith(DATA_SUFFIX)}
        return sorted(name for name in trained | prepared if _is_slug(name))

    def get(self, name: str) -> Project:
        """Return the project ``name``, which may be new.

        Raises:
            UserError: It cannot be part of a file name.
        """
        return Project(name=slug(name.strip(), flag="project"), root=self.root)

    def make(self, name: str) -> Project:
        """Return the project ``name``, and make its folder.

        Raises:
            UserError: It cannot be part of a file name.
            GuardError: It would lie in a base folder.
        """
        project = self.get(name)
        check_output(project.data_dir).mkdir(parents=True, exist_ok=True)
        return project

    def state(self, name: str) -> ProjectState:
        """Return what exists; each file is read again only when it has changed."""
        project = self.get(name)
        problems: list[str] = []

        def seen(path: Path, read: Callable[[Path], T]) -> T | None:
            try:
                return self._cached(path, read) if path.is_file() else None
            except UserError as error:
                problems.append(f"{project.named(path)}: {error.problem}")
                return None

        return ProjectState(
            manifest=seen(project.manifest, manifest_size),
            validation=seen(project.validation, manifest_size),
            has_pairs=project.pairs.is_file(),
            vocab_size=seen(project.tokenizer, lambda path: Tokenizer.load(path).vocab_size),
            checkpoints=tuple(self._checkpoints(project)),
            problems=tuple(problems),
        )

    def _folders(self, name: str) -> list[Path]:
        folder = self.root / name
        return [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []

    def _cached(self, path: Path, read: Callable[[Path], T]) -> T:
        status = path.stat()
        stamp = status.st_mtime_ns, status.st_size
        known = self._read.get(path)
        if known is None or known[0] != stamp:
            self._read[path] = known = (stamp, read(path))
        return known[1]  # type: ignore[return-value]  # what ``read`` of this path returned

    def _checkpoints(self, project: Project) -> list[KeptCheckpoint]:
        found = [self._cached(path, read_checkpoint) for path in project.run_dir.glob(WEIGHTS)]
        latest = [each for each in found if each.path.name == LATEST_FILE]
        newest = sorted((each for each in found if each not in latest), key=lambda c: -c.step)
        return sorted([*newest, *latest], key=lambda c: not c.is_best)


def manifest_size(path: Path) -> ManifestSize:
    """Return how much ``path`` holds.

    Raises:
        DataError: It is no manifest.
    """
    seconds: Counter[str] = Counter()
    speakers: set[str] = set()
    clips = 0
    for utterance in read_manifest(path):
        clips += 1
        seconds[utterance.language] += utterance.duration_sec  # type: ignore[assignment]  # sums
        speakers.add(utterance.speaker)
    return ManifestSize(
        clips=clips,
        seconds=float(sum(seconds.values())),
        by_language={code: float(sec) for code, sec in seconds.most_common()},
        speakers=len(speakers),
    )


def read_checkpoint(path: Path) -> KeptCheckpoint:
    """Return what the header of ``path`` says; why it cannot be used, when it says nothing."""
    is_best = path.name == BEST_FILE
    try:
        header = read_header(path).header
    except UserError as error:
        return _unusable(path, is_best=is_best, problem=error.problem)
    if header is None:
        return _unusable(path, is_best=is_best, problem="no header: not one of our checkpoints")
    return KeptCheckpoint(
        path=path,
        step=header.step,
        scores=dict(header.scores),
        kept=tuple(kept_languages(header.scores)),
        is_best=is_best,
    )


def _unusable(path: Path, *, is_best: bool, problem: str) -> KeptCheckpoint:
    return KeptCheckpoint(path=path, step=0, scores={}, kept=(), is_best=is_best, problem=problem)


def _is_slug(name: str) -> bool:
    try:
        return bool(slug(name, flag="project"))
    except UserError:
        return False
