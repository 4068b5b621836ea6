"""Many lines spoken by the page, and what is kept of them: a real server, a real browser."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from clips import write_clip
from page_kit import (
    ask_for_few_codes,
    browser_api,
    downloaded,
    open_tab,
    visited,
    wait_until,
)

playwright = browser_api()

LINES = "name,text,voice,language,seed\none,Hello.,anna,en,3\ntwo,Good night.,anna,en,4\n"


@pytest.fixture(scope="module")
def folder(nano_base, tmp_path_factory) -> Path:
    """A user's folder: the base, a voice of the library, a file of two lines."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "checkpoints").symlink_to(nano_base)
    write_clip(folder / "voices" / "anna.wav", seconds=1.0)
    (folder / "lines.csv").write_text(LINES)
    return folder


@pytest.fixture
def page(browser, address) -> Iterator[playwright.Page]:
    with visited(browser, f"{address}/en/") as page:
        yield page


def sounds_of(folder: Path) -> set[Path]:
    return set(folder.glob("outputs/*.wav"))


def speak_lines(page: playwright.Page, folder: Path) -> playwright.Locator:
    """Make a batch of the file of lines, wait for its end; return the tab."""
    panel = open_tab(page, "Batch")
    field = panel.locator("input[type=file][accept*='csv']").first
    field.set_input_files(folder / "lines.csv")
    panel.locator("#batch-lines").get_by_text("Good night.").last.wait_for()
    ask_for_few_codes(panel)
    num_before = len(sounds_of(folder))
    panel.get_by_role("button", name="Make a batch and speak it").click()
    panel.get_by_text("A batch of 2 lines is being spoken.").wait_for()
    # A batch before this one may still be shown.
    wait_until(lambda: len(sounds_of(folder)) >= num_before + 2, "two lines spoken")
    panel.get_by_text("2 of 2 spoken, 0 failed").wait_for()
    return panel


def sort_by(table: playwright.Locator, column: str) -> None:
    """Sort a table of the page by that column, the least first."""
    head = table.locator("th").filter(has_text=column).last
    head.hover()
    head.get_by_label("Open cell menu").click()
    table.page.get_by_text("Sort ascending", exact=True).click()


def test_lines_of_a_file_are_spoken_heard_and_taken_away_together(page, folder):
    panel = speak_lines(page, folder)
    panel.locator("#batch-results").get_by_text("Hello.").last.click()
    heard = downloaded(page, page.get_by_test_id("audio-player-Sound of the row"))
    panel.get_by_role("button", name="Archive of the sounds").click()
    link = panel.locator("a[href*='.zip']").first
    link.wait_for(state="attached")
    archive = page.request.get(link.get_attribute("href")).body()

    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        sounds = {name: opened.read(name) for name in opened.namelist() if name.endswith(".wav")}
    assert len(sounds) == 2
    assert heard.startswith(b"RIFF")
    assert heard in sounds.values()


def test_a_sound_of_the_history_is_spoken_again_alike_and_deleted(page, folder):
    speak_lines(page, folder)
    panel = open_tab(page, "History")
    table = panel.locator("#history-table")
    table.get_by_text("Hello.").last.wait_for()
    search = panel.get_by_label("Words in the text")
    search.fill("night")
    search.press("Enter")
    table.get_by_text("Hello.").first.wait_for(state="detached")  # the list is the new one now
    table.get_by_text("Good night.").last.click()
    page.get_by_test_id("audio-player-Sound from the history").wait_for(state="attached")
    before = sounds_of(folder)
    panel.get_by_role("button", name="Speak again here").click()
    panel.get_by_text("bit for bit").wait_for()

    (again,) = sounds_of(folder) - before
    assert again.read_bytes() in [path.read_bytes() for path in before]
    panel.get_by_role("button", name="Delete", exact=True).click()
    panel.get_by_text("and its sound are deleted").wait_for()
    left = sounds_of(folder)
    assert len(left) == len(before)
    assert again in left


def test_a_sound_of_a_sorted_history_is_put_back_into_the_first_tab(page, folder):
    speak_lines(page, folder)
    panel = open_tab(page, "History")
    table = panel.locator("#history-table")
    table.get_by_text("Good night.").last.wait_for()
    sort_by(table, "No.")
    table.get_by_text("Good night.").last.click()
    page.get_by_test_id("audio-player-Sound from the history").wait_for(state="attached")
    panel.get_by_role("button", name="Replay in Generate").click()

    page.locator("#text textarea").wait_for()
    assert page.locator("#text textarea").input_value() == "Good night."
    assert page.locator("[role=tabpanel]:visible").get_by_label("Seed").first.input_value() == "4"
