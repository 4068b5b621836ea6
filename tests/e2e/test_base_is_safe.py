"""No command writes into a base, however the folder is disguised, and none loads anything first.

The base of these tests is garbage behind the right names: a command that read it before it looked
where it writes would complain of the garbage.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from clips import TEXTS, write_corpus
from idiolect.base.snapshot import BaseSnapshot
from idiolect.cli.main import COMMANDS, main
from idiolect.data.corpora import CORPORA

REFUSED = "the base models are never modified"
NOTHING_TO_WRITE = {"doctor"}
"""Commands that only look."""


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """The guide's tree, with garbage for a base, and other names for the base around it."""
    folder = tmp_path / "project"
    for name in ("gpt.pth", "s2mel.pth", "bpe.model", "config.yaml", "hf_cache/codec.safetensors"):
        path = folder / "checkpoints" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"garbage that is no {name}")
    write_corpus(folder / "audio", [f"{n:02d}.wav" for n in range(4)])
    write_manifest(folder / "data" / "train.jsonl", folder / "audio")
    write_manifest(folder / "checkpoints" / "train.jsonl", folder / "audio")
    lines = [f"{n:02d}.wav|{TEXTS[n]}\n" for n in range(4)]
    (folder / "catalan.txt").write_text("".join(lines), "utf-8")
    (folder / "x").mkdir()
    (folder / "link").symlink_to("checkpoints")
    (tmp_path / "link_outside").symlink_to(folder / "checkpoints")
    monkeypatch.chdir(folder)
    return folder


