"""What bad input gets: a message that says what, where and how to mend, and never a traceback.

==========================================  =======================================================
Input                                       Tests (of this file, where no other is named)
==========================================  =======================================================
audio: empty ... 7 channels                 test_each_bad_clip_is_named_by_its_reason; each measure
                                            in unit/test_checks.py, unit/test_audio_io.py
transcript: line without audio ... no text  test_all_bad_lines_are_named_at_once,
                                            test_harmless_oddities_of_a_transcript_are_read,
                                            test_a_manifest_line_that_no_file_can_hold_is_named,
                                            test_a_file_name_that_is_not_utf8_is_left_out_by_name
more than 10 % left out                     test_too_many_bad_clips_stop_the_run_unless_allowed
one speaker with one clip                   test_one_clip_of_one_speaker_is_told_what_to_do
wrong .pth, code, truncated, wrong shapes   test_what_is_no_gpt_is_refused_and_nothing_in_it_runs,
                                            test_other_sizes_show_the_first_three_differences,
                                            test_a_bad_file_among_the_models_hides_no_other,
                                            test_weights_damaged_anywhere_are_refused
tokenizer of another model                  test_the_tokenizer_of_another_model_shows_both_hashes
base folder as output                       e2e/test_base_is_safe.py
disk full                                   test_a_full_disk_keeps_old_files_and_is_gone_on_from,
                                            and the forecasts in e2e/test_training.py, unit/
Ctrl-C                                      prepare: e2e/test_prepare_command.py; features, train:
                                            test_ctrl_c_in_..._keeps_what_was_done
SIGTERM, kill -9                            e2e/test_prepare_command.py, unit/test_extraction.py,
                                            e2e/test_training.py; what is left half written by
                                            them: unit/test_files.py
unknown flag, key, command or name          test_a_misspelt_flag_..., test_a_misspelt_command_...,
                                            test_a_misspelt_key_of_a_run_..., unit/test_base_config
what a request for speech gets wrong        test_a_request_that_cannot_be_met_is_refused_at_once
what is read is never written over          test_no_command_writes_over_what_it_reads
==========================================  =======================================================
"""

from __future__ import annotations

import json
import os
import pickle
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from clips import RATE, TEXTS, sound, write_clip, write_corpus
from idiolect.base.errors import UserError
from idiolect.base.log import get_logger
from idiolect.base.snapshot import BaseSnapshot
from idiolect.cli.main import COMMANDS, main
from idiolect.models.checkpoint import CheckpointHeader, load_checkpoint, save_checkpoint
from idiolect.text.tokenizer import Tokenizer
from idiolect.training import loop
from registry_kit import make_tokenizer, trained_checkpoint

NUM_CLIPS = 10


@pytest.fixture(scope="module")
def made(tmp_path_factory, nano_base) -> Iterator[Path]:
    """A project with everything in it once; no test of this file may have changed its base."""
    base = BaseSnapshot.take(nano_base)
    folder = tmp_path_factory.mktemp("made")
    (folder / "checkpoints").symlink_to(nano_base)
    write_corpus(folder / "audio", [f"{n:02d}.wav" for n in range(NUM_CLIPS)])
    write_transcript(folder / "catalan.txt")
    write_manifest(folder / "data" / "train.jsonl", range(NUM_CLIPS))
    make_tokenizer(folder / "ca_bpe.model")
    make_tokenizer(folder / "other_bpe.model", TEXTS)
    trained_checkpoint(folder / "tuned.pth", nano_base, Tokenizer.load(folder / "ca_bpe.model"))
    yield folder
    base.verify()


@pytest.fixture
def project(made, tmp_path, monkeypatch) -> Path:
    """A copy of it that a test may spoil."""
    folder = tmp_path / "project"
    shutil.copytree(made, folder, symlinks=True)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(autouse=True)
def _own_notices() -> Iterator[None]:
    """Notices go to the standard error of this test, and not to that of an earlier one."""
    get_logger().handlers.clear()
    yield
    get_logger().handlers.clear()


