"""The buttons that the page's other tests leave alone: each is pressed, and does what it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from clips import write_clip
from idiolect.registry.install import InstallConfig, install_model
from page_kit import (
    ask_for_few_codes,
    browser_api,
    choose,
    open_tab,
    type_into,
    visited,
    wait_for_job,
    wait_until,
)
from registry_kit import make_tokenizer, trained_checkpoint
from run_kit import write_clips

playwright = browser_api()

LONG_TEXT = "This is said again. " * 40
NUM_CLIPS = 8


@pytest.fixture(scope="module")
def folder(nano_base, tmp_path_factory) -> Path:
    """A user's folder: the base, a model, a voice, lines to be spoken, recordings."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "checkpoints").symlink_to(nano_base)
    tokenizer = make_tokenizer(folder / "run" / "catalan_bpe.model")
    trained_checkpoint(folder / "run" / "best.pth", nano_base, tokenizer)
    install_model(
        InstallConfig(
            checkpoint=folder / "run" / "best.pth",
            tokenizer=folder / "run" / "catalan_bpe.model",
            output_name="catalan",
            output_dir=folder / "models",
            base=nano_base,
        )
    )
    write_clip(folder / "voice.wav", seconds=0.6)
    write_clip(folder / "voices" / "biel.wav", seconds=0.6)
    (folder / "lines.csv").write_text(
        "name,text,voice,language,seed\none,Hello.,biel,en,3\ntwo,Good night.,biel,en,4\n"
    )
    write_clips(folder / "data/ready_dataset", NUM_CLIPS)
    return folder


@pytest.fixture
def page(browser, address) -> Iterator[playwright.Page]:
    with visited(browser, f"{address}/en/") as page:
        yield page


def press(panel: playwright.Locator, name: str) -> None:
    panel.get_by_role("button", name=name, exact=True).click()


def give_voice(panel: playwright.Locator, folder: Path) -> None:
    panel.locator("input[type=file]").first.set_input_files(folder / "voice.wav")
    panel.get_by_test_id("audio-player-Voice prompt").wait_for(state="attached")


def read_lines(panel: playwright.Locator, file: str, text: str) -> None:
    """Read a file of the folder into the table of lines; ``text`` is in it."""
    panel.get_by_label("Or a file below the declared folders").fill(file)
    press(panel, "Read the file")
    panel.locator("#batch-lines").get_by_text(text).last.wait_for()


def sounds_of(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("outputs/*.wav")}