def write_manifest(path: Path, audio: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    records = [
        {
            "id": f"{n:02d}",
            "audio": str(audio / f"{n:02d}.wav"),
            "text": TEXTS[n],
            "speaker": "marta",
            "language": "ca",
            "duration": 2.5,
        }
        for n in range(4)
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")


DISGUISES: dict[str, Callable[[Path], str]] = {
    "its name": lambda _: "checkpoints",
    "a slash behind": lambda _: "checkpoints/",
    "by way of a neighbour": lambda _: "x/../checkpoints",
    "by way of the parent": lambda project: f"../{project.name}/checkpoints",
    "an absolute path": lambda project: str(project / "checkpoints"),
    "a symlink": lambda _: "link",
    "a symlink from outside": lambda _: "../link_outside",
    "a folder within": lambda _: "link/new/deep",
}

SPEECH = ["--voice", "audio/00.wav", "--text", "Bon dia."]
COMPARISON = ("--model-a", "base", "--model-b", "base", "--prompt", "voice.wav", "--text", "Hola.")
WRITERS: dict[str, Callable[[str], list[str]]] = {
    "prepare": lambda base: [
        *("prepare", "--audio-dir", "audio", "--transcript-file", "catalan.txt"),
        *("--output-manifest", f"{base}/train.jsonl"),
    ],
    "prepare with copies": lambda base: [
        *("prepare", "--audio-dir", "audio", "--transcript-file", "catalan.txt", "--copy"),
        *("--output-manifest", f"{base}/train.jsonl"),
    ],
    "pairs": lambda base: [
        *("pairs", "--manifest", "data/train.jsonl", "--output", f"{base}/train_paired.jsonl"),
    ],
    "tokenizer": lambda base: [
        *("tokenizer", "--manifest", "data/train.jsonl", "--output-prefix", f"{base}/ca_bpe"),
    ],
    "train": lambda base: [
        *("train", "--train-manifest", "data/train.jsonl", "--output-dir", base),
    ],
    "install": lambda base: [
        *("install", "--checkpoint", "checkpoints/gpt.pth", "--tokenizer", "checkpoints/bpe.model"),
        *("--output-name", "catalan", "--output-dir", base),
    ],
    "models": lambda base: ["models", "--rebuild", "--model-dir", base],
    "synth": lambda base: ["synth", *SPEECH, "--output", f"{base}/out.wav"],
    "compare": lambda base: ["compare", *COMPARISON, "--output-dir", base],
    "models export": lambda base: ["models", "export", "catalan", base, "--model-dir", "models"],
    "webui": lambda base: ["webui", "--output-dir", base],
    "webui voices": lambda base: ["webui", "--voices-dir", base],
    "webui jobs": lambda base: ["webui", "--jobs-dir", base],
    "corpus": lambda base: ["corpus", "debian", next(iter(CORPORA)), base, "--language", "en"],
    "demo": lambda base: ["demo", "--dir", base],
    "nano": lambda base: ["nano", "new", f"{base}/nano"],
    "nano export": lambda base: ["nano", "export", f"{base}/nano"],
    "download": lambda base: ["download", f"{base}/again", "--accept-licence", "bilibili"],
}


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_every_command_that_writes_is_looked_at_here():
    looked_at = {command.split()[0] for command in WRITERS} | {"features"}

    assert looked_at | NOTHING_TO_WRITE >= COMMANDS.keys()


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("command", WRITERS)
def test_a_base_as_output_is_refused_before_anything_is_loaded(project, capsys, command, disguise):
    before = BaseSnapshot.take(project / "checkpoints").hashes
    files = files_below(project.parent)

    code = main(WRITERS[command](DISGUISES[disguise](project)))

    message = capsys.readouterr().err
    assert code == 2
    assert REFUSED in message
    assert "would write into the base folder" in message
    assert "Traceback" not in message
    assert BaseSnapshot.take(project / "checkpoints").hashes == before
    assert files_below(project.parent) == files


@pytest.mark.parametrize("base", ["checkpoints", "link", "x/../checkpoints", "../link_outside"])
def test_features_are_not_put_beside_a_manifest_in_a_base(project, capsys, base):
    files = files_below(project)

    assert main(["features", "--manifest", f"{base}/train.jsonl"]) == 2

    assert REFUSED in capsys.readouterr().err
    assert files_below(project) == files


def test_training_on_a_manifest_in_a_base_is_refused_before_weights_are_read(
    tmp_path, nano_base, monkeypatch, capsys
):
    shutil.copytree(nano_base, tmp_path / "checkpoints")
    (tmp_path / "checkpoints" / "gpt.pth").write_text("garbage")
    write_corpus(tmp_path / "audio", [f"{n:02d}.wav" for n in range(4)])
    write_manifest(tmp_path / "checkpoints" / "train.jsonl", tmp_path / "audio")
    monkeypatch.chdir(tmp_path)

    code = main(["train", "--train-manifest", "checkpoints/train.jsonl", "--output-dir", "run"])

    assert code == 2
    assert REFUSED in capsys.readouterr().err
    assert not (tmp_path / "checkpoints" / "features").exists()


LINKED: dict[str, tuple[str, list[str]]] = {
    "prepare": ("out/train.jsonl", WRITERS["prepare"]("out")),
    "pairs": ("out/train_paired.jsonl", WRITERS["pairs"]("out")),
    "tokenizer": ("out/ca_bpe.model", WRITERS["tokenizer"]("out")),
    "train": ("out/train.log", WRITERS["train"]("out")),
    "train, its weights": ("out/latest.pth", WRITERS["train"]("out")),
    "install": ("out/gpt_catalan.pth", WRITERS["install"]("out")),
    "synth": ("out/out.wav", WRITERS["synth"]("out")),
}


@pytest.mark.parametrize("link", [os.link, os.symlink], ids=["hard link", "symlink"])
@pytest.mark.parametrize("command", LINKED)
def test_another_name_of_a_file_of_the_base_is_no_output(project, capsys, command, link):
    target, argv = LINKED[command]
    (project / "out").mkdir()
    link(project / "checkpoints" / "gpt.pth", target)
    before = BaseSnapshot.take(project / "checkpoints").hashes

    assert main(argv) == 2

    assert REFUSED in capsys.readouterr().err
    assert BaseSnapshot.take(project / "checkpoints").hashes == before
    assert files_below(project / "out") == {Path(target).name}


@pytest.mark.parametrize("folder", ["checkpoints", "link", "x/../checkpoints", "../link_outside"])
def test_no_new_base_is_made_over_one_that_is_there(project, capsys, folder):
    before = BaseSnapshot.take(project / "checkpoints").hashes

    assert main(["nano", "new", folder]) == 2

    assert "no base is ever overwritten" in capsys.readouterr().err
    assert BaseSnapshot.take(project / "checkpoints").hashes == before


def test_a_base_elsewhere_is_known_by_its_files(project, capsys, tmp_path):
    (project / "checkpoints").rename(tmp_path / "IndexTTS-2")
    before = BaseSnapshot.take(tmp_path / "IndexTTS-2").hashes

    for command in ("prepare", "pairs", "tokenizer", "train", "models", "synth"):
        assert main(WRITERS[command](str(tmp_path / "IndexTTS-2"))) == 2
        assert REFUSED in capsys.readouterr().err

    assert BaseSnapshot.take(tmp_path / "IndexTTS-2").hashes == before


def test_the_board_of_a_run_does_not_write_through_a_symlink(project):
    from idiolect.base.errors import GuardError
    from idiolect.training.metrics import MetricsLog

    (project / "run").mkdir()
    (project / "run" / "runs").symlink_to(project / "checkpoints")
    files = files_below(project / "checkpoints")

    with pytest.raises(GuardError):
        MetricsLog(project / "run", first_step=1).close()

    assert files_below(project / "checkpoints") == files
