import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from clips import TEXTS, write_clip, write_corpus
from idiolect.data.manifest import read_manifest

COMMAND = [sys.executable, "-m", "idiolect.cli.main", "prepare"]
GUIDE = [
    *("--audio-dir", "data/raw/catalan_audio/"),
    *("--transcript-file", "data/raw/catalan_transcripts.txt"),
    *("--output-manifest", "data/catalan_dataset/train.jsonl"),
]


@pytest.fixture
def project(tmp_path):
    """A folder as the guide has it, with ten clips."""
    return with_clips(tmp_path, 10)


def with_clips(folder, count):
    raw = folder / "data" / "raw"
    write_corpus(raw / "catalan_audio", [f"c{n:03d}.wav" for n in range(count)])
    lines = [f"c{n:03d}.wav|{TEXTS[n % len(TEXTS)]}\n" for n in range(count)]
    (raw / "catalan_transcripts.txt").write_text("".join(lines), "utf-8")
    return folder


def run(folder, *flags):
    return subprocess.run(
        [*COMMAND, *flags], cwd=folder, capture_output=True, text=True, check=False
    )


def test_the_guides_command_prints_what_it_did_and_what_comes_next(project):
    done = run(project, *GUIDE)

    assert done.returncode == 0, done.stderr
    assert "kept      10 clips: 25.0 s, ca, speakers: 1" in done.stdout
    assert "training    8 clips  data/catalan_dataset/train.jsonl" in done.stdout
    assert "next: idiolect pairs --manifest data/catalan_dataset/train.jsonl" in done.stdout
    assert "language: ca, told by the name" in done.stderr
    for name in ("train.jsonl", "val.jsonl", "rejected.jsonl", "report.html"):
        assert (project / "data" / "catalan_dataset" / name).is_file()


def test_both_spellings_of_a_flag_work_and_a_wrong_one_is_named(project):
    assert run(project, *(flag.replace("-dir", "_dir") for flag in GUIDE)).returncode == 0

    wrong = run(project, *GUIDE, "--min-seconds", "1")
    assert wrong.returncode != 0
    assert "--min-sec" in wrong.stdout + wrong.stderr


def test_bad_lines_end_with_exit_code_2_and_no_traceback(project):
    with (project / "data" / "raw" / "catalan_transcripts.txt").open("ab") as lines:
        lines.write("x.wav|Adéu.\nc001.wav|\n".encode("latin-1"))
        lines.write(b"zz.wav|Ningu.\n")

    done = run(project, *GUIDE)

    assert done.returncode == 2
    assert "data/raw/catalan_transcripts.txt:11: the line is not UTF-8" in done.stderr
    assert "data/raw/catalan_transcripts.txt:12: the text is empty" in done.stderr
    assert "data/raw/catalan_transcripts.txt:13: no audio file has this name" in done.stderr
    assert "Traceback" not in done.stderr


def measured(folder):
    """Return the clips that the store of an earlier run holds."""
    path = folder / "data" / "catalan_dataset" / ".train.measured.sqlite"
    if not path.is_file():
        return []
    database = sqlite3.connect(path)
    try:
        return [row[0] for row in database.execute("SELECT key FROM clips")]
    except sqlite3.OperationalError:
        return []
    finally:
        database.close()


def stop_midway(folder, how, *flags):
    """Start the command and stop it once some clips are measured; return exit code and errors."""
    process = subprocess.Popen(
        [*COMMAND, *GUIDE, *flags], cwd=folder, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not measured(folder) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(how)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_run_that_was_stopped_is_continued_and_hears_only_the_rest(tmp_path, how):
    project = with_clips(tmp_path, 100)
    audio = project / "data" / "raw" / "catalan_audio"
    for n in range(100, 1500):
        (audio / f"c{n:04d}.wav").symlink_to("c000.wav")
    with (project / "data" / "raw" / "catalan_transcripts.txt").open("a") as lines:
        lines.writelines(f"c{n:04d}.wav|{TEXTS[0]}\n" for n in range(100, 1500))

    stop_midway(project, how, "--workers", "1", "--allow-skips")
    before = measured(project)
    assert 1 < len(before) < 1500
    heard = before[1]
    spoil_without_a_trace(audio / heard)
    done = run(project, *GUIDE, "--allow-skips")

    assert done.returncode == 0, done.stderr
    assert len(measured(project)) == 1500
    kept = [u.id for u in read_manifest(project / "data/catalan_dataset/train.jsonl")]
    kept += [u.id for u in read_manifest(project / "data/catalan_dataset/val.jsonl")]
    assert len(kept) == 100
    assert heard.removesuffix(".wav") in kept


def spoil_without_a_trace(path):
    """Overwrite ``path`` so that it would be rejected, if it were heard again."""
    status = path.stat()
    path.write_bytes(b"x" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.slow
def test_ctrl_c_with_several_processes_ends_soon_and_says_how_to_go_on(tmp_path):
    project = with_clips(tmp_path, 300)
    for n in range(300):
        write_clip(project / "data/raw/catalan_audio" / f"c{n:03d}.wav", seconds=20, seed=n)

    code, message = stop_midway(project, signal.SIGINT, "--workers", "2")

    assert code == 130
    assert "interrupted; what was finished is kept, the same command goes on" in message
    assert "Traceback" not in message
    assert not (project / "data/catalan_dataset/train.jsonl").exists()
