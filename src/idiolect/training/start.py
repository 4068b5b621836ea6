"""What a run begins with: its folder, its base, its weights; everything is checked before work."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from idiolect.base.config import to_mapping
from idiolect.base.errors import (
    CheckpointError,
    ConfigError,
    TokenizerError,
    TrainingError,
    summarize,
)
from idiolect.base.files import slug
from idiolect.base.guard import BASE_DIR_NAME, check_output, is_base_dir
from idiolect.base.hashes import sha256_file
from idiolect.base.log import get_logger
from idiolect.base.places import base_path
from idiolect.base.snapshot import BaseSnapshot
from idiolect.data.samples import SampleSource
from idiolect.models.adapter import add_adapters, load_adapters, open_weights
from idiolect.models.checkpoint import (
    AdapterRecord,
    CheckpointHeader,
    TransferReport,
    load_checkpoint,
    load_weights,
    read_header,
    shapes_of,
    transfer_vocabulary,
)
from idiolect.models.config import GptDims
from idiolect.models.gpt import UnifiedVoice
from idiolect.models.loading import gpt_dims_of, gpt_weights
from idiolect.models.published import CONFIG_FILE as BASE_CONFIG_FILE
from idiolect.models.published import BaseFiles, locate_base
from idiolect.models.terms import terms_of
from idiolect.text.normalize import front_end_identity
from idiolect.text.tokenizer import Tokenizer
from idiolect.training.config import (
    CONFIG_FILE,
    LATEST_FILE,
    MAY_CHANGE,
    TrainConfig,
    changed_settings,
    check_resumed,
    read_run_config,
    resumed_checkpoint,
)
from idiolect.training.inputs import Inputs
from idiolect.training.rows import ROW_TABLES
from idiolect.training.state import STATE_FILE, Identity, run_files
from idiolect.training.step import freeze_parameters

TRAINING_DIR = "training"
CHECKPOINTS_DIR = "checkpoints"
LORA, ROWS = "lora", "rows"
"""The modes in which adapters learn, and text rows alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """Where a run is, and what it goes on from."""

    config: TrainConfig
    """With the folder and the name filled in."""
    folder: Path
    resumed: Path | None
    """The checkpoint to go on from; None in a new run."""
    asked_to_resume: bool
    """Whether the user said so, or the folder holds the same run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartingGpt:
    """The network before the first step."""

    gpt: UnifiedVoice
    header: CheckpointHeader | None
    """Of the file it was read from; a published one has none."""
    transfer: TransferReport | None
    """None when the vocabulary is the one of the file."""


def begin(config: TrainConfig) -> Begin:
    """Find the folder of the run and whether it goes on; nothing is loaded or written yet.

    Without ``resume``, a folder that holds a run with the same settings is gone on with: the
    same command after an interruption does what is left.

    Raises:
        GuardError: The folder is, or lies in, a base, or a file in it is one of a base.
        ConfigError: There is nothing to learn from, or no folder.
        TrainingError: Settings differ from those of the run that is to be gone on with.
    """
    folder = _output_dir(config)
    for path in (folder, *run_files(folder)):
        check_output(path)
    if not config.train_manifest:
        raise ConfigError(
            "there is nothing to learn from",
            where="--train-manifest",
            fix="name the manifest that prepare or pairs wrote, or --resume a run",
        )
    config = replace(
        config,
        output_dir=folder,
        output_name=_output_name(config, folder),
        config=config.config or _base_folder(config) / BASE_CONFIG_FILE,
    )
    resumed = resumed_checkpoint(config.resume, folder)
    if resumed is not None:
        for notice in check_resumed(read_run_config(folder), config):
            get_logger().warning("%s", notice)
    elif _holds_same_run(folder, config):
        resumed = folder / LATEST_FILE
    return Begin(
        config=config,
        folder=folder,
        resumed=resumed,
        asked_to_resume=bool(config.resume) and resumed is not None,
    )


def find_base(config: TrainConfig) -> BaseFiles:
    """Return the files of the base that ``config`` names.

    Its GPT is the file to start from, unless that holds adapters: the frozen tensors, and what the
    adapters are merged with, are then those of the base itself.

    Raises:
        CheckpointError: Files are missing; all of them are listed.
    """
    beside = config.starting_point.parent
    in_base = not beside.is_dir() or is_base_dir(beside.resolve())
    if not in_base and not config.starting_point.is_file():
        raise CheckpointError(
            f"no such checkpoint: {config.starting_point}",
            where="--base-checkpoint",
            fix="name the gpt.pth of a base, or a checkpoint of another run",
        )
    folder = base_path(config.config).parent if config.config else _base_folder(config)
    gpt = None if _holds_adapters(config.starting_point) else config.starting_point
    return locate_base(folder, config_path=config.config, aux_dir=config.aux_dir, gpt=gpt)


def _holds_adapters(path: Path) -> bool:
    if not path.is_file() or is_base_dir(path.resolve().parent):
        return False
    header = read_header(path).header
    return header is not None and header.adapter is not None


def _base_folder(config: TrainConfig) -> Path:
    """Return where the base lies when no configuration of it is named."""
    beside = config.starting_point.parent
    return beside if is_base_dir(beside.resolve()) else Path(BASE_DIR_NAME)


def identify(config: TrainConfig, inputs: Inputs) -> Identity:
    """Return the hashes of what the course of the run depends on."""
    hashes = {str(path): sha256_file(path) for path in inputs.manifests}
    hashes[str(inputs.tokenizer.path)] = inputs.tokenizer.sha256
    hashes[str(config.base_checkpoint)] = hash_of(config.starting_point, inputs.snapshot)
    return Identity(hashes=hashes)


def hash_of(path: Path, snapshot: BaseSnapshot) -> str:
    """Return the SHA-256 of ``path``, from ``snapshot`` where it is known."""
    resolved = path.resolve()
    if resolved.is_relative_to(snapshot.folder):
        known = snapshot.hashes.get(str(resolved.relative_to(snapshot.folder)))
        if known is not None:
            return known
    return sha256_file(path)


def check_identity(begun: Identity, now: Identity) -> None:
    """Refuse to go on with other data than the run was begun with.

    Raises:
        TrainingError: A file changed.
    """
    changed = begun.changed(now)
    if changed:
        raise TrainingError(
            f"these files changed since the run was begun:\n{summarize(changed)}",
            where="--resume",
            fix="put them back; or begin a new run from this checkpoint: --base-checkpoint "
            "<run>/latest.pth and another --output-dir",
        )


def open_gpt(config: TrainConfig, inputs: Inputs, resumed: Path | None) -> StartingGpt:
    """Return the GPT of a run before its next step: what learns in it, and what is frozen.

    Args:
        config: Of the run.
        inputs: What was read.
        resumed: The checkpoint to go on from; None in a new run.

    Raises:
        UserError: As :func:`load_starting_gpt`; or nothing is left to learn, or the checkpoint
            holds other adapters.
    """
    adapts = config.mode == LORA
    source = config.starting_point if adapts or resumed is None else resumed
    start = load_starting_gpt(source, inputs.files, inputs.tokenizer, dropout=config.dropout)
    freeze_parameters(start.gpt, config.freeze)
    if config.mode == ROWS:
        _freeze_all_but_rows(start.gpt)
    if not adapts:
        return start
    add_adapters(start.gpt, rank=config.lora_rank, alpha=config.lora_alpha, seed=config.seed)
    if resumed is None:
        return start
    weights, header = load_checkpoint(resumed)
    load_adapters(start.gpt, weights, where=resumed)
    return replace(start, header=header, transfer=None)


def _freeze_all_but_rows(gpt: nn.Module) -> None:
    """Let the text tables alone learn, without those that are frozen already.

    Raises:
        ConfigError: All of them are.
    """
    for name, parameter in gpt.named_parameters():
        parameter.requires_grad_(name in ROW_TABLES and parameter.requires_grad)
    if not any(parameter.requires_grad for parameter in gpt.parameters()):
        raise ConfigError(
            "nothing is left to learn: the text rows are frozen",
            where="--freeze, --mode rows",
            fix="freeze less",
        )


def load_starting_gpt(
    checkpoint: Path, files: BaseFiles, tokenizer: Tokenizer, *, dropout: float
) -> StartingGpt:
    """Return the GPT in ``checkpoint``, with text rows for ``tokenizer``; adapters come merged.

    Raises:
        CheckpointError: The file cannot be read, or does not fit the base's configuration.
        TokenizerError: The file was made with a third tokenizer, so its rows mean other pieces.
    """
    weights, header = open_weights(checkpoint, bases=[files.gpt])
    weights = {n: t.float() for n, t in gpt_weights(weights, conditioners=False).items()}
    base_tokenizer = Tokenizer.load(files.tokenizer)
    made_with = header.tokenizer_sha256 if header and header.tokenizer_sha256 else ""
    transfer = None
    if (made_with or base_tokenizer.sha256) != tokenizer.sha256:
        if made_with not in ("", base_tokenizer.sha256):
            raise TokenizerError(
                f"{checkpoint} was trained with the tokenizer {made_with}, and "
                f"{tokenizer.path} is {tokenizer.sha256}",
                where="--tokenizer",
                fix="give the tokenizer that it was trained with",
            )
        weights, transfer = transfer_vocabulary(weights, base_tokenizer, tokenizer)
    dims = gpt_dims_of(shapes_of(weights), files.config.gpt)
    _check_rows(dims, tokenizer)
    with torch.device("meta"):
        gpt = UnifiedVoice(dims, conditioners=False, dropout=dropout)
    load_weights(gpt, weights, where=checkpoint)
    return StartingGpt(gpt=gpt, header=header, transfer=transfer)


def make_header(
    config: TrainConfig,
    start: StartingGpt,
    inputs: Inputs,
    train: list[SampleSource],
    *,
    base_sha256: str,
) -> CheckpointHeader:
    """Return what all checkpoints of the run say of themselves.

    Args:
        config: Of the run.
        start: What it begins with.
        inputs: What was read.
        train: What is learnt.
        base_sha256: Of the file to start from.
    """
    languages = tuple(sorted({lang for source in train for lang in languages_of(source)}))
    inherited = start.header.base_sha256 if start.header else ""
    mark = inputs.files.config.mark
    return CheckpointHeader(
        base_sha256=inherited or base_sha256,
        base_version=inputs.files.config.version,
        base_name=mark.name if mark else "",
        tokenizer_sha256=inputs.tokenizer.sha256,
        vocab_size=inputs.tokenizer.vocab_size,
        languages=languages,
        front_end={language: front_end_identity(language) for language in languages},
        code_positions=config.code_positions,
        data={"train": [_data_of(source) for source in train]},
        settings=to_mapping(config),
        licence=terms_of(inputs.files.config).licence,
        adapter=_adapter_of(config, base_sha256),
    )


def _adapter_of(config: TrainConfig, start_sha256: str) -> AdapterRecord | None:
    if config.mode != LORA:
        return None
    return AdapterRecord(
        rank=config.lora_rank,
        alpha=config.lora_alpha,
        base_sha256=start_sha256,
        base_path=str(config.starting_point),
    )


def languages_of(source: SampleSource) -> set[str]:
    """Return the languages of the targets that are learnt."""
    utterances = source.source.utterances
    return {utterances[target].language for target in source.text_ids}


def _output_dir(config: TrainConfig) -> Path:
    """Return the folder of the run: of the checkpoint it goes on from, as told, or by its name."""
    checkpoint = resumed_checkpoint(config.resume, config.output_dir)
    if checkpoint is not None:
        _check_same_folder(checkpoint, config.output_dir)
        return checkpoint.parent
    if config.output_dir is not None:
        return config.output_dir
    if config.output_name:
        return Path(TRAINING_DIR) / slug(config.output_name, flag="--output-name") / CHECKPOINTS_DIR
    raise ConfigError(
        "the run has no folder",
        where="--output-dir",
        fix="give --output-dir training/<language>/checkpoints, or --output-name <language>",
    )


def _check_same_folder(checkpoint: Path, output_dir: Path | None) -> None:
    if output_dir is not None and output_dir.resolve() != checkpoint.parent.resolve():
        raise TrainingError(
            f"{checkpoint} goes on in its own folder, not in {output_dir}",
            where="--output-dir, given with --resume",
            fix=f"leave it out; or begin a new run there with --base-checkpoint {checkpoint}",
        )


def _output_name(config: TrainConfig, folder: Path) -> str:
    if config.output_name:
        return slug(config.output_name, flag="--output-name")
    full = folder.resolve()
    name = full.parent.name if full.name == CHECKPOINTS_DIR else full.name
    return re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".") or "model"


def _holds_same_run(folder: Path, config: TrainConfig) -> bool:
    if not all((folder / name).is_file() for name in (CONFIG_FILE, LATEST_FILE, STATE_FILE)):
        return False
    return not changed_settings(read_run_config(folder), config).keys() - MAY_CHANGE


def _check_rows(dims: GptDims, tokenizer: Tokenizer) -> None:
    if dims.vocab_size != tokenizer.vocab_size:
        raise TokenizerError(
            f"the tokenizer has {tokenizer.vocab_size} pieces and the model {dims.vocab_size}",
            where=str(tokenizer.path),
            fix="give the tokenizer that belongs to the model",
        )


def _data_of(source: SampleSource) -> dict[str, object]:
    """Return what a model card says of the data."""
    clips = [source.source.utterances[target] for target in source.text_ids]
    return {
        "manifest": str(source.source.spec.path),
        "weight": source.source.spec.weight,
        "clips": len(clips),
        "hours": round(sum(clip.duration_sec for clip in clips) / 3600, 3),
        "speakers": len({clip.speaker for clip in clips}),
        "languages": sorted(languages_of(source)),
    }
