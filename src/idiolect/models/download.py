"""Fetching the published base: everything that :mod:`idiolect.models.published` looks for.

Files arrive in a staging folder beside their place, are checked against the hub's SHA-256, and
are then moved into place whole: what is there is complete, what is missing is fetched, and a file
that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from os import SEEK_END
from pathlib import Path
from typing import Literal, Protocol

from idiolect.base.errors import CheckpointError, ConfigError
from idiolect.base.files import free_bytes, write_text
from idiolect.base.guard import check_output, making_base
from idiolect.base.hashes import sha256_file
from idiolect.base.log import get_logger
from idiolect.base.units import format_bytes
from idiolect.models.published import (
    AUXILIARIES,
    BASE_REPO,
    BASE_ROLES,
    CACHE_DIR,
    CONFIG_FILE,
    LICENCE_NAME,
    QWEN_DIR,
)

LICENCE_ANSWER = "bilibili"
SUMS_FILE = "SHA256SUMS"
STAGING_DIR = ".download"
DISK_RESERVE_BYTES = 256 << 20
ACCOMPANYING = ("LICENSE", "LICENCE", "DISCLAIMER", "NOTICE")
"""Beginnings of the names of files that must go with the weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadConfig:
    """What to fetch, and from where."""

    source: Literal["huggingface", "modelscope"] = "huggingface"
    """Which hub to fetch from."""
    mirror: str | None = None
    """Address of a mirror of the Hugging Face hub, for example https://hf-mirror.com."""
    accept_licence: str = ""
    """The licence of the weights that you have read and accept: bilibili."""
    qwen: bool = True
    """Also fetch the reader of emotions in text (1.2 GB)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A file of a repository."""

    path: str
    size_bytes: int
    sha256: str | None = None
    """None when the hub does not say: it does for files of weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadReport:
    """What is in the folder now."""

    fetched: tuple[Path, ...]
    present: tuple[Path, ...]
    """What was there already."""
    sums: Path


class Hub(Protocol):
    """Somewhere that repositories are kept."""

    name: str

    def files(self, repo: str) -> list[RemoteFile]:
        """Return every file of ``repo``."""

    def fetch(self, repo: str, file: RemoteFile, staging: Path) -> Path:
        """Fetch ``file`` of ``repo`` below ``staging``, resuming; return where it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """A file of a repository, and where it goes."""

    hub: Hub
    repo: str
    file: RemoteFile
    target: Path


def download_base(folder: Path, config: DownloadConfig) -> DownloadReport:
    """Fetch what is missing of the base in ``folder``; nothing that is there is replaced.

    Raises:
        ConfigError: The licence was not accepted, or a library is missing.
        CheckpointError: The hub cannot be reached, lacks a file, or sent a damaged one; or the
            disk is too small.
    """
    _check_licence(config)
    with making_base(folder):
        check_output(folder)
    fetches = plan_download(folder, config)
    missing = [fetch for fetch in fetches if not fetch.target.is_file()]
    _check_disk(folder, missing)
    with making_base(folder):
        sums = read_sums(folder)
        for number, fetch in enumerate(missing, start=1):
            name, size = _name(fetch, folder), format_bytes(fetch.file.size_bytes)
            get_logger().info("%d/%d %s (%s)", number, len(missing), name, size)
            sums[name] = _fetch(fetch, folder / STAGING_DIR)
            _write_sums(folder, sums)
        for fetch in fetches:
            name = _name(fetch, folder)
            sums[name] = sums.get(name) or sha256_file(fetch.target)
        _write_sums(folder, sums)
        shutil.rmtree(folder / STAGING_DIR, ignore_errors=True)
    return DownloadReport(
        fetched=tuple(fetch.target for fetch in missing),
        present=tuple(fetch.target for fetch in fetches if fetch not in missing),
        sums=folder / SUMS_FILE,
    )


def plan_download(folder: Path, config: DownloadConfig) -> list[Fetch]:
    """Return every file of a whole base, with where it comes from and where it goes.

    Raises:
        ConfigError: The library of the source is not installed.
        CheckpointError: The hub cannot be reached, or lacks a file.
    """
    huggingface = HuggingFaceHub(config.mirror)
    main = ModelScopeHub() if config.source == "modelscope" else huggingface
    wanted = {CONFIG_FILE, *BASE_ROLES.values()}
    of_base = _listing(main, BASE_REPO, wanted)
    if config.qwen:
        wanted |= {path for path in of_base if path.startswith(f"{QWEN_DIR}/")}
    wanted |= {path for path in of_base if path.upper().startswith(ACCOMPANYING)}
    plan = [
        Fetch(hub=main, repo=BASE_REPO, file=of_base[path], target=folder / path)
        for path in sorted(wanted)
    ]
    for auxiliary in AUXILIARIES:
        mirrored = config.source == "modelscope" and auxiliary.modelscope_repo is not None
        hub = main if mirrored else huggingface
        repo = (auxiliary.modelscope_repo if mirrored else None) or auxiliary.repo
        files = _listing(hub, repo, auxiliary.files)
        paths = [*auxiliary.files, *(p for p in auxiliary.optional_files if p in files)]
        cache = folder / CACHE_DIR
        plan += [
            Fetch(hub=hub, repo=repo, file=files[p], target=cache / auxiliary.local_path(p))
            for p in paths
        ]
    return plan