def manifest_of(folder: Path) -> list[dict]:
    text = (folder / "train.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_a_voice_is_kept_by_its_name_and_removed_when_asked_twice(page, folder):
    panel = open_tab(page, "Generate")
    give_voice(panel, folder)
    panel.get_by_text("Voice library").click()
    panel.get_by_label("letters, digits, - _ .").fill("anna")
    panel.get_by_label("Whose voice it is").fill("Anna, who agreed")
    press(panel, "Save voice")
    panel.get_by_text("Saved as anna.").wait_for()
    assert (folder / "voices/anna.wav").is_file()

    press(panel, "Remove voice")
    press(panel, "Really remove it?")
    panel.get_by_text("anna was removed.").wait_for()
    assert not (folder / "voices/anna.wav").exists()


def test_a_long_text_is_shown_in_segments_cut_short_and_said_again(page, folder):
    panel = open_tab(page, "Generate")
    give_voice(panel, folder)
    panel.locator("#text textarea").fill(LONG_TEXT)
    choose(page, panel.get_by_role("combobox", name="Language"), "English (en)")
    panel.get_by_text("Sentences", exact=True).click()
    press(panel, "Show sentences")
    panel.get_by_text("No estimate of the duration").or_(
        panel.get_by_text("estimate from")
    ).wait_for()
    ask_for_few_codes(panel)
    press(panel, "Generate")
    panel.get_by_text("Segment 1 of").wait_for()
    press(panel, "Cancel")
    panel.get_by_text("Cancelled: this is what was spoken until then.").wait_for()

    press(panel, "Again with this seed")
    used = panel.get_by_label("Seed that was used").input_value()
    seed = panel.get_by_label("Empty: one is drawn, and told")
    playwright.expect(seed).to_have_value(used)


def test_rows_of_a_batch_are_edited_added_said_again_and_taken_out(page, folder):
    panel = open_tab(page, "Batch")
    lines, results = panel.locator("#batch-lines"), panel.locator("#batch-results")
    read_lines(panel, "lines.csv", "Good night.")
    ask_for_few_codes(panel)
    press(panel, "Make a batch and speak it")
    panel.get_by_text("2 of 2 spoken, 0 failed").wait_for()

    press(panel, "Empty the table")
    lines.get_by_text("Good night.").first.wait_for(state="detached")
    results.get_by_text("Good night.").last.click()
    results.get_by_text("✓").last.wait_for()
    press(panel, "Chosen rows into the editor")
    lines.get_by_text("Good night.").last.wait_for()
    (folder / "more.csv").write_text("name,text,voice,language,seed\nthree,Bye.,biel,en,5\n")
    read_lines(panel, "more.csv", "Bye.")
    press(panel, "Add to the chosen batch")
    panel.get_by_text("3 of 3 spoken, 0 failed").wait_for()

    before = sounds_of(folder)
    press(panel, "Speak chosen rows again")
    panel.get_by_text("1 rows are being spoken again.").wait_for()
    wait_until(lambda: len(sounds_of(folder) - before) == 1, "one sound more")
    panel.get_by_text("3 of 3 spoken, 0 failed").wait_for()

    press(panel, "Take chosen rows out")
    panel.get_by_text("2 of 2 spoken, 0 failed").wait_for()
    results.get_by_text("Hello.").last.click()
    press(panel, "Choose none")
    press(panel, "Take chosen rows out")
    page.get_by_test_id("toast-body").get_by_text("no row is chosen").wait_for()


def test_a_batch_is_cancelled_gone_on_with_tried_again_and_deleted(page, folder):
    (folder / "many.csv").write_text(
        "name,text,voice,language,seed\n"
        + "".join(f"line{n},Number {n} of the lines.,biel,en,{n}\n" for n in range(12))
    )
    panel = open_tab(page, "Batch")
    read_lines(panel, "many.csv", "Number 0 of the lines.")
    ask_for_few_codes(panel)
    press(panel, "Make a batch and speak it")
    panel.get_by_text("1 of 12 spoken").wait_for()
    press(panel, "Cancel")
    panel.get_by_text("Cancelled. The line").wait_for()
    press(panel, "Run what waits")
    press(panel, "Retry failed and cancelled")
    panel.get_by_text("12 of 12 spoken, 0 failed").wait_for()

    press(panel, "Delete this batch…")
    before = sounds_of(folder)
    press(panel, "Yes, delete it")
    panel.get_by_text("is deleted; its sounds stay in the history.").wait_for()
    assert sounds_of(folder) == before

    panel = open_tab(page, "History")
    panel.get_by_label("Words in the text").fill("Number 9 of")
    press(panel, "Search")
    panel.get_by_text("1 sounds,").wait_for()
    press(panel, "Delete all that is listed…")
    panel.get_by_role("button", name="Yes, delete 1 sounds").click()
    panel.get_by_text("1 sounds are deleted.").wait_for()
    assert len(before - sounds_of(folder)) == 1


def test_a_comparison_is_cancelled_and_votes_on_a_whole_one_are_blind(page, folder):
    panel = open_tab(page, "Compare Models")
    choose(page, panel.get_by_label("Model B"), "gpt_catalan.pth")
    give_voice(panel, folder)
    panel.get_by_label("Sentences").first.fill("Bon dia.\n" * 6)
    press(panel, "Generate with both models")
    panel.get_by_text("Sound 1 of 12").wait_for()
    press(panel, "Cancel")
    panel.get_by_text("Not finished:").wait_for()

    panel.get_by_label("Sentences").first.fill("Bona nit.")
    press(panel, "Generate with both models")
    panel.get_by_text("Finished: 2 of 2").wait_for()
    panel.get_by_text("Blind votes").click()
    for answer in ("1", "2", "no difference"):
        press(panel, "Next trial")
        press(panel, answer)
        press(panel, "Reveal which was which")
        panel.get_by_text("1 was ").wait_for()
    panel.get_by_text("no difference 1. Share of catalan").wait_for()
    panel.get_by_label("which of them is X?").check()
    press(panel, "Next trial")
    press(panel, "2")
    panel.get_by_text("ABX: X was found").wait_for()


def test_recordings_are_uploaded_prepared_paired_and_looked_at(page, folder):
    panel = open_tab(page, "Dataset")
    type_into(panel.get_by_role("combobox", name="Project"), "ca")
    panel.get_by_text("Upload recordings").click()
    ready = folder / "data/ready_dataset"
    texts = [f"{line['audio']}|{line['text']}" for line in manifest_of(ready)]
    (folder / "transcripts.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    files = [*sorted(ready.glob("*.wav")), folder / "transcripts.txt"]
    panel.locator("input[type=file]").first.set_input_files(files)
    panel.locator(".file-preview").get_by_text("transcripts").first.wait_for()
    press(panel, "Put them into the project")
    panel.get_by_text(f"{NUM_CLIPS + 1} files are in the project's folder.").wait_for()
    type_into(panel.get_by_role("combobox", name="Language"), "ca")
    press(panel, "Prepare")
    wait_for_job(panel, "Prepare ca")

    panel.get_by_text("Report", exact=True).click()
    press(panel, "Show the report")
    panel.locator("iframe").wait_for()
    panel.get_by_text("What was left out").click()
    press(panel, "Show")
    panel.get_by_text("Nothing on this page.").wait_for()
    panel.get_by_text("Pairs", exact=True).click()
    panel.get_by_label("A clip without another").check()
    press(panel, "Make the pairs")
    wait_for_job(panel, "Pairs of ca")
    panel.get_by_text("How a tokenizer spells the texts").click()
    panel.get_by_label("of the base").check()
    press(panel, "Measure")
    panel.get_by_text("characters per token").wait_for()
    press(panel, "Look again")
    panel.get_by_text("Pairs of prompt and target are made.").wait_for()


def test_a_job_is_stopped_resumed_and_forgotten(page):
    panel = open_tab(page, "Train")
    choose(page, panel.get_by_role("combobox", name="Project"), "ready")
    panel.get_by_text("Data: ").wait_for()
    panel.get_by_label("that of the base, as it is").check()
    panel.get_by_label("Go on when more than a tenth").check()
    panel.get_by_label("Epochs").fill("200")
    press(panel, "Start, or go on")
    standing = panel.get_by_role("status").filter(has_text="Training of ready")
    for press_again in (False, True):
        if press_again:
            press(panel, "Resume, or do again")
        standing.filter(has_text="runs").wait_for()
        press(panel, "Stop")
        standing.filter(has_text="stopped").wait_for()

    press(panel, "Look again")
    press(panel, "Forget")
    standing.wait_for(state="detached")


def test_a_model_is_exported_and_kept_when_one_thinks_again(page, folder):
    panel = open_tab(page, "Models")
    choose(page, panel.get_by_label("Installed model"), "catalan")
    press(panel, "Remove")
    press(panel, "Keep them")
    panel.get_by_role("button", name="Keep them").wait_for(state="hidden")
    press(panel, "Export")
    panel.locator("#models-status").get_by_text("is in").wait_for()

    assert (folder / "models/gpt_catalan.pth").is_file()
    assert list((folder / "outputs").glob("exports/catalan-safetensors-float32/*.safetensors"))
