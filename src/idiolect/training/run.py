"""A whole run: from manifests and a base to checkpoints, and what was learnt."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from idiolect.base.config import write_yaml
from idiolect.base.errors import TrainingError
from idiolect.base.files import remove_left_over
from idiolect.base.log import get_logger, log_to_file, only_errors, run_header
from idiolect.base.progress import progress
from idiolect.base.stopwatch import Stopwatch
from idiolect.training.base_kl import base_languages
from idiolect.training.config import CONFIG_FILE, LATEST_FILE, TrainConfig
from idiolect.training.engine import make_accelerator, wants_shards
from idiolect.training.feed import Feed, Share
from idiolect.training.inputs import Inputs, TrainingData, prepare_data, read_inputs
from idiolect.training.intervals import intervals_of
from idiolect.training.learner import Learner
from idiolect.training.loop import (
    LoopSettings,
    Room,
    StepHook,
    StopAsked,
    count_into,
    report_to,
    stopping_on_signals,
    train_steps,
)
from idiolect.training.loss import LossWeights
from idiolect.training.measure import Measurement
from idiolect.training.memory import tokens_on
from idiolect.training.metrics import MetricsLog, Scores
from idiolect.training.milestones import Milestones
from idiolect.training.probing import MakeProbe, Probe
from idiolect.training.rows import new_rows
from idiolect.training.schedule import extend, make_schedule
from idiolect.training.start import (
    Begin,
    StartingGpt,
    begin,
    check_identity,
    find_base,
    hash_of,
    identify,
    make_header,
    open_gpt,
)
from idiolect.training.state import (
    LEFT_OUT_FILE,
    LOG_FILE,
    Checkpoints,
    RunState,
    Stand,
    check_disk,
    move_earlier_run,
    only_run_in,
    open_state,
    step_files,
)
from idiolect.training.trackers import log_to, start_trackers


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
    heard: dict[str, str] = field(default_factory=dict)
    """Of each language, letters heard wrong before the first step and at its best, in words."""
    stopped_early: bool = False
    """Whether validations got no better, as ``--patience`` asks."""
    is_told: bool = True
    """Whether this process is the one that tells the user."""

    @property
    def is_complete(self) -> bool:
        """Whether there is nothing left to do."""
        return self.step >= self.last_step or self.stopped_early


def train(config: TrainConfig, make_probe: MakeProbe | None = None) -> TrainResult:
    """Fine-tune the GPT of a base on manifests.

    What is refused is refused before anything is loaded or written. A kill at any time leaves
    whole files, and the same call (or ``resume``) does the rest. On a CPU in fp32 the losses are
    then bit for bit those of a run that was never stopped. Started in several processes, by
    ``accelerate launch`` or torchrun, these share out the passes of each step.

    Args:
        config: What to learn from and how.
        make_probe: Makes what lets the model speak at each validation; None leaves it silent.

    Raises:
        UserError: Something in what the user gave cannot be used; see its kinds.
    """
    accelerator = make_accelerator(config)
    with only_errors() if not accelerator.is_main_process else nullcontext():
        start = begin(config)
        inputs = read_inputs(start.config, find_base(start.config))
        # All have read what stands in the folder before the first of them changes it.
        accelerator.wait_for_everyone()
        with only_run_in(start.folder) if accelerator.is_main_process else nullcontext():
            return _train(start, inputs, accelerator, make_probe)


def _train(
    start: Begin, inputs: Inputs, accelerator: Accelerator, make_probe: MakeProbe | None
) -> TrainResult:
    stand = _find_stand(start, inputs)
    gpt = open_gpt(start.config, inputs, stand.checkpoint)
    accelerator.wait_for_everyone()
    if not accelerator.is_main_process:
        return _Run(start, inputs, accelerator, stand, gpt, make_probe).do()
    if stand.checkpoint is None:
        _clear(start)
    log_handler = log_to_file(start.folder / LOG_FILE)
    try:
        get_logger().info("%s", run_header(device=_devices(accelerator), seed=start.config.seed))
        write_yaml(start.folder / CONFIG_FILE, replace(start.config, resume=""))
        return _Run(start, inputs, accelerator, stand, gpt, make_probe).do()
    finally:
        get_logger().removeHandler(log_handler)
        log_handler.close()


def _devices(accelerator: Accelerator) -> str:
    count = accelerator.num_processes
    return str(accelerator.device) if count == 1 else f"{count} x {accelerator.device.type}"


def _find_stand(start: Begin, inputs: Inputs) -> Stand:
    """Return where the run in the folder stands; at the base, if it is not this one.

    Raises:
        TrainingError: The user asked to go on, but the data is not that of the run.
    """
    identity = identify(start.config, inputs)
    if start.resumed is not None:
        stand = open_state(start.resumed)
        if start.asked_to_resume:
            check_identity(stand.state.identity, identity)
        if not stand.state.identity.changed(identity):
            get_logger().info("going on from %s at step %d", stand.checkpoint, stand.state.step)
            return stand
    schedule = make_schedule(1, share=0.0, steps=None)
    return Stand(state=RunState(identity=identity, schedule=schedule))


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
        stand: Stand,
        gpt: StartingGpt,
        make_probe: MakeProbe | None,
    ) -> None:
        self.config = start.config
        self.folder = start.folder
        self.inputs = inputs
        self.accelerator = accelerator
        self.is_main = accelerator.is_main_process
        self.begun = stand
        self.starting = gpt
        self.make_probe = make_probe
        self.state = stand.state
        self.base_languages = base_languages(self.config, inputs.files)
        config = self.config
        self.weights = LossWeights(
            config.text_loss_weight, config.mel_loss_weight, kl=config.base_kl
        )

    def do(self) -> TrainResult:
        """Do what is left of the run."""
        config, inputs, start = self.config, self.inputs, self.starting
        if start.transfer is not None:
            get_logger().info("%s", start.transfer.summary())
        if self.is_main:
            remove_left_over(self.folder)
            check_disk(self.folder, start.gpt, inputs.files.gpt, config)
        probe = self._make_probe()
        data = self._prepare()
        self.feed = self._make_feed(data)
        base_sha256 = hash_of(config.starting_point, inputs.snapshot)
        self.checkpoints = Checkpoints(
            self.folder,
            base_checkpoint=inputs.files.gpt,
            header=make_header(config, start, inputs, data.train, base_sha256=base_sha256),
            keep=config.keep,
        )
        self._plan(self.feed.steps_per_epoch)
        self._learn(probe)
        return self._result(data)

    def _prepare(self) -> TrainingData:
        """Return the data; the main process extracts features, the others find them there."""
        with self.accelerator.main_process_first():
            return prepare_data(
                self.inputs,
                self.starting.gpt.dims,
                self.config,
                device=self.accelerator.device,
                report=self.folder / LEFT_OUT_FILE,
            )

    def _make_feed(self, data: TrainingData) -> Feed:
        accelerator, dims = self.accelerator, self.starting.gpt.dims
        feed = Feed.of(
            self.config,
            data.train,
            data.val,
            dims,
            tokens_per_pass=tokens_on(accelerator.device, dims, self.config),
            tokens_per_step=self.state.tokens_per_step,
            share=Share(index=accelerator.process_index, count=accelerator.num_processes),
        )
        self.state.tokens_per_step = feed.tokens_per_step
        if feed.tokens_per_step:
            get_logger().info(
                "%d tokens in a step, %d steps in an epoch, at most %d tokens in a pass",
                *(feed.tokens_per_step, feed.steps_per_epoch, feed.tokens_per_pass),
            )
        return feed

    def _plan(self, steps_per_epoch: int) -> None:
        """Decide how many steps there are, and their learning rates."""
        config, state = self.config, self.state
        self.intervals = intervals_of(config, steps_per_epoch)
        last_step = self.intervals.last_step
        if not state.step:
            state.schedule = make_schedule(
                last_step, share=config.warmup_share, steps=config.warmup_steps
            )
        elif last_step > state.step:
            state.schedule = extend(
                state.schedule,
                step=state.step,
                total_steps=last_step,
                share=config.warmup_share,
            )

    def _learn(self, probe: Probe | None) -> None:
        """Take the steps that are left, and measure and save on the way."""
        first_step, last_step = self.state.step + 1, self.intervals.last_step
        if first_step > last_step or self._is_out_of_patience:
            return
        is_new = self._new_rows()
        learner = self._make_learner(is_new)
        with self._opened_log(first_step) as log:
            measurement = self._measurement(learner, probe, log)
            if self.state.first_scores is None:
                self._report_rows(is_new, log)
                measurement.take()
            waits, asides = Stopwatch(), Stopwatch()
            with (
                stopping_on_signals() as stop_asked,
                progress("training", last_step - self.state.step, reports_itself=True) as advance,
            ):
                milestones = self._milestones(learner, measurement, stop_asked, asides)
                train_steps(
                    learner.model,
                    learner.optimizer,
                    waits.waiting_for(self.feed.steps(first_step, last_step)),
                    self.accelerator,
                    self._settings(learner),
                    room=Room(self.feed),
                    after_step=[
                        count_into(self.state),
                        *self._report_to(log, waits, asides),
                        milestones.reach,
                        lambda _: advance(1),
                    ],
                    stop_asked=lambda: milestones.is_stopped,
                )
            self._finish(measurement, log)

    def _new_rows(self) -> Tensor:
        """Return which text rows the base lacks, ``[V]`` bool."""
        tokenizer, base = self.inputs.tokenizer, self.inputs.base_tokenizer
        return new_rows(tokenizer, base, self.starting.gpt.dims.text_rows)

    def _make_learner(self, is_new: Tensor) -> Learner:
        return Learner(
            self.starting.gpt,
            self.config,
            self.inputs,
            is_new=is_new,
            accelerator=self.accelerator,
            begun=self.begun,
        )

    def _milestones(
        self, learner: Learner, measurement: Measurement, stop_asked: StopAsked, asides: Stopwatch
    ) -> Milestones:
        return Milestones(
            learner,
            measurement,
            self.checkpoints,
            self.state,
            self.config,
            intervals=self.intervals,
            accelerator=self.accelerator,
            stop_asked=stop_asked,
            asides=asides,
        )

    def _report_rows(self, is_new: Tensor, log: MetricsLog | None) -> None:
        """Report how many of the text rows that the base lacks the data can teach."""
        if log is None or not bool(is_new.any()):
            return
        texts = (ids for source in self.feed.train for ids in source.text_ids.values())
        seen = torch.from_numpy(np.unique(np.concatenate(list(texts)))).long()
        log.report_rows(0, 0, learnt=int(is_new[seen].sum()), total=int(is_new.sum()))

    @contextmanager
    def _opened_log(self, first_step: int) -> Iterator[MetricsLog | None]:
        """Yield the log of the run; the main process keeps it alone."""
        if not self.is_main:
            yield None
            return
        self.checkpoints.forget_after(self.state)
        config = self.config
        start_trackers(self.accelerator, config, self.folder, name=config.output_name)
        log = MetricsLog(self.folder, first_step=first_step, also_to=log_to(self.accelerator))
        try:
            yield log
        finally:
            log.close()
            self.accelerator.end_training()

    def _measurement(
        self, learner: Learner, probe: Probe | None, log: MetricsLog | None
    ) -> Measurement:
        return Measurement(
            learner.model,
            learner.gpt,
            self.feed,
            self.state,
            self.weights,
            self.accelerator,
            probe=probe,
            log=log,
            folder=self.folder,
            config=self.config,
            base_languages=self.base_languages,
            install_command=self._install_command(),
        )

    def _make_probe(self) -> Probe | None:
        if self.make_probe is None or not self.is_main:
            return None
        if wants_shards(self.config):
            get_logger().warning(
                "no sentences are spoken at validations: each process holds a part of the model"
            )
            return None
        inputs = self.inputs
        device = self.accelerator.device
        return self.make_probe(self.config, inputs.files, inputs.tokenizer, inputs.val, device)

    def _settings(self, learner: Learner) -> LoopSettings:
        return LoopSettings(
            schedule=self.state.schedule,
            learning_rate=self.config.learning_rate,
            weights=self.weights,
            grad_clip=self.config.grad_clip,
            seed=self.config.seed,
            rows=learner.rows,
        )

    def _report_to(
        self, log: MetricsLog | None, waits: Stopwatch, asides: Stopwatch
    ) -> list[StepHook]:
        if log is None:
            return []
        return [
            report_to(
                log,
                self.state,
                self.weights,
                waits=waits,
                asides=asides,
                every=self.config.log_interval,
                last_step=self.intervals.last_step,
                device=self.accelerator.device,
            )
        ]

    @property
    def _is_out_of_patience(self) -> bool:
        """Whether the run ended for want of anything better; more patience lets it go on."""
        return 0 < self.config.patience <= self.state.lost_patience

    def _finish(self, measurement: Measurement, log: MetricsLog | None) -> None:
        """Average the best checkpoints, if that was asked for, and report once more."""
        if log is None:
            return
        steps = [kept.step for kept in self.state.best[: self.config.average_best]]
        if steps and (self.state.step == self.intervals.last_step or self._is_out_of_patience):
            path = self.checkpoints.average(steps, self.state)
            get_logger().info("%s is the mean of steps %s", path, ", ".join(map(str, steps)))
        measurement.tell(log, is_last=True)

    @property
    def _best_path(self) -> Path:
        best = self.checkpoints.best_path
        return best if best.is_file() else self.folder / LATEST_FILE

    def _install_command(self, path: Path | None = None) -> str:
        command = ["idiolect", "install", "--checkpoint", str(path or self.checkpoints.best_path)]
        command += ["--tokenizer", str(self.inputs.tokenizer.path)]
        return shlex.join([*command, "--output-name", self.config.output_name])

    def _result(self, data: TrainingData) -> TrainResult:
        return TrainResult(
            folder=self.folder,
            step=self.state.step,
            last_step=self.intervals.last_step,
            best_path=self._best_path,
            best_step=self.state.best_step,
            first=self.state.first_scores,
            best=self.state.best_scores,
            left_out=data.left_out,
            install_command=self._install_command(self._best_path),
            base_unchanged=self.inputs.snapshot.verify(),
            heard=_heard_in_short(self.state),
            stopped_early=self._is_out_of_patience,
            is_told=self.is_main,
        )


def _heard_in_short(state: RunState) -> dict[str, str]:
    pairs = {
        language: (before.cer, after.cer)
        for language, after in state.best_heard.items()
        if (before := state.first_heard.get(language)) is not None
    }
    return {
        language: f"letters wrong {before:.1%} before, {after:.1%} at its best"
        for language, (before, after) in pairs.items()
        if before is not None and after is not None
    }
