"""Text and a prompt to speech: a base, and the model that speaks at present."""

from __future__ import annotations

from pathlib import Path

import torch

from idiolect.base.errors import SynthesisError, UserError
from idiolect.models.published import BaseFiles, locate_base
from idiolect.registry.describe import BASE_NAME
from idiolect.synthesis.devices import choose_device
from idiolect.synthesis.model import LoadedModel
from idiolect.synthesis.stack import FrozenStack
from idiolect.synthesis.swap import ModelSlot
from idiolect.synthesis.voice import PublishedCall, Voice


class IndexTTS2(PublishedCall):
    """A base, the model that speaks at present, and the published call.

    Args:
        cfg_path: The base's ``config.yaml``.
        model_dir: The base's folder.
        use_fp16: Run the GPT in half precision; passed over on the CPU.
        device: ``cpu``, ``cuda:0`` ...; the first GPU, or the CPU, when None.
        model: An installed model's name; the base itself when None.
        models_dir: Where installed models are.
        aux_dir: Where w2v-bert and the like are, when not beside the base.

    Raises:
        CheckpointError: A file of the base is missing or damaged.
        RegistryError: ``model`` is not installed.
    """

    def __init__(
        self,
        cfg_path: str | Path = "checkpoints/config.yaml",
        model_dir: str | Path = "checkpoints",
        *,
        use_fp16: bool = False,
        device: str | torch.device | None = None,
        model: str | None = None,
        models_dir: str | Path = "models",
        aux_dir: str | Path | None = None,
    ) -> None:
        self.files: BaseFiles = locate_base(
            Path(model_dir),
            config_path=Path(cfg_path),
            aux_dir=None if aux_dir is None else Path(aux_dir),
        )
        self.models_dir = Path(models_dir)
        self.device = choose_device(device)
        self.half = use_fp16 and self.device.type == "cuda"
        self._slot = ModelSlot(self.files, self.models_dir, half=self.half)
        self._voice: Voice | None = None
        self._name = model or BASE_NAME
        self.use_model(self._name)

    @property
    def voice(self) -> Voice:
        """The voice that the next request will use.

        Raises:
            SynthesisError: It was unloaded.
        """
        if self._voice is None:
            raise SynthesisError("no model is loaded", fix="load one with use_model")
        return self._voice

    @property
    def model(self) -> LoadedModel:
        """The model that the next request will use."""
        return self.voice.model

    @property
    def stack(self) -> FrozenStack:
        """The frozen networks."""
        return self.voice.stack

    def use_model(self, name: str) -> LoadedModel:
        """Make ``name`` the model that speaks; the former one stays if loading fails.

        Raises:
            RegistryError: ``name`` is not installed.
            CheckpointError: Its files are damaged or do not belong together.
        """
        try:
            voice = self._slot.open_voice(name, self.device)
        except UserError:
            self._reopen()
            raise
        self._voice, self._name = voice, name
        return voice.model

    def _reopen(self) -> None:
        """Take up the former model again, if it had to make room: the slot put it back."""
        if self._voice is not None and self._voice.is_ended:
            self._voice = self._slot.open_voice(self._name, self.device)

    def unload(self) -> None:
        """Free the model and the frozen networks; :meth:`use_model` loads anew."""
        self._voice = None
        self._slot.unload()