def write_transcript(path: Path, extra: bytes = b"", *, count: int = NUM_CLIPS) -> None:
    lines = [f"{n:02d}.wav|{TEXTS[n % len(TEXTS)]}\n" for n in range(count)]
    path.write_bytes("".join(lines).encode() + extra)


def record(number: int, **given: Any) -> dict[str, Any]:
    plain = {
        "id": f"{number:02d}",
        "audio": f"../audio/{number:02d}.wav",
        "text": TEXTS[number % len(TEXTS)],
        "speaker": "marta",
        "language": "ca",
        "duration": 2.5,
    }
    return plain | given


def write_manifest(path: Path, numbers: range, extra: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(record(number)) + "\n" for number in numbers]
    path.write_text("".join(lines) + extra, "utf-8")
    return path


PREPARE = [
    *("prepare", "--audio-dir", "audio", "--transcript-file", "catalan.txt"),
    *("--output-manifest", "out/train.jsonl", "--workers", "1"),
]
TRAIN = [
    *("train", "--train-manifest", "data/train.jsonl", "--output-dir", "run", "--device", "cpu"),
    *("--batch-size", "2", "--log-interval", "1", "--learning-rate", "1e-3"),
]
INSTALL = ["install", "--tokenizer", "ca_bpe.model", "--output-name", "catalan"]
SYNTH = ["synth", "--voice", "audio/00.wav", "--output", "out.wav"]


# --- recordings and transcripts -------------------------------------------------------------------

BAD_CLIPS = {
    "empty.wav": "the audio file is empty",
    "cut.wav": "the audio file is cut short",
    "text.wav": "not audio",
    "nan.wav": "the audio holds samples that are not numbers",
    "silence.wav": "the clip is too quiet",
    "clipped.wav": "the clip is clipped",
    "tenth.wav": "the clip is too short",
    "hours.flac": "the clip is too long",
    "phone.wav": "the sample rate is too low",
    "seven.wav": "the clip has too many channels",
}


