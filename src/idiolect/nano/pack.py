"""The finished base: what the stages left, in the published layout, at half the size, with a card.

Numbers are float16 on disk, which keeps eleven bits of each; what is loaded is float32 again.
Counts and places are int16.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from idiolect.base import places
from idiolect.base.config import read_yaml, write_yaml
from idiolect.base.errors import CheckpointError
from idiolect.base.files import copy_file, write_json, write_text
from idiolect.base.guard import check_output, files_of, making_base
from idiolect.base.hashes import sha256_file
from idiolect.base.units import format_bytes
from idiolect.listening.recogniser import ALPHABET_FILE, HEAD_FILE, WEIGHTS_FILE, WORDS_FILE
from idiolect.listening.spelling import spelling
from idiolect.models.checkpoint import load_tensors, save_tensors
from idiolect.models.download import SUMS_FILE, read_sums
from idiolect.models.loading import (
    load_codec,
    load_emotion_matrices,
    load_gpt,
    load_s2mel,
    load_semantic_encoder,
    load_speaker_encoder,
    load_vocoder,
)
from idiolect.models.published import (
    BASE_ROLES,
    CACHE_DIR,
    CODEC_FILE,
    CONFIG_FILE,
    SEMANTIC_DIR,
    SPEAKER_FILE,
    VOCODER_DIR,
    VOCODER_FILE,
    locate_base,
)
from idiolect.models.terms import NANO_NAME
from idiolect.nano.card import base_card
from idiolect.nano.clips import open_clips
from idiolect.nano.emotions import emotion_matrices
from idiolect.nano.encoder import write_safetensors
from idiolect.nano.folders import (
    CACHE_DIR_OF_RUN,
    CODEC_DIR,
    CORPUS_DIR,
    ENCODER_DIR,
    FLOW_DIR,
    HEARING_DIR,
    SPEAKER_DIR,
    TRAIN_MANIFEST,
    VOCODER_STAGE_DIR,
    VOICE_DIR,
)
from idiolect.nano.frozen import frozen_encoder, frozen_speaker
from idiolect.nano.sizes import CONFIG, VOCODER_CONFIG, base_config
from idiolect.nano.texts import LANGUAGES, word_counts
from idiolect.nano.vocoder import GENERATOR_FILE
from idiolect.text.tokenizer import Tokenizer

CARD_FILE = "README.md"
LICENCE_FILE = "LICENSE"
MOST_BYTES = 25_000_000
"""Of the whole base: it comes with the package."""
MOST_FILE_BYTES = 15_000_000
HALF_MAX = torch.finfo(torch.float16).max
SHORT_MAX = torch.iinfo(torch.int16).max

STAGE_FILES: Mapping[str, str] = MappingProxyType(
    {
        BASE_ROLES["tokenizer"]: f"{VOICE_DIR}/{BASE_ROLES['tokenizer']}",
        BASE_ROLES["gpt"]: f"{VOICE_DIR}/{BASE_ROLES['gpt']}",
        BASE_ROLES["s2mel"]: f"{FLOW_DIR}/{BASE_ROLES['s2mel']}",
        BASE_ROLES["stats"]: f"{CODEC_DIR}/{BASE_ROLES['stats']}",
        **{
            f"{CACHE_DIR}/{SEMANTIC_DIR}/{name}": f"{HEARING_DIR}/{SEMANTIC_DIR}/{name}"
            for name in (
                *("config.json", "preprocessor_config.json"),
                *(WEIGHTS_FILE, HEAD_FILE, ALPHABET_FILE),
            )
        },
        f"{CACHE_DIR}/{CODEC_FILE}": f"{CODEC_DIR}/{CODEC_FILE}",
        f"{CACHE_DIR}/{SPEAKER_FILE}": f"{SPEAKER_DIR}/{SPEAKER_FILE}",
        f"{CACHE_DIR}/{VOCODER_DIR}/{VOCODER_FILE}": f"{VOCODER_STAGE_DIR}/{GENERATOR_FILE}",
    }
)
"""Where each file of the base lies in the folder of the run; the emotions are made here."""


def pack_base(run: Path, target: Path) -> int:
    """Make the base of a run whose stages are done; return its size in bytes.

    A nano base in ``target`` is replaced: it is packed once to be judged, and again with the
    scores in its card.

    Args:
        run: Folder of the run, with one folder a stage.
        target: Folder of the base; new, empty, or a nano base.

    Raises:
        CheckpointError: A stage is not done, its files do not load, or they are too large.
        GuardError: ``target`` lies in another base.
    """
    lacking = [source for source in STAGE_FILES.values() if not (run / source).is_file()]
    if lacking:
        raise CheckpointError(
            f"these stages are not done: {', '.join(lacking)}",
            where=str(run),
            fix="run them first: idiolect nano train",
        )
    _check_replaceable(target)
    with _staged(target) as folder:
        for name, source in STAGE_FILES.items():
            _pack_file(run / source, folder / name)
        write_json(folder / CACHE_DIR / VOCODER_DIR / "config.json", VOCODER_CONFIG)
        _write_emotions(run, folder)
        _write_words(folder)
        write_yaml(folder / CONFIG_FILE, _config(folder / BASE_ROLES["tokenizer"]))
        _check_loads(folder)
        _write_licence(folder / LICENCE_FILE)
        write_text(folder / CARD_FILE, base_card(run, sizes_of(folder)))
        write_sums(folder)
        return check_size(folder)


def export_base(target: Path) -> int:
    """Copy the base that comes with the package to ``target``; return its size in bytes.

    Raises:
        CheckpointError: ``target`` is not empty; or the package is not whole, or damaged.
        GuardError: ``target`` lies in another base.
    """
    source = places.SHIPPED_DIR
    _check_outside(target)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CheckpointError(
            f"{target} is not an empty folder, and no base is ever overwritten",
            fix="choose a new folder",
        )
    check_sums(source)
    with _staged(target) as folder:
        for file in files_of(source):
            copy_file(file, folder / file.relative_to(source))
        check_sums(folder)
        return sum(sizes_of(folder).values())


def check_sums(folder: Path) -> None:
    """Compare a base with its ``SHA256SUMS``.

    Raises:
        CheckpointError: A file was changed or is missing, or there is nothing to compare with.
    """
    sums = read_sums(folder)
    changed = [
        name
        for name, digest in sums.items()
        if not (folder / name).is_file() or sha256_file(folder / name) != digest
    ]
    if changed or not sums:
        raise CheckpointError(
            f"not as {SUMS_FILE} says: {', '.join(changed) or 'there is none'}",
            where=str(folder),
            fix="install idiolect again; or make the base anew: idiolect nano train",
        )


def write_sums(folder: Path) -> None:
    """Write the SHA-256 of every file in ``folder``."""
    names = [file.relative_to(folder).as_posix() for file in files_of(folder)]
    lines = [f"{sha256_file(folder / name)}  {name}\n" for name in names if name != SUMS_FILE]
    write_text(folder / SUMS_FILE, "".join(lines))


def sizes_of(folder: Path) -> dict[str, int]:
    """Return the bytes of every file in ``folder``, by relative name."""
    return {file.relative_to(folder).as_posix(): file.stat().st_size for file in files_of(folder)}


def check_size(folder: Path) -> int:
    """Return the size of a base in bytes.

    Raises:
        CheckpointError: It is too large to come with the package.
    """
    sizes = sizes_of(folder)
    large = [name for name, size in sizes.items() if size > MOST_FILE_BYTES]
    total = sum(sizes.values())
    if large or total > MOST_BYTES:
        shown = sorted(sizes.items(), key=lambda item: -item[1])[:5]
        raise CheckpointError(
            f"{format_bytes(total)}, of {format_bytes(MOST_BYTES)} at most and "
            f"{format_bytes(MOST_FILE_BYTES)} a file: "
            + ", ".join(f"{name} {format_bytes(size)}" for name, size in shown),
            where=str(folder),
            fix="narrow a network in idiolect/nano/sizes.py",
        )
    return total


def halved(content: Any, *, where: Path) -> Any:
    """Return ``content`` (tensors in mappings) in 16 bits a number.

    Raises:
        CheckpointError: A number is too large for that.
    """
    if isinstance(content, dict):
        return {name: halved(value, where=where) for name, value in content.items()}
    if not isinstance(content, Tensor):
        return content
    if not content.is_floating_point():
        return content.short() if bool((content.abs() <= SHORT_MAX).all()) else content
    if not bool((content.abs() <= HALF_MAX).all()):
        raise CheckpointError(
            f"a tensor of shape {tuple(content.shape)} has a number that float16 cannot hold",
            where=str(where),
            fix="train this stage again",
        )
    return content.half()


def _pack_file(source: Path, target: Path) -> None:
    """Write ``source`` to ``target``, its tensors in 16 bits a number."""
    convert_file(source, target, lambda content: halved(content, where=source))


def convert_file(source: Path, target: Path, change: Callable[[Any], Any]) -> None:
    """Write ``source`` to ``target``, its tensors as ``change`` makes them."""
    if source.suffix == ".safetensors":
        write_safetensors(target, change(load_tensors(source)))
    elif source.suffix in {".pth", ".pt", ".bin"}:
        save_tensors(target, change(load_tensors(source, mmap=False)))
    else:
        copy_file(source, target)


def _config(tokenizer: Path) -> dict[str, Any]:
    values = copy.deepcopy(CONFIG)
    values["gpt"]["number_text_tokens"] = Tokenizer.load(tokenizer).vocab_size
    return values


def _check_loads(folder: Path) -> None:
    """Build every network of the base from its files.

    Raises:
        CheckpointError: One does not load.
    """
    files = locate_base(folder)
    load_gpt(files.gpt, files.config.gpt)
    loaders: tuple[Callable[..., object], ...] = (
        *(load_semantic_encoder, load_codec, load_s2mel, load_speaker_encoder),
        *(load_vocoder, load_emotion_matrices),
    )
    for load in loaders:
        load(files)


def _write_licence(path: Path) -> None:
    """Write the licence of the project beside the base, where the installation has it."""
    try:
        text = distribution("idiolect").read_text(f"licenses/{LICENCE_FILE}")
    except PackageNotFoundError:
        text = None
    if text is not None:
        write_text(path, text)


def _write_emotions(run: Path, folder: Path) -> None:
    """Write the emotion matrices that the finished networks of ``run`` hear in its corpus."""
    clips = open_clips(run / CORPUS_DIR / TRAIN_MANIFEST, run / CACHE_DIR_OF_RUN)
    styles, emotions = emotion_matrices(
        load_gpt(run / VOICE_DIR / BASE_ROLES["gpt"], base_config().gpt),
        frozen_encoder(run / ENCODER_DIR, run / CODEC_DIR),
        frozen_speaker(run / SPEAKER_DIR),
        clips,
    )
    for role, matrix in (("speaker_matrix", styles), ("emotion_matrix", emotions)):
        path = folder / BASE_ROLES[role]
        save_tensors(path, halved(matrix.clone(), where=path))


def _write_words(folder: Path) -> None:
    """Write what the recogniser of the base in ``folder`` knows of words, as it spells them."""
    known = {language: _spelled_words(language) for language in LANGUAGES}
    text = json.dumps(known, ensure_ascii=False, separators=(",", ":"))  # small: see MOST_BYTES
    write_text(folder / CACHE_DIR / SEMANTIC_DIR / WORDS_FILE, text + "\n")


def _spelled_words(language: str) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for word, count in word_counts(language).items():
        counts[spelling(word, language)] += count
    return dict(counts.most_common())


def _check_outside(target: Path) -> None:
    """Refuse a folder in another base; ``target`` itself becomes one."""
    with making_base(target):
        check_output(target)


def _check_replaceable(target: Path) -> None:
    _check_outside(target)
    if not target.exists() or not any(target.iterdir()):
        return
    config = target / CONFIG_FILE
    mark = read_yaml(config).get("idiolect", {}) if config.is_file() else {}
    if mark.get("name") != NANO_NAME:
        raise CheckpointError(
            f"{target} is not empty, and no nano base is in it", fix="choose a new folder"
        )


@contextmanager
def _staged(target: Path) -> Iterator[Path]:
    """Yield a folder beside ``target`` that takes its place once all of it is written."""
    folder = target.with_name(f".{target.name}.{os.getpid()}.partial")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with making_base(folder):
            yield folder
        old = target.with_name(f".{target.name}.{os.getpid()}.old")
        if target.exists():
            target.rename(old)
        folder.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
