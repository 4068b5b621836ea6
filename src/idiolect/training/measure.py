"""A validation: losses, speech, which weights are the best, what there is to know, the report."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import nn

from idiolect.base.log import get_logger
from idiolect.models.gpt import UnifiedVoice
from idiolect.training.config import TrainConfig
from idiolect.training.evaluate import evaluate
from idiolect.training.feed import Feed
from idiolect.training.history import should_stop
from idiolect.training.loss import LossWeights
from idiolect.training.metrics import MetricsLog
from idiolect.training.notices import find_notices
from idiolect.training.probing import SAMPLES_DIR, Probe, ProbeScores
from idiolect.training.report import write_run_report
from idiolect.training.state import RunState

REPORTING_SHARE = 0.02
"""Of the time of a run, that its report may take: a short run writes it less often."""
BY_LOSS = "loss"
BY_LETTERS = "letters heard wrong"


class Measurement:
    """What is measured of a run, again and again.

    Args:
        model: Whose forward pass is the loss of a batch.
        gpt: The network in it.
        feed: Whose validation is read.
        state: Learns of the scores.
        weights: Of the losses.
        accelerator: Of the process.
        probe: Lets the model speak; None does not. The main process has it only.
        log: Of the run; None in other processes than the main one.
        folder: Of the run.
        config: Of the run.
        base_languages: What the base spoke before.
        install_command: What installs the best checkpoint.
    """

    def __init__(  # noqa: PLR0913 -- everything that a validation looks at
        self,
        model: nn.Module,
        gpt: UnifiedVoice,
        feed: Feed,
        state: RunState,
        weights: LossWeights,
        accelerator: Accelerator,
        *,
        probe: Probe | None,
        log: MetricsLog | None,
        folder: Path,
        config: TrainConfig,
        base_languages: Collection[str],
        install_command: str,
    ) -> None:
        self._model, self._gpt = model, gpt
        self._feed, self._state, self._weights = feed, state, weights
        self._accelerator = accelerator
        self._probe, self._log = probe, log
        self._folder, self._config = folder, config
        self._base_languages = base_languages
        self._install_command = install_command
        records = log.records if log is not None else ()
        self._said = {notice.kind for notice in find_notices(records, base_languages)}
        self._next_report_sec = 0.0
        self.is_stopped = False
        """Whether ``--patience`` is at its end."""

    def take(self) -> None:
        """Measure the model behind the last step, and tell."""
        state = self._state
        meters = evaluate(self._model, self._feed.validation(), self._accelerator)
        heard = self._listen()
        state.last_scores = meters.total().scores(self._weights)
        state.last_heard = heard.languages if heard else {}
        state.scored_step = state.step
        if not state.step:
            state.first_scores, state.first_heard = state.last_scores, state.last_heard
        is_best = state.step > 0 and self._rank(heard)
        if self._log is not None:
            by_language = meters.scores(self._weights)
            step, epoch = state.step, state.epoch
            self._log.report_val(step, epoch, state.last_scores, by_language, is_best=is_best)
            self._report_heard(self._log, is_best=is_best)
            self.tell(self._log)

    def tell(self, log: MetricsLog, *, is_last: bool = False) -> None:
        """Say what is new to know, and write the report unless that was done just now."""
        for notice in find_notices(log.records, self._base_languages):
            if notice.kind not in self._said:
                self._said.add(notice.kind)
                get_logger().warning("%s", notice.text)
        patience = self._config.patience
        self.is_stopped = should_stop(log.records, patience, self._base_languages)
        if is_last or time.monotonic() >= self._next_report_sec:
            started = time.monotonic()
            write_run_report(self._folder, self._base_languages, self._install_command)
            took_sec = time.monotonic() - started
            self._next_report_sec = time.monotonic() + took_sec / REPORTING_SHARE

    def _listen(self) -> ProbeScores | None:
        """Return how the model speaks; the main process tells the others."""
        heard = None
        if self._probe is not None:
            heard = self._probe.measure(self._gpt, self._state.step, self._folder)
        if self._accelerator.num_processes > 1:
            heard = broadcast_object_list([heard])[0]
        return heard

    def _rank(self, heard: ProbeScores | None) -> bool:
        state, config = self._state, self._config
        scores = state.last_scores
        assert scores is not None, "measured just now"
        value = None
        if heard is not None:
            taught = heard.languages.keys() - set(self._base_languages)
            value = heard.cer(taught or None)
        most = max(config.keep_best, config.average_best)
        if value is None:
            is_best = state.rank(scores.loss, by=BY_LOSS, most=most)
        else:
            is_best = state.rank(value, by=BY_LETTERS, most=most)
        if is_best:
            state.best_scores, state.best_heard = scores, state.last_heard
        return is_best

    def _report_heard(self, log: MetricsLog, *, is_best: bool) -> None:
        state = self._state
        if not state.last_heard:
            return
        spoken = self._folder / SAMPLES_DIR / f"step{state.step}"
        sounds = sorted(spoken.rglob("*.wav"))
        by_language = {language: asdict(found) for language, found in state.last_heard.items()}
        log.report_probe(state.step, state.epoch, by_language, sounds, is_best=is_best)