def write_bad_clips(folder: Path) -> None:
    good = sound()
    (folder / "empty.wav").write_bytes(b"")
    whole = write_clip(folder / "cut.wav").read_bytes()
    (folder / "cut.wav").write_bytes(whole[: len(whole) // 3])
    (folder / "text.wav").write_text("I am a letter to my aunt. " * 40)
    soundfile.write(folder / "nan.wav", np.where(good > 0.2, np.nan, good), RATE, subtype="FLOAT")
    soundfile.write(folder / "silence.wav", 0 * good, RATE)
    soundfile.write(folder / "clipped.wav", np.clip(9 * good, -1, 1), RATE)
    write_clip(folder / "tenth.wav", seconds=0.1)
    soundfile.write(folder / "hours.flac", np.zeros(7200 * 1000, np.int16), 1000)
    write_clip(folder / "phone.wav", rate=8000)
    soundfile.write(folder / "seven.wav", np.stack([good] * 7, axis=1), RATE)


def test_each_bad_clip_is_named_by_its_reason(project, capsys):
    write_bad_clips(project / "audio")
    lines = "".join(f"{name}|La frase del clip {name[:3]}.\n" for name in BAD_CLIPS)
    write_transcript(project / "catalan.txt", lines.encode())

    code = main([*PREPARE, "--allow-skips"])

    shown = capsys.readouterr().out
    rejected = [json.loads(x) for x in (project / "out/rejected.jsonl").read_text().splitlines()]
    reasons = {Path(row["audio"]).name: row["reason"] for row in rejected}
    assert code == 0
    assert "kept      10 clips" in shown
    assert reasons.keys() == BAD_CLIPS.keys()
    for name, reason in BAD_CLIPS.items():
        assert reasons[name].startswith(reason)
        assert reason in shown
    assert all(row["fix"] for row in rejected)


def test_all_bad_lines_are_named_at_once(project, capsys):
    bad = (
        b"99.wav|Ning\xc3\xba no la troba.\n01|Una altra vegada.\n02.wav|caf\xe9\n03.wav|  \n\n|b\n"
    )
    write_transcript(project / "catalan.txt", bad)
    write_clip(project / "audio" / "unsaid.wav", seed=50)

    assert main(PREPARE) == 2

    message = capsys.readouterr().err
    for line in (
        "catalan.txt:11: no audio file has this name (99.wav)",
        "catalan.txt:12: the clip has another line already (id '01' is used twice, first at "
        "catalan.txt:2)",
        "catalan.txt:13: the line is not UTF-8 (not UTF-8: byte 0xe9 near '02.wav|caf\xe9')",
        "catalan.txt:14: the text is empty",
        "catalan.txt:16: the line names no audio",
        "audio/unsaid.wav: no line of the transcript names this audio",
    ):
        assert line in message
    assert "put the file anywhere below --audio-dir" in message
    assert "iconv -f latin1 -t utf-8" in message
    assert not (project / "out").exists()


def test_harmless_oddities_of_a_transcript_are_read(project, capsys):
    """A byte-order mark, the line ends of Windows, tabs and blank lines."""
    rows = [f"{n:02d}.wav\t{TEXTS[n]}\r\n" for n in range(NUM_CLIPS)]
    odd = "\r\n".join(["", *rows, ""])
    (project / "catalan.txt").write_bytes(b"\xef\xbb\xbf" + odd.encode())

    assert main(PREPARE) == 0

    assert "kept      10 clips" in capsys.readouterr().out
    texts = [json.loads(x)["text"] for x in (project / "out/train.jsonl").read_text().splitlines()]
    assert set(texts) <= set(TEXTS)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff\xfeh\x00i\x00", id="UTF-16"),
        pytest.param(bytes(range(256)) * 20, id="binary"),
        pytest.param(b"PK\x03\x04" + bytes(100), id="a spreadsheet"),
        pytest.param(b"[" * 100_000, id="brackets"),
    ],
)
def test_a_file_that_is_no_transcript_is_refused(project, capsys, content):
    (project / "catalan.txt").write_bytes(content)

    assert main(PREPARE) == 2

    assert "catalan.txt" in capsys.readouterr().err


def test_times_that_are_no_numbers_are_named(project, capsys):
    rows = [
        {"audio": f"{n:02d}.wav", "text": TEXTS[n], "start": start, "end": 2.0}
        for n, start in enumerate(["nan", "inf", "-inf", -1, 9e99])
    ]
    (project / "catalan.txt").write_text("".join(json.dumps(row) + "\n" for row in rows))

    assert main(PREPARE) == 2

    message = capsys.readouterr().err
    for number in range(1, 6):
        assert f"catalan.txt:{number}: the times of the line make no sense" in message


def test_a_file_name_that_is_not_utf8_is_left_out_by_name(project, capsys):
    shutil.copy("audio/01.wav", os.fsdecode(b"audio/caf\xe9.wav"))

    assert main([*PREPARE, "--allow-skips"]) == 0

    done = capsys.readouterr()
    assert r"audio/caf\xe9.wav: the name of the file is not UTF-8" in done.err
    assert "convmv" in done.err
    assert "kept      10 clips" in done.out


BAD_RECORDS = {
    "half a character in the text": (
        json.dumps(record(9, text="\ud83d i prou")),
        "surrogates not allowed",
    ),
    "half a character in the speaker": (json.dumps(record(9, speaker="\udce9")), "surrogates"),
    "a time without end": (json.dumps(record(9)).replace("2.5", "1" + 400 * "0"), "duration"),
    "a number without end": (json.dumps(record(9)).replace("2.5", 5000 * "1"), "limit"),
    "no time": (json.dumps(record(9, duration=float("nan"))), "duration"),
    "brackets": ("[" * 100_000, "nested too deeply"),
    "a list": ("[1, 2]", "a JSON list, not an object"),
    "a number as text": (json.dumps(record(9, text=7)), "missing or empty: text"),
    "an id twice": (json.dumps(record(1)), "id '01' is used twice, first on line 2"),
    "half a line": ('{"id": "09", "aud', "not JSON"),
}


