"""Who gets in to a page that is really served, and what it gives away: nothing to strangers."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from docs.guide import ROOT
from page_kit import free_port, served, write_run

pytest.importorskip("gradio", reason="the extra webui is not installed")

MARTA = "Basic " + b64encode(b"marta:secret").decode()
API = "/en/gradio_api"


@pytest.fixture(scope="module")
def folder(nano_base, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    (folder / "checkpoints").symlink_to(nano_base)
    write_run(folder / "training/catalan")
    (folder / "secret.txt").write_text("not for visitors")
    return folder


@pytest.fixture(scope="module")
def open_page(folder) -> Iterator[str]:
    with served(folder) as address:
        yield address


@pytest.fixture(scope="module")
def locked_page(folder) -> Iterator[str]:
    with served(folder, "--listen", "--auth", "marta:secret") as address:
        yield address


def ask(address: str, path: str, *, method: str = "GET", body: bytes | None = None, **headers: str):
    """Send a path as it is written, dots and all; return status and body."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body=body, headers=named)
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def test_the_page_listens_on_this_machine_only(open_page):
    port = urlsplit(open_page).port

    listening = {
        c.laddr.ip
        for c in psutil.net_connections("tcp")
        if c.laddr.port == port and c.status == psutil.CONN_LISTEN
    }

    assert listening == {"127.0.0.1"}


@pytest.mark.parametrize(
    "path",
    [
        f"{API}/file=/etc/passwd",
        f"{API}/file=../../../../../../etc/passwd",
        f"{API}/file=%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        f"{API}/file=secret.txt",
        f"{API}/file=checkpoints/gpt.pth",
        f"{API}/file=training/catalan/metrics.jsonl",
        f"{API}/file=outputs/../secret.txt",
        f"{API}/file=file:///etc/passwd",
        f"{API}/proxy=http://127.0.0.1:1/",
        "/en/static/../../../../../etc/passwd",
        "/en/assets/..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/runs/../../etc/passwd",
        "/runs/nobody/samples/0/..%2f..%2f..%2fsecret.txt",
        "/tensorboard/../../etc/passwd",
        "/tensorboard/nobody/",
        "/en/../secret.txt",
    ],
)
def test_no_file_outside_the_shown_folders_is_served(open_page, path):
    status, body = ask(open_page, path)

    assert status in {400, 403, 404, 405}
    assert b"root:" not in body
    assert b"not for visitors" not in body


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/en/", "/ca/", "/en/config", "/en/theme.css", f"{API}/info", f"{API}/heartbeat/x"),
        *(f"{API}/queue/data?session_hash=x", f"{API}/file=outputs/x.wav", f"{API}/upload"),
        *("/runs/x/report", "/runs/x/samples/0/ca/001.wav", "/tensorboard/x/"),
        "/tensorboard/x/data/runs",
    ],
)
def test_everything_asks_for_the_password(locked_page, path):
    assert ask(locked_page, path)[0] == 401
    wrong = "Basic " + b64encode(b"marta:wrong").decode()
    assert ask(locked_page, path, authorization=wrong)[0] == 401


@pytest.mark.parametrize("path", [f"{API}/queue/join", f"{API}/upload", f"{API}/run/predict"])
def test_nothing_is_computed_or_taken_in_without_the_password(locked_page, path):
    assert ask(locked_page, path, method="POST", body=b"{}")[0] == 401


def test_who_knows_the_password_gets_in(locked_page):
    status, body = ask(locked_page, "/en/", authorization=MARTA)

    assert status == 200
    assert b"gradio" in body


def test_a_name_that_a_stranger_made_to_mean_this_machine_is_not_answered_to(open_page):
    assert ask(open_page, "/en/", host="evil.example")[0] == 403


@pytest.mark.parametrize("path", [f"{API}/queue/join", f"{API}/upload"])
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1"])
def test_another_page_cannot_let_this_one_work(open_page, path, origin):
    assert ask(open_page, path, method="POST", body=b"{}", origin=origin)[0] == 403


def test_an_upload_above_the_limit_is_refused(open_page):
    limit = 201 * 1024**2
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n'
    body = head + bytes(limit) + b"\r\n--x--\r\n"

    try:
        status, _ = ask(
            open_page,
            f"{API}/upload",
            method="POST",
            body=body,
            content_type="multipart/form-data; boundary=x",
        )
    except (BrokenPipeError, ConnectionResetError):  # it hung up before the end
        status = 413

    assert status == 413


def test_the_layout_of_the_page_tells_no_path_of_the_machine(open_page, folder):
    layout = json.loads(ask(open_page, "/en/config")[1])

    assert str(folder) not in json.dumps(layout)


@pytest.mark.parametrize("way", [("--listen",), ("--host", "0.0.0.0")], ids=["listen", "host"])
def test_a_page_for_the_network_wants_a_password_or_is_told_to_do_without(folder, way):
    ended = subprocess.run(  # noqa: PLW1510 -- its exit code is what is asked for
        [sys.executable, str(ROOT / "webui.py"), "--port", str(free_port()), *way],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert ended.returncode == 2
    assert "--auth" in ended.stderr
    assert "--no-auth" in ended.stderr


def test_what_was_uploaded_goes_when_the_server_ends(nano_base, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    (tmp_path / "checkpoints").symlink_to(nano_base)

    with served(tmp_path):
        (uploads,) = (tmp_path / "tmp").glob("idiolect-page-*")
        assert uploads.stat().st_mode & 0o077 == 0, "nobody else looks into it"

    assert not uploads.exists()
