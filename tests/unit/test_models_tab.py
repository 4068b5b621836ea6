import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from registry_kit import make_tokenizer, trained_checkpoint

gr = pytest.importorskip("gradio", reason="the extra webui is not installed")

from idiolect.base.errors import RegistryError, UserError  # noqa: E402
from idiolect.models.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from idiolect.registry.install import InstallConfig, install_model  # noqa: E402
from idiolect.webui import models as tab  # noqa: E402
from idiolect.webui.desk import Desk, PageSettings  # noqa: E402
from idiolect.webui.head import Head  # noqa: E402
from idiolect.webui.messages import Say  # noqa: E402

SCORES = {"probe_cer_base.en": 0.05, "probe_cer.en": 0.0625, "val_loss": 3.25}
SAY = Say("en")


@pytest.fixture(scope="module")
def made(nano_base, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    tokenizer = make_tokenizer(folder / "ca_bpe.model")
    path = trained_checkpoint(folder / "best.pth", nano_base, tokenizer)
    weights, header = load_checkpoint(path)
    save_checkpoint(path, weights, replace(header, scores=SCORES))
    install_model(
        InstallConfig(
            checkpoint=path,
            tokenizer=tokenizer.path,
            output_name="catalan",
            description="<script>alert(1)</script>",
            output_dir=folder / "models",
            base=nano_base,
        )
    )
    return folder / "models"


@pytest.fixture
def desk(made, nano_base, tmp_path) -> Desk:
    return Desk(
        PageSettings(
            model_dir=shutil.copytree(made, tmp_path / "models"),
            base=nano_base,
            aux_dir=None,
            output_dir=tmp_path / "outputs",
            device="cpu",
            voices_dir=tmp_path / "voices",
            jobs_dir=tmp_path / "jobs",
            roots=(tmp_path,),
        )
    )


@pytest.mark.parametrize("language", ["en", "es", "zh", "ca"])
def test_the_cards_have_all_that_is_known_and_no_html_of_others(desk, language):
    say = Say(language)
    cards = tab._cards(desk, say)

    assert "<script>" not in cards
    assert "&lt;script&gt;" in cards
    assert cards.count("<article") == 2
    for text in (
        "catalan_bpe.model (60 vocab)",
        "5.0%",
        "6.2%",
        "+1.2",
        "Apache-2.0",
        "nano, v2.0",
    ):
        assert text in cards
    assert say("models.languages") in cards


def test_a_damaged_model_says_why_on_its_card(desk):
    (desk.settings.model_dir / "gpt_bad.pth").write_bytes(b"<b>half</b>")

    assert 'role="alert"' in tab._cards(desk, SAY)
    assert "Cannot be loaded: not a file of weights" in tab._cards(desk, SAY)


def test_the_tab_is_shown_anew_only_when_the_folder_changed(desk):
    version, cards, _ = tab._look(desk, SAY, -1, "catalan")

    assert tab._look(desk, SAY, version, "catalan") == gr.skip()
    (desk.settings.model_dir / "gpt_bad.pth").write_bytes(b"half")
    newer, other, listed = tab._look(desk, SAY, version, "catalan")
    assert newer > version
    assert other != cards
    assert listed["choices"] == ["bad", "catalan"]
    assert "value" not in listed, "what was chosen stays"


def test_notes_are_kept_and_shown_again(desk):
    assert "catalan" in tab._save(desk, SAY, "catalan", "good vowels")

    assert tab._notes(desk, "catalan") == "good vowels"
    assert "good vowels" in tab._cards(desk, SAY)


def test_verify_tells_what_was_changed(desk):
    assert "every SHA-256 is right" in tab._verify(desk, SAY, "catalan")
    (desk.settings.model_dir / "catalan_bpe.model").write_bytes(b"x")

    assert "catalan_bpe.model was changed" in tab._verify(desk, SAY, "catalan")


def test_a_model_goes_only_after_it_was_asked_about(desk):
    weights = desk.settings.model_dir / "gpt_catalan.pth"
    with pytest.raises(UserError, match="no installed model is chosen"):
        tab._remove(desk, SAY, None, "catalan")

    removal, question, _ = tab._ask(desk, SAY, "catalan")
    assert "gpt_catalan.pth" in question
    assert weights.exists()
    with pytest.raises(UserError):
        tab._remove(desk, SAY, removal, "another")
    assert weights.exists()

    tab._remove(desk, SAY, removal, "catalan")
    assert not weights.exists()
    assert desk.catalogue.models() == []


def test_what_changed_since_it_was_asked_about_stays(desk):
    removal, _, _ = tab._ask(desk, SAY, "catalan")
    (desk.settings.model_dir / "catalan_README.md").unlink()

    with pytest.raises(UserError, match="no longer those that were shown"):
        tab._remove(desk, SAY, removal, "catalan")
    assert (desk.settings.model_dir / "gpt_catalan.pth").exists()


def test_the_base_cannot_be_asked_to_be_removed(desk, nano_base):
    with pytest.raises(RegistryError, match="'base' is not installed"):
        tab._ask(desk, SAY, "base")


def test_an_export_says_where_it_is(desk):
    said = tab._export(desk, SAY, "catalan", "safetensors", "bf16")

    folder = desk.settings.output_dir / "exports" / "catalan-safetensors-bf16"
    assert str(folder) in said
    assert (folder / "gpt_catalan.safetensors").is_file()


@pytest.mark.parametrize("language", ["en", "es", "zh", "ca"])
def test_the_tab_is_built_in_every_language(desk, language):
    async def build() -> gr.Blocks:
        with gr.Blocks() as page:
            labels = list(desk.catalogue.by_label())
            head = Head(model=gr.Dropdown(labels), device=gr.Dropdown(["cpu"]))
            with gr.Tabs():
                tab.build(desk, Say(language), head)
        return page

    page = asyncio.run(build())

    buttons = [each.value for each in page.blocks.values() if isinstance(each, gr.Button)]
    assert len(buttons) == 6
    assert all(buttons)