def read_sums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of a downloaded base, by relative name."""
    path = folder / SUMS_FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    pairs = (line.split("  ", 1) for line in lines if "  " in line)
    return {name: digest for digest, name in pairs}


class HuggingFaceHub:
    """The hub of Hugging Face, or a mirror of it."""

    name = "Hugging Face"

    def __init__(self, endpoint: str | None = None) -> None:
        self.endpoint = endpoint

    def files(self, repo: str) -> list[RemoteFile]:
        """Return every file of ``repo``."""
        from huggingface_hub import HfApi
        from huggingface_hub.hf_api import RepoFile

        with _readable_errors(self.name, repo):
            tree = list(HfApi(endpoint=self.endpoint).list_repo_tree(repo, recursive=True))
        return [
            RemoteFile(
                path=entry.path,
                size_bytes=entry.size,
                sha256=entry.lfs.sha256 if entry.lfs else None,
            )
            for entry in tree
            if isinstance(entry, RepoFile)
        ]

    def fetch(self, repo: str, file: RemoteFile, staging: Path) -> Path:
        """Fetch ``file`` of ``repo`` below ``staging``, resuming; return where it is."""
        # Not hf_hub_download: since version 2 it begins a file anew after every interruption.
        from huggingface_hub import hf_hub_url
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        partial = staging / f"{file.path}.{(file.sha256 or '')[:16]}"  # of this very content
        partial.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
        with _readable_errors(self.name, f"{repo}/{file.path}"), partial.open("rb+") as out:
            out.seek(0, SEEK_END)
            http_get(
                hf_hub_url(repo, file.path, endpoint=self.endpoint),
                out,
                resume_size=out.tell(),
                headers=build_hf_headers() | {"Accept-Encoding": "identity"},
                expected_size=file.size_bytes,
                displayed_filename=file.path,
            )
        return partial


class ModelScopeHub:
    """The hub of ModelScope, through its own library."""

    name = "ModelScope"

    def __init__(self) -> None:
        if find_spec("modelscope") is None:
            raise ConfigError(
                "fetching from ModelScope needs the library modelscope",
                where="--source modelscope",
                fix="pip install modelscope; or leave --source out and give a --mirror",
            )

    def files(self, repo: str) -> list[RemoteFile]:
        """Return every file of ``repo``."""
        from modelscope.hub.api import HubApi

        with _readable_errors(self.name, repo):
            entries = HubApi().get_model_files(repo, recursive=True)
        return [
            RemoteFile(
                path=entry["Path"], size_bytes=entry["Size"], sha256=entry.get("Sha256") or None
            )
            for entry in entries
            if entry["Type"] != "tree"
        ]

    def fetch(self, repo: str, file: RemoteFile, staging: Path) -> Path:
        """Fetch ``file`` of ``repo`` below ``staging``, resuming; return where it is."""
        from modelscope.hub.file_download import model_file_download

        with _readable_errors(self.name, f"{repo}/{file.path}"):
            return Path(model_file_download(repo, file.path, local_dir=str(staging)))


def _check_licence(config: DownloadConfig) -> None:
    if config.accept_licence.casefold() in {LICENCE_ANSWER, LICENCE_NAME.casefold()}:
        return
    others = ", ".join(f"{auxiliary.repo} {auxiliary.licence}" for auxiliary in AUXILIARIES)
    raise ConfigError(
        f"the weights of {BASE_REPO} come under the {LICENCE_NAME}; with them come {others}",
        where="--accept-licence",
        fix=f"read it at https://huggingface.co/{BASE_REPO}, then repeat the command with "
        f"--accept-licence {LICENCE_ANSWER}",
    )


def _listing(hub: Hub, repo: str, wanted: Iterable[str]) -> dict[str, RemoteFile]:
    files = {file.path: file for file in hub.files(repo)}
    if missing := sorted(set(wanted) - files.keys()):
        raise CheckpointError(
            f"{repo} has no {', '.join(missing)}",
            where=hub.name,
            fix="this revision may be of another version of the model; try another --mirror",
        )
    return files


def _check_disk(folder: Path, missing: Iterable[Fetch]) -> None:
    needed = sum(fetch.file.size_bytes for fetch in missing) + DISK_RESERVE_BYTES
    if (free := free_bytes(folder)) < needed:
        raise CheckpointError(
            f"{format_bytes(free)} are free in {folder}, and the download takes "
            f"{format_bytes(needed)}",
            fix="make room, or give a folder on another disk",
        )


def _fetch(fetch: Fetch, staging: Path) -> str:
    """Fetch one file, check it and move it into place; return its SHA-256."""
    arrived = fetch.hub.fetch(fetch.repo, fetch.file, staging / fetch.repo)
    digest = sha256_file(arrived)
    if fetch.file.sha256 is not None and digest != fetch.file.sha256:
        arrived.unlink()
        raise CheckpointError(
            f"{fetch.file.path} arrived damaged: SHA-256 {digest}, not {fetch.file.sha256}",
            where=f"{fetch.hub.name}, {fetch.repo}",
            fix="run the command again; if it stays so, try another --mirror",
        )
    check_output(fetch.target)
    fetch.target.parent.mkdir(parents=True, exist_ok=True)
    arrived.replace(fetch.target)
    return digest


def _name(fetch: Fetch, folder: Path) -> str:
    return fetch.target.relative_to(folder).as_posix()


def _write_sums(folder: Path, sums: Mapping[str, str]) -> None:
    write_text(folder / SUMS_FILE, "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)))


@contextmanager
def _readable_errors(hub: str, what: str) -> Iterator[None]:
    """Turn what the libraries of the hubs raise into an error that says what to do."""
    from huggingface_hub import errors

    # The base of every error of the HTTP library that the installed hub library uses.
    http_error: type[Exception] = vars(errors)["HTTPError"]
    try:
        yield
    except (OSError, http_error) as error:
        raise CheckpointError(
            f"cannot fetch {what}: {str(error).strip().splitlines()[0]}",
            where=hub,
            fix="run the same command again, it goes on where it stopped; behind a firewall give "
            "--mirror, for example --mirror https://hf-mirror.com",
        ) from error
