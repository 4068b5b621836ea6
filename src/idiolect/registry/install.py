"""Putting a trained checkpoint among the models: checked first, then written whole.

The order of writing is weights, tokenizer, configuration, card, entry, index: an entry never
speaks of files that are not there yet, and an interrupted installation is repeated by the same
command.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from idiolect.base.config import read_yaml, write_yaml
from idiolect.base.errors import CheckpointError, ConfigError, RegistryError
from idiolect.base.files import copy_file, free_bytes, remove_left_over, slug, write_text
from idiolect.base.guard import check_output, is_base_dir
from idiolect.base.hashes import sha256_file, sha256_text
from idiolect.base.log import get_logger
from idiolect.base.places import MODELS_DIR_NAME, BasePlace
from idiolect.base.snapshot import BaseSnapshot
from idiolect.base.units import format_bytes
from idiolect.models.checkpoint import (
    FORMAT_VERSION,
    CheckpointHeader,
    CheckpointOutline,
    Shapes,
    Weights,
    load_checkpoint,
    read_header,
    save_checkpoint,
    shape_differences,
    transfer_vocabulary,
)
from idiolect.models.config import read_base_config
from idiolect.models.loading import gpt_dims_of, gpt_weights
from idiolect.models.memory import model_bytes
from idiolect.models.published import CONFIG_FILE, BaseFiles, locate_base
from idiolect.models.safe_file import loaded_bytes
from idiolect.models.terms import PUBLISHED_TERMS, terms_of
from idiolect.registry.card import model_card
from idiolect.registry.describe import BASE_NAME, NO_WEIGHTS, check_pair
from idiolect.registry.entry import (
    GPT_PREFIX,
    FileRecord,
    ModelEntry,
    card_name,
    checkpoint_name,
    config_name,
    entry_path,
    read_entry,
    tokenizer_name,
    with_header,
    write_entry,
)
from idiolect.registry.gate import check_gate
from idiolect.registry.index import rebuild_index
from idiolect.registry.store import verify_model
from idiolect.registry.weights import outline_of, weights_of
from idiolect.text.tokenizer import Tokenizer

SHOWN_DIFFERENCES = 3
ROW_TENSORS = (
    "text_embedding.weight",
    "text_head.weight",
    "text_head.bias",
    "text_pos_embedding.emb.weight",
    "mel_pos_embedding.emb.weight",
)
"""Tensors of which a fine-tuned model may have another number of rows than its base."""
DISK_RESERVE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallConfig(BasePlace):
    """What to install, under which name."""

    checkpoint: Path
    """The trained checkpoint, for example training/catalan/checkpoints/best.pth."""
    tokenizer: Path
    """The tokenizer that it was trained with."""
    output_name: str
    """Name of the model, for example catalan: it becomes gpt_catalan.pth."""
    description: str = ""
    """A sentence for the list and the model card."""
    output_dir: Path = Path(MODELS_DIR_NAME)
    """Folder of the installed models."""
    blend: float = 1.0
    """How far the weights go from those of the base to the trained ones: 1 is all the way. At 0.5 a
    small model keeps what its base could, and loses what it learnt by heart."""
    gate: float | None = None
    """Refuse a model that lost more points of letters than this in a language that was heard before
    the training and after it; without it, more than 3 are warned of."""
    config: Path | None = None
    """The model's configuration; that of the base when left out."""
    language: tuple[str, ...] = ()
    """Languages that it speaks (ca es ...), when the checkpoint does not say."""
    force: bool = False
    """Replace a model of this name."""
    dry_run: bool = False
    """Check everything, and write nothing."""

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            ConfigError: A value is out of range.
        """
        BasePlace.__post_init__(self)
        if not 0 < self.blend <= 1:
            raise ConfigError(
                f"{self.blend:g} is no share of the way",
                where="--blend",
                fix="give a number above 0, at most 1",
            )
        if self.gate is not None and self.gate < 0:
            raise ConfigError(
                f"{self.gate:g} points cannot be lost",
                where="--gate",
                fix="give points of letters wrong, for example 3",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallReport:
    """What was installed, and what was found about the base."""

    entry: ModelEntry
    files: tuple[Path, ...]
    """What was written, or would be; empty when the same model was already there."""
    base_sentence: str
    kept_line: str = ""
    """What each language lost or won in the training; empty when nobody listened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallPlan:
    """Everything that is known, and was checked, before the first byte is written."""

    name: str
    folder: Path
    outline: CheckpointOutline
    """Of the whole weights: adapters are merged with their base."""
    header: CheckpointHeader
    """That of the checkpoint, or one made for a checkpoint that has none."""
    tokenizer: Tokenizer
    config_values: dict[str, Any] | None
    """Of the model's own configuration; None when that of the base serves."""
    base: BaseFiles | None
    source_sha256: str
    kept_line: str
    """What each language lost or won, of :func:`check_gate`."""

    @property
    def targets(self) -> tuple[Path, ...]:
        """The files of the model, in the order of writing."""
        config = [] if self.config_values is None else [config_name(self.name)]
        names = [checkpoint_name(self.name), tokenizer_name(self.name), *config]
        return tuple(self.folder / name for name in (*names, card_name(self.name)))


