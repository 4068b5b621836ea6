"""``idiolect install``: a trained checkpoint to where synthesis and the page find it."""

from __future__ import annotations

from collections.abc import Sequence

from idiolect.cli.surface import run_command
from idiolect.registry.install import InstallConfig, install_model


def main(argv: Sequence[str] | None = None, prog: str = "idiolect install") -> int:
    """Run the command; return its exit code."""
    return run_command(
        InstallConfig,
        _install,
        argv,
        prog=prog,
        description="Put a trained checkpoint where synthesis and the page find it.",
    )


def _install(config: InstallConfig) -> None:
    report = install_model(config)
    entry = report.entry
    if not report.files:
        print(f"already installed, nothing to do: {entry.label}")
    else:
        print("would install" if config.dry_run else "installed", entry.label)
        for path in report.files:
            print(f"  {path}")
    print(entry.tokenizer_line)
    print(entry.vram_line)
    if report.kept_line:
        print(report.kept_line)
    print(report.base_sentence)
    if not config.dry_run:
        print(
            "hear it: idiolect synth --model "
            f"{entry.name} --voice prompt.wav --text '...' --output out.wav"
        )
