"""The monitor as a visitor meets it: a real server, a real browser, a run that is written to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from page_kit import SIZES, WAIT_MS, browser_api, open_tab, strangers, visited, write_run

playwright = browser_api()

LOOKS_MS = 12_000
"""More than two looks of the monitor take."""


@pytest.fixture(scope="module")
def folder(nano_base, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    (folder / "checkpoints").symlink_to(nano_base)
    write_run(folder / "training/other", steps=10)
    write_run(folder / "training/catalan", steps=20)
    return folder


@pytest.fixture(params=SIZES)
def page(request, browser, address) -> Iterator[playwright.Page]:
    """The monitor at one size."""
    with visited(browser, f"{address}/en/", size=request.param) as page:
        open_monitor(page)
        yield page


def open_monitor(page: playwright.Page) -> None:
    open_tab(page, "Monitor")
    page.locator(".monitor-tiles").wait_for()


def choose(page: playwright.Page, title: str) -> None:
    page.get_by_label("Run of training").click()
    page.get_by_role("option", name=title).click()


def test_a_run_is_shown_with_its_state_curves_sounds_and_links(page):
    choose(page, "training/catalan")
    page.get_by_text("of 20").wait_for()

    assert "finished" in page.locator(".monitor-tiles").inner_text()
    figures = page.locator("figure svg[role=img]")
    assert {figure.get_attribute("aria-label") for figure in figures.all()} >= {
        "Loss (nats a token)",
        "Letters heard wrong (%)",
        "Forgotten of the base's languages (points)",
        "Learning rate",
    }
    players = page.locator(".monitor-sentence audio")
    players.first.wait_for()
    sound = players.first.get_attribute("src")
    assert page.request.get(page.url.partition("/en")[0] + sound).body().startswith(b"RIFF")


def test_what_a_run_appends_comes_by_itself_and_stops_coming_when_switched_off(page, folder):
    choose(page, "training/catalan")
    page.get_by_text("of 20").wait_for()
    metrics = folder / "training/catalan/metrics.jsonl"
    before = metrics.read_text()
    line = json.loads(before.splitlines()[-3])
    newest = {**line, "kind": "train", "step": 31, "lr": 1e-4, "grad_norm": 1.0, "eta_sec": 5.0}
    try:
        with metrics.open("a") as out:
            out.write(json.dumps(newest) + "\n")
        page.locator(".monitor-tiles dd", has_text="31").wait_for(timeout=LOOKS_MS * 2)
        page.get_by_label("Look again every 5 s").uncheck()
        page.wait_for_timeout(2000)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        with metrics.open("a") as out:
            out.write(json.dumps({**newest, "step": 47}) + "\n")
        page.wait_for_timeout(LOOKS_MS)
        assert page.locator(".monitor-tiles dd", has_text="47").count() == 0
        page.get_by_role("button", name="Look now").click()
        page.locator(".monitor-tiles dd", has_text="47").wait_for()
    finally:
        metrics.write_text(before)


def test_two_runs_are_compared(page):
    page.get_by_text("Runs side by side").first.click()
    for title in ("training/catalan", "training/other"):
        page.get_by_label("Runs to compare").click()
        page.get_by_role("option", name=title).click()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Compare", exact=True).last.click()

    page.get_by_text("at step 10").wait_for()


def test_tensorboard_opens_below_the_page_and_asks_nobody_else(page, browser, address):
    choose(page, "training/catalan")
    link = page.get_by_role("link", name="TensorBoard").get_attribute("href")
    board = browser.new_page()
    faults: list[str] = []
    board.on("request", lambda asked: faults.extend(strangers(asked.url, address)))
    board.goto(address + link)
    board.get_by_text("val/loss").first.wait_for(timeout=WAIT_MS)
    board.close()

    assert faults == []


def test_nothing_of_the_monitor_is_wider_than_the_window(page):
    page.locator("figure svg").first.wait_for()

    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
