"""A page that is really served, a browser that looks at it, and a run for it to show."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from torch.utils.tensorboard import SummaryWriter

from clips import write_clip
from docs.guide import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Locator, Page

START_SEC = 240
"""For a server to answer, beside another worker and its processes."""
CHROMIUM = Path("/usr/bin/chromium")
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
"""Width and height of the windows that the page is made for."""
WAIT_MS = 60_000
"""For a model or a sound, on two busy cores."""
JOB_MS = 300_000
"""For a job, on two cores that do other work beside it."""
LEAVING = ("AbortError: ", "Unexpected error Connection errored out")
TRIES = 3
FEWEST_CODES = "50"
"""That the page lets a visitor ask for: one second of sound."""


def browser_api() -> Any:
    """Return ``playwright.sync_api``; a module of tests is left out where nothing can be seen."""
    pytest.importorskip("gradio", reason="the extra webui is not installed")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}: apt install chromium", allow_module_level=True)
    return api


@contextmanager
def served(folder: Path, *flags: str) -> Iterator[str]:
    """Serve the page of ``folder`` on a free port; yield its address."""
    with serving(folder, *flags) as (address, _):
        yield address


@contextmanager
def serving(folder: Path, *flags: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Serve the page of ``folder`` on a free port; yield its address, and who serves."""
    port = free_port()
    command = [sys.executable, str(ROOT / "webui.py"), "--device", "cpu", "--port", str(port)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    log_path = folder / "server.log"
    with log_path.open("w") as log:
        server = subprocess.Popen(
            [*command, *flags], cwd=folder, env=environment, stdout=log, stderr=log
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/en/", server, log_path)
        yield f"http://127.0.0.1:{port}", server
    finally:
        server.terminate()
        server.wait(timeout=30)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SEC
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(address, timeout=5).close()
        except urllib.error.HTTPError:
            return  # it answers, if only to ask who is there
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError(f"no page after {START_SEC} s\n{log.read_text()}")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser that nobody sees."""
    from playwright.sync_api import sync_playwright  # some tests need the server alone

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def visited(browser: Browser, address: str, *, size: str = "desktop") -> Iterator[Page]:
    """Open ``address``, one of the page's languages or its door, in a window of that size.

    At the end nothing was complained of, and nobody but the server was asked for anything.
    """
    width, height = SIZES[size]
    page = browser.new_page(viewport={"width": width, "height": height})
    server = "/".join(address.split("/", 3)[:3])
    faults: list[str] = []
    page.on("console", lambda said: faults.extend(complaints(said)))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda asked: faults.extend(strangers(asked.url, server)))
    page.set_default_timeout(WAIT_MS)
    try:
        page.goto(address)
        page.locator("#text textarea").wait_for()
        yield page
    finally:
        page.close()
    assert not faults, "\n".join(faults)


def complaints(said: ConsoleMessage) -> list[str]:
    """Return what is an error, less what Gradio says when one leaves while it asks something."""
    is_fault = said.type == "error" and not any(text in said.text for text in LEAVING)
    return [f"{said.text} ({said.location})"] if is_fault else []


def strangers(url: str, server: str) -> list[str]:
    """Return ``url`` if it is of another host than ``server``."""
    return [] if url.startswith((f"{server}/", "data:", "blob:")) else [url]


def open_tab(page: Page, name: str) -> Locator:
    """Open the tab of that name; return what it holds."""
    tab = page.get_by_role("tab", name=name, exact=True)
    if not tab.is_visible():  # in a narrow window the last tabs are behind a button
        page.locator(".overflow-menu > button").first.click()
        tab = page.locator(".overflow-dropdown button").get_by_text(name, exact=True)
    tab.click()
    panel = page.locator("[role=tabpanel]:visible").first
    panel.locator("button, input").first.wait_for()
    return panel


def choose(page: Page, field: Locator, option: str) -> None:
    """Choose what has ``option`` in its name in a list that opens."""
    for _ in range(TRIES):
        field.click()
        page.get_by_role("option", name=option).first.click()
        if option in field.input_value():
            return  # a list that grew while it was open may have put another one there
    raise AssertionError(f"{option} cannot be chosen: {field.input_value()}")


def type_into(field: Locator, value: str) -> None:
    """Type what a list need not offer."""
    field.fill(value)
    field.press("Enter")
    field.press("Tab")


def wait_for_job(panel: Locator, title: str) -> None:
    """Wait until the job that was ordered ended well."""
    standing = panel.get_by_role("status").filter(has_text=title)
    ended = standing.filter(has_text="done").or_(standing.filter(has_text="failed"))
    ended.wait_for(timeout=JOB_MS)
    assert "done" in standing.inner_text(), panel.get_by_label("Log").input_value()


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    """Wait for what the page itself does not show."""
    deadline = time.monotonic() + WAIT_MS / 1000
    while not is_so():
        assert time.monotonic() < deadline, f"still not: {what}"
        time.sleep(0.1)


def ask_for_few_codes(panel: Locator) -> None:
    """Open the settings of the sampling, and make the sound as short as they allow."""
    panel.get_by_text("Sampling", exact=True).click()
    field = panel.get_by_label("number input for max_codes")
    field.fill(FEWEST_CODES)
    field.press("Tab")


def downloaded(page: Page, player: Locator) -> bytes:
    """Return the sound that a player offers to be kept."""
    player.wait_for(state="attached")
    link = player.locator("xpath=ancestor::*[.//a[@download]][1]//a[@download]").first
    address = link.get_attribute("href")
    assert address
    return page.request.get(address).body()


def write_run(folder: Path, *, steps: int = 20) -> Path:
    """Write what a run of training leaves in ``folder``: figures, events, sounds, a log."""
    folder.mkdir(parents=True)
    for step in (0, steps):
        own = folder / f"samples/step{step}"
        for language, text in (("ca", "Bon dia a tothom."), ("en", "Good morning.")):
            (own / language).mkdir(parents=True)
            write_clip(own / language / "001.wav", seconds=0.4)
            line = {"sound": f"{language}/001.wav", "text": text, "heard": text, "cer": 0.25}
            with (own / "spoken.jsonl").open("a", encoding="utf-8") as out:
                out.write(json.dumps(line) + "\n")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records(steps)))
    (folder / "train.log").write_text("2026-01-02 03:04:05,678 INFO idiolect 9.8.7\n")
    (folder / "report.html").write_text("<!doctype html><title>Training</title><h1>Training</h1>")
    with SummaryWriter(str(folder / "runs")) as events:
        events.add_scalar("val/loss", 1.5, steps)
    return folder


def records(steps: int) -> Iterator[dict]:
    """Yield the figures of a run of so many steps, a line each two."""
    for step in range(0, steps + 1, 2):
        loss = 3.0 / (1 + step / 10)
        scores = {"loss": loss, "text_loss": loss + 0.5, "mel_loss": loss, "mel_top1": 0.3}
        if step:
            speed = {
                "tokens_per_sec": 3e3,
                "step_sec": 0.5,
                "wait_sec": 0.01,
                "memory_bytes": 2**30,
            }
            more = {"lr": 1e-4, "grad_norm": 1.0, "eta_sec": 0.5 * (steps - step)}
            yield {"kind": "train", "step": step, "epoch": 1} | scores | more | speed
        if step % 10 == 0:
            both = {"ca": {"loss": loss}, "en": {"loss": loss + 1}}
            yield {"kind": "val", "step": step, "epoch": 1, "languages": both} | scores
            heard = {"ca": {"cer": 0.9 - step / 40}, "en": {"cer": 0.05 + step / 1000}}
            yield {"kind": "probe", "step": step, "epoch": 1, "languages": heard}