@pytest.mark.parametrize("fault", BAD_RECORDS)
def test_a_manifest_line_that_no_file_can_hold_is_named(project, capsys, fault):
    line, reason = BAD_RECORDS[fault]
    write_manifest(project / "data/train.jsonl", range(8), line + "\n")
    manifest = ["--manifest", "data/train.jsonl"]
    commands = (
        ["pairs", *manifest],
        ["tokenizer", *manifest, "--output-prefix", "new"],
        ["features", *manifest, "--device", "cpu"],
        TRAIN,
    )
    for argv in commands:
        assert main(argv) == 2
        message = capsys.readouterr().err
        assert "data/train.jsonl:9:" in message
        assert reason in message


def test_too_many_bad_clips_stop_the_run_unless_allowed(project, capsys):
    for name in ("00.wav", "01.wav"):
        write_clip(project / "audio" / name, seconds=0.2)

    assert main(PREPARE) == 2

    message = capsys.readouterr().err
    assert "2 of 10 clips are left out, more than 10%; no manifest is written" in message
    assert "2 x the clip is too short" in message
    assert "--allow-skips" in message
    assert not (project / "out/train.jsonl").exists()
    assert (project / "out/report.html").is_file()
    assert main([*PREPARE, "--allow-skips"]) == 0


def test_one_clip_of_one_speaker_is_told_what_to_do(project, capsys):
    write_manifest(project / "data/train.jsonl", range(1))

    assert main(["pairs", "--manifest", "data/train.jsonl"]) == 2
    of_pairs = capsys.readouterr().err
    assert main(TRAIN) == 2
    of_training = capsys.readouterr().err

    for message in (of_pairs, of_training):
        assert "no pair can be made of 1 clips" in message
        assert "it is the only clip of its speaker" in message
        assert "--self-pairs" in message
    assert main(["pairs", "--manifest", "data/train.jsonl", "--self-pairs"]) == 0


# --- weights and tokenizers -----------------------------------------------------------------------


class Bomb:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch executed",)


def zip_of_a_letter(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", "Dear aunt")


def half_of_a_checkpoint(path: Path) -> None:
    whole = Path("tuned.pth").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


NO_WEIGHTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "an empty file": (lambda path: path.write_bytes(b""), "only half of one (0 bytes)"),
    "half a file": (half_of_a_checkpoint, "not a file of weights, or only half of one"),
    "a sound": (lambda path: shutil.copy("audio/00.wav", path), "not a file of weights"),
    "a tokenizer": (lambda path: shutil.copy("ca_bpe.model", path), "not a file of weights"),
    "a letter": (zip_of_a_letter, "not a file of weights"),
    "code": (
        lambda path: torch.save({"model": {"w": torch.zeros(2), "x": Bomb()}}, path),
        "it asks for posix.system",
    ),
    "a bare pickle": (lambda path: path.write_bytes(pickle.dumps(Bomb())), "not a file of weights"),
    "a whole network": (
        lambda path: torch.save(torch.nn.Linear(2, 2), path),
        "it asks for torch.nn.modules.linear.Linear",
    ),
    "a tensor": (lambda path: torch.save(torch.zeros(3), path), "it holds no named tensors"),
    "a tensor for a model": (
        lambda path: torch.save({"model": torch.zeros(3)}, path),
        "it holds no named tensors",
    ),
    "numbers for names": (lambda path: torch.save({1: torch.zeros(3)}, path), "1 is no tensor"),
    "words for tensors": (lambda path: torch.save({"model": {"w": "x"}}, path), "'w' is no tensor"),
    "a header of words": (
        lambda path: torch.save(
            {"model": {"w": torch.zeros(1)}, "header": {"format_version": "x"}}, path
        ),
        "the header is damaged: format_version",
    ),
    "a folder": (lambda path: path.mkdir(), "no such checkpoint|no such file of weights"),
}


