"""``idiolect train``: fine-tune the GPT of a base, or go on with a run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from idiolect.base.log import set_up_logging
from idiolect.cli.surface import let_help_flow, run
from idiolect.training.config import TrainConfig, read_run_config, resumed_checkpoint

if TYPE_CHECKING:
    from idiolect.training.run import TrainResult

DESCRIPTION = (
    "Fine-tune the GPT of a base on your recordings; the base itself is never changed. "
    "With --resume every setting of the run is restored, and --epochs makes it longer."
)
OTHER_SPELLINGS = {
    "--amp": ["--precision", "bf16"],
    "--code-loss-weight": ["--mel-loss-weight"],
    "--base": ["--base-checkpoint"],
}
"""Flags by which users of other trainers, and of our other commands, know ours."""
REPEATABLE = (
    *("train_manifest", "val_manifest", "freeze", "base_languages", "probe_manifest", "tracker"),
)


def main(argv: Sequence[str] | None = None, prog: str = "idiolect train") -> int:
    """Run the command; return its exit code."""
    set_up_logging()
    return run(lambda: _train(parse(sys.argv[1:] if argv is None else argv, prog)))


def parse(argv: Sequence[str], prog: str) -> TrainConfig:
    """Return the settings in ``argv``; with ``--resume``, on top of those of the run.

    Raises:
        ConfigError: The run has no settings, or they are damaged.
    """
    args = [word for arg in argv for word in _our_spelling(arg)]
    begun = _begun(args)
    let_help_flow(TrainConfig)
    config = tyro.cli(
        TrainConfig,
        args=args,
        default=begun or TrainConfig(),
        prog=prog,
        description=DESCRIPTION,
        config=(tyro.conf.UseAppendAction,),
    )
    return config if begun is None else _without_restored(config, begun)


def _our_spelling(arg: str) -> Iterable[str]:
    flag, equals, value = arg.partition("=")
    ours = OTHER_SPELLINGS.get(flag.replace("_", "-"))
    if ours is None:
        return [arg]
    return [f"{ours[0]}={value}"] if equals else ours


def _begun(args: Sequence[str]) -> TrainConfig | None:
    """Return the settings of the run that ``args`` ask to go on with, if they do."""
    flags = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    flags.add_argument("--resume", default="")
    flags.add_argument("--output-dir", "--output_dir", type=Path)
    try:
        known, _ = flags.parse_known_args(args)
    except argparse.ArgumentError:  # a flag without its value: tyro says it better
        return None
    checkpoint = resumed_checkpoint(known.resume, known.output_dir)
    return None if checkpoint is None else read_run_config(checkpoint.parent)


def _without_restored(config: TrainConfig, begun: TrainConfig) -> TrainConfig:
    """Return ``config`` with repeatable flags as given: parsing put them behind the restored."""
    given = {name: getattr(config, name)[len(getattr(begun, name)) :] for name in REPEATABLE}
    return replace(config, **{name: values for name, values in given.items() if values})


def _train(config: TrainConfig) -> None:
    from idiolect.training.run import train  # torch: not for --help

    result = train(config)
    for line in summary(result):
        print(line)
    if not result.is_complete:
        raise KeyboardInterrupt


def summary(result: TrainResult) -> list[str]:
    """Return what the user is told at the end."""
    lines = []
    if result.first and result.best:
        lines.append(f"before:  {result.first.summary()}")
        lines.append(f"best:    {result.best.summary()}, at step {result.best_step}")
    if not result.is_complete:
        lines.append(f"stopped at step {result.step} of {result.last_step}; go on with:")
        lines.append(f"  idiolect train --resume {result.folder / 'latest.pth'}")
    lines += [f"left out {count} targets: {why}" for why, count in result.left_out.items()]
    lines += [f"best checkpoint: {result.best_path}", "install it with:"]
    return [*lines, f"  {result.install_command}", result.base_unchanged]
