"""``idiolect demo``: the guide's steps, one after the other, on a small synthetic corpus."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from idiolect.cli.surface import run_command
from idiolect.nano.demo import run_demo, told_in_short
from idiolect.nano.demo_steps import DemoConfig


def main(argv: Sequence[str] | None = None, prog: str = "idiolect demo") -> int:
    """Run the command; return its exit code."""
    return run_command(
        DemoConfig,
        _demo,
        argv,
        prog=prog,
        description=(
            "Teach nano, the small base that comes with the program, Catalan, with the guide's own "
            "commands; then hear the base and the tuned model say what neither has heard. It ends "
            "in DIR/report.html. The same command goes on after an interruption."
        ),
    )


def _demo(config: DemoConfig) -> None:
    say = partial(print, flush=True)
    result = run_demo(config, say)
    from idiolect.nano.demo_report import write_report

    write_report(result)
    for line in told_in_short(result):
        say(line)
