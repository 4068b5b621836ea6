"""What the page stands on: the services of the floors below, over its folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from idiolect.base.units import format_bytes
from idiolect.evaluation.comparing import Comparisons
from idiolect.models.published import BaseFiles, locate_base
from idiolect.registry.catalogue import Catalogue
from idiolect.studio.batch import Batches
from idiolect.studio.history import History
from idiolect.studio.jobs import Jobs
from idiolect.studio.preview import Previews
from idiolect.studio.projects import Projects
from idiolect.studio.runs import Runs
from idiolect.studio.speech import Speech
from idiolect.studio.voices import VoiceLibrary
from idiolect.synthesis.swap import ModelSlot

CPU = "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSettings:
    """Where the models are, where sound goes, and what a visitor may point to."""

    model_dir: Path
    base: Path
    aux_dir: Path | None
    output_dir: Path
    device: str | None
    voices_dir: Path = Path("voices")
    jobs_dir: Path = Path("jobs")
    roots: tuple[Path, ...] = (Path(),)
    """Folders below which a visitor may name files: recordings, projects, runs."""
    keep_loaded: int = 1
    """Models that stay in memory beside each other."""

    @property
    def shown_dirs(self) -> tuple[Path, ...]:
        """The folders whose sounds and pages a browser may fetch."""
        return (self.output_dir, self.voices_dir)


class Desk:
    """The services that every visitor shares; who asked for what is theirs to keep apart."""

    def __init__(self, settings: PageSettings) -> None:
        self.settings = settings
        self.runs = Runs(settings.roots)
        self.files: BaseFiles = locate_base(settings.base, aux_dir=settings.aux_dir)
        self.catalogue = Catalogue(settings.model_dir, self.files)
        self.slot = ModelSlot(self.files, settings.model_dir, keep_loaded=settings.keep_loaded)
        self.history = History(settings.output_dir)
        self.voices = VoiceLibrary(settings.voices_dir)
        self.speech = Speech(self.slot, self.history, settings.output_dir)
        self.batches = Batches(
            settings.output_dir / "batches",
            self.speech,
            voices=self.voices,
            roots=settings.roots,
        )
        self.comparisons = Comparisons(
            self.slot, self.files, settings.model_dir, settings.output_dir / "comparisons"
        )
        self.previews = Previews(self.files, settings.model_dir, self.history)
        self.jobs = Jobs(settings.jobs_dir)
        self.projects = Projects(Path())

    def devices(self) -> list[tuple[str, str]]:
        """Return (label, device) of each GPU and of the CPU, or of the one that is to be used."""
        gpus = [torch.cuda.get_device_properties(n) for n in range(torch.cuda.device_count())]
        labels = [
            (f"GPU {n}: {gpu.name} ({format_bytes(gpu.total_memory)})", f"cuda:{n}")
            for n, gpu in enumerate(gpus)
        ]
        labels.append(("CPU", CPU))
        asked = self.settings.device
        if asked is None:
            return labels
        return [each for each in labels if each[1] == asked] or [(asked, asked)]
