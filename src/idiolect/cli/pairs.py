"""``idiolect pairs``: a manifest in, prompt/target pairs out, for validation too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from idiolect.base.errors import ConfigError
from idiolect.base.guard import check_output
from idiolect.cli.surface import run_command
from idiolect.data.manifest import read_manifest
from idiolect.data.pairs import (
    MENDS,
    PairConfig,
    PairPlan,
    check_skipped,
    no_pairs_error,
    plan_pairs,
    write_pairs,
)
from idiolect.data.split import sibling, validation_path

EXAMPLES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PairsCommand:
    """What to pair, and how."""

    manifest: Path
    """Manifest to read (JSON Lines), for example data/catalan/train.jsonl."""
    output: Path | None = None
    """Pairs to write; by default beside the manifest, with `_paired` in the name. When the
    manifest is a train.jsonl with a val.jsonl beside it, val pairs are written too, into the
    same folder and with `val` in place of `train`."""
    config: Annotated[PairConfig, tyro.conf.arg(name="")]
    allow_skips: bool = False
    """Go on when more than a tenth of the clips cannot be paired."""


def main(argv: Sequence[str] | None = None, prog: str = "idiolect pairs") -> int:
    """Make the pairs; return the exit code."""
    return run_command(
        PairsCommand,
        _make_pairs,
        argv,
        prog=prog,
        description="Choose prompts for each clip of a manifest: same speaker, other words, "
        "another recording where it is known.",
    )


def _make_pairs(flags: PairsCommand) -> None:
    output = flags.output or flags.manifest.with_name(f"{flags.manifest.stem}_paired.jsonl")
    validation = validation_path(flags.manifest)
    _check_outputs(flags.manifest, (output, sibling(output, "val")))
    plan = plan_pairs(read_manifest(flags.manifest), flags.config)
    check_skipped(plan, flags.manifest, allow_skips=flags.allow_skips)
    _write(output, plan, flags.manifest)
    if validation.is_file():
        _make_validation_pairs(validation, sibling(output, "val"), flags.config)


def _check_outputs(manifest: Path, outputs: Iterable[Path]) -> None:
    """Refuse a base folder, and to write pairs over the manifests that they are made from.

    Raises:
        ConfigError: An output is a manifest that is read.
        GuardError: An output lies in a base folder.
    """
    read = {path.resolve() for path in (manifest, validation_path(manifest))}
    for output in outputs:
        if check_output(output).resolve() in read:
            raise ConfigError(
                f"{output} is a manifest that the pairs are made from",
                where="--output",
                fix=f"choose another name, for example {manifest.stem}_paired.jsonl",
            )


def _make_validation_pairs(manifest: Path, output: Path, config: PairConfig) -> None:
    """Pair the held-out clips; one that has no prompt among so few prompts for itself."""
    config = replace(config, self_pairs=True, max_pairs=0)
    plan = plan_pairs(read_manifest(manifest), config)
    if plan.pairs:
        _write(output, plan, manifest)
    else:
        print(f"no validation pairs: {no_pairs_error(plan, manifest)}")


def _write(output: Path, plan: PairPlan, manifest: Path) -> None:
    count = write_pairs(output, plan, manifest)
    targets = len({pair.target for pair in plan.pairs})
    print(f"wrote {count} pairs for {targets} of {plan.num_clips} clips to {output}")
    if plan.num_self_pairs:
        print(f"  {plan.num_self_pairs} clips are their own prompt: their own features serve")
    for reason, number in plan.skipped.most_common():
        examples = ", ".join(plan.unpaired[reason][:EXAMPLES])
        print(f"  left out {number} clips: {reason} (such as {examples})")
        print(f"    fix: {MENDS[reason]}")
