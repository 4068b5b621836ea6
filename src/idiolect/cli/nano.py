"""``idiolect nano``: a base of pocket size, trained, random, or your own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from idiolect.base.errors import EXIT_OK, EXIT_USER, did_you_mean
from idiolect.base.places import base_path
from idiolect.base.units import format_bytes
from idiolect.cli.surface import run_command

Directory = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DIR")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportCommand:
    """Where to."""

    dir: Directory
    """A new folder for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCommand:
    """Where to, and which."""

    dir: Directory
    """A new folder for it."""
    seed: int = 0
    """Equal seeds give equal weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainCommand:
    """Which part of the recipe, and where."""

    dir: Path = Path("nano-run")
    """Folder of the run, with one folder a stage; the same command goes on where it stopped."""
    stage: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Only this stage; repeatable. By default all that are left: corpus vocoder encoder codec
    speaker voice flow joint hearing base."""
    preset: Literal["full", "fast"] = "full"
    """full makes the base that ships, in many hours; fast tries every stage in minutes, and its
    base cannot speak."""
    kokoro_dir: Path | None = None
    """Folder of Kokoro's model, for its voices; see recipes/nano/README.md."""
    teacher: Path | None = None
    """Weights of CAM++, to teach the speaker encoder which voices are alike."""
    minutes: float | None = None
    """Give each stage that learns so many minutes at most: its learning rate falls within them, and
    the same command goes on. By default a stage takes the steps that the preset has for it."""
    start: Path | None = None
    """A nano base to go on from, instead of from zero; nano is the one that comes with the package.
    Its encoder, codec and speaker encoder stay as they are, unless --stage names them."""


def main(argv: Sequence[str] | None = None, prog: str = "idiolect nano") -> int:
    """Run the action that ``argv`` names; return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(_overview(prog))
        raise SystemExit(EXIT_OK)  # as the parsers of the other commands end
    name, *rest = arguments
    if name not in ACTIONS:
        said = f"error: {prog} has no action {name!r}\n  fix: {did_you_mean(name, ACTIONS)}"
        print(said, file=sys.stderr)
        return EXIT_USER
    return ACTIONS[name].run(rest, f"{prog} {name}")


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that can be done with nano."""

    purpose: str
    run: Callable[[Sequence[str], str], int]
    """Does it with the arguments behind its name; returns the exit code."""


def _run_export(argv: Sequence[str], prog: str) -> int:
    return run_command(
        ExportCommand,
        _export,
        argv,
        prog=prog,
        description="Copy the trained base that comes with the package to a folder of yours. "
        "Commands find it without that, too: --base nano.",
    )


def _run_new(argv: Sequence[str], prog: str) -> int:
    return run_command(
        NewCommand,
        _new,
        argv,
        prog=prog,
        description="Make a base with random weights in the published layout: everything runs "
        "on it, and it does not speak.",
    )


def _run_train(argv: Sequence[str], prog: str) -> int:
    return run_command(
        TrainCommand,
        _train,
        argv,
        prog=prog,
        description="Train a base of pocket size from zero, stage by stage: a corpus spoken by "
        "free engines, then every network.",
    )


ACTIONS = {
    "export": Action("copy the trained base that comes with the package", _run_export),
    "new": Action("make a base with random weights", _run_new),
    "train": Action("train one of your own from zero, by the recipe", _run_train),
}
"""Every action of the command."""


def _overview(prog: str) -> str:
    width = max(map(len, ACTIONS))
    lines = [f"usage: {prog} ACTION ...", "", "A base of pocket size in the published layout.", ""]
    lines += [f"  {name:<{width}}  {action.purpose}" for name, action in ACTIONS.items()]
    return "\n".join([*lines, "", f"{prog} ACTION --help explains every flag."])


def _export(command: ExportCommand) -> None:
    from idiolect.nano.pack import export_base  # networks: not for --help

    size_bytes = export_base(command.dir)
    print(f"copied the nano base to {command.dir}: {format_bytes(size_bytes)}")


def _new(command: NewCommand) -> None:
    from idiolect.models.nano import write_nano

    write_nano(command.dir, seed=command.seed)
    size_bytes = sum(file.stat().st_size for file in command.dir.rglob("*") if file.is_file())
    print(f"made a nano base in {command.dir}: {format_bytes(size_bytes)}, random weights")


def _train(command: TrainCommand) -> None:
    from idiolect.nano.recipe import RECIPES, Run, train_nano

    recipe = RECIPES[command.preset]()
    run = Run(
        command.dir,
        recipe if command.minutes is None else recipe.within(command.minutes),
        kokoro_dir=command.kokoro_dir,
        teacher=command.teacher,
        start=None if command.start is None else base_path(command.start),
    )
    done = train_nano(run, command.stage)
    print(f"stages done: {', '.join(done)}; the base, once packed, is in {run.base}")
