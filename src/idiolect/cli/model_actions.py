"""What ``idiolect models`` can do with one model."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from idiolect.base.config import to_mapping
from idiolect.base.errors import ConfigError, RegistryError, UserError
from idiolect.base.places import ModelPlace
from idiolect.base.units import format_bytes
from idiolect.cli.surface import run_command
from idiolect.models.published import BaseFiles, locate_base
from idiolect.models.terms import terms_named
from idiolect.registry.catalogue import Catalogue, entry_named
from idiolect.registry.change import set_notes
from idiolect.registry.describe import BASE_NAME
from idiolect.registry.entry import ModelEntry, entry_path
from idiolect.registry.export import ExportForm, export_model
from idiolect.registry.gate import AFTER, BEFORE, kept_languages
from idiolect.registry.hub import PullConfig, PushConfig, pull_model, push_model
from idiolect.registry.lineage import lineage
from idiolect.registry.remove import Removal, plan_removal, remove_model
from idiolect.registry.store import verify_model

Name = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME")]
Repo = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="REPO")]
Folder = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DIR")]

LINEAGE = {
    "base": "base",
    "source": "installed from the checkpoint",
    "step": "optimizer steps",
    "blend": "of the way from the base",
    "data": "trained on",
    "origin": "pulled from",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowCommand(ModelPlace):
    """Which model."""

    name: Name
    """Its name, or that of its file; base for the base."""
    json: bool = False
    """Print the entry as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyCommand(ModelPlace):
    """Which models."""

    names: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="NAME")] = ()
    """Their names; all that were installed when left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteCommand(ModelPlace):
    """Which model, and what to keep."""

    name: Name
    """Its name, or that of its file."""
    text: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TEXT")]
    """What to keep about it; '' forgets it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveCommand(ModelPlace):
    """Which model."""

    name: Name
    """Its name, or that of its file."""
    yes: bool = False
    """Do not ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportCommand(ModelPlace):
    """Which model, where to, in which form."""

    form: Annotated[ExportForm, tyro.conf.arg(name="")]
    name: Name
    """Its name, or that of its file."""
    dir: Folder
    """A folder for it."""
    force: bool = False
    """Write over what is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PushCommand(ModelPlace):
    """Which model, and where to."""

    config: Annotated[PushConfig, tyro.conf.arg(name="")]
    name: Name
    """Its name, or that of its file."""
    repo: Repo
    """Repository: owner/name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PullCommand:
    """From where."""

    config: Annotated[PullConfig, tyro.conf.arg(name="")]
    repo: Repo
    """Repository: owner/name."""


def run_show(argv: Sequence[str], prog: str) -> int:
    """Run ``models show``; return the exit code."""
    says = "Print all that is known of a model: files, origin, scores, licence, notes."
    return run_command(ShowCommand, _show, argv, prog=prog, description=says)


def run_verify(argv: Sequence[str], prog: str) -> int:
    """Run ``models verify``; return the exit code."""
    says = "Hash the files of installed models and compare with their entries."
    return run_command(VerifyCommand, _verify, argv, prog=prog, description=says)


def run_note(argv: Sequence[str], prog: str) -> int:
    """Run ``models note``; return the exit code."""
    says = "Keep a text about a model in its entry. It is never pushed."
    return run_command(NoteCommand, _note, argv, prog=prog, description=says)


def run_remove(argv: Sequence[str], prog: str) -> int:
    """Run ``models remove``; return the exit code."""
    says = "Delete the files of an installed model. What another model uses stays."
    return run_command(RemoveCommand, _remove, argv, prog=prog, description=says)


def run_export(argv: Sequence[str], prog: str) -> int:
    """Run ``models export``; return the exit code."""
    says = (
        "Write a model with tokenizer, card and licence to a folder. Copied among the models of "
        "another machine, it is an installed model there."
    )
    return run_command(ExportCommand, _export, argv, prog=prog, description=says)


def run_push(argv: Sequence[str], prog: str) -> int:
    """Run ``models push``; return the exit code."""
    says = (
        "Put a model on the hub of Hugging Face, with card and licence. The token is the one of "
        "hf auth login, or HF_TOKEN."
    )
    return run_command(PushCommand, _push, argv, prog=prog, description=says)


def run_pull(argv: Sequence[str], prog: str) -> int:
    """Run ``models pull``; return the exit code."""
    says = (
        "Fetch a model that was pushed, compare it with its SHA-256, and install it. Only "
        "safetensors are taken."
    )
    return run_command(PullCommand, _pull, argv, prog=prog, description=says)


def _catalogue(place: ModelPlace) -> Catalogue:
    return Catalogue(place.model_dir, _base(place))


def _base(place: ModelPlace) -> BaseFiles | None:
    try:
        return locate_base(place.base, aux_dir=place.aux_dir)
    except UserError:
        return None


def _show(command: ShowCommand) -> None:
    catalogue = _catalogue(command)
    entry = _entry(command.name, catalogue)
    if command.json:
        values = {"label": entry.label, **to_mapping(entry)}
        print(json.dumps(values, ensure_ascii=False, indent=2))
        return
    print("\n".join(_told(entry)))


def _entry(name: str, catalogue: Catalogue) -> ModelEntry:
    base = catalogue.base
    if base is not None and name in {BASE_NAME, base.gpt.name}:
        return catalogue.entries()[0]
    return entry_named(name, catalogue)


def _told(entry: ModelEntry) -> Iterator[str]:
    yield entry.label
    if entry.problem:
        yield f"  cannot be loaded: {entry.problem}"
    yield from (f"  {line}" for line in (entry.description, entry.tokenizer_line, entry.vram_line))
    yield f"  languages: {', '.join(entry.languages) or 'not recorded'}"
    yield from (f"  {LINEAGE[key]}: {value}" for key, value in lineage(entry))
    yield from _scores(entry)
    for record in (entry.checkpoint, entry.tokenizer, entry.config):
        if record is not None:
            yield f"  {record.name}: {format_bytes(record.size_bytes)}, SHA-256 " + (
                record.sha256 or "not recorded"
            )
    for language, identity in entry.front_end.items():
        yield f"  text front-end of {language}: {identity}"
    yield f"  licence: {terms_named(entry.base_name, entry.licence).licence}"
    if entry.notes:
        yield f"  notes: {entry.notes}"


def _scores(entry: ModelEntry) -> Iterator[str]:
    """Yield a line for each language that was heard before and after, then the other scores."""
    for kept in kept_languages(entry.scores):
        yield f"  letters wrong before and after the training: {kept}"
    for name, value in entry.scores.items():
        if not name.startswith((AFTER, BEFORE)):
            yield f"  {name}: {value:g}"


def _verify(command: VerifyCommand) -> None:
    catalogue = _catalogue(command)
    folder = catalogue.model_dir
    names = [entry_named(name, catalogue).name for name in command.names]
    if not names:
        names = [e.name for e in catalogue.models() if entry_path(folder, e.name).is_file()]
    faults = [fault for name in names for fault in verify_model(name, folder)]
    if faults:
        raise RegistryError("; ".join(faults), where=str(folder), fix="install these models again")
    print(f"verified: {len(names)} installed models are as they were installed")


def _note(command: NoteCommand) -> None:
    entry = set_notes(command.name, command.text, _catalogue(command))
    print(f"kept with {entry.name}: {entry.notes}" if entry.notes else f"no notes on {entry.name}")


def _remove(command: RemoveCommand) -> None:
    if command.name in {BASE_NAME, "gpt.pth"}:
        raise RegistryError("the base is never removed", where=str(command.base))
    removal = plan_removal(command.name, _catalogue(command))
    for path in removal.files:
        print(f"  {path}")
    for path, user in removal.shared:
        print(f"  stays: {path}, which {user} uses")
    if not command.yes and not _is_agreed(removal):
        print("nothing was deleted")
        return
    remove_model(removal)
    print(f"removed {removal.name}: {format_bytes(removal.size_bytes)}")


def _is_agreed(removal: Removal) -> bool:
    if not sys.stdin.isatty():
        raise ConfigError(
            f"nobody is there to be asked whether to delete {removal.name}",
            fix="say so beforehand: --yes",
        )
    answer = input(f"delete these {len(removal.files)} files? [y/N] ")
    return answer.strip().lower() in {"y", "yes"}


def _export(command: ExportCommand) -> None:
    done = export_model(
        command.name,
        _catalogue(command),
        command.dir,
        command.form,
        force=command.force,
    )
    for path in done.files:
        print(f"  {path}")
    print(f"exported {done.entry.label}: {format_bytes(done.size_bytes)}")


def _push(command: PushCommand) -> None:
    done = push_model(command.name, command.repo, _catalogue(command), command.config)
    print(f"pushed {format_bytes(done.size_bytes)}: {done.url}")
    print(f"get it: idiolect models pull {done.repo} --revision {done.commit}")


def _pull(command: PullCommand) -> None:
    done = pull_model(command.repo, command.config)
    entry = done.report.entry
    terms = terms_named(entry.base_name, entry.licence)
    print(f"installed {entry.label} from {done.origin}")
    print(entry.tokenizer_line)
    print(entry.vram_line)
    print(f"under the {terms.licence}; whoever passes it on passes the licence on with it")
    print(done.report.base_sentence)
