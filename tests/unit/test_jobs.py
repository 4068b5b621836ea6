"""Jobs as real processes: what is true of them after anybody is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import psutil
import pytest

from idiolect.base.errors import DataError, GuardError, UserError
from idiolect.base.files import write_json
from idiolect.studio import job_runner, job_start
from idiolect.studio.jobs import (
    MAX_LOG_BYTES,
    RUNNER,
    STARTED_FILE,
    Job,
    Jobs,
    left_behind,
    read_record,
)

WAIT_SEC = 60.0
QUICK = ["--version"]
WRONG = ["no-such-command"]


@pytest.fixture
def jobs(tmp_path) -> Iterator[Jobs]:
    """A folder of jobs, of which nothing is left running."""
    jobs = Jobs(tmp_path / "jobs")
    yield jobs
    for process in [*runners(jobs), *filter(None, (jobs.process(j.id) for j in jobs.list()))]:
        with suppress(psutil.NoSuchProcess):
            process.kill()
            process.wait(WAIT_SEC)


@pytest.fixture
def patient(tmp_path) -> list[str]:
    """A command that waits without work: for somebody to write its settings into a pipe."""
    run = tmp_path / "run"
    run.mkdir()
    os.mkfifo(run / "config.yaml")
    return ["train", f"--resume={run}"]


def order(jobs: Jobs, command: list[str], *, device: str = "cpu", **given) -> Job:
    return jobs.submit(command, cwd=jobs.folder.parent, device=device, title="a job", **given)


def wait_until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_SEC
    while not is_so():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.02)


def wait_for(jobs: Jobs, job: Job, *statuses: str) -> Job:
    wait_until(lambda: jobs.get(job.id).status in statuses)
    return jobs.get(job.id)


def runners(jobs: Jobs) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if RUNNER in line and str(jobs.folder) in line and process.status() != "zombie":
            found.append(process)
    return found


def kill(process: psutil.Process | None) -> None:
    assert process is not None
    process.kill()
    with suppress(psutil.NoSuchProcess):
        process.wait(WAIT_SEC)


def kill_runners(jobs: Jobs) -> None:
    """Kill who serves the queue, and whoever else came to serve it and waits for the lock."""
    for runner in runners(jobs):
        kill(runner)


def test_a_job_runs_and_its_log_and_exit_code_are_kept(jobs):
    done, failed = order(jobs, QUICK, project="ca"), order(jobs, WRONG)

    done, failed = wait_for(jobs, done, "done"), wait_for(jobs, failed, "failed")

    assert (done.exit_code, failed.exit_code) == (0, 2)
    assert jobs.log(done.id).text.startswith("idiolect ")
    assert "no command 'no-such-command'" in jobs.log(failed.id).text
    assert done.ended_sec <= failed.started_sec, "one at a time on a device"
    assert [job.id for job in jobs.list()] == [failed.id, done.id]
    assert [job.id for job in jobs.list(project="ca")] == [done.id]


def test_the_runner_ends_when_nothing_is_left(jobs):
    wait_for(jobs, order(jobs, QUICK), "done")

    wait_until(lambda: not runners(jobs))


def test_devices_do_not_wait_for_each_other(jobs, patient):
    long = wait_for(jobs, order(jobs, patient), "running")
    waiting = order(jobs, QUICK)

    wait_for(jobs, order(jobs, QUICK, device="cuda:0"), "done")

    assert jobs.get(waiting.id).status == "queued"
    assert jobs.get(long.id).status == "running"


def test_stopping_reaches_the_process_and_the_queue_goes_on(jobs, patient):
    long, after = order(jobs, patient), order(jobs, QUICK)
    wait_for(jobs, long, "running")

    jobs.stop(long.id)

    assert wait_for(jobs, long, "stopped").exit_code == -signal.SIGTERM
    wait_for(jobs, after, "done")


def test_a_job_that_waits_is_stopped_without_ever_running(jobs, patient):
    wait_for(jobs, order(jobs, patient), "running")
    waiting = order(jobs, QUICK)

    assert jobs.stop(waiting.id).status == "stopped"

    assert jobs.get(waiting.id).started_sec is None


def test_a_job_that_was_stopped_before_it_began_does_not_begin(jobs, tmp_path):
    folder = tmp_path / "jobs" / "000001"
    write_json(folder / "stop.json", {})

    code = subprocess.run([sys.executable, "-m", job_runner.STARTER, folder], check=False)

    assert code.returncode == job_start.EXIT_NOTHING_TO_DO
    assert not (folder / STARTED_FILE).exists()


def test_a_job_that_does_not_obey_is_killed_after_a_while(jobs, patient, monkeypatch):
    monkeypatch.setattr(jobs, "wake", lambda device: None)
    job = order(jobs, patient)
    serving = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from pathlib import Path\n"
            "from idiolect.studio.jobs import Jobs\n"
            "from idiolect.studio.job_runner import serve_queue\n"
            "serve_queue(Jobs(Path(sys.argv[1])), 'cpu', grace_sec=0.3)",
            str(jobs.folder),
        ]
    )
    wait_for(jobs, job, "running")
    jobs.process(job.id).suspend()  # it cannot hear SIGTERM

    jobs.stop(job.id)

    assert wait_for(jobs, job, "stopped").exit_code == -signal.SIGKILL
    assert serving.wait(WAIT_SEC) == 0


def test_a_job_that_is_killed_has_failed_and_the_queue_goes_on(jobs, patient):
    long, after = order(jobs, patient), order(jobs, QUICK)
    wait_for(jobs, long, "running")

    kill(jobs.process(long.id))

    assert wait_for(jobs, long, "failed").exit_code == -signal.SIGKILL
    wait_for(jobs, after, "done")


def test_a_job_outlives_its_runner_and_the_next_one_waits_for_it(jobs, patient):
    long, after = order(jobs, patient), order(jobs, QUICK)
    pid = jobs.process(wait_for(jobs, long, "running").id).pid
    kill_runners(jobs)

    assert jobs.get(long.id).status == "running"
    jobs.wake()
    wait_until(lambda: runners(jobs))
    assert jobs.process(long.id).pid == pid, "it was not started a second time"
    assert jobs.get(after.id).status == "queued"

    jobs.stop(long.id)
    assert wait_for(jobs, long, "stopped").exit_code is None
    wait_for(jobs, after, "done")


def test_a_job_whose_end_nobody_saw_is_lost_and_the_queue_goes_on(jobs, patient):
    long, after = order(jobs, patient), order(jobs, QUICK)
    process = jobs.process(wait_for(jobs, long, "running").id)
    kill_runners(jobs)
    kill(process)

    assert jobs.get(long.id).status == "lost"
    assert jobs.get(long.id).elapsed_sec is None
    jobs.wake()

    wait_for(jobs, after, "done")
    assert jobs.get(long.id).status == "lost"


def test_jobs_outlive_the_process_that_ordered_them(jobs, patient, tmp_path):
    page = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from pathlib import Path\n"
            "from idiolect.studio.jobs import Jobs\n"
            "jobs = Jobs(Path(sys.argv[1]))\n"
            "for command in (sys.argv[2:], ['--version']):\n"
            "    jobs.submit(command, cwd=Path(), device='cpu', title='')\n"
            "time.sleep(600)",
            str(jobs.folder),
            *patient,
        ]
    )
    wait_until(lambda: len(jobs.list()) == 2)
    after, long = jobs.list()
    wait_for(jobs, long, "running")

    page.kill()
    page.wait()
    assert jobs.get(long.id).status == "running"
    jobs.stop(long.id)

    wait_for(jobs, long, "stopped")
    wait_for(jobs, after, "done")


def test_another_process_with_the_pid_of_a_job_is_left_alone(jobs, monkeypatch):
    monkeypatch.setattr(jobs, "wake", lambda device: None)
    job = order(jobs, QUICK)
    stranger = subprocess.Popen(["sleep", "600"], start_new_session=True)
    born_sec = psutil.Process(stranger.pid).create_time() - 3600
    record = {"pid": stranger.pid, "born_sec": born_sec, "started_sec": born_sec}
    write_json(jobs.folder / job.id / STARTED_FILE, record)

    assert jobs.get(job.id).status == "lost"
    jobs.stop(job.id)
    job_runner.serve_queue(jobs, "cpu")

    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_what_a_killed_job_leaves_running_is_ended_with_it(jobs, monkeypatch):
    monkeypatch.setattr(jobs, "wake", lambda device: None)
    job = order(jobs, QUICK)
    leader = subprocess.Popen(["sh", "-c", "sleep 600 & sleep 600"], start_new_session=True)
    wait_until(lambda: len(psutil.Process(leader.pid).children()) == 2)
    workers = psutil.Process(leader.pid).children()
    born_sec = psutil.Process(leader.pid).create_time()
    record = {"pid": leader.pid, "born_sec": born_sec, "started_sec": born_sec}
    write_json(jobs.folder / job.id / STARTED_FILE, record)

    assert list(left_behind(record)) == [], "the leader lives: these are not left behind"
    leader.kill()
    leader.wait()
    job_runner.serve_queue(jobs, "cpu")

    _, still_there = psutil.wait_procs(workers, timeout=WAIT_SEC)
    assert still_there == []


def test_a_job_is_claimed_once(jobs, monkeypatch):
    monkeypatch.setattr(jobs, "wake", lambda device: None)
    folder = jobs.folder / order(jobs, QUICK).id
    claim = (
        "import sys; from pathlib import Path\n"
        "from idiolect.studio.job_start import claim\n"
        "raise SystemExit(0 if claim(Path(sys.argv[1])) else 1)"
    )

    claims = [subprocess.Popen([sys.executable, "-c", claim, str(folder)]) for _ in range(3)]

    assert sorted(process.wait(WAIT_SEC) for process in claims) == [0, 1, 1]
    (winner,) = (process.pid for process in claims if process.returncode == 0)
    assert read_record(folder / STARTED_FILE)["pid"] == winner
    assert sorted(path.name for path in folder.iterdir()) == ["job.json", STARTED_FILE]


def test_a_folder_that_vanished_is_told_in_the_log(jobs, tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.setattr(jobs, "wake", lambda device: None)
    job = jobs.submit(QUICK, cwd=tmp_path / "work", device="cpu", title="")
    (tmp_path / "work").rmdir()

    job_runner.serve_queue(jobs, "cpu")

    assert (jobs.get(job.id).status, jobs.get(job.id).exit_code) == ("failed", 127)
    assert "cannot start" in jobs.log(job.id).text


def test_a_log_is_read_piece_by_piece_and_no_letter_is_cut(jobs, monkeypatch):
    monkeypatch.setattr(jobs, "wake", lambda device: None)
    job = order(jobs, QUICK)
    path = jobs.folder / job.id / "log.txt"
    assert jobs.log(job.id).text == ""

    path.write_bytes("l·l".encode()[:2])
    first = jobs.log(job.id)
    path.write_bytes("l·l\n".encode())
    second = jobs.log(job.id, first.offset)

    assert (first.text, second.text) == ("l", "·l\n")
    path.write_bytes(b"x" * (MAX_LOG_BYTES + 5))
    assert jobs.log(job.id).is_cut
    assert len(jobs.log(job.id).text) == MAX_LOG_BYTES


def test_a_job_is_done_again_with_the_same_command(jobs):
    first = wait_for(jobs, order(jobs, WRONG, project="ca", kind="train"), "failed")

    second = jobs.again(first.id)

    assert (second.command, second.project, second.kind) == (tuple(WRONG), "ca", "train")
    wait_for(jobs, second, "failed")
    jobs.remove(first.id)
    assert [job.id for job in jobs.list()] == [second.id]


def test_a_job_that_has_not_ended_is_neither_repeated_nor_forgotten(jobs, patient):
    job = order(jobs, patient)

    for refused in (jobs.again, jobs.remove):
        with pytest.raises(UserError, match="has not ended"):
            refused(job.id)


@pytest.mark.parametrize("name", ["../000001", "000001/..", "", ".", "999999"])
def test_only_the_name_of_a_job_names_a_job(jobs, name):
    with pytest.raises(UserError):
        jobs.get(name)


def test_no_job_is_kept_in_a_base_folder(nano_base, tmp_path):
    with pytest.raises(GuardError):
        Jobs(nano_base / "jobs").submit(QUICK, cwd=tmp_path, device="cpu", title="")
    assert not (nano_base / "jobs").exists()


def test_an_order_without_a_folder_is_refused(jobs, tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        jobs.submit(QUICK, cwd=tmp_path / "nowhere", device="cpu", title="")
    with pytest.raises(DataError, match="there is no job"):
        jobs.log("000001")


@pytest.mark.parametrize(
    ("device", "seen", "wanted"),
    [
        pytest.param("cpu", "0,1", "", id="none on the cpu"),
        pytest.param("cuda:1", "", "1", id="the second of all"),
        pytest.param("cuda:1", "4,7", "7", id="the second of those that are seen"),
        pytest.param("none", "4,7", "4,7", id="as they are"),
    ],
)
def test_a_job_sees_its_device_alone(device, seen, wanted):
    assert job_runner.environment(device, {"CUDA_VISIBLE_DEVICES": seen})[
        "CUDA_VISIBLE_DEVICES"
    ] == (wanted)
