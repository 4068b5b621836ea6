"""Everything that a training run can be told, and what may change when it goes on."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from idiolect.base.config import from_mapping, read_yaml
from idiolect.base.errors import ConfigError, TrainingError
from idiolect.base.guard import BASE_DIR_NAME
from idiolect.base.places import base_path
from idiolect.models.published import BASE_ROLES

CONFIG_FILE = "config.yaml"
LATEST_FILE = "latest.pth"
BEST_FILE = "best.pth"
AUTO = "auto"

MAY_CHANGE = frozenset(
    [
        "epochs",
        "max_steps",
        "log_interval",
        "val_interval",
        "save_every",
        "save_minutes",
        "keep",
        "keep_best",
        "average_best",
        "patience",
        "asr_dir",
        "tracker",
        "tokens_per_pass",
        "num_workers",
        "device",
        "aux_dir",
        "feature_batch",
        "allow_skips",
        "output_dir",
        "output_name",
        "resume",
    ]
)
"""May be given with ``--resume``: they say how far and where to go, not what is learnt."""
APPLIED_WITH_NOTICE = frozenset(
    [
        "learning_rate",
        "weight_decay",
        "grad_clip",
        "dropout",
        "code_noise",
        "text_loss_weight",
        "mel_loss_weight",
        "precision",
        "tf32",
        "compile",
        "gradient_checkpointing",
        "base_kl",
        "asr",
        "probe_manifest",
        "probe_sentences",
    ]
)
"""May be given with ``--resume``, but the run is then no longer the one that was begun."""
AT_LEAST_ONE = (
    *("batch_size", "grad_accumulation", "feature_batch", "epochs", "log_interval", "keep"),
    *("keep_best", "lora_rank", "tokens_per_pass"),
)
AT_LEAST_ZERO = (
    *("max_steps", "val_interval", "save_every", "save_minutes", "num_workers", "patience"),
    *("weight_decay", "text_loss_weight", "mel_loss_weight", "base_kl", "new_row_lr"),
    *("tokens_per_step", "warmup_rows", "average_best", "probe_sentences", "language_temperature"),
)
CUT_OF_A_STEP = frozenset({"batch_size", "grad_accumulation"})
"""How a step is cut into batches; with the same product, each step sees the same clips."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """How a GPT is fine-tuned, and on what."""

    train_manifest: tuple[str, ...] = ()
    """Manifest to learn from, raw or paired; repeatable. PATH::LANG sets its language,
    PATH@WEIGHT (or PATH::LANG@WEIGHT) how often each of its clips is seen in an epoch."""
    val_manifest: tuple[str, ...] = ()
    """Manifest to measure on; repeatable. By default the val file beside each train file, or a
    held-out share where there is none."""
    tokenizer: Path | None = None
    """SentencePiece model of the language; that of the base by default."""
    config: Path | None = None
    """config.yaml of the base; by default the one beside --base-checkpoint, else checkpoints/."""
    base_checkpoint: Path = Path(BASE_DIR_NAME) / BASE_ROLES["gpt"]
    """Weights to start from: the gpt.pth of a base, its folder, or a checkpoint of an earlier run;
    nano is the small base that comes with the package."""
    aux_dir: Path | None = None
    """Folder of w2v-bert, the codec, CAMPPlus and BigVGAN, when they are not beside the base."""
    output_dir: Path | None = None
    """Folder of the run; never the base. By default training/<output-name>/checkpoints."""
    output_name: str = ""
    """Name of the model for the install command; by default taken from --output-dir."""

    mode: Literal["full", "lora", "rows"] = "full"
    """What learns: every weight; small low-rank adapters beside weights that stay (lora); or only
    the text rows that the base lacks (rows)."""
    lora_rank: int = 32
    """Rank of the adapters of --mode lora: more of them learn more, and forget more."""
    lora_alpha: float = 64.0
    """Adapters count for lora_alpha / lora_rank."""

    batch_size: int = 4
    """Clips in one step, times --grad-accumulation."""
    grad_accumulation: int = 1
    """Makes a step of so many times --batch-size; the loss is a mean over the tokens of the whole
    step, so how a step is cut changes nothing."""
    tokens_per_step: int | Literal["auto"] = 0
    """Tokens in one step, on all devices together, instead of a number of clips; auto is what one
    pass of the device holds, and few enough for a small corpus to have steps. 0 counts clips."""
    tokens_per_pass: int | Literal["auto"] = "auto"  # noqa: S105 -- no password
    """Most tokens in one forward pass of a device; auto asks for its memory. Out of memory halves
    it and says so; steps stay what they were."""
    epochs: int = 10
    """Times that the data is gone through."""
    max_steps: int = 0
    """Stop after this many steps, if the epochs do not end before; 0 is no limit."""

    learning_rate: float = 2e-5
    """Highest learning rate, after the warm-up."""
    warmup_share: float = 0.05
    """Part of all steps in which the learning rate rises."""
    warmup_steps: int | None = None
    """Steps in which the learning rate rises, instead of --warmup-share."""
    warmup_rows: int = 0
    """First steps in which only the text rows that the base lacks learn."""
    new_row_lr: float = 0.0
    """Highest learning rate of the text rows that the base lacks; 0 is that of the others."""
    optimizer: Literal["adamw", "adamw8bit"] = "adamw"
    """adamw8bit keeps its two states in 8 bits, a quarter of the memory; it needs the extra
    idiolect[gpu]."""
    weight_decay: float = 0.01
    """Of AdamW, on matrices only: norms, biases and embeddings are left alone."""
    grad_clip: float = 1.0
    """Largest norm of a gradient; longer ones are shortened to it."""
    dropout: float = 0.1
    """Probability of dropping an activation while training."""
    code_noise: float = 0.0
    """Share of the codes already said that are replaced by random ones while training, so that the
    model reads the text instead of knowing the clips by heart; 0.2 helps with minutes of speech."""
    freeze: tuple[str, ...] = ()
    """Parameters that stay as they are, by their published names with * for any part; repeatable.
    'gpt.h.*.attn.*' keeps where the model looks: small models forget less so."""
    text_loss_weight: float = 0.2
    """Weight of the mean loss of a text token."""
    mel_loss_weight: float = 0.8
    """Weight of the mean loss of a semantic code."""
    code_positions: Literal["decode", "published"] = "decode"
    """Rows of the code position table: decode is 0, 2, 3, ... as synthesis reads them; published
    is 0, 1, 2, ... as the published second pass does."""
    base_kl: float = 0.0
    """Weight of the distance to what the base would say, on clips of --base-languages."""
    base_languages: tuple[str, ...] = ()
    """Language that the base speaks and should not forget; repeatable. By default those that the
    base says: zh and en for the published one."""
    language_temperature: float = 1.0
    """How often languages are seen: at 1 by how many clips they have, at 0 all alike; between,
    by that number to this power."""
    duration_control: bool = False
    """Learn to say a text in a number of codes that is asked for; needed for --target-duration."""
    ema: float = 0.0
    """Checkpoints hold a running mean of the weights, of which each step keeps this share; 0.999
    smooths the last thousand steps. 0 is the weights themselves."""
    average_best: int = 0
    """At the end, average the weights of so many of the best checkpoints to averaged.pth."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto is bf16 on a device that has it, else fp32; the weights themselves stay fp32."""
    tf32: bool = False
    """Multiply float32 matrices in TF32 on a GPU that has it: faster, 10 bits of mantissa."""
    compile: bool = False
    """Let torch.compile write kernels for the blocks: a minute more at first, then faster."""
    fsdp: bool = False
    """Give each of several processes a part of the weights and of the optimizer, for models that
    do not fit whole."""
    gradient_checkpointing: bool = False
    """Compute activations again instead of keeping them: less memory, a third more time."""

    log_interval: int = 10
    """Steps between two lines of progress."""
    val_interval: int = 0
    """Steps between two validations; 0 is at every checkpoint."""
    save_every: int = 0
    """Steps between two checkpoints, or minutes (20min); 0 is a tenth of the run, 1000 steps at
    most."""
    save_minutes: float = 0.0
    """Minutes between two checkpoints, beside --save-every; 0 is by steps only."""
    keep: int = 3
    """How many of the newest checkpoints stay; the best always does."""
    keep_best: int = 1
    """How many of the best checkpoints stay."""
    patience: int = 0
    """Stop after so many validations without a better one; 0 goes on to the end."""
    asr: str = "none"
    """Who listens to the unseen sentences that are spoken at each validation: nano, whisper-base,
    whisper-small, moonshine, faster-whisper:MODEL or none. With one, the best checkpoint is that
    with the fewest letters wrong."""
    asr_dir: Path | None = None
    """Folder of the recognisers; see recipes/nano/JUDGES.md."""
    probe_manifest: tuple[str, ...] = ()
    """Manifest whose sentences are spoken at each validation; repeatable, for the languages of the
    base too: PATH::LANG. By default those of --val-manifest."""
    probe_sentences: int = 8
    """Sentences of each language that are spoken at a validation; 0 speaks none."""
    tracker: tuple[str, ...] = ()
    """Also report to wandb, mlflow or another tracker that Accelerate knows; repeatable."""

    resume: str = ""
    """Checkpoint or folder of a run to go on with (every setting is restored), or auto."""
    seed: int = 1234
    """Same seed, data and settings: same run."""
    num_workers: int = 1
    """Threads that assemble batches ahead; 0 is none."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train; CUDA_VISIBLE_DEVICES picks one of several."""
    feature_batch: int = 8
    """Clips in one pass of the feature extraction; changes its speed only."""
    allow_skips: bool = False
    """Go on when more than a tenth of the data has to be left out."""

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            ConfigError: A value is out of range.
        """
        for name in AT_LEAST_ONE:
            self._at_least(name, 1)
        for name in AT_LEAST_ZERO:
            self._at_least(name, 0)
        for name in ("learning_rate", "grad_clip", "lora_alpha"):
            if not getattr(self, name) > 0:
                raise _out_of_range(name, getattr(self, name), "must be above 0")
        for name in ("warmup_share", "dropout", "code_noise", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise _out_of_range(name, getattr(self, name), "must be at least 0 and below 1")

    @property
    def starting_point(self) -> Path:
        """The file of the weights to start from, whose folder may have been named alone."""
        path = base_path(self.base_checkpoint)
        return path / BASE_ROLES["gpt"] if path.is_dir() else path

    @property
    def clips_per_step(self) -> int:
        """How many clips an optimizer step sees."""
        return self.batch_size * self.grad_accumulation

    def _at_least(self, name: str, least: int) -> None:
        if getattr(self, name) != AUTO and getattr(self, name) < least:
            raise _out_of_range(name, getattr(self, name), f"must be at least {least}")


def _out_of_range(name: str, value: object, rule: str) -> ConfigError:
    return ConfigError(f"{name} {rule}, got {value}", where=f"--{name.replace('_', '-')}")


def resumed_checkpoint(resume: str, output_dir: Path | None) -> Path | None:
    """Return the checkpoint that ``--resume`` means; None when auto finds no run."""
    if not resume:
        return None
    if resume != AUTO:
        path = Path(resume)
        return path / LATEST_FILE if path.is_dir() else path
    latest = output_dir / LATEST_FILE if output_dir is not None else None
    return latest if latest is not None and latest.is_file() else None


def read_run_config(folder: Path) -> TrainConfig:
    """Return the settings of the run in ``folder``, which may have been moved since.

    Raises:
        ConfigError: It holds none, or they are damaged.
    """
    path = folder / CONFIG_FILE
    config = from_mapping(TrainConfig, read_yaml(path), where=str(path))
    return dataclasses.replace(config, output_dir=folder)


def check_resumed(begun: TrainConfig, now: TrainConfig) -> list[str]:
    """Return the settings that differ and change what is learnt, as sentences for the log.

    Raises:
        TrainingError: A setting differs that makes it another run.
    """
    changed = changed_settings(begun, now)
    noticed = APPLIED_WITH_NOTICE
    if begun.clips_per_step == now.clips_per_step:
        noticed |= CUT_OF_A_STEP
    refused = [name for name in changed if name not in MAY_CHANGE | noticed]
    if refused:
        name = refused[0]
        raise TrainingError(
            f"the run was begun with {name} = {changed[name][0]}, not {changed[name][1]}",
            where=f"--{name.replace('_', '-')}, given with --resume",
            fix="leave it out; or begin a new run: --base-checkpoint <this checkpoint> and another "
            "--output-dir instead of --resume",
        )
    return [
        f"{name} is {new} from here on, was {old}: not the run that was begun"
        for name, (old, new) in changed.items()
        if name in noticed
    ]


def changed_settings(begun: TrainConfig, now: TrainConfig) -> dict[str, tuple[Any, Any]]:
    """Return the settings that differ, each with its old and new value."""
    names = [field.name for field in dataclasses.fields(TrainConfig)]
    pairs = {name: (getattr(begun, name), getattr(now, name)) for name in names}
    return {name: (old, new) for name, (old, new) in pairs.items() if old != new}
