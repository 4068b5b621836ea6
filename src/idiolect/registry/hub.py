"""Models to and from the hub of Hugging Face, or whatever speaks its language.

What is pushed is what :mod:`idiolect.registry.export` writes, with the card as the page of the
repository. What is pulled is pinned to one commit, compared with the hashes of the hub and of the
entry, and then installed like any other checkpoint. Only safetensors are pulled: no pickle that a
stranger wrote is opened, however carefully.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from os import SEEK_END
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from idiolect.base.errors import RegistryError
from idiolect.base.files import copy_file, slug, write_text
from idiolect.base.guard import check_output
from idiolect.base.hashes import BLOCK_BYTES, sha256_file
from idiolect.base.log import get_logger
from idiolect.base.places import MODELS_DIR_NAME, BasePlace
from idiolect.base.units import format_bytes
from idiolect.models.published import BASE_REPO
from idiolect.models.safe_file import SAFE_SUFFIX
from idiolect.models.terms import terms_named
from idiolect.registry.card import model_card
from idiolect.registry.catalogue import Catalogue
from idiolect.registry.change import change_entry
from idiolect.registry.entry import (
    GPT_PREFIX,
    FileRecord,
    ModelEntry,
    card_name,
    read_entry,
    write_entry,
)
from idiolect.registry.export import ExportForm, Precision, export_model
from idiolect.registry.install import InstallConfig, InstallReport, check_disk, install_model

HUB = "Hugging Face"
CARD = "README.md"
STAGING_DIR = ".pull"
MAX_ENTRY_BYTES = 1 << 20
NO_CHANGE = ("401", "403")


@dataclass(frozen=True, slots=True, kw_only=True)
class PushConfig:
    """Where to, and how."""

    private: bool = False
    """Make the repository one that only you see, if it is made now."""
    revision: str | None = None
    """Branch to push to, made when it is not there; main by default."""
    precision: Precision = "float32"
    """float32, or bf16 in half of the bytes."""
    endpoint: str | None = None
    """Address of another hub; that of Hugging Face by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PullConfig(BasePlace):
    """Which revision, and under which name."""

    model_dir: Path = Path(MODELS_DIR_NAME)
    """Folder of the installed models."""
    revision: str | None = None
    """Branch, tag or commit; main by default. Give a commit to get the same files forever."""
    which: str | None = None
    """Name of the model, where the repository has several."""
    name: str | None = None
    """Name to install it under; its own by default."""
    force: bool = False
    """Replace a model of this name."""
    endpoint: str | None = None
    """Address of another hub, or of a mirror; that of Hugging Face by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What is on the hub now."""

    repo: str
    commit: str
    url: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """What was installed, and from which commit."""

    report: InstallReport
    origin: str
    """``owner/name@commit``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFile:
    """A file of one commit."""

    name: str
    size_bytes: int
    blob_id: str
    """Of git: the SHA-1 of the file with its size before it."""
    sha256: str | None
    """Of a large file; None for one that is kept in git itself."""


def push_model(name: str, repo: str, catalogue: Catalogue, config: PushConfig) -> Pushed:
    """Write the model ``name`` to the repository ``repo``, with card and licence.

    The notes of its user stay here.

    Raises:
        RegistryError: There is no such model, or the hub refuses.
    """
    from huggingface_hub import HfApi

    api = HfApi(endpoint=config.endpoint)
    with TemporaryDirectory(prefix="idiolect-push-") as made:
        folder = Path(made)
        form = ExportForm(form="safetensors", precision=config.precision)
        exported = export_model(name, catalogue, folder, form)
        _as_repository(exported.entry, folder)
        size_bytes = sum(path.stat().st_size for path in folder.iterdir())
        with _readable_errors(repo):
            api.create_repo(repo, private=config.private or None, exist_ok=True)
            if config.revision is not None:
                api.create_branch(repo, branch=config.revision, exist_ok=True)
            done = api.upload_folder(
                repo_id=repo,
                folder_path=folder,
                revision=config.revision,
                commit_message=f"{exported.entry.label}, by idiolect",
            )
    return Pushed(repo=repo, commit=done.oid, url=str(done.commit_url), size_bytes=size_bytes)


def pull_model(repo: str, config: PullConfig) -> Pulled:
    """Fetch a model from ``repo``, compare it with its hashes, and install it.

    Raises:
        RegistryError: The hub cannot be reached or lacks the model, a file arrived damaged, or
            the name is taken.
        CheckpointError: It is no GPT of the base that is here.
        TokenizerError: Its tokenizer is another than the one that it was trained with.
    """
    check_output(config.model_dir / STAGING_DIR)
    commit, files = _files_at(repo, config)
    staging = config.model_dir / STAGING_DIR / commit
    listed = _entry_file(repo, files, config.which)
    if listed.size_bytes > MAX_ENTRY_BYTES:
        raise RegistryError(f"{listed.name} is no entry of a model", where=f"{HUB}, {repo}")
    entry = read_entry(_fetch(repo, commit, listed, staging, config))
    wanted = _wanted(entry, files, repo)
    check_disk(config.model_dir, 2 * sum(file.size_bytes for file in wanted))
    for number, file in enumerate(wanted, start=1):
        size = format_bytes(file.size_bytes)
        get_logger().info("%d/%d %s (%s)", number, len(wanted), file.name, size)
        _fetch(repo, commit, file, staging, config)
    _compare(entry, staging, repo)
    report = _install(entry, staging, config)
    origin = f"{repo}@{commit}"
    installed = change_entry(
        report.entry.name, config.model_dir, lambda found: replace(found, origin=origin)
    )
    _copy_licences(staging, config.model_dir)
    shutil.rmtree(config.model_dir / STAGING_DIR, ignore_errors=True)
    return Pulled(report=replace(report, entry=installed), origin=origin)


def _as_repository(entry: ModelEntry, folder: Path) -> None:
    """Make of an exported ``folder`` what a repository holds: the card is its page."""
    told = replace(entry, notes="", origin="")
    write_entry(folder, told)
    (folder / card_name(entry.name)).unlink()
    write_text(folder / CARD, f"---\n{_front_matter(told)}---\n\n{model_card(told)}")


def _front_matter(entry: ModelEntry) -> str:
    """Return what the hub reads of a card: licence, languages, the base."""
    terms = terms_named(entry.base_name, entry.licence)
    values: dict[str, object] = {
        "license": "apache-2.0" if terms.licence == "Apache-2.0" else "other",
        "library_name": "idiolect",
        "pipeline_tag": "text-to-speech",
        "tags": ["idiolect", "text-to-speech", "voice-cloning"],
    }
    if values["license"] == "other":
        values["license_name"] = terms.licence
    if entry.languages:
        values["language"] = list(entry.languages)
    if terms.base == BASE_REPO:
        values["base_model"] = terms.base
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _files_at(repo: str, config: PullConfig) -> tuple[str, dict[str, HubFile]]:
    """Return the commit that the revision means now, and its files by name."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    api = HfApi(endpoint=config.endpoint)
    with _readable_errors(repo):
        commit = api.model_info(repo, revision=config.revision).sha
        tree = list(api.list_repo_tree(repo, revision=commit))
    files = [
        HubFile(
            name=each.path,
            size_bytes=each.size,
            blob_id=each.blob_id,
            sha256=each.lfs.sha256 if each.lfs else None,
        )
        for each in tree
        if isinstance(each, RepoFile)
    ]
    return slug(str(commit), flag="the commit"), {file.name: file for file in files}