def install_model(config: InstallConfig) -> InstallReport:
    """Install the model that ``config`` names.

    Raises:
        CheckpointError: The checkpoint is damaged, or no GPT of this base.
        TokenizerError: The tokenizer belongs to another model; both hashes are shown.
        RegistryError: The name is taken, the disk is too small, or a language lost more than
            the gate allows.
        GuardError: The output folder is a base, or the base changed meanwhile.
    """
    plan = plan_install(config)
    snapshot = BaseSnapshot.take(config.base) if is_base_dir(config.base.resolve()) else None
    installed = _installed(plan)
    if installed is not None and _is_same(installed, plan, config):
        return _report(plan, installed, (), _verdict(snapshot, config))
    if not config.force:
        _check_free(plan, installed)
    entry = _entry(plan, config)
    if not config.dry_run:
        remove_left_over(plan.folder)
        entry = _write(plan, config, entry)
    files = (*plan.targets, entry_path(plan.folder, plan.name))
    return _report(plan, entry, files, _verdict(snapshot, config))


def _report(
    plan: InstallPlan, entry: ModelEntry, files: tuple[Path, ...], base_sentence: str
) -> InstallReport:
    return InstallReport(
        entry=entry, files=files, base_sentence=base_sentence, kept_line=plan.kept_line
    )


def plan_install(config: InstallConfig) -> InstallPlan:
    """Return what installing would do; everything that can go wrong is found here.

    Raises:
        UserError: As :func:`install_model`.
    """
    name = _model_name(config.output_name)
    check_output(config.output_dir / checkpoint_name(name))
    tokenizer = Tokenizer.load(config.tokenizer)
    base = _base_of(config)
    outline = outline_of(config.checkpoint, bases=_gpts(base))
    _check_weights(outline.shapes, base, where=config.checkpoint)
    check_pair(outline, tokenizer, where=config.checkpoint)
    check_disk(config.output_dir, outline.weight_bytes)
    if config.blend < 1 and base is None:
        raise ConfigError(
            "there is no base to blend with",
            where="--blend, --base",
            fix="name the base: --base DIR",
        )
    source_sha256 = sha256_file(config.checkpoint)
    if config.blend < 1:
        source_sha256 = sha256_text(f"{source_sha256} {config.blend}")
    kept_line = check_gate(
        outline.header.scores if outline.header else {},
        gate=config.gate,
        is_blended=config.blend < 1,
        where=config.checkpoint,
    )
    return InstallPlan(
        name=name,
        folder=config.output_dir,
        outline=outline,
        header=_header(outline.header or CheckpointHeader(), tokenizer, base, config),
        tokenizer=tokenizer,
        config_values=_own_config(outline.shapes, base, config.config),
        base=base,
        source_sha256=source_sha256,
        kept_line=kept_line,
    )


def _model_name(output_name: str) -> str:
    name = slug(output_name.removesuffix(".pth").removeprefix(GPT_PREFIX), flag="--output-name")
    if name in {BASE_NAME, "gpt"}:
        raise RegistryError(
            f"{output_name!r} means the base",
            where="--output-name",
            fix="choose a name that says the language, for example catalan",
        )
    return name


def _base_of(config: InstallConfig) -> BaseFiles | None:
    """Return the base's files; None where there is no base: installing does not need one."""
    if not (config.base / CONFIG_FILE).is_file():
        return None
    try:
        return locate_base(config.base, aux_dir=config.aux_dir)
    except CheckpointError as error:
        get_logger().warning("the base is not used for checks: %s", error.problem)
        return None


