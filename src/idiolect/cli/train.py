"""``idiolect train``: fine-tune the GPT of a base, or go on with a run."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from idiolect.base.errors import EXIT_OK, EXIT_USER
from idiolect.base.log import get_logger, set_up_logging
from idiolect.cli.surface import let_help_flow, run
from idiolect.training.config import TrainConfig, read_run_config, resumed_checkpoint

if TYPE_CHECKING:
    from idiolect.training.run import TrainResult

DESCRIPTION = (
    "Fine-tune the GPT of a base on your recordings; the base itself is never changed. "
    "With --resume every setting of the run is restored, and --epochs makes it longer. "
    "With --plan nothing is trained: it says what would be, and for how long."
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


TIME = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>min|h)")
"""How minutes and hours are typed where a number of steps is meant otherwise."""
MINUTES = {"min": 1.0, "h": 60.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainCommand(TrainConfig):
    """What may be typed: the settings of a run, and what is done with them."""

    preset: tuple[str, ...] = ()
    """Defaults that go together: for the memory of a card (8gb, 12gb, 16gb, 24gb, 48gb, 80gb), for
    the hours of speech (under-5h, 5-30h, 30-300h, over-300h); repeatable. Which of the two is not
    named is found out; auto finds out both. What is typed beside it goes before it."""
    plan: bool = False
    """Train nothing: say how much data there is, how many steps, what memory, disk and time they
    take, and what would not work. Takes a few real steps to measure the time, and writes nothing
    into the folder of the run."""

    @property
    def settings(self) -> TrainConfig:
        """Those of the run."""
        return TrainConfig(**_values(self))


def main(argv: Sequence[str] | None = None, prog: str = "idiolect train") -> int:
    """Run the command; return its exit code."""
    set_up_logging()
    return run(lambda: _do(parse_command(sys.argv[1:] if argv is None else argv, prog)))


def parse(argv: Sequence[str], prog: str) -> TrainConfig:
    """Return the settings in ``argv``; see :func:`parse_command`."""
    return parse_command(argv, prog).settings


def parse_command(argv: Sequence[str], prog: str) -> TrainCommand:
    """Return what ``argv`` asks for: on top of a preset, or with ``--resume`` of those of the run.

    Raises:
        ConfigError: The run has no settings, or they are damaged; or a preset is unknown.
        DataError: A preset is to be found out, and the manifest cannot be read.
    """
    args = list(_our_spelling(argv))
    begun = _begun(args)
    default = begun or _preset(args)
    let_help_flow(TrainCommand)
    command = tyro.cli(
        TrainCommand,
        args=args,
        default=TrainCommand(**_values(default)),
        prog=prog,
        description=DESCRIPTION,
        config=(tyro.conf.UseAppendAction,),
    )
    return command if begun is None else _without_restored(command, begun)


def _values(config: TrainConfig) -> dict[str, Any]:
    return {field.name: getattr(config, field.name) for field in fields(TrainConfig)}


def _our_spelling(argv: Sequence[str]) -> list[str]:
    """Return ``argv`` in the words of :class:`TrainCommand`."""
    args: list[str] = []
    for arg in argv:
        is_value = bool(args) and _flag(args[-1]) == "--save-every" and "=" not in args[-1]
        flag, equals, value = (f"{args.pop()}={arg}" if is_value else arg).partition("=")
        if _flag(flag) == "--save-every" and (time := TIME.fullmatch(value)):
            minutes = float(time["number"]) * MINUTES[time["unit"]]
            flag, value = "--save-minutes", f"{minutes:g}"
        first, *rest = OTHER_SPELLINGS.get(_flag(flag), [flag])
        args += [f"{first}={value}"] if equals else [first, *rest]
    return args


def _flag(arg: str) -> str:
    return arg.replace("_", "-")


def _preset(args: Sequence[str]) -> TrainConfig:
    """Return the defaults, or those of the presets that ``args`` name."""
    known = _known_flags(args)
    if known is None or not known.preset:
        return TrainConfig()
    from idiolect.training.presets import choose  # torch: not for --help

    flags = {_flag(arg.partition("=")[0]) for arg in args if arg.startswith("--")}
    typed = {flag[2:].replace("-", "_") for flag in flags}
    return choose(known.preset, known.train_manifest, typed, known.mode)


def _begun(args: Sequence[str]) -> TrainConfig | None:
    """Return the settings of the run that ``args`` ask to go on with, if they do."""
    known = _known_flags(args)
    if known is None:
        return None
    checkpoint = resumed_checkpoint(known.resume, known.output_dir)
    if checkpoint is None:
        return None
    if known.preset:
        get_logger().info("--preset is for the beginning of a run; this one goes on as it was")
    return read_run_config(checkpoint.parent)


def _known_flags(args: Sequence[str]) -> argparse.Namespace | None:
    """Return what has to be known before all the rest; None where a flag lacks its value."""
    flags = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    flags.add_argument("--resume", default="")
    flags.add_argument("--output-dir", "--output_dir", type=Path)
    flags.add_argument("--mode")
    flags.add_argument("--preset", action="append", default=[])
    flags.add_argument("--train-manifest", "--train_manifest", action="append", default=[])
    try:
        return flags.parse_known_args(args)[0]
    except argparse.ArgumentError:  # tyro says it better
        return None


def _without_restored(command: TrainCommand, begun: TrainConfig) -> TrainCommand:
    """Return ``command`` with repeatable flags as given: parsing put them behind the restored."""
    given = {name: getattr(command, name)[len(getattr(begun, name)) :] for name in REPEATABLE}
    return replace(command, **{name: values for name, values in given.items() if values})


def _do(command: TrainCommand) -> int:
    return _plan(command.settings) if command.plan else _train(command.settings)


def _plan(config: TrainConfig) -> int:
    from idiolect.training.plan import make_plan  # torch: not for --help
    from idiolect.training.plan_text import plan_lines

    plan = make_plan(config)
    for line in plan_lines(plan):
        print(line)
    return EXIT_OK if plan.works else EXIT_USER


def _train(config: TrainConfig) -> int:
    from idiolect.evaluation.probe import make_probe  # torch: not for --help
    from idiolect.training.run import train

    result = train(config, make_probe)
    for line in summary(result) if result.is_told else ():
        print(line)
    if not result.is_complete:
        raise KeyboardInterrupt
    return EXIT_OK


def summary(result: TrainResult) -> list[str]:
    """Return what the user is told at the end."""
    lines = []
    if result.first and result.best:
        lines.append(f"before:  {result.first.summary()}")
        lines.append(f"best:    {result.best.summary()}, at step {result.best_step}")
    lines += [f"heard {name}: {heard}" for name, heard in result.heard.items()]
    if not result.is_complete:
        lines.append(f"stopped at step {result.step} of {result.last_step}; go on with:")
        lines.append(f"  idiolect train --resume {result.folder / 'latest.pth'}")
    lines += [f"left out {count} targets: {why}" for why, count in result.left_out.items()]
    lines += [f"best checkpoint: {result.best_path}", "install it with:"]
    return [*lines, f"  {result.install_command}", result.base_unchanged]