def _entry_file(repo: str, files: dict[str, HubFile], which: str | None) -> HubFile:
    """Return the entry of the model that is asked for.

    Raises:
        RegistryError: There is none, or there are several and none was chosen.
    """
    entries = {
        name.removeprefix(GPT_PREFIX).removesuffix(".json"): file
        for name, file in files.items()
        if name.startswith(GPT_PREFIX) and name.endswith(".json")
    }
    if which is not None and which in entries:
        return entries[which]
    if which is None and len(entries) == 1:
        return next(iter(entries.values()))
    raise RegistryError(
        f"{repo} has {', '.join(sorted(entries)) or 'no model of idiolect'}",
        where=HUB,
        fix="say which one: --which NAME" if entries else "get its files, and: idiolect install",
    )


def _wanted(entry: ModelEntry, files: dict[str, HubFile], repo: str) -> list[HubFile]:
    """Return the files of the model of ``entry``.

    Raises:
        RegistryError: One is not there, has no hash, or is a pickle.
    """
    if not entry.checkpoint.name.endswith(SAFE_SUFFIX):
        raise RegistryError(
            f"{entry.checkpoint.name} is a pickle; only safetensors are pulled",
            where=f"{HUB}, {repo}",
            fix="ask its author for: idiolect models push",
        )
    records = [entry.checkpoint, entry.tokenizer, entry.config]
    named = [slug(record.name, flag=repo) for record in records if record is not None]
    named += [name for name in files if name.upper().startswith(("LICENSE", "LICENCE"))]
    missing = [name for name in named if name not in files]
    if missing or entry.tokenizer is None:
        raise RegistryError(
            f"{repo} has no {', '.join(missing) or 'tokenizer'}", where=HUB, fix="ask its author"
        )
    return [files[slug(name, flag=repo)] for name in named]