def _gpts(base: BaseFiles | None) -> list[Path]:
    """Return what adapters may have been trained beside."""
    return [] if base is None else [base.gpt]


def _check_weights(shapes: Shapes, base: BaseFiles | None, *, where: Path) -> None:
    """Make sure that this is a whole GPT, and of the same sizes as that of the base."""
    if any(".lora_" in name for name in shapes):
        raise CheckpointError(
            "these are LoRA weights, and nothing says of which base",
            where=str(where),
            fix="merge them with their base by the program that trained them",
        )
    wanted = read_header(base.gpt).shapes if base is not None else {ROW_TENSORS[0]: ()}
    found = {name: shape for name, shape in gpt_weights(shapes).items() if name not in ROW_TENSORS}
    sized = {name: shape for name, shape in gpt_weights(wanted).items() if name not in ROW_TENSORS}
    absent = [f"{name}: not in the file" for name in ROW_TENSORS if name not in shapes]
    lines = absent + (shape_differences(sized, found) if base is not None else [])
    if lines:
        shown = "\n".join(f"  {line}" for line in lines[:SHOWN_DIFFERENCES])
        raise CheckpointError(
            f"no GPT for this base: {len(lines)} tensors differ\n{shown}",
            where=str(where),
            fix="give the checkpoint of a training that started from this base",
        )


def check_disk(folder: Path, size_bytes: int) -> None:
    """Make sure that ``size_bytes`` fit on the disk of ``folder``, and a little more.

    Raises:
        RegistryError: They do not.
    """
    if (free := free_bytes(folder)) < size_bytes + DISK_RESERVE_BYTES:
        raise RegistryError(
            f"{format_bytes(free)} are free, and the model takes {format_bytes(size_bytes)}",
            where=str(folder),
            fix="make room, or choose a folder on another disk",
        )


def _header(
    header: CheckpointHeader, tokenizer: Tokenizer, base: BaseFiles | None, config: InstallConfig
) -> CheckpointHeader:
    terms = terms_of(base.config) if base is not None else PUBLISHED_TERMS
    mark = base.config.mark if base is not None else None
    if config.blend < 1:  # the scores are of the weights before they were blended
        header = replace(header, scores={}, settings={**header.settings, "blend": config.blend})
    if not header.licence and mark is not None:  # it does not say what it was made from
        header = replace(header, base_name=mark.name)
    return replace(
        header,
        format_version=FORMAT_VERSION,
        tokenizer_sha256=tokenizer.sha256,
        vocab_size=tokenizer.vocab_size,
        languages=config.language or header.languages,
        licence=header.licence or terms.licence,
    )


def _own_config(
    shapes: Shapes, base: BaseFiles | None, config_path: Path | None
) -> dict[str, Any] | None:
    """Return the configuration that the published code needs for these weights, if another."""
    source = config_path or (base.config_path if base is not None else None)
    if source is None:
        return None
    values = read_yaml(source)
    dims = gpt_dims_of(shapes, read_base_config(source).gpt)
    values["gpt"] = values["gpt"] | {
        "number_text_tokens": dims.vocab_size,
        "max_text_tokens": dims.max_text_len,
        "max_mel_tokens": dims.max_code_len,
    }
    of_base = read_yaml(base.config_path) if base is not None else None
    return None if values == of_base else values


def _installed(plan: InstallPlan) -> ModelEntry | None:
    path = entry_path(plan.folder, plan.name)
    return read_entry(path) if path.is_file() else None


def _is_same(entry: ModelEntry, plan: InstallPlan, config: InstallConfig) -> bool:
    return (
        entry.source_sha256 == plan.source_sha256
        and entry.tokenizer is not None
        and entry.tokenizer.sha256 == plan.tokenizer.sha256
        and config.description in {"", entry.description}
        and not verify_model(plan.name, plan.folder)
    )


def _check_free(plan: InstallPlan, installed: ModelEntry | None) -> None:
    """Refuse to replace what is not this very model; what an interruption left is completed."""
    known = {plan.source_sha256, plan.tokenizer.sha256}
    weights, tokenizer, *_ = plan.targets
    taken = [
        path
        for path in (weights, tokenizer)
        if path.is_file() and sha256_file(path) not in known and not _is_left_over(path, plan)
    ]
    is_other = installed is not None and installed.source_sha256 != plan.source_sha256
    if is_other or taken:
        names = ", ".join(path.name for path in taken) or entry_path(plan.folder, plan.name).name
        raise RegistryError(
            f"there is another model {plan.name!r}: {names}",
            where=str(plan.folder),
            fix="choose another --output-name, or replace it with --force",
        )


