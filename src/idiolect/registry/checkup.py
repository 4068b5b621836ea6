"""What the doctor looks at: the base, the installed models, the machine; in plain words."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch

from idiolect.base.errors import UserError
from idiolect.base.files import free_bytes
from idiolect.base.hashes import sha256_file
from idiolect.base.log import run_header
from idiolect.base.places import ModelPlace
from idiolect.base.units import format_bytes
from idiolect.models.checkpoint import read_header
from idiolect.models.download import SUMS_FILE, read_sums
from idiolect.models.loading import (
    check_gpt,
    load_codec,
    load_emotion_matrices,
    load_s2mel,
    load_semantic_encoder,
    load_speaker_encoder,
    load_vocoder,
)
from idiolect.models.memory import OPTIMIZER_COPIES, base_bytes, trained_bytes
from idiolect.models.published import BaseFiles, find_base_files, locate_base
from idiolect.models.terms import terms_of
from idiolect.registry.detect import fits
from idiolect.registry.entry import format_memory
from idiolect.registry.store import list_models
from idiolect.text.tokenizer import Tokenizer

CHECKPOINTS_KEPT = 5
"""Files of weights that a run keeps on disk: the newest three, the best and the latest."""
TRAINING_COPIES = 2 + OPTIMIZER_COPIES
"""Of the weights that are trained, on the GPU: themselves, gradients and optimizer states."""

Level = Literal["ok", "note", "fault"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorConfig(ModelPlace):
    """What to look at."""

    verify: bool = False
    """Also hash every file of the base and compare with its SHA256SUMS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    text: str
    fix: str = ""


def examine(config: DoctorConfig) -> Iterator[Finding]:
    """Yield what is found, one thing at a time; nothing here takes long or changes anything."""
    yield from _libraries()
    yield from _base_files(config)
    files = None
    try:
        files = locate_base(config.base, aux_dir=config.aux_dir)
    except UserError as error:
        yield _fault(error)
    else:
        yield _terms(files)
        yield from _networks(files)
        yield _tokenizer(files)
        if config.verify:
            yield from _sums(config.base)
    yield from _models(config)
    whole = files if files is not None and _is_readable(files) else None
    yield from _devices(whole)
    yield _disk(whole)


def _is_readable(files: BaseFiles) -> bool:
    """Return whether sizes can be told from the files; what is wrong with them was said."""
    try:
        return base_bytes(files) > 0
    except UserError:
        return False


def _libraries() -> Iterator[Finding]:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    versions = run_header(device=device, seed=0).splitlines()[:-2]
    yield Finding(level="ok", text="; ".join(versions))
    if shutil.which("ffmpeg"):
        yield Finding(level="ok", text="ffmpeg is installed: any audio format can be read")
    else:
        yield Finding(
            level="note",
            text="ffmpeg is not installed: WAV, FLAC, OGG and MP3 can be read, M4A and video not",
            fix="install ffmpeg if your recordings need it",
        )
    if find_spec("gradio") is None:
        yield Finding(
            level="note", text="the page is not installed", fix="pip install 'idiolect[webui]'"
        )


def _base_files(config: DoctorConfig) -> Iterator[Finding]:
    try:
        found = find_base_files(config.base, aux_dir=config.aux_dir)
    except UserError as error:
        yield _fault(error)
        return
    for entry in found:
        if entry.path is not None:
            yield Finding(level="ok", text=f"{entry.name}: {entry.path}")


def _networks(files: BaseFiles) -> Iterator[Finding]:
    """Every network is built and given its tensors; what would fail, fails here."""
    checks: dict[str, Callable[[], object]] = {
        "the GPT": lambda: check_gpt(files.gpt, files.config.gpt),
        "w2v-bert": lambda: load_semantic_encoder(files),
        "the semantic codec": lambda: load_codec(files),
        "s2mel": lambda: load_s2mel(files),
        "CAMPPlus": lambda: load_speaker_encoder(files),
        "BigVGAN": lambda: load_vocoder(files),
        "the emotion matrices": lambda: load_emotion_matrices(files),
    }
    for name, check in checks.items():
        try:
            check()
        except UserError as error:
            yield _fault(error, f"{name}: would not load: ")
        else:
            yield Finding(level="ok", text=f"{name}: loads")
    if files.qwen_dir is None and files.config.mark is None:
        yield Finding(
            level="note",
            text="the reader of emotions in text is not there: everything else works",
            fix=f"idiolect download {files.folder} --accept-licence bilibili",
        )


