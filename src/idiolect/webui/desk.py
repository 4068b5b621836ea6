"""What the page knows: the folders, and the base once it is loaded. No computation of its own."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import torch

from idiolect.base.errors import SynthesisError
from idiolect.base.files import free_bytes
from idiolect.base.units import format_bytes
from idiolect.models.published import BaseFiles, locate_base
from idiolect.registry.entry import ModelEntry
from idiolect.registry.store import base_entry, list_models, record_vram
from idiolect.synthesis.pipeline import IndexTTS2, choose_device

MIN_FREE_BYTES = 100 * 1024**2
CPU = "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSettings:
    """Where the models are and where sound goes."""

    model_dir: Path
    base: Path
    aux_dir: Path | None
    output_dir: Path
    device: str | None


class Desk:
    """The models that can be chosen and the one that speaks, shared by every visitor."""

    def __init__(self, settings: PageSettings) -> None:
        self.settings = settings
        self.files: BaseFiles = locate_base(settings.base, aux_dir=settings.aux_dir)
        self._tts: IndexTTS2 | None = None
        self._unmeasured = ""
        """Model whose GPU memory is an estimate still."""
        self._lock = Lock()

    def entries(self) -> dict[str, ModelEntry]:
        """Return the base and the installed models by label, read anew from disk."""
        usable = [entry for entry in self._installed() if not entry.problem]
        return {entry.label: entry for entry in (base_entry(self.files), *usable)}

    def problems(self) -> list[str]:
        """Return why models in the folder cannot be offered, one line each."""
        return [
            f"{entry.checkpoint.name} is not offered: {entry.problem}"
            for entry in self._installed()
            if entry.problem
        ]

    def _installed(self) -> list[ModelEntry]:
        return list_models(self.settings.model_dir, self.files)

    def devices(self) -> list[tuple[str, str]]:
        """Return (label, device) of each GPU, and of the CPU."""
        if self.settings.device is not None:
            return [(self.settings.device, self.settings.device)]
        gpus = [torch.cuda.get_device_properties(n) for n in range(torch.cuda.device_count())]
        labels = [
            (f"GPU {n}: {gpu.name} ({format_bytes(gpu.total_memory)})", f"cuda:{n}")
            for n, gpu in enumerate(gpus)
        ]
        return [*labels, ("CPU", CPU)]

    def load(self, name: str, device: str) -> str:
        """Make ``name`` speak on ``device``; return what is loaded, and in how long."""
        started = time.monotonic()
        with self._lock:
            if self._tts is None or self._tts.device != choose_device(device):
                self._tts = self._load_base(name, device)
            else:
                self._tts.use_model(name)
            model = self._tts.model
            self._unmeasured = model.name if self._tts.device.type == "cuda" else ""
        elapsed_sec = time.monotonic() - started
        tokenizer = f"{model.tokenizer.path.name} ({model.tokenizer.vocab_size} vocab)"
        return f"Loaded **{name}** on {device} in {elapsed_sec:.1f} s · Tokenizer: {tokenizer}"

    def _load_base(self, name: str, device: str) -> IndexTTS2:
        return IndexTTS2(
            self.settings.base / "config.yaml",
            self.settings.base,
            device=device,
            model=name,
            models_dir=self.settings.model_dir,
            aux_dir=self.settings.aux_dir,
        )

    def speak(self, prompt: Path, text: str, language: str | None, seed: int | None) -> Path:
        """Return the WAV of ``text`` in the voice of ``prompt``; a seed is drawn for None.

        Raises:
            SynthesisError: No model is loaded, or the disk is full.
        """
        tts = self._tts
        if tts is None:
            raise SynthesisError("no model is loaded", fix="choose one and press Load Model")
        if free_bytes(self.settings.output_dir) < MIN_FREE_BYTES:
            raise SynthesisError("less than 100 MB are free for outputs", fix="make room")
        output = self.settings.output_dir / f"{time.time_ns()}.wav"
        # The first speech after a load on a GPU replaces the estimate of its memory.
        name, self._unmeasured = self._unmeasured, ""
        if name:
            torch.cuda.reset_peak_memory_stats(tts.device)
        tts.infer(prompt, text, output, language=language, seed=seed)
        if name and name == tts.model.name:
            peak_bytes = torch.cuda.max_memory_allocated(tts.device)
            record_vram(name, self.settings.model_dir, peak_bytes)
        return output
