"""The page on a nano base: what it lists, builds and refuses, without a browser."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from idiolect.base.errors import SynthesisError
from idiolect.cli.webui import main
from registry_kit import make_tokenizer, trained_checkpoint

gr = pytest.importorskip("gradio", reason="the extra webui is not installed")
from idiolect.webui.app import build_page  # noqa: E402 -- they need gradio
from idiolect.webui.choices import offered  # noqa: E402
from idiolect.webui.desk import Desk, PageSettings  # noqa: E402
from idiolect.webui.messages import PAGE_LANGUAGES, Say  # noqa: E402
from idiolect.webui.shown import UNEXPECTED, shown_on_page  # noqa: E402

E2E = Path(__file__).parents[1] / "e2e"


def settings(base: Path, folder: Path, *, device: str | None = "cpu") -> PageSettings:
    return PageSettings(
        model_dir=folder / "models",
        base=base,
        aux_dir=None,
        output_dir=folder / "outputs",
        device=device,
        voices_dir=folder / "voices",
        jobs_dir=folder / "jobs",
        roots=(folder,),
    )


def install(folder: Path, base: Path) -> Path:
    (folder / "models").mkdir()
    tokenizer = make_tokenizer(folder / "models" / "catalan_bpe.model")
    return trained_checkpoint(folder / "models" / "gpt_catalan.pth", base, tokenizer)


@pytest.fixture
def desk(nano_base, tmp_path) -> Desk:
    return Desk(settings(nano_base, tmp_path))


def built(desk: Desk, language: str = "en") -> gr.Blocks:
    """Build inside a running event loop: gradio leaves one open where it finds none."""

    async def build() -> gr.Blocks:
        return build_page(desk, Say(language))

    return asyncio.run(build())


def names_on(page: gr.Blocks) -> set[str]:
    return {
        str(getattr(block, "label", None) or getattr(block, "value", None))
        for block in page.blocks.values()
    }


def test_every_button_is_pressed_in_a_browser_by_some_test(desk):
    tests = "".join(path.read_text(encoding="utf-8") for path in E2E.glob("test_page*.py"))
    blocks = built(desk).blocks.values()
    buttons = {block.value for block in blocks if isinstance(block, gr.Button) and block.value}

    assert len(buttons) > 1
    assert {name for name in buttons if f'"{name}"' not in tests} == set()


def test_the_page_has_what_the_guide_names(desk):
    wanted = {"Model Checkpoint", "GPU", "Load Model", "Compare Models", "Model A", "Model B"}

    assert names_on(built(desk)) >= wanted | {"Text", "Language", "Seed", "Generate"}


@pytest.mark.parametrize("language", PAGE_LANGUAGES)
def test_each_language_has_every_tab(desk, language):
    page = built(desk, language)

    tabs = [block.id for block in page.blocks.values() if isinstance(block, gr.Tab)]
    assert tabs == [
        *("generate", "batch", "history", "compare", "dataset", "train", "monitor", "models"),
    ]


def test_nothing_on_the_page_sends_sound_to_another_host(desk):
    page = built(desk)

    players = [block for block in page.blocks.values() if isinstance(block, gr.Audio)]
    assert players
    assert not any("share" in player.buttons for player in players)
    assert not page.analytics_enabled


def test_the_base_comes_first_and_the_installed_models_after_it(desk, nano_base, tmp_path):
    assert [entry.name for entry in desk.catalogue.entries()] == ["base"]

    install(tmp_path, nano_base)

    base, catalan = desk.catalogue.by_label()
    assert base.startswith("gpt.pth (")
    assert base.endswith("MB, v2.0, zh/en)")
    assert catalan.startswith("gpt_catalan.pth (")
    assert catalan.endswith("MB, v2.0, ca)")


def test_a_device_that_was_chosen_is_the_only_one(desk, nano_base, tmp_path):
    assert desk.devices() == [("CPU", "cpu")]
    assert Desk(settings(nano_base, tmp_path, device=None)).devices()[-1] == ("CPU", "cpu")


def test_an_error_is_shown_as_what_where_and_how_to_mend_it():
    def fail() -> None:
        raise SynthesisError("no <b>sound</b>", where="text 'a & b'", fix="try another")

    with pytest.raises(gr.Error) as caught:
        shown_on_page(fail)()

    what, where, fix = caught.value.message.split("<br>")
    assert what == "no &lt;b&gt;sound&lt;/b&gt;"
    assert where.split() == ["at:", "text", "&#x27;a", "&amp;", "b&#x27;"]
    assert fix.split() == ["fix:", "try", "another"]


def test_an_error_that_nobody_foresaw_shows_nothing_of_itself_but_is_in_the_log(caplog):
    def fail() -> None:
        raise KeyError("a secret path")

    with pytest.raises(gr.Error) as caught:
        shown_on_page(fail)()

    assert caught.value.message == UNEXPECTED
    assert "a secret path" in caplog.text


def test_what_comes_piece_by_piece_is_shown_until_its_error():
    def count():
        yield 1
        raise SynthesisError("that was all")

    pieces = shown_on_page(count)()

    assert next(pieces) == 1
    with pytest.raises(gr.Error, match="that was all"):
        next(pieces)


def test_without_gradio_the_command_says_how_to_install_it(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("idiolect.cli.webui.find_spec", lambda _: None)

    assert main(["--output-dir", str(tmp_path)]) == 2

    assert "pip install 'idiolect[webui]'" in capsys.readouterr().err


def test_a_page_without_a_base_says_what_is_missing(capsys, tmp_path):
    assert (
        main(["--base", str(tmp_path), "--output-dir", str(tmp_path / "out"), "--port", "0"]) == 2
    )

    assert "lacks" in capsys.readouterr().err


@pytest.mark.parametrize("folder", ["--output-dir", "--voices-dir", "--jobs-dir"])
def test_nothing_of_the_page_is_kept_in_a_base_folder(capsys, nano_base, folder):
    assert main(["--base", str(nano_base), folder, str(nano_base / "own")]) == 2

    assert "base folder" in capsys.readouterr().err


def test_a_list_that_is_looked_at_again_leaves_what_was_chosen_meanwhile():
    assert "value" not in offered(["a", "b"], had="b", wanted="b")
    assert offered(["a", "b"], had="gone", wanted="a")["value"] == "a"


def test_the_head_looks_again_without_choosing(desk, nano_base, tmp_path):
    page = built(desk)
    install(tmp_path, nano_base)
    look = next(fn.fn for fn in page.fns.values() if fn.name == "look" and len(fn.outputs) == 4)
    catalan = list(desk.catalogue.by_label())[-1]

    listed = look(catalan)[0]

    assert listed["choices"][-1] in {catalan, (catalan, catalan)}
    assert "value" not in listed
    assert look("gpt_gone.pth (1MB, v2.0, ca)")[0]["value"] == next(iter(desk.catalogue.by_label()))
