"""``idiolect models``: what is installed, and what can be done with it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from idiolect.base.config import to_mapping
from idiolect.base.errors import EXIT_USER, RegistryError, UserError, did_you_mean
from idiolect.base.places import ModelPlace
from idiolect.cli import model_actions
from idiolect.cli.surface import run_command
from idiolect.models.published import BaseFiles, locate_base
from idiolect.registry.catalogue import Catalogue
from idiolect.registry.entry import ModelEntry, entry_path
from idiolect.registry.index import rebuild_index
from idiolect.registry.store import verify_model


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsConfig(ModelPlace):
    """Which models to show, and how."""

    json: bool = False
    """Print the entries as JSON."""
    verify: bool = False
    """Hash the files of every installed model and compare."""
    rebuild: bool = False
    """Write registry.json anew from the entries."""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that can be done with the models."""

    purpose: str
    run: Callable[[Sequence[str], str], int]
    """Does it with the arguments behind its name; returns the exit code."""


def main(argv: Sequence[str] | None = None, prog: str = "idiolect models") -> int:
    """List, or run the action that ``argv`` names; return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0].startswith("-"):
        return _run_list(arguments, prog)
    name, *rest = arguments
    if name not in ACTIONS:
        said = f"error: {prog} has no action {name!r}\n  fix: {did_you_mean(name, ACTIONS)}"
        print(said, file=sys.stderr)
        return EXIT_USER
    return ACTIONS[name].run(rest, f"{prog} {name}")


def _run_list(argv: Sequence[str], prog: str) -> int:
    return run_command(ModelsConfig, _models, argv, prog=prog, description=_overview(prog))


ACTIONS = {
    "list": Action("list the base and the models, as without an action", _run_list),
    "show": Action("print all that is known of one", model_actions.run_show),
    "verify": Action("hash the files of one, or of all, and compare", model_actions.run_verify),
    "note": Action("keep a text about one", model_actions.run_note),
    "remove": Action("delete the files of one", model_actions.run_remove),
    "export": Action("write one as a folder to pass on", model_actions.run_export),
    "push": Action("put one on a hub", model_actions.run_push),
    "pull": Action("install one from a hub", model_actions.run_pull),
}
"""Every action of the command."""


def _overview(prog: str) -> str:
    if not prog.endswith("models"):
        return "List the models."
    width = max(map(len, ACTIONS))
    lines = [f"  {name:<{width}}  {action.purpose}" for name, action in ACTIONS.items()]
    return "\n".join(
        [
            f"List the models; or {prog} ACTION ...",
            "",
            *lines,
            "",
            f"{prog} ACTION --help explains every flag.",
        ]
    )


def _models(config: ModelsConfig) -> None:
    catalogue = Catalogue(config.model_dir, _base(config))
    installed = catalogue.models()
    if config.json:
        values = [{"label": each.label, **to_mapping(each)} for each in catalogue.entries()]
        print(json.dumps(values, ensure_ascii=False, indent=2))
        return
    for entry in catalogue.entries():
        print(_describe(entry))
    if not installed:
        print(f"no models in {config.model_dir}; idiolect install puts them there")
    if config.rebuild:
        print(f"wrote {rebuild_index(config.model_dir)}")
    if config.verify:
        _verify(installed, config)


def _base(config: ModelsConfig) -> BaseFiles | None:
    try:
        return locate_base(config.base, aux_dir=config.aux_dir)
    except UserError:
        if not config.json:
            print(f"no whole base in {config.base}: idiolect doctor --base {config.base}")
        return None


def _describe(entry: ModelEntry) -> str:
    if entry.problem:
        return f"{entry.label}\n  cannot be loaded: {entry.problem}"
    lines = [entry.label, entry.tokenizer_line, entry.vram_line, entry.description, entry.notes]
    return "\n  ".join(line for line in lines if line)


def _verify(entries: list[ModelEntry], config: ModelsConfig) -> None:
    model_dir = config.model_dir
    recorded = [entry for entry in entries if entry_path(model_dir, entry.name).is_file()]
    faults = [fault for entry in recorded for fault in verify_model(entry.name, model_dir)]
    if faults:
        raise RegistryError(
            "; ".join(faults), where=str(model_dir), fix="install these models again"
        )
    print(f"verified: {len(recorded)} installed models are as they were installed")
