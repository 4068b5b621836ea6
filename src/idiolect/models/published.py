"""The published files: their names, and where they are found.

A base folder (the guide's ``checkpoints``) has the files of IndexTTS-2 itself and, in
``hf_cache``, four models of other authors. Those are also found in a folder given as
``aux_dir``, and in the cache of the Hugging Face hub, in the hub's own layout.

Names of the published code stop here and in :mod:`idiolect.models.loading`; inside, the
project's own names are used.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from idiolect.base.errors import CheckpointError
from idiolect.base.places import SHIPPED_NAME, base_path
from idiolect.models.config import BaseConfig, read_base_config

BASE_REPO = "IndexTeam/IndexTTS-2"
LICENCE_NAME = "bilibili Model Use License Agreement"
DERIVATIVE_NOTICE = (
    "Any modifications made to the original model in this Derivative Work are not endorsed, "
    "warranted, or guaranteed by the original right-holder of the original model, and the "
    "original right-holder disclaims all liability related to this Derivative Work."
)
"""The sentence that the licence asks for, word for word, beside every derived model."""

CONFIG_FILE = "config.yaml"
SEMANTIC_DIR = "w2v-bert-2.0"
CODEC_FILE = "semantic_codec_model.safetensors"
SPEAKER_FILE = "campplus_cn_common.bin"
VOCODER_DIR = "bigvgan"
VOCODER_REPO = "nvidia/bigvgan_v2_22khz_80band_256x"
VOCODER_FILE = "bigvgan_generator.pt"
CACHE_DIR = "hf_cache"
BASE_ROLES = {
    "gpt": "gpt.pth",
    "s2mel": "s2mel.pth",
    "tokenizer": "bpe.model",
    "stats": "wav2vec2bert_stats.pt",
    "emotion_matrix": "feat2.pt",
    "speaker_matrix": "feat1.pt",
}
"""The files of IndexTTS-2 itself, under the names that an official ``config.yaml`` gives them."""
QWEN_DIR = "qwen0.6bemo4-merge"
"""The reader of emotions in text; a base works without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Auxiliary:
    """A model of other authors that the base needs."""

    role: str
    local: str
    """Its name in ``hf_cache``: of a folder, or of its one file."""
    is_folder: bool
    repo: str
    files: tuple[str, ...]
    """What is needed of the repository."""
    optional_files: tuple[str, ...] = ()
    modelscope_repo: str | None = None
    """Its mirror on ModelScope."""
    licence: str

    def local_path(self, file: str) -> str:
        """Return where ``file`` of the repository lies below ``hf_cache``."""
        return f"{self.local}/{file}" if self.is_folder else self.local


