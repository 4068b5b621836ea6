"""The page as a visitor meets it: ``python webui.py`` in a new process, and a browser."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from clips import write_clip
from docs.guide import ROOT
from registry_kit import make_tokenizer, trained_checkpoint

pytest.importorskip("gradio", reason="the extra webui is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = Path("/usr/bin/chromium")
if not CHROMIUM.exists():
    pytest.skip(f"no browser at {CHROMIUM}: apt install chromium", allow_module_level=True)

SERVER_START_SEC = 90
WAIT_MS = 60_000
"""For a model or a sound, on two busy cores."""
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


@pytest.fixture(scope="module")
def folder(nano_base, tmp_path_factory) -> Path:
    """A user's folder: the base, one installed model, a clip of a voice."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "checkpoints").symlink_to(nano_base)
    (folder / "models").mkdir()
    tokenizer = make_tokenizer(folder / "models" / "catalan_bpe.model")
    trained_checkpoint(folder / "models" / "gpt_catalan.pth", nano_base, tokenizer)
    write_clip(folder / "voice.wav", seconds=0.4)
    return folder


@pytest.fixture(scope="module")
def address(folder) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(ROOT / "webui.py"), "--device", "cpu", "--port", str(port)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        wait_for(f"http://127.0.0.1:{port}", server, folder / "server.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=30)


def wait_for(address: str, server: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + SERVER_START_SEC
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(address, timeout=5).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    pytest.fail(f"no page after {SERVER_START_SEC} s\n{log.read_text()}")


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=SIZES)
def page(request, browser, address) -> Iterator[playwright.Page]:
    """The page at one size; at the end, nothing was complained of and nobody else was asked."""
    width, height = SIZES[request.param]
    page = browser.new_page(viewport={"width": width, "height": height})
    faults: list[str] = []
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda asked: faults.extend(strangers(asked.url, address)))
    page.set_default_timeout(WAIT_MS)
    page.goto(address)
    page.get_by_role("button", name="Generate").wait_for()
    yield page
    page.close()
    assert faults == []


def strangers(url: str, address: str) -> list[str]:
    is_ours = urlsplit(url).scheme in {"data", "blob"} or url.startswith(address)
    return [] if is_ours else [url]


def choose(page: playwright.Page, label: str) -> None:
    page.get_by_label("Model Checkpoint").click()
    page.get_by_role("option", name=label).click()


def test_a_visitor_loads_a_model_and_hears_a_text(page, folder):
    choose(page, "gpt_catalan.pth")
    page.get_by_text("Tokenizer: catalan_bpe.model (60 vocab)").wait_for()
    page.get_by_role("button", name="Load Model").click()
    page.get_by_text("on cpu in").wait_for()
    page.locator("input[type=file]").first.set_input_files(folder / "voice.wav")
    page.get_by_test_id("audio-player-Voice prompt").wait_for(state="attached")
    page.get_by_label("Text").fill("Bon dia.")
    page.get_by_role("button", name="Generate").click()

    page.get_by_test_id("audio-player-Sound").wait_for(state="attached")
    sound = page.request.get(page.locator("a[download]").get_attribute("href")).body()
    outputs = [path.read_bytes() for path in folder.glob("outputs/*.wav")]
    assert sound.startswith(b"RIFF")
    assert sound in outputs


def test_what_is_missing_is_told_with_how_to_mend_it(page):
    page.get_by_role("button", name="Generate").click()

    notice = page.get_by_test_id("toast-body")
    notice.wait_for()
    assert "there is no voice prompt\nfix: upload or record a clip" in notice.inner_text()


def test_nothing_of_the_page_is_wider_than_the_window(page):
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    for label in ("Model Checkpoint", "GPU", "Language"):
        field = page.get_by_label(label)
        assert field.evaluate("field => field.scrollWidth <= field.clientWidth"), label
