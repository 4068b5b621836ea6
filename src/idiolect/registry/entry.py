"""What is known of an installed model, and the words in which it is shown."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from idiolect.base.config import from_mapping, to_mapping
from idiolect.base.errors import ConfigError, DataError, RegistryError
from idiolect.base.files import read_json, write_json
from idiolect.base.units import format_bytes
from idiolect.models.checkpoint import CheckpointHeader

GPT_PREFIX = "gpt_"
UNKNOWN_LANGUAGE = "?"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """A file of a model."""

    name: str
    """Relative to the folder of the model."""
    size_bytes: int
    sha256: str = ""
    """Empty for a file that was copied by hand: hashing it takes long."""
    modified_ns: int = 0
    """When it was written, in nanoseconds since 1970; 0 when nobody looked. A file of this size and
    time is taken to be this one without being opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """One model in the dropdown: ``gpt_<name>.json``, or what was found out without one."""

    name: str
    description: str = ""
    languages: tuple[str, ...] = ()
    checkpoint: FileRecord
    tokenizer: FileRecord | None = None
    config: FileRecord | None = None
    vocab_size: int = 0
    """Pieces of the tokenizer, read from it."""
    version: str = "2.0"
    """Of the base family."""
    step: int = 0
    blend: float = 1.0
    """How far the weights go from those of the base to the trained ones."""
    base_sha256: str = ""
    base_name: str = ""
    """Of a base that is not the published one."""
    source_sha256: str = ""
    """Of the checkpoint that was installed."""
    front_end: dict[str, str] = field(default_factory=dict)
    licence: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    origin: str = ""
    """Where it was pulled from: ``owner/name@commit``."""
    notes: str = ""
    """What its user keeps about it."""
    weight_bytes: int = 0
    loaded_bytes: int = 0
    """Of its weights in memory: float32, whatever the file holds."""
    vram_bytes: int = 0
    """GPU memory to speak with it; of the weights alone when the base is not known."""
    vram_is_measured: bool = False
    problem: str = ""
    """Why it cannot be loaded; empty when it can."""

    @property
    def label(self) -> str:
        """As the guide prints it: ``gpt_catalan.pth (3.2GB, v2.0, ca)``."""
        languages = "/".join(self.languages) or UNKNOWN_LANGUAGE
        size = format_bytes(self.weight_bytes or self.checkpoint.size_bytes)
        return f"{self.checkpoint.name} ({size}, v{self.version}, {languages})"

    @property
    def tokenizer_line(self) -> str:
        """As the guide prints it: ``Tokenizer: catalan_bpe.model (12000 vocab)``."""
        name = self.tokenizer.name if self.tokenizer else "none"
        return f"Tokenizer: {name} ({self.vocab_size} vocab)"

    @property
    def vram_line(self) -> str:
        """As the guide prints it, ``VRAM: 8.1 GB``, and whether it was measured."""
        origin = "measured" if self.vram_is_measured else "estimate"
        return f"VRAM: {format_memory(self.vram_bytes)} ({origin})"


def with_header(entry: ModelEntry, header: CheckpointHeader) -> ModelEntry:
    """Return ``entry`` with what the weights say of themselves."""
    return replace(
        entry,
        languages=header.languages,
        version=header.base_version,
        step=header.step,
        blend=float(header.settings.get("blend", 1.0)),
        base_sha256=header.base_sha256,
        base_name=header.base_name,
        front_end=header.front_end,
        licence=header.licence,
        data=header.data,
        scores=header.scores,
    )


def format_memory(size_bytes: int) -> str:
    """Return ``size_bytes`` as GPU memory is told: ``8.1 GB``, ``32.5 MB``."""
    text = format_bytes(size_bytes)
    return f"{text[:-2]} {text[-2:]}" if text.endswith(("KB", "MB", "GB")) else text


def checkpoint_name(name: str) -> str:
    """Return the file name of the weights of ``name``."""
    return f"{GPT_PREFIX}{name}.pth"


def tokenizer_name(name: str) -> str:
    """Return the file name of the tokenizer of ``name``."""
    return f"{name}_bpe.model"


def config_name(name: str) -> str:
    """Return the file name of the configuration of ``name``."""
    return f"{name}_config.yaml"


def card_name(name: str) -> str:
    """Return the file name of the model card of ``name``."""
    return f"{name}_README.md"


def entry_path(model_dir: Path, name: str) -> Path:
    """Return where the entry of ``name`` is kept."""
    return model_dir / f"{GPT_PREFIX}{name}.json"


def name_of(checkpoint: Path) -> str:
    """Return the model's name that the file name of its weights says."""
    return checkpoint.stem.removeprefix(GPT_PREFIX)


def write_entry(model_dir: Path, entry: ModelEntry) -> None:
    """Write ``entry`` beside its files."""
    write_json(entry_path(model_dir, entry.name), to_mapping(entry))


def read_entry(path: Path) -> ModelEntry:
    """Return the entry in ``path``.

    Raises:
        RegistryError: It is damaged.
    """
    try:
        return from_mapping(ModelEntry, read_json(path), where=str(path))
    except (ConfigError, DataError, TypeError) as error:
        raise RegistryError(
            f"damaged entry: {error}",
            where=str(path),
            fix="install the model again, or delete this file to have it detected anew",
        ) from error