AUXILIARIES = (
    Auxiliary(
        role="semantic_dir",
        local=SEMANTIC_DIR,
        licence="MIT",
        is_folder=True,
        repo="facebook/w2v-bert-2.0",
        files=("config.json", "model.safetensors"),
        optional_files=("preprocessor_config.json",),
        modelscope_repo="AI-ModelScope/w2v-bert-2.0",
    ),
    Auxiliary(
        role="codec",
        local=CODEC_FILE,
        licence="CC-BY-NC-4.0",
        is_folder=False,
        repo="amphion/MaskGCT",
        files=("semantic_codec/model.safetensors",),
    ),
    Auxiliary(
        role="speaker",
        local=SPEAKER_FILE,
        licence="Apache-2.0",
        is_folder=False,
        repo="funasr/campplus",
        files=(SPEAKER_FILE,),
        modelscope_repo="iic/speech_campplus_sv_zh-cn_16k-common",
    ),
    Auxiliary(
        role="vocoder_dir",
        local=VOCODER_DIR,
        licence="MIT",
        is_folder=True,
        repo=VOCODER_REPO,
        files=("config.json", VOCODER_FILE),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseFiles:
    """Where each file of a base is; everything in it exists."""

    folder: Path
    config: BaseConfig
    config_path: Path
    gpt: Path
    s2mel: Path
    tokenizer: Path
    stats: Path
    emotion_matrix: Path
    speaker_matrix: Path
    semantic_dir: Path
    codec: Path
    speaker: Path
    vocoder_dir: Path
    qwen_dir: Path | None
    """The reader of emotions in text; None when it was not downloaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """A file that a base needs, and where it was found or looked for."""

    role: str
    name: str
    path: Path | None
    looked_in: tuple[Path, ...]


def locate_base(
    folder: Path | str,
    *,
    config_path: Path | None = None,
    aux_dir: Path | None = None,
    gpt: Path | None = None,
) -> BaseFiles:
    """Return where every file of the base in ``folder`` is.

    Args:
        folder: The base folder.
        config_path: Its configuration, when not ``config.yaml`` in it.
        aux_dir: A folder with the models of other authors; looked in first.
        gpt: Another GPT to start from than the one of the base.

    Raises:
        CheckpointError: Files are missing; all of them are listed.
        ConfigError: The configuration is not one of IndexTTS-2.
    """
    folder = base_path(Path(folder))
    found = find_base_files(folder, config_path=config_path, aux_dir=aux_dir, gpt=gpt)
    if missing := [entry for entry in found if entry.path is None]:
        raise _incomplete(folder, missing)
    paths = {entry.role: entry.path for entry in found if entry.path is not None}
    config = read_base_config(paths["config_path"])
    qwen_dir = folder / _own_name(config.qwen_dir)
    return BaseFiles(
        folder=folder,
        config=config,
        qwen_dir=qwen_dir if (qwen_dir / "config.json").is_file() else None,
        **paths,
    )


def find_base_files(
    folder: Path,
    *,
    config_path: Path | None = None,
    aux_dir: Path | None = None,
    gpt: Path | None = None,
) -> list[FoundFile]:
    """Return every file that a base in ``folder`` needs, found or not."""
    folder = base_path(folder)
    config_path = base_path(config_path) if config_path else folder / CONFIG_FILE
    names, vocoder_repo = _names(config_path)
    found = [_in_folder("config_path", config_path)]
    for role, name in names.items():
        path = base_path(gpt) if role == "gpt" and gpt is not None else folder / name
        found.append(_in_folder(role, path))
    for auxiliary in AUXILIARIES:
        repo = vocoder_repo if auxiliary.role == "vocoder_dir" else auxiliary.repo
        found.append(_find_auxiliary(replace(auxiliary, repo=repo), folder, aux_dir))
    return found


def hub_cache() -> Path:
    """Return the folder where huggingface_hub keeps what it downloaded."""
    if cache := os.environ.get("HF_HUB_CACHE"):
        return Path(cache)
    home = os.environ.get("HF_HOME")
    return (Path(home) if home else Path.home() / ".cache" / "huggingface") / "hub"


def _names(config_path: Path) -> tuple[dict[str, str], str]:
    """Return the file names by role, and the repository of the vocoder."""
    if not config_path.is_file():
        return dict(BASE_ROLES), VOCODER_REPO
    config = read_base_config(config_path)
    names = (
        config.gpt_file,
        config.s2mel_file,
        config.tokenizer_file,
        config.stats_file,
        config.emotion_matrix_file,
        config.speaker_matrix_file,
    )
    return dict(zip(BASE_ROLES, map(_own_name, names), strict=True)), config.vocoder_name


def _own_name(path: str) -> str:
    """Return the last part: one official configuration held paths of its authors' machine."""
    return Path(path.strip()).name


def _in_folder(role: str, path: Path) -> FoundFile:
    found = path if path.is_file() else None
    return FoundFile(role=role, name=path.name, path=found, looked_in=(path.parent,))


def _find_auxiliary(auxiliary: Auxiliary, folder: Path, aux_dir: Path | None) -> FoundFile:
    roots = [root for root in (aux_dir, folder / CACHE_DIR, hub_cache()) if root is not None]
    places = (place for root in roots for place in _places(auxiliary, root))
    return FoundFile(
        role=auxiliary.role,
        name=auxiliary.local,
        path=next(places, None),
        looked_in=tuple(roots),
    )


def _places(auxiliary: Auxiliary, root: Path) -> Iterator[Path]:
    """Yield where ``auxiliary`` lies whole below ``root``, by its own name or in hub layout."""
    local = [root / auxiliary.local_path(file) for file in auxiliary.files]
    if all(path.is_file() for path in local):
        yield root / auxiliary.local
    for snapshot in _snapshots(root / f"models--{auxiliary.repo.replace('/', '--')}"):
        files = [snapshot / file for file in auxiliary.files]
        if all(path.is_file() for path in files):
            yield snapshot if auxiliary.is_folder else files[0]


def _snapshots(repo_dir: Path) -> Iterator[Path]:
    """Yield the snapshots of a repository in the hub's cache, the one that ``main`` is first."""
    main = repo_dir / "refs" / "main"
    if main.is_file():
        yield repo_dir / "snapshots" / main.read_text(encoding="utf-8").strip()
    yield from sorted((repo_dir / "snapshots").glob("*"))


def _incomplete(folder: Path, missing: Collection[FoundFile]) -> CheckpointError:
    lines = [
        f"  {entry.name}  (looked in {', '.join(map(str, entry.looked_in))})" for entry in missing
    ]
    listing = "\n".join(lines)
    plural = "s" if len(lines) > 1 else ""
    return CheckpointError(
        f"the base in {folder} lacks {len(lines)} file{plural}\n{listing}", fix=_completion(folder)
    )


def _completion(folder: Path) -> str:
    """Return how a base that lacks files becomes whole."""
    if folder == base_path(Path(SHIPPED_NAME)) != Path(SHIPPED_NAME):
        return "it comes with the package: install idiolect again"
    return (
        f"idiolect download {folder} --accept-licence bilibili; or point --aux-dir at the folder "
        f"that has them; or name the small base that comes with the package: {SHIPPED_NAME}"
    )