def _terms(files: BaseFiles) -> Finding:
    terms = terms_of(files.config)
    return Finding(level="ok", text=f"the base is {terms.base}, under the {terms.licence}")


def _tokenizer(files: BaseFiles) -> Finding:
    try:
        tokenizer, outline = Tokenizer.load(files.tokenizer), read_header(files.gpt)
    except UserError as error:
        return _fault(error)
    if not fits(tokenizer, outline):
        return Finding(
            level="fault",
            text=f"{files.tokenizer.name} has {tokenizer.vocab_size} pieces, but "
            f"{files.gpt.name} has {outline.text_rows} text rows: they are not of one base",
            fix="download both from one source again",
        )
    return Finding(level="ok", text=f"the tokenizer has {tokenizer.vocab_size} pieces and fits")


def _sums(folder: Path) -> Iterator[Finding]:
    sums = read_sums(folder)
    if not sums:
        yield Finding(level="note", text=f"{folder} has no {SUMS_FILE} to compare with")
        return
    changed = [
        name
        for name, digest in sums.items()
        if not (folder / name).is_file() or sha256_file(folder / name) != digest
    ]
    if changed:
        yield Finding(
            level="fault",
            text=f"not as {SUMS_FILE} says: {', '.join(changed)}",
            fix="get these files again, as you got the base: idiolect download or nano export",
        )
    else:
        yield Finding(level="ok", text=f"all {len(sums)} files are as {SUMS_FILE} says")


def _models(config: DoctorConfig) -> Iterator[Finding]:
    entries = list_models(config.model_dir)
    for entry in entries:
        if entry.problem:
            yield Finding(level="fault", text=f"{entry.checkpoint.name}: {entry.problem}")
        else:
            yield Finding(level="ok", text=f"{entry.label}, {entry.tokenizer_line}")
    if not entries:
        yield Finding(level="note", text=f"no models in {config.model_dir}")


def _devices(files: BaseFiles | None) -> Iterator[Finding]:
    if not torch.cuda.is_available():
        yield Finding(level="note", text="no GPU: everything runs on the CPU, slowly")
        return
    for index in range(torch.cuda.device_count()):
        left_bytes, total_bytes = torch.cuda.mem_get_info(index)
        name = torch.cuda.get_device_name(index)
        memory = f"{format_memory(left_bytes)} of {format_memory(total_bytes)} are free"
        yield Finding(level="ok", text=f"GPU {index}, {name}: {memory}")
        if files is not None:
            yield _fit("speaking", base_bytes(files), left_bytes, index)
            yield _fit(
                "full fine-tuning", TRAINING_COPIES * trained_bytes(files), left_bytes, index
            )


def _fit(what: str, needed_bytes: int, left_bytes: int, index: int) -> Finding:
    text = f"{what} takes about {format_memory(needed_bytes)} (estimate)"
    if needed_bytes <= left_bytes:
        return Finding(level="ok", text=f"{text}: fits GPU {index}")
    return Finding(
        level="note",
        text=f"{text}: does not fit what is free on GPU {index}",
        fix="end other programs on it, or choose another GPU with CUDA_VISIBLE_DEVICES",
    )


def _disk(files: BaseFiles | None) -> Finding:
    left_bytes = free_bytes(Path.cwd())
    text = f"{format_bytes(left_bytes)} are free in the working folder"
    if files is None:
        return Finding(level="ok", text=text)
    kept_bytes = CHECKPOINTS_KEPT * read_header(files.gpt).weight_bytes
    needed_bytes = kept_bytes + OPTIMIZER_COPIES * trained_bytes(files)
    text += f"; a training keeps about {format_bytes(needed_bytes)}"
    if left_bytes >= needed_bytes:
        return Finding(level="ok", text=text)
    return Finding(level="note", text=text, fix="make room, or put --output-dir on another disk")


def _fault(error: UserError, prefix: str = "") -> Finding:
    where = f" ({error.where})" if error.where else ""
    return Finding(level="fault", text=f"{prefix}{error.problem}{where}", fix=error.fix)
