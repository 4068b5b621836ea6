"""A server that is killed at work: what it had begun goes on, and nothing it had made is lost."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import psutil
import pytest

from clips import write_clip
from idiolect.studio.history import History
from idiolect.training.metrics import METRICS_FILE
from page_kit import (
    ask_for_few_codes,
    browser_api,
    choose,
    open_tab,
    serving,
    visited,
    wait_until,
)
from run_kit import write_clips

playwright = browser_api()

NUM_LINES = 6
LINES = "name,text,voice,language,seed\n" + "".join(
    f"line{n},Number {n} of the lines.,anna,en,{n}\n" for n in range(NUM_LINES)
)
STEPS_BEFORE = 3
EPOCHS = "60"
"""Long enough to be at work when the server is killed."""


@pytest.fixture
def folder(nano_base, tmp_path) -> Path:
    """A user's folder: the base, a voice, lines to be spoken, a project with eight clips."""
    (tmp_path / "checkpoints").symlink_to(nano_base)
    write_clip(tmp_path / "voices" / "anna.wav", seconds=1.0)
    (tmp_path / "lines.csv").write_text(LINES)
    write_clips(tmp_path / "data/ca_dataset", 8)
    return tmp_path


def metrics_of(folder: Path) -> list[dict]:
    path = folder / "training/ca/checkpoints" / METRICS_FILE
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def sounds_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("outputs/*.wav"))


def start_training(page: playwright.Page) -> None:
    panel = open_tab(page, "Train")
    choose(page, panel.get_by_role("combobox", name="Project"), "ca")
    panel.get_by_text("Data: ").wait_for()
    panel.get_by_label("that of the base, as it is").check()
    panel.get_by_label("Epochs").fill(EPOCHS)
    panel.get_by_label("Go on when more than a tenth").check()
    panel.get_by_role("button", name="Start, or go on").click()


def start_speaking(page: playwright.Page, folder: Path) -> None:
    panel = open_tab(page, "Batch")
    panel.locator("input[type=file][accept*='csv']").first.set_input_files(folder / "lines.csv")
    panel.locator("#batch-lines").get_by_text("Number 0 of the lines.").last.wait_for()
    ask_for_few_codes(panel)
    panel.get_by_role("button", name="Make a batch and speak it").click()


def test_training_goes_on_and_nothing_that_was_spoken_is_lost(browser, folder):
    with serving(folder) as (address, server), visited(browser, f"{address}/en/") as page:
        start_training(page)
        wait_until(lambda: len(metrics_of(folder)) > STEPS_BEFORE, "training")
        start_speaking(page, folder)
        wait_until(lambda: len(sounds_of(folder)) >= 2, "two lines spoken")
        page.goto("about:blank")
        server.kill()
        server.wait()
        before, heard = len(metrics_of(folder)), sounds_of(folder)
    assert len(heard) < NUM_LINES
    wait_until(lambda: len(metrics_of(folder)) > before, "training without a server")

    with serving(folder) as (address, _), visited(browser, f"{address}/en/") as page:
        train = open_tab(page, "Train")
        train.get_by_role("status").filter(has_text="Training of ca").wait_for()
        batch = open_tab(page, "Batch")
        batch.get_by_role("button", name="Run what waits").click()
        batch.get_by_text(f"{NUM_LINES} of {NUM_LINES} spoken, 0 failed").wait_for()
        train = open_tab(page, "Train")
        train.get_by_role("status").filter(has_text="done").wait_for()

    steps = [row["step"] for row in metrics_of(folder) if row["kind"] == "train"]
    assert steps == sorted(set(steps))
    records = History(folder / "outputs").search()
    assert {record.path.name for record in records} >= {path.name for path in heard}
    assert len({record.text for record in records}) == NUM_LINES
    for record in records:
        with wave.open(str(record.path)) as sound:
            assert sound.getnframes() > 0
    assert not [p for p in psutil.process_iter(["cwd"]) if p.info["cwd"] == str(folder)]