@pytest.mark.parametrize("kind", NO_WEIGHTS)
def test_what_is_no_gpt_is_refused_and_nothing_in_it_runs(project, capsys, kind):
    write, reason = NO_WEIGHTS[kind]
    write(project / "bad.pth")

    for argv in ([*INSTALL, "--checkpoint"], [*TRAIN, "--base-checkpoint"]):
        assert main([*argv, "bad.pth"]) == 2
        message = capsys.readouterr().err
        assert re.search(reason if "|" in reason else re.escape(reason), message)
        assert "bad.pth" in message
        assert not (project / "executed").exists()
    assert not (project / "models").exists()
    assert not list((project / "run").glob("*.pth"))


def test_other_sizes_show_the_first_three_differences(project, capsys):
    weights, header = load_checkpoint("tuned.pth")
    first = [name for name in weights if name.startswith("gpt.h.0.")][:5]
    weights |= dict.fromkeys(first, torch.zeros(3, 5))
    save_checkpoint(project / "other.pth", weights, header)

    for argv in (INSTALL, [*TRAIN, "--tokenizer", "ca_bpe.model"]):
        flag = "--checkpoint" if argv is INSTALL else "--base-checkpoint"
        assert main([*argv, flag, "other.pth"]) == 2
        message = capsys.readouterr().err
        found = re.findall(r"(\S+): \[.*\] expected, \[3, 5\] in the file", message)
        assert len(found) == 3
        assert set(found) <= set(first)
        assert "differ" in message


def test_a_bad_file_among_the_models_hides_no_other(project, capsys):
    assert main([*INSTALL, "--checkpoint", "tuned.pth"]) == 0
    for number, (write, _) in enumerate(NO_WEIGHTS.values()):
        write(project / "models" / f"gpt_bad{number}.pth")
    capsys.readouterr()

    assert main(["models"]) == 0

    shown = capsys.readouterr().out
    assert "gpt_catalan.pth (" in shown
    assert shown.count("cannot be loaded: ") == len(NO_WEIGHTS) - 1
    assert not (project / "executed").exists()
    assert main([*SYNTH, "--text", "Hola.", "--model", "bad5"]) == 2
    assert "it asks for posix.system" in capsys.readouterr().err
    assert not (project / "executed").exists()


def test_weights_damaged_anywhere_are_refused(tmp_path):
    """Bytes changed at random, in the pickle within and in the file: an error, or what it says."""
    chance = random.Random(4)
    path = tmp_path / "w.pth"
    save_checkpoint(path, {"a": torch.ones(3, 4), "b": torch.ones(5)}, CheckpointHeader(step=3))
    whole = path.read_bytes()
    start, end = whole.index(b"\x80\x02}"), whole.index(b"byteorder") - 64
    refused = 0
    for number in range(300):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 3)):
            limits = (start, end) if number % 3 else (0, len(whole))
            damaged[chance.randrange(*limits)] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            load_checkpoint(path)
        except UserError:
            refused += 1
    assert refused > 200


def test_the_tokenizer_of_another_model_shows_both_hashes(project, capsys):
    right, wrong = (Tokenizer.load(f"{name}_bpe.model").sha256 for name in ("ca", "other"))
    argv = ["--tokenizer", "other_bpe.model"]
    commands = {
        "install": ["install", "--checkpoint", "tuned.pth", "--output-name", "x", *argv],
        "train": [*TRAIN, "--base-checkpoint", "tuned.pth", *argv],
    }
    for command in commands.values():
        assert main(command) == 2
        message = capsys.readouterr().err
        assert right[:12] in message
        assert wrong[:12] in message

    assert main([*INSTALL, "--checkpoint", "tuned.pth"]) == 0
    shutil.copy("other_bpe.model", "models/catalan_bpe.model")
    assert main([*SYNTH, "--text", "Hola.", "--model", "catalan"]) == 2
    message = capsys.readouterr().err
    assert right[:12] in message
    assert wrong[:12] in message


