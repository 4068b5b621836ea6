"""The page as a visitor meets it: ``python webui.py`` in a new process, and a browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from clips import write_clip
from idiolect.registry.install import InstallConfig, install_model
from page_kit import (
    SIZES,
    ask_for_few_codes,
    browser_api,
    choose,
    downloaded,
    open_tab,
    visited,
)
from registry_kit import make_tokenizer, trained_checkpoint

playwright = browser_api()

TABS = (
    *("Generate", "Batch", "History", "Compare Models"),
    *("Dataset", "Train", "Monitor", "Models"),
)
SPANISH_TABS = ["Generar", "Lotes", "Historial", "Comparar (Compare Models)", "Datos", "Entrenar"]
SPANISH_TABS += ["Monitor", "Modelos"]


@pytest.fixture(scope="module")
def folder(nano_base, tmp_path_factory) -> Path:
    """A user's folder: the base, two installed models, a clip of a voice."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "checkpoints").symlink_to(nano_base)
    tokenizer = make_tokenizer(folder / "run" / "catalan_bpe.model")
    trained_checkpoint(folder / "run" / "best.pth", nano_base, tokenizer)
    for name in ("catalan", "leaving"):
        install_model(
            InstallConfig(
                checkpoint=folder / "run" / "best.pth",
                tokenizer=folder / "run" / "catalan_bpe.model",
                output_name=name,
                output_dir=folder / "models",
                base=nano_base,
            )
        )
    write_clip(folder / "voice.wav", seconds=0.4)
    return folder


@pytest.fixture
def page(browser, address) -> Iterator[playwright.Page]:
    with visited(browser, f"{address}/en/") as page:
        yield page


@pytest.fixture(params=SIZES)
def sized_page(request, browser, address) -> Iterator[playwright.Page]:
    with visited(browser, f"{address}/en/", size=request.param) as page:
        yield page


def model_field(page: playwright.Page) -> playwright.Locator:
    return page.get_by_label("Model Checkpoint")


def test_every_tab_opens_and_none_is_wider_than_the_window(sized_page):
    for name in TABS:
        panel = open_tab(sized_page, name)
        sized_page.wait_for_timeout(500)

        assert panel.is_visible(), name
        assert sized_page.get_by_role("tab", name=name, exact=True).count() == 1, name
        assert sized_page.get_by_role("tab", selected=True).inner_text() == name
        width = sized_page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert width <= 0, name


def test_a_visitor_loads_a_model_and_hears_a_text(sized_page, folder):
    page = sized_page
    panel = open_tab(page, "Generate")
    choose(page, model_field(page), "gpt_catalan.pth")
    page.get_by_text("Tokenizer: catalan_bpe.model (60 vocab)").wait_for()
    page.get_by_role("button", name="Load Model", exact=True).click()
    page.get_by_text("catalan loaded in").wait_for()
    panel.locator("input[type=file]").first.set_input_files(folder / "voice.wav")
    page.get_by_test_id("audio-player-Voice prompt").wait_for(state="attached")
    panel.locator("#text textarea").fill("Bon dia.")
    ask_for_few_codes(panel)
    panel.get_by_role("button", name="Generate", exact=True).click()
    panel.get_by_text("Spoken to the end.").wait_for()

    sound = downloaded(page, page.get_by_test_id("audio-player-Sound"))
    assert sound.startswith(b"RIFF")
    assert sound in [path.read_bytes() for path in folder.glob("outputs/**/*.wav")]
    assert panel.get_by_label("Seed that was used").input_value().isdecimal()
    panel.get_by_text("· RTF").wait_for()


def test_what_is_missing_is_told_with_how_to_mend_it(page):
    page.get_by_role("button", name="Generate", exact=True).click()

    notice = page.get_by_test_id("toast-body")
    notice.wait_for()
    assert "there is no voice prompt\nfix: upload or record a clip" in notice.inner_text()


