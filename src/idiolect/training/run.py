"""A whole run: from manifests and a base to checkpoints, and what was learnt."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch.optim import Optimizer

from idiolect.base.config import write_yaml
from idiolect.base.errors import ConfigError, TrainingError
from idiolect.base.files import remove_left_over
from idiolect.base.log import get_logger, log_to_file, run_header
from idiolect.base.progress import progress
from idiolect.models.gpt import UnifiedVoice
from idiolect.training.config import CONFIG_FILE, LATEST_FILE, TrainConfig
from idiolect.training.evaluate import evaluate
from idiolect.training.feed import Feed
from idiolect.training.inputs import Inputs, TrainingData, prepare_data, read_inputs
from idiolect.training.loop import (
    LoopSettings,
    StepHook,
    StopAsked,
    count_into,
    report_to,
    stopping_on_signals,
    train_steps,
)
from idiolect.training.loss import LossWeights, TrainableGpt
from idiolect.training.metrics import MetricsLog, Scores
from idiolect.training.schedule import extend, make_schedule
from idiolect.training.start import (
    Begin,
    StartingGpt,
    begin,
    check_identity,
    find_base,
    hash_of,
    identify,
    load_starting_gpt,
    make_header,
)
from idiolect.training.state import (
    LEFT_OUT_FILE,
    LOG_FILE,
    Checkpoints,
    RunState,
    check_disk,
    move_earlier_run,
    only_run_in,
    open_state,
    step_files,
)
from idiolect.training.step import StepReport, freeze_parameters, make_optimizer, set_weight_decay

MOST_STEPS_PER_SAVE = 1000
SAVES_PER_RUN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """What a run did."""

    folder: Path
    step: int
    last_step: int
    best_path: Path
    best_step: int
    first: Scores | None
    """Of the validation before the first step."""
    best: Scores | None
    left_out: dict[str, int]
    """How many targets each reason left out."""
    install_command: str
    base_unchanged: str

    @property
    def is_complete(self) -> bool:
        """Whether there is nothing left to do."""
        return self.step >= self.last_step


def train(config: TrainConfig) -> TrainResult:
    """Fine-tune the GPT of a base on manifests.

    What is refused is refused before anything is loaded or written. A kill at any time leaves
    whole files, and the same call (or ``resume``) does the rest. On a CPU in fp32 the losses are
    then bit for bit those of a run that was never stopped.

    Raises:
        UserError: Something in what the user gave cannot be used; see its kinds.
    """
    start = begin(config)
    accelerator = make_accelerator(start.config)
    inputs = read_inputs(start.config, find_base(start.config))
    with only_run_in(start.folder):
        return _train(start, inputs, accelerator)


def _train(start: Begin, inputs: Inputs, accelerator: Accelerator) -> TrainResult:
    progress_made = _find_progress(start, inputs)
    source = progress_made.checkpoint or start.config.starting_point
    dropout = start.config.dropout
    gpt = load_starting_gpt(source, inputs.files, inputs.tokenizer, dropout=dropout)
    freeze_parameters(gpt.gpt, start.config.freeze)
    if progress_made.checkpoint is None:
        _clear(start)
    log_handler = log_to_file(start.folder / LOG_FILE)
    try:
        get_logger().info("%s", run_header(device=str(accelerator.device), seed=start.config.seed))
        write_yaml(start.folder / CONFIG_FILE, replace(start.config, resume=""))
        return _Run(start, inputs, accelerator, progress_made, gpt).do()
    finally:
        get_logger().removeHandler(log_handler)
        log_handler.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Progress:
    """Where the run stands before this part of it."""

    state: RunState
    optimizer: dict[str, Any] | None = None
    checkpoint: Path | None = None
    """None when it stands at the base."""


def _find_progress(start: Begin, inputs: Inputs) -> _Progress:
    """Return where the run in the folder stands; at the base, if it is not this one.

    Raises:
        TrainingError: The user asked to go on, but the data is not that of the run.
    """
    identity = identify(start.config, inputs)
    if start.resumed is not None:
        state, optimizer, checkpoint = open_state(start.resumed)
        if start.asked_to_resume:
            check_identity(state.identity, identity)
        if not state.identity.changed(identity):
            get_logger().info("going on from %s at step %d", checkpoint, state.step)
            return _Progress(state=state, optimizer=optimizer, checkpoint=checkpoint)
    return _Progress(
        state=RunState(identity=identity, schedule=make_schedule(1, share=0.0, steps=None))
    )


def _clear(start: Begin) -> None:
    """Move away a run in the folder that is not this one.

    Raises:
        TrainingError: This one begins from a checkpoint of it.
    """
    folder, source = start.folder, start.config.starting_point
    if step_files(folder) and source.resolve().parent == folder.resolve():
        raise TrainingError(
            f"a new run in {folder} would move {source.name} away, from which it begins",
            where="--base-checkpoint, --output-dir",
            fix=f"choose another --output-dir; or go on with the run: --resume {source}",
        )
    if (earlier := move_earlier_run(folder)) is not None:
        get_logger().warning("another run was in %s; it is now in %s", folder, earlier)


class _Run:
    """One run, from its inputs on."""

    def __init__(
        self,
        start: Begin,
        inputs: Inputs,
        accelerator: Accelerator,
        progress_made: _Progress,
        gpt: StartingGpt,
    ) -> None:
        self.config = start.config
        self.folder = start.folder
        self.inputs = inputs
        self.accelerator = accelerator
        self.begun = progress_made
        self.starting = gpt
        self.state = progress_made.state
        self.weights = LossWeights(self.config.text_loss_weight, self.config.mel_loss_weight)

    def do(self) -> TrainResult:
        """Do what is left of the run."""
        config, inputs, start = self.config, self.inputs, self.starting
        if start.transfer is not None:
            get_logger().info("%s", start.transfer.summary())
        remove_left_over(self.folder)
        check_disk(self.folder, start.gpt, config.starting_point, keep=config.keep)
        device = self.accelerator.device
        data = prepare_data(
            inputs,
            start.gpt.dims,
            config,
            device=device,
            report=self.folder / LEFT_OUT_FILE,
        )
        base_sha256 = hash_of(config.starting_point, inputs.snapshot)
        self.feed = Feed.of(config, data.train, data.val, start.gpt.dims, device)
        self.checkpoints = Checkpoints(
            self.folder,
            base_checkpoint=config.starting_point,
            header=make_header(config, start, inputs, data.train, base_sha256=base_sha256),
            keep=config.keep,
        )
        self._plan(self.feed.steps_per_epoch)
        self._learn(start.gpt)
        return self._result(data)

    def _plan(self, steps_per_epoch: int) -> None:
        """Decide how many steps there are, and their learning rates."""
        config, state = self.config, self.state
        last_step = steps_per_epoch * config.epochs
        self.last_step = min(last_step, config.max_steps) if config.max_steps else last_step
        self.save_every = config.save_every or min(
            MOST_STEPS_PER_SAVE, math.ceil(self.last_step / SAVES_PER_RUN)
        )
        self.val_every = config.val_interval or self.save_every
        if not state.step:
            state.schedule = make_schedule(
                self.last_step, share=config.warmup_share, steps=config.warmup_steps
            )
        elif self.last_step > state.step:
            state.schedule = extend(
                state.schedule,
                step=state.step,
                total_steps=self.last_step,
                share=config.warmup_share,
            )

    def _learn(self, gpt: UnifiedVoice) -> None:
        """Take the steps that are left, and measure and save on the way."""
        first_step = self.state.step + 1
        if first_step > self.last_step:
            return
        model = TrainableGpt(gpt, code_noise=self.config.code_noise).to(self.accelerator.device)
        optimizer = self._make_optimizer(model)
        model, wrapped = self.accelerator.prepare(model, optimizer)
        log = MetricsLog(self.folder, first_step=first_step)
        todo = self.last_step - self.state.step
        try:
            if self.state.first_scores is None:
                self.state.first_scores = self._validate(model, log)
            with (
                stopping_on_signals() as stop_asked,
                progress("training", todo, reports_itself=True) as advance,
            ):
                train_steps(
                    model,
                    wrapped,
                    self.feed.steps(first_step, self.last_step),
                    self.accelerator,
                    self._settings(),
                    after_step=[
                        count_into(self.state),
                        self._report_to(log),
                        self._measure_and_save(model, optimizer, log, stop_asked),
                        lambda _: advance(1),
                    ],
                    stop_asked=stop_asked,
                )
        finally:
            log.close()

    def _make_optimizer(self, model: TrainableGpt) -> Optimizer:
        optimizer = make_optimizer(
            model, weight_decay=self.config.weight_decay, device=self.accelerator.device
        )
        if self.begun.optimizer is not None:
            optimizer.load_state_dict(self.begun.optimizer)
            set_weight_decay(optimizer, self.config.weight_decay)
        return optimizer

    def _settings(self) -> LoopSettings:
        return LoopSettings(
            schedule=self.state.schedule,
            learning_rate=self.config.learning_rate,
            weights=self.weights,
            grad_clip=self.config.grad_clip,
            seed=self.config.seed,
        )

    def _report_to(self, log: MetricsLog) -> StepHook:
        every = self.config.log_interval
        return report_to(log, self.state, self.weights, every=every, last_step=self.last_step)

    def _measure_and_save(
        self, model: TrainableGpt, optimizer: Optimizer, log: MetricsLog, stop_asked: StopAsked
    ) -> StepHook:
        """Return the hook that validates and saves when it is time, and saves before a stop."""

        def measure_and_save(report: StepReport) -> None:
            is_last = report.step == self.last_step
            saves = is_last or report.step % self.save_every == 0 or stop_asked()
            if is_last or report.step % self.val_every == 0:
                self._validate(model, log)
                if self.state.best_step == report.step and not saves:
                    self.checkpoints.save_best(model.gpt, self.state)
            if saves:
                path = self.checkpoints.save(model.gpt, optimizer, self.state)
                get_logger().info("saved %s", path)

        return measure_and_save

    def _validate(self, model: TrainableGpt, log: MetricsLog) -> Scores:
        """Measure ``model``, and note whether it is the best so far."""
        state = self.state
        scores = evaluate(model, self.feed.validation(), self.weights, self.accelerator.device)
        best = state.best_scores
        is_best = state.step > 0 and (best is None or scores.loss < best.loss)
        if is_best:
            state.best_step, state.best_scores = state.step, scores
        state.last_scores, state.scored_step = scores, state.step
        log.report_val(state.step, state.epoch, scores, is_best=is_best)
        return scores

    def _result(self, data: TrainingData) -> TrainResult:
        best_path = self.checkpoints.best_path
        best_path = best_path if best_path.is_file() else self.folder / LATEST_FILE
        command = ["idiolect", "install", "--checkpoint", str(best_path)]
        command += ["--tokenizer", str(self.inputs.tokenizer.path)]
        command += ["--output-name", self.config.output_name]
        return TrainResult(
            folder=self.folder,
            step=self.state.step,
            last_step=self.last_step,
            best_path=best_path,
            best_step=self.state.best_step,
            first=self.state.first_scores,
            best=self.state.best_scores,
            left_out=data.left_out,
            install_command=shlex.join(command),
            base_unchanged=self.inputs.snapshot.verify(),
        )


def _computes_bf16(*, on_gpu: bool) -> bool:
    """Tell whether the device has instructions for bfloat16; without, it is slower than float32."""
    if on_gpu:
        return bool(torch.cuda.is_bf16_supported())
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # torch has no public way
    return any(getattr(torch.cpu, name, lambda: False)() for name in asked)


def make_accelerator(config: TrainConfig) -> Accelerator:
    """Return the device and precision to train with.

    Raises:
        ConfigError: They are asked for and not there.
        TrainingError: There are several processes.
    """
    has_gpu = torch.cuda.is_available()
    if config.device == "cuda" and not has_gpu:
        raise ConfigError(
            "no CUDA device is visible",
            where="--device cuda",
            fix="leave --device out, or look at CUDA_VISIBLE_DEVICES and the driver",
        )
    on_gpu = has_gpu and config.device != "cpu"
    precision = config.precision
    if precision == "auto":
        precision = "bf16" if _computes_bf16(on_gpu=on_gpu) else "fp32"
    # Accelerate remembers the first choice of a process; each run makes its own.
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(
        mixed_precision="no" if precision == "fp32" else precision, cpu=not on_gpu
    )
    if accelerator.num_processes > 1:
        raise TrainingError(
            f"{accelerator.num_processes} processes were started; a run is one process",
            fix="start it without accelerate launch or torchrun",
        )
    return accelerator