@pytest.mark.parametrize("name", ["audio/00.wav", "catalan.txt", "tuned.pth", "audio", "nowhere"])
def test_what_is_no_tokenizer_is_refused(project, capsys, name):
    assert main([*TRAIN, "--tokenizer", name]) == 2
    assert name in capsys.readouterr().err


def test_a_refused_start_leaves_the_earlier_run_where_it_is(project, capsys):
    assert main([*TRAIN, "--max-steps", "1"]) == 0
    before = {path: path.read_bytes() for path in Path("run").glob("*") if path.is_file()}
    half_of_a_checkpoint(project / "bad.pth")

    for argv in (
        ["--base-checkpoint", "bad.pth"],
        ["--base-checkpoint", "tuned.pth", "--tokenizer", "other_bpe.model"],
        ["--base-checkpoint", "run/latest.pth", "--seed", "5"],
        ["--tokenizer", "audio/00.wav"],
    ):
        assert main([*TRAIN, *argv]) == 2

    assert (
        "a new run in run would move latest.pth away"
        in (capsys.readouterr().err + str(main([*TRAIN, "--base-checkpoint", "run/latest.pth"])))
        + capsys.readouterr().err
    )
    assert {p: p.read_bytes() for p in Path("run").glob("*") if p.is_file()} == before


# --- interruptions and full disks -----------------------------------------------------------------


