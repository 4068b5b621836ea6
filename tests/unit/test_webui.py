"""The page on a nano base: what it lists, loads, says and refuses, without a browser."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import soundfile

from clips import write_clip
from idiolect.base.errors import CheckpointError, SynthesisError
from idiolect.base.units import SAMPLE_RATE
from idiolect.cli.webui import main
from idiolect.synthesis.sampling import SamplingSettings
from registry_kit import make_tokenizer, trained_checkpoint

gr = pytest.importorskip("gradio", reason="the extra webui is not installed")
from idiolect.webui.app import build_page  # noqa: E402 -- they need gradio
from idiolect.webui.desk import Desk, PageSettings  # noqa: E402
from idiolect.webui.speak import shown_on_page  # noqa: E402


def settings(base: Path, folder: Path, *, device: str | None = "cpu") -> PageSettings:
    return PageSettings(
        model_dir=folder / "models",
        base=base,
        aux_dir=None,
        output_dir=folder / "outputs",
        device=device,
    )


def install(folder: Path, base: Path) -> Path:
    (folder / "models").mkdir()
    tokenizer = make_tokenizer(folder / "models" / "catalan_bpe.model")
    return trained_checkpoint(folder / "models" / "gpt_catalan.pth", base, tokenizer)


@pytest.fixture
def desk(nano_base, tmp_path) -> Desk:
    return Desk(settings(nano_base, tmp_path))


@pytest.fixture
def prompt(tmp_path) -> Path:
    return write_clip(tmp_path / "voice.wav", seconds=0.4)


@pytest.fixture
def short(monkeypatch) -> None:
    """Cut every sound after eight codes: the page has no setting for it."""
    few = SamplingSettings(max_codes=8, num_beams=1)
    monkeypatch.setattr("idiolect.synthesis.pipeline.sampling_settings", lambda _: few)


def built(desk: Desk) -> gr.Blocks:
    """Build inside a running event loop: gradio leaves one open where it finds none."""

    async def build() -> gr.Blocks:
        return build_page(desk)

    return asyncio.run(build())


def test_the_page_has_what_the_guide_names(desk):
    page = built(desk)

    names = {
        getattr(block, "label", None) or getattr(block, "value", None)
        for block in page.blocks.values()
    }
    wanted = {"Model Checkpoint", "GPU", "Load Model", "Refresh list", "Voice prompt", "Text"}
    assert names >= wanted | {"Language", "Seed", "Generate", "Sound"}


def test_nothing_on_the_page_sends_sound_to_another_host(desk):
    page = built(desk)

    players = [block for block in page.blocks.values() if isinstance(block, gr.Audio)]
    assert len(players) == 2
    assert not any("share" in player.buttons for player in players)
    assert not page.analytics_enabled


def test_the_base_comes_first_and_the_installed_models_after_it(desk, nano_base, tmp_path):
    assert [entry.name for entry in desk.entries().values()] == ["base"]

    install(tmp_path, nano_base)

    base, catalan = desk.entries()
    assert base.startswith("gpt.pth (")
    assert base.endswith("MB, v2.0, zh/en)")
    assert catalan.startswith("gpt_catalan.pth (")
    assert catalan.endswith("MB, v2.0, ca)")


def test_a_damaged_model_is_not_offered(desk, nano_base, tmp_path):
    install(tmp_path, nano_base).write_bytes(b"half of a file")

    assert [entry.name for entry in desk.entries().values()] == ["base"]


def test_a_device_that_was_chosen_is_the_only_one(desk, nano_base, tmp_path):
    assert desk.devices() == [("cpu", "cpu")]
    assert Desk(settings(nano_base, tmp_path, device=None)).devices()[-1] == ("CPU", "cpu")


def test_loading_says_what_is_loaded_where_and_with_which_tokenizer(desk, nano_base, tmp_path):
    install(tmp_path, nano_base)

    first, second = desk.load("base", "cpu"), desk.load("catalan", "cpu")

    assert first.startswith("Loaded **base** on cpu in ")
    assert first.endswith(" s · Tokenizer: bpe.model (218 vocab)")
    assert second.startswith("Loaded **catalan** on cpu in ")
    assert second.endswith(" s · Tokenizer: catalan_bpe.model (60 vocab)")


def test_a_model_that_cannot_be_loaded_leaves_the_former_one(desk, nano_base, tmp_path):
    desk.load("base", "cpu")
    path = install(tmp_path, nano_base)
    path.write_bytes(path.read_bytes()[:-100_000])

    with pytest.raises(CheckpointError, match="only half of one"):
        desk.load("catalan", "cpu")

    assert desk.load("base", "cpu").startswith("Loaded **base**")


@pytest.mark.usefixtures("short")
def test_what_is_spoken_lands_in_the_output_folder(desk, prompt, tmp_path):
    desk.load("base", "cpu")

    outputs = [desk.speak(prompt, "Hello.", None, seed) for seed in (1, 1, None)]

    assert {path.parent for path in outputs} == {tmp_path / "outputs"}
    assert len(set(outputs)) == 3
    assert soundfile.info(outputs[0]).samplerate == SAMPLE_RATE
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


def test_nothing_is_spoken_before_a_model_is_loaded(desk, prompt):
    with pytest.raises(SynthesisError, match="no model is loaded") as caught:
        desk.speak(prompt, "Hello.", None, 1)

    assert caught.value.fix == "choose one and press Load Model"


def test_a_full_disk_is_told_before_anything_is_computed(desk, prompt, monkeypatch):
    desk.load("base", "cpu")
    monkeypatch.setattr("idiolect.webui.desk.free_bytes", lambda _: 1)

    with pytest.raises(SynthesisError, match="less than 100 MB are free"):
        desk.speak(prompt, "Hello.", None, 1)


def test_an_error_is_shown_as_what_where_and_how_to_mend_it():
    def fail() -> None:
        raise SynthesisError("no <b>sound</b>", where="text 'a & b'", fix="try another")

    with pytest.raises(gr.Error) as caught:
        shown_on_page(fail)()

    what, where, fix = caught.value.message.split("<br>")
    assert what == "no &lt;b&gt;sound&lt;/b&gt;"
    assert where.split() == ["at:", "text", "&#x27;a", "&amp;", "b&#x27;"]
    assert fix.split() == ["fix:", "try", "another"]


def test_without_gradio_the_command_says_how_to_install_it(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("idiolect.cli.webui.find_spec", lambda _: None)

    assert main(["--output-dir", str(tmp_path)]) == 2

    assert "pip install 'idiolect[webui]'" in capsys.readouterr().err


def test_a_page_without_a_base_says_what_is_missing(capsys, tmp_path):
    assert main(["--base", str(tmp_path), "--output-dir", str(tmp_path / "out")]) == 2

    assert "lacks" in capsys.readouterr().err


def test_loading_again_on_the_same_device_keeps_the_frozen_networks(desk):
    desk.load("base", "cpu")
    stack = desk._tts.stack

    desk.load("base", "cpu")

    assert desk._tts.stack is stack