def test_a_model_that_is_copied_into_the_folder_is_offered_without_a_reload(page, folder):
    models = folder / "models"
    copies = [
        (each, models / each.name.replace("catalan", "arrived"))
        for each in models.iterdir()
        if "catalan" in each.name and each.suffix in {".pth", ".model"}
    ]
    try:
        for own, copy in copies:
            shutil.copyfile(own, copy)
        model_field(page).click()
        page.get_by_role("option", name="gpt_arrived.pth").wait_for()
    finally:
        for _, copy in copies:
            copy.unlink()


def test_a_model_that_is_unloaded_leaves_nothing_loaded(page):
    page.get_by_role("button", name="Load Model", exact=True).click()
    page.get_by_text("Loaded:").first.wait_for()
    page.get_by_role("button", name="Unload", exact=True).click()

    page.get_by_text("No model is loaded").wait_for()


def test_the_page_speaks_spanish_where_a_link_says_so(page):
    page.get_by_role("link", name="Español").click()
    page.wait_for_url("**/es/")
    tabs = page.get_by_role("tab")
    tabs.first.wait_for()

    assert tabs.all_inner_texts() == SPANISH_TABS
    assert page.get_by_role("button", name="Cargar (Load Model)").is_visible()
    assert page.locator("html").get_attribute("lang") == "es"


def test_a_browser_is_sent_to_the_page_of_its_language(browser, address):
    context = browser.new_context(locale="ca-ES")
    page = context.new_page()
    page.goto(address)

    assert page.url == f"{address}/ca/"
    context.close()


def test_base_and_model_are_compared_with_sounds_figures_and_a_report(page, folder):
    panel = open_tab(page, "Compare Models")
    choose(page, panel.get_by_label("Model B"), "gpt_catalan.pth")
    panel.locator("input[type=file]").first.set_input_files(folder / "voice.wav")
    page.get_by_test_id("audio-player-Voice prompt").wait_for(state="attached")
    panel.get_by_label("Sentences").first.fill("Bon dia.")
    panel.get_by_role("button", name="Generate with both models").click()
    panel.get_by_text("Finished: 2 of 2").wait_for()

    sounds = [
        downloaded(page, page.get_by_test_id(f"audio-player-{side}"))
        for side in ("A: base", "B: catalan")
    ]
    assert all(sound.startswith(b"RIFF") for sound in sounds)
    assert sounds[0] != sounds[1]
    assert panel.get_by_role("row", name="real-time factor (RTF)").is_visible()
    panel.get_by_role("button", name="Make HTML report").click()
    report = panel.locator("a[href*='.html']").first
    report.wait_for()
    text = page.request.get(report.get_attribute("href")).text()
    assert "Bon dia." in text
    assert "data:audio/" in text


def test_an_installed_model_is_verified_noted_and_removed_when_asked_twice(page, folder):
    files = sorted(path.name for path in (folder / "models").glob("*leaving*"))
    panel = open_tab(page, "Models")
    choose(page, panel.get_by_label("Installed model"), "leaving")
    status = panel.locator("#models-status")
    panel.get_by_role("button", name="Verify", exact=True).click()
    status.get_by_text("every SHA-256 is right").wait_for()
    panel.get_by_label("Notes").fill("Read by Anna.")
    panel.get_by_role("button", name="Save notes").click()
    panel.locator("[data-model=leaving]").get_by_text("Read by Anna.").wait_for()

    panel.get_by_role("button", name="Remove", exact=True).click()
    panel.get_by_text("gpt_leaving.pth", exact=True).first.wait_for()
    assert sorted(path.name for path in (folder / "models").glob("*leaving*")) == files
    panel.get_by_role("button", name="Yes, delete these files").click()
    status.get_by_text("leaving was deleted").wait_for()
    panel.locator("[data-model=leaving]").wait_for(state="detached")
    assert list((folder / "models").glob("gpt_leaving*")) == []