@contextmanager
def full_disk(size_bytes: int) -> Iterator[None]:
    """Let no file grow beyond ``size_bytes``: a write fails half-way, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


FILLED: dict[str, tuple[list[str], int, str]] = {
    "prepare": (PREPARE, 2_000, "out/train.jsonl"),
    "pairs": (
        ["pairs", "--manifest", "data/train.jsonl", "--output", "out/train.jsonl"],
        500,
        "out/train.jsonl",
    ),
    "tokenizer": (
        ["tokenizer", "--manifest", "data/train.jsonl", "--output-prefix", "out/new"],
        20_000,
        "out/new.model",
    ),
    "features": (["features", "--manifest", "data/train.jsonl", "--device", "cpu"], 9_000, ""),
    "train": ([*TRAIN, "--max-steps", "2"], 1_000_000, "run/latest.pth"),
    "install": ([*INSTALL, "--checkpoint", "tuned.pth"], 1_000_000, "models/gpt_catalan.pth"),
}


@pytest.mark.parametrize("command", FILLED)
def test_a_full_disk_keeps_old_files_and_is_gone_on_from(project, capsys, command):
    argv, size_bytes, output = FILLED[command]
    if command == "train":
        assert main([*TRAIN, "--max-steps", "1"]) == 0
    old = Path(output).read_bytes() if output and Path(output).exists() else None
    capsys.readouterr()

    with full_disk(size_bytes):
        assert main(argv) == 2

    message = capsys.readouterr().err
    assert re.search(r"File too large|disk I/O error|disk is full", message)
    assert "Traceback" not in message
    assert not list(project.rglob("*.partial"))
    if output:
        assert (Path(output).read_bytes() if Path(output).exists() else None) == old
    assert main(argv) == 0


def test_ctrl_c_in_training_keeps_what_was_done(project, capsys, monkeypatch):
    real, calls = loop.train_step, 0

    def interrupted(*args: Any, **given: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            signal.raise_signal(signal.SIGINT)
        return real(*args, **given)

    monkeypatch.setattr(loop, "train_step", interrupted)

    assert main([*TRAIN, "--max-steps", "4"]) == 130

    done = capsys.readouterr()
    assert "stopped at step 2 of 4; go on with:" in done.out
    assert "base unchanged" in done.out
    assert main([*TRAIN, "--max-steps", "4"]) == 0
    assert "going on from run/model_step2.pth" in capsys.readouterr().err.replace(
        "latest", "model_step2"
    )


def test_ctrl_c_in_the_extraction_keeps_what_was_done(project, capsys):
    count = 150  # some ten seconds of work, of which two are let pass
    write_corpus(project / "audio", [f"{n:02d}.wav" for n in range(count)])
    write_manifest(project / "data/train.jsonl", range(count))
    argv = ["features", "--manifest", "data/train.jsonl", "--device", "cpu", "--batch-size", "1"]
    with subprocess.Popen(
        [sys.executable, "-m", "idiolect", *argv],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if "extracting features" in line)
        process.send_signal(signal.SIGINT)
        message = process.stderr.read()

    assert process.returncode == 130
    assert "what was finished is kept, the same command goes on" in message
    assert "Traceback" not in message
    assert main(argv) == 0
    found = re.search(
        rf"of {count} clips: (\d+) extracted in .*, (\d+) there already", capsys.readouterr().out
    )
    assert found is not None
    assert int(found[2]) > 0
    assert int(found[1]) + int(found[2]) == count


# --- flags, keys and requests ---------------------------------------------------------------------

SPOILT_FLAGS = {
    "prepare": ("--audio-dir", "--audio-dirr audio"),
    "pairs": ("--manifest", "--manifst data/train.jsonl"),
    "tokenizer": ("--vocab-size", "--manifest x --output-prefix y --vocab-sise 400"),
    "features": ("--batch-size", "--manifest x --batch_sise 4"),
    "train": ("--learning-rate", "--learning-rat 1e-4"),
    "install": ("--checkpoint", "--checkpiont tuned.pth"),
    "models": ("--model-dir", "--model-dri models"),
    "synth": ("--voice", "--voise audio/00.wav"),
    "compare": ("--prompt", "--model-a base --model-b base --promt voice.wav"),
    "webui": ("--port", "--prot 7861"),
    "doctor": ("--base", "--bsae checkpoints"),
    "download": ("--accept-licence", "--acept-licence bilibili"),
    "nano": ("--seed", "new x --sede 1"),
    "corpus": ("--language", "debian x y --langauge ca"),
    "demo": ("--epochs", "--epoch 1"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_misspelt_flag_is_told_the_nearest(project, capsys, command):
    right, argv = SPOILT_FLAGS[command]

    with pytest.raises(SystemExit) as ended:
        main([command, *argv.split()])

    assert ended.value.code == 2
    assert re.search(rf"{right}(?![a-z])", capsys.readouterr().err)


def test_a_misspelt_command_is_told_the_nearest(capsys):
    assert main(["trian"]) == 2
    assert "did you mean 'train'?" in capsys.readouterr().err


def test_a_misspelt_name_is_told_the_nearest(project, capsys):
    assert main([*INSTALL, "--checkpoint", "tuned.pth"]) == 0
    assert main([*SYNTH, "--text", "Hola.", "--model", "catalna"]) == 2
    assert "did you mean 'catalan'?" in capsys.readouterr().err
    assert main(["corpus", "debian", "festvox-ur", "x"]) == 2
    assert "did you mean 'festvox-ru'?" in capsys.readouterr().err


def test_a_misspelt_key_of_a_run_is_told_the_nearest(project, capsys):
    assert main([*TRAIN, "--max-steps", "1"]) == 0
    settings = project / "run/config.yaml"
    settings.write_text(settings.read_text().replace("epochs:", "epocs:"))

    assert main(["train", "--resume", "run/latest.pth"]) == 2

    message = capsys.readouterr().err
    assert "unknown key 'epocs'" in message
    assert "did you mean 'epochs'?" in message
    assert "run/config.yaml" in message


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: path.write_bytes(b""), id="empty"),
        pytest.param(lambda path: torch.save({"model": {}}, path), id="of another kind"),
        pytest.param(lambda path: torch.save([1, 2], path), id="a list"),
        pytest.param(lambda path: torch.save({"run": 1, "optimizer": 2}, path), id="numbers"),
    ],
)
def test_a_damaged_state_of_a_run_is_refused(project, capsys, damage):
    assert main([*TRAIN, "--max-steps", "1"]) == 0
    damage(project / "run/state/state.pth")

    assert main(["train", "--resume", "run/latest.pth", "--max-steps", "2"]) == 2

    assert "run/state/state.pth" in capsys.readouterr().err


REQUESTS: dict[str, tuple[list[str], str]] = {
    "no voice": (["--voice", "nowhere.wav", "--text", "Hola."], "no such audio file: nowhere.wav"),
    "a voice that is no sound": (["--voice", "catalan.txt", "--text", "Hola."], "not audio"),
    "a folder as voice": (["--voice", "audio", "--text", "Hola."], "no such audio file: audio"),
    "no text": ([], "give --text or --text-file"),
    "two texts": (["--text", "Hola.", "--text-file", "catalan.txt"], "one of them"),
    "a text in Latin-1": (["--text-file", "latin1.txt"], "the text is 2: not UTF-8: byte 0xe9"),
    "no file of text": (["--text-file", "nowhere.txt"], "no such file: nowhere.txt"),
    "a folder as output": (["--text", "Hola.", "--output", "audio"], "audio is a folder"),
}


@pytest.mark.parametrize("request_", REQUESTS)
def test_a_request_that_cannot_be_met_is_refused_at_once(project, capsys, request_):
    """Before the base is looked for: here there is none."""
    (project / "latin1.txt").write_bytes(b"Bon dia.\ncaf\xe9\n")
    argv, reason = REQUESTS[request_]

    assert main([*SYNTH, "--base", "nowhere", *argv]) == 2

    assert reason in capsys.readouterr().err


@pytest.fixture(scope="module")
def tts(made):
    from idiolect.synthesis.pipeline import IndexTTS2

    return IndexTTS2(made / "checkpoints/config.yaml", made / "checkpoints", device="cpu")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"text": ""}, "nothing to say in ''"),
        ({"text": " \n "}, "nothing to say"),
        ({"seed": 2**70}, "seed 1180591620717411303424 is out of range"),
        ({"seed": -1}, "seed -1 is out of range"),
        ({"max_text_tokens_per_segment": 0}, "max_text_tokens_per_segment 0 is out of range"),
        ({"speed": float("nan")}, "speed nan is out of range"),
        ({"emo_vector": [1, 2]}, "emo_vector has 2 weights, not 8"),
        ({"temperatur": 1.0}, "did you mean 'temperature'?"),
        ({"num_beams": 0}, "num_beams 0 is out of range"),
    ],
)
def test_a_setting_of_speech_out_of_range_is_named(tts, made, given, reason):
    plain = {"spk_audio_prompt": made / "audio/00.wav", "text": "Hola."}

    with pytest.raises(UserError, match=re.escape(reason)):
        tts.infer(**(plain | given))


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
def test_a_device_that_is_not_there_is_named(project, capsys, device):
    assert main([*SYNTH, "--text", "Hola.", "--device", device]) == 2

    message = capsys.readouterr().err
    assert f"the device {device} cannot be used" in message
    assert "give cpu" in message


OVERWRITING = {
    "pairs": ("pairs --manifest data/train.jsonl --output data/train.jsonl", "data/train.jsonl"),
    "pairs by a link": ("pairs --manifest data/train.jsonl --output link", "data/train.jsonl"),
    "prepare": (
        "prepare --audio-dir audio --transcript-file catalan.txt --output-manifest catalan.txt",
        "catalan.txt",
    ),
    "tokenizer": (
        "tokenizer --manifest data/train.jsonl --output-prefix ca_bpe",
        "ca_bpe.model",
    ),
    "install": (
        "install --checkpoint tuned.pth --tokenizer ca_bpe.model --output-name ../tuned",
        "tuned.pth",
    ),
}


@pytest.mark.parametrize("command", OVERWRITING)
def test_no_command_writes_over_what_it_reads(project, capsys, command):
    line, kept = OVERWRITING[command]
    Path("link").symlink_to("data/train.jsonl")
    before = Path(kept).read_bytes()

    assert main(line.split()) == 2

    assert "fix: " in capsys.readouterr().err
    assert Path(kept).read_bytes() == before