def _is_left_over(path: Path, plan: InstallPlan) -> bool:
    """Return whether ``path`` is what an interrupted installation of this model wrote."""
    if path.suffix != ".pth":
        return False
    try:
        return read_header(path).header == plan.header
    except CheckpointError:
        return False


def _write(plan: InstallPlan, config: InstallConfig, entry: ModelEntry) -> ModelEntry:
    """Write the model, the entry after all its files; return the entry with their hashes."""
    weights, tokenizer = plan.targets[:2]
    save_checkpoint(weights, _weights(plan, config), plan.header)
    copy_file(plan.tokenizer.path, tokenizer)
    own_config = plan.folder / config_name(plan.name)
    if plan.config_values is not None:
        write_yaml(own_config, plan.config_values)
    elif own_config.exists():
        own_config.unlink()  # of the model that --force replaces
    entry = replace(
        entry,
        checkpoint=_record(weights),
        tokenizer=_record(tokenizer),
        config=_record(own_config) if plan.config_values is not None else None,
    )
    write_text(plan.folder / card_name(plan.name), model_card(entry))
    _copy_licences(plan)
    write_entry(plan.folder, entry)
    rebuild_index(plan.folder)
    return entry


def _weights(plan: InstallPlan, config: InstallConfig) -> Weights:
    """Return the weights of the model, blended with those of the base where that is asked.

    Source:
        Wortsman et al. 2022, "Robust fine-tuning of zero-shot models" (weights between two models
        of which one was trained from the other).
    """
    trained = gpt_weights(weights_of(config.checkpoint, bases=_gpts(plan.base))[0])
    if config.blend == 1 or plan.base is None:
        return trained
    base = gpt_weights(load_checkpoint(plan.base.gpt)[0])
    carried, _ = transfer_vocabulary(base, Tokenizer.load(plan.base.tokenizer), plan.tokenizer)
    blended = dict(trained)
    for name, tensor in trained.items():
        # A table of positions may have grown: it stays as it was learnt.
        if carried[name].shape == tensor.shape:
            mixed = torch.lerp(carried[name].float(), tensor.float(), config.blend)
            blended[name] = mixed.to(tensor.dtype)
    return blended


def _entry(plan: InstallPlan, config: InstallConfig) -> ModelEntry:
    """Return the entry without the hashes of files that are not written yet."""
    outline = plan.outline
    own_bytes = loaded_bytes(outline.shapes)
    shared_bytes = model_bytes(NO_WEIGHTS, plan.base) if plan.base else 0
    entry = ModelEntry(
        name=plan.name,
        description=config.description,
        checkpoint=FileRecord(name=checkpoint_name(plan.name), size_bytes=outline.weight_bytes),
        tokenizer=FileRecord(
            name=tokenizer_name(plan.name),
            size_bytes=plan.tokenizer.path.stat().st_size,
            sha256=plan.tokenizer.sha256,
        ),
        vocab_size=plan.tokenizer.vocab_size,
        source_sha256=plan.source_sha256,
        weight_bytes=outline.weight_bytes,
        loaded_bytes=own_bytes,
        vram_bytes=own_bytes + shared_bytes,
    )
    return with_header(entry, plan.header)


def _record(path: Path) -> FileRecord:
    status = path.stat()
    return FileRecord(
        name=path.name,
        size_bytes=status.st_size,
        sha256=sha256_file(path),
        modified_ns=status.st_mtime_ns,
    )


def _copy_licences(plan: InstallPlan) -> None:
    """Copy the licence of the base: it asks to go with every derived model."""
    if plan.base is None:
        return
    for licence in sorted(plan.base.folder.glob("LICENSE*")):
        if licence.is_file() and not (plan.folder / licence.name).exists():
            copy_file(licence, plan.folder / licence.name)


def _verdict(snapshot: BaseSnapshot | None, config: InstallConfig) -> str:
    return snapshot.verify() if snapshot else f"no base in {config.base} to look after"