def _fetch(repo: str, commit: str, file: HubFile, staging: Path, config: PullConfig) -> Path:
    """Fetch ``file`` of ``commit`` to ``staging``, going on where it stopped; return its path.

    Raises:
        RegistryError: It cannot be fetched, or is not what the hub lists.
    """
    # Not hf_hub_download: since version 2 it begins a file anew after every interruption.
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    target = staging / slug(file.name, flag=repo)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.touch()
    if target.stat().st_size < file.size_bytes:
        url = hf_hub_url(repo, file.name, revision=commit, endpoint=config.endpoint)
        with _readable_errors(f"{repo}/{file.name}"), target.open("rb+") as out:
            out.seek(0, SEEK_END)
            http_get(
                url,
                out,
                resume_size=out.tell(),
                headers=build_hf_headers() | {"Accept-Encoding": "identity"},
                expected_size=file.size_bytes,
                displayed_filename=file.name,
            )
    if not _is_whole(target, file):
        target.unlink()
        raise _damaged(file.name, repo)
    return target


def _is_whole(path: Path, file: HubFile) -> bool:
    if file.sha256 is not None:
        return sha256_file(path) == file.sha256
    return _git_blob_id(path) == file.blob_id


def _git_blob_id(path: Path) -> str:
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as handle:
        while block := handle.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _compare(entry: ModelEntry, staging: Path, repo: str) -> None:
    """Make sure that the files are those that the entry was written for."""
    records = [entry.checkpoint, entry.tokenizer, entry.config]
    for record in (each for each in records if each is not None):
        if sha256_file(staging / record.name) != record.sha256:
            raise _damaged(record.name, repo)


def _damaged(name: str, repo: str) -> RegistryError:
    return RegistryError(
        f"{name} is not what its SHA-256 says",
        where=f"{HUB}, {repo}",
        fix="run the command again; if it stays so, tell the author of the model",
    )


def _install(entry: ModelEntry, staging: Path, config: PullConfig) -> InstallReport:
    assert entry.tokenizer is not None
    return install_model(
        InstallConfig(
            checkpoint=staging / entry.checkpoint.name,
            tokenizer=staging / entry.tokenizer.name,
            output_name=config.name or entry.name,
            description=entry.description,
            output_dir=config.model_dir,
            config=_path_of(entry.config, staging),
            force=config.force,
            base=config.base,
            aux_dir=config.aux_dir,
        )
    )


def _path_of(record: FileRecord | None, folder: Path) -> Path | None:
    return None if record is None else folder / record.name


def _copy_licences(staging: Path, model_dir: Path) -> None:
    for path in sorted(staging.glob("LICEN[CS]E*")):
        if not (model_dir / path.name).exists():
            copy_file(path, model_dir / path.name)


@contextmanager
def _readable_errors(what: str) -> Iterator[None]:
    """Turn what the library of the hub raises into an error that says what to do."""
    from huggingface_hub import errors

    # The base of every error of the HTTP library that the installed hub library uses.
    http_error: type[Exception] = vars(errors)["HTTPError"]
    try:
        yield
    except (OSError, ValueError, RuntimeError, http_error) as error:
        said = next(iter(str(error).strip().splitlines()), type(error).__name__)
        asks = any(code in said for code in NO_CHANGE)
        raise RegistryError(
            f"the hub does not give or take {what}: {said}",
            where=HUB,
            fix="log in with: hf auth login; the token needs the right to write to push"
            if asks
            else "look at the name of the repository and the revision, and run it again: what "
            "arrived is kept",
        ) from error
