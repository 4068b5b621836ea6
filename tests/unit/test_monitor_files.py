"""What the monitor links to: a run's page, sounds and figures, and its TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="the extra webui is not installed")
pytest.importorskip("a2wsgi", reason="the extra webui is not installed")
from fastapi import FastAPI
from starlette.testclient import TestClient
from torch.utils.tensorboard import SummaryWriter

from idiolect.studio.runs import Runs
from idiolect.webui import run_files, tensorboard
from idiolect.webui.tensorboard import Boards

pytestmark = pytest.mark.filterwarnings("ignore:html5lib's sanitizer:DeprecationWarning")
"""A part of TensorBoard warns of another of its parts as it is loaded."""

LINES = (
    {"kind": "train", "step": 1, "epoch": 1, "loss": 2.0, "lr": 1e-4, "grad_norm": 1.0},
    {"kind": "val", "step": 1, "epoch": 1, "loss": 1.5},
)


@pytest.fixture
def folder(tmp_path) -> Path:
    folder = tmp_path / "training/ca"
    (folder / "samples/step1/ca").mkdir(parents=True)
    (folder / "samples/step1/ca/001.wav").write_bytes(b"RIFF" + bytes(100))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES))
    with SummaryWriter(str(folder / "runs")) as events:
        events.add_scalar("val/loss", 1.5, 1)
    return folder


@pytest.fixture
def runs(folder) -> Runs:
    return Runs([folder.parents[1]])


@pytest.fixture
def run_id(runs) -> str:
    return runs.listed()[0].id


@pytest.fixture
def app() -> FastAPI:
    return FastAPI()


@pytest.fixture
def boards(app, runs) -> Boards:
    run_files.mount(app, runs)
    return tensorboard.mount(app, runs)


@pytest.fixture
def client(app, boards) -> TestClient:
    return TestClient(app)


def test_tensorboard_answers_below_the_path_of_its_run(client, run_id):
    page = client.get(tensorboard.address(run_id))
    tags = client.get(tensorboard.address(run_id) + "data/plugin/timeseries/tags").json()

    assert page.status_code == 200
    assert "<title>TensorBoard" in page.text
    assert tags["scalars"]["tagDescriptions"] == {}
    assert tags["scalars"]["runTagInfo"] == {".": ["val/loss"]}


def test_tensorboard_tells_no_path_of_the_machine(client, run_id, folder):
    answer = client.get(tensorboard.address(run_id) + "data/environment").text

    assert str(folder.parents[1]) not in answer


def test_tensorboard_shows_what_was_written_since(client, run_id, folder, monkeypatch):
    monkeypatch.setattr("idiolect.webui.tensorboard.RELOAD_SEC", -1.0)
    tags = tensorboard.address(run_id) + "data/plugin/timeseries/tags"
    client.get(tags)
    with SummaryWriter(str(folder / "runs"), filename_suffix=".later") as events:
        events.add_scalar("train/loss", 2.0, 2)

    shown = client.get(tags).json()["scalars"]["runTagInfo"]["."]

    assert shown == ["train/loss", "val/loss"]


def test_a_board_is_made_when_it_is_asked_for_and_forgotten_when_nobody_looks(
    client, boards, run_id, monkeypatch
):
    assert boards.num_open == 0
    client.get(tensorboard.address(run_id))
    assert boards.num_open == 1

    monkeypatch.setattr(boards, "_idle_sec", -1.0)
    boards.close_idle()

    assert boards.num_open == 0


@pytest.mark.parametrize("name", ["", "nobody", "..%2f..%2fetc", "%2e%2e"])
def test_there_is_a_board_for_known_runs_only(client, boards, name):
    assert client.get(f"/tensorboard/{name}/").status_code == 404
    assert boards.num_open == 0


def test_a_run_without_events_has_no_board(client, run_id, folder):
    (folder / "runs").rename(folder / "gone")

    answer = client.get(tensorboard.address(run_id))

    assert answer.status_code == 404
    assert "nothing for TensorBoard" in answer.text


def test_the_report_of_a_run_opens_and_none_of_its_scripts_may_run(client, run_id, folder):
    assert client.get(run_files.report_address(run_id)).status_code == 404
    (folder / "report.html").write_text("<script>alert(1)</script>")

    answer = client.get(run_files.report_address(run_id))

    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert policy.endswith("sandbox")
    assert "script-src" not in policy


def test_a_sound_is_served_in_parts_too(client, run_id):
    address = run_files.sample_address(run_id, 1, "ca/001.wav")

    assert len(client.get(address).content) == 104
    part = client.get(address, headers={"range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, b"RIFF")


@pytest.mark.parametrize(
    "name", ["..%2f..%2f..%2fmetrics.jsonl", "%2fetc%2fpasswd", "ca", "ca/002.wav"]
)
def test_nothing_else_of_the_machine_is_served(client, run_id, name):
    assert client.get(f"/runs/{run_id}/samples/1/{name}").status_code == 404


@pytest.mark.parametrize(
    ("kind", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("csv", b"kind,step,epoch")]
)
def test_figures_are_taken_away_as_files(client, run_id, kind, start):
    answer = client.get(run_files.export_address(run_id, "ca", kind))

    assert answer.content.startswith(start)
    assert answer.headers["content-disposition"] == f'attachment; filename="{run_id}.{kind}"'


@pytest.mark.parametrize("path", ["xx/figures.png", "en/figures.exe"])
def test_figures_have_no_other_language_or_form(client, run_id, path):
    assert client.get(f"/runs/{run_id}/{path}").status_code == 404
