"""The whole way by clicks: recordings, data, tokenizer, training, a model, and what it says."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from idiolect.base.places import SHIPPED_DIR
from page_kit import (
    browser_api,
    choose,
    chromium,
    downloaded,
    open_tab,
    served,
    type_into,
    visited,
    wait_for_job,
)

playwright = browser_api()

CORPUS = SHIPPED_DIR.parent / "catalan"
NUM_CLIPS = 64
"""Four minutes: a plan refuses less than three."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A user's folder: recordings and what is said in them; no model, no data, no project."""
    folder = tmp_path_factory.mktemp("page")
    lines = (CORPUS / "transcripts.txt").read_text(encoding="utf-8").splitlines()[:NUM_CLIPS]
    (folder / "rec" / "recordings").mkdir(parents=True)
    for line in lines:
        shutil.copy(CORPUS / "recordings" / line.partition("|")[0], folder / "rec" / "recordings")
    (folder / "rec" / "transcripts.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def page(folder) -> Iterator[playwright.Page]:
    with (
        served(folder, "--base", "nano") as address,
        chromium() as browser,
        visited(browser, f"{address}/en/") as page,
    ):
        yield page


def prepare(page: playwright.Page) -> None:
    panel = open_tab(page, "Dataset")
    type_into(panel.get_by_role("combobox", name="Project"), "catalan")
    panel.get_by_label("Folder of the recordings").fill("rec/recordings")
    panel.get_by_label("Transcript").first.fill("rec/transcripts.txt")
    panel.get_by_role("button", name="Show what is detected").click()
    panel.get_by_text(f"{NUM_CLIPS} clips with text").wait_for()
    panel.locator("audio").first.wait_for(state="attached")
    type_into(panel.get_by_role("combobox", name="Language"), "ca")
    panel.get_by_role("button", name="Prepare", exact=True).click()
    wait_for_job(panel, "Prepare catalan")
    panel.get_by_text("Training: ").wait_for()


def train(page: playwright.Page) -> None:
    panel = open_tab(page, "Train")
    choose(page, panel.get_by_role("combobox", name="Project"), "catalan")
    panel.get_by_text("Data: ").wait_for()
    panel.get_by_role("button", name="Train tokenizer").click()
    wait_for_job(panel, "Tokenizer of catalan")
    panel.get_by_label("Epochs").fill("1")
    panel.get_by_label("Epochs").press("Tab")
    panel.get_by_label("Clips in a step").fill("4")
    panel.get_by_label("Clips in a step").press("Tab")
    panel.get_by_role("button", name="Plan", exact=True).click()
    wait_for_job(panel, "Plan of catalan")
    panel.get_by_role("button", name="Start, or go on").click()
    wait_for_job(panel, "Training of catalan")
    panel.get_by_text("Run: ").wait_for()


def install(page: playwright.Page) -> None:
    panel = open_tab(page, "Train")
    panel.get_by_role("button", name="Install", exact=True).click()
    wait_for_job(panel, "Install catalan")


@pytest.mark.slow
def test_recordings_become_a_model_that_is_compared_with_its_base(page, folder):
    prepare(page)
    train(page)
    install(page)

    choose(page, page.get_by_label("Model Checkpoint"), "gpt_catalan.pth")
    page.get_by_text("Tokenizer: catalan_bpe.model").wait_for()
    panel = open_tab(page, "Compare Models")
    choose(page, panel.get_by_label("Model B"), "gpt_catalan.pth")
    recording = next((folder / "rec" / "recordings").glob("anna*"))
    panel.locator("input[type=file]").first.set_input_files(recording)
    page.get_by_test_id("audio-player-Voice prompt").wait_for(state="attached")
    panel.get_by_label("Sentences").first.fill("Bon dia a tothom.")
    # The base speaks several languages, and is told in which one the sentence is.
    choose(page, panel.get_by_role("combobox", name="Language"), "(ca)")
    panel.get_by_role("button", name="Generate with both models").click()
    panel.get_by_text("Finished: 2 of 2").wait_for()

    sounds = [
        downloaded(page, page.get_by_test_id(f"audio-player-{side}"))
        for side in ("A: base", "B: catalan")
    ]
    assert all(sound.startswith(b"RIFF") for sound in sounds)
    assert sounds[0] != sounds[1]
