"""The Compare tab over real services: what it shows, hides, keeps and offers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest

from clips import write_clip
from idiolect.base.errors import UserError
from idiolect.evaluation.comparing import Comparisons
from idiolect.evaluation.comparison import VOTES_FILE
from idiolect.evaluation.figures import FIGURES
from idiolect.evaluation.votes import BallotBox
from idiolect.models.published import locate_base
from idiolect.registry.catalogue import Catalogue
from idiolect.studio.voices import VoiceLibrary
from idiolect.synthesis.sampling import SamplingSettings
from idiolect.synthesis.swap import ModelSlot
from registry_kit import make_tokenizer, trained_checkpoint

gr = pytest.importorskip("gradio", reason="the extra webui is not installed")
from idiolect.webui import compare, compare_votes  # noqa: E402 -- they need gradio
from idiolect.webui.head import Head  # noqa: E402
from idiolect.webui.messages import PAGE_LANGUAGES, Say  # noqa: E402

VISITOR = SimpleNamespace(username=None, session_hash="visit")


@pytest.fixture
def desk(nano_base, tmp_path, monkeypatch) -> SimpleNamespace:
    """What the tab asks for; sounds end after eight codes, as the tab has no setting for it."""
    few = SamplingSettings(max_codes=8, num_beams=1)
    monkeypatch.setattr("idiolect.synthesis.voice.sampling_settings", lambda _: few)
    models = tmp_path / "models"
    models.mkdir()
    tokenizer = make_tokenizer(models / "catalan_bpe.model")
    trained_checkpoint(models / "gpt_catalan.pth", nano_base, tokenizer)
    files = locate_base(nano_base)
    slot = ModelSlot(files, models)
    return SimpleNamespace(
        files=files,
        catalogue=Catalogue(models, files),
        voices=VoiceLibrary(tmp_path / "voices"),
        comparisons=Comparisons(slot, files, models, tmp_path / "made"),
    )


@pytest.fixture
def tab(desk, monkeypatch) -> SimpleNamespace:
    """The tab, built inside a running event loop: gradio leaves one open where it finds none."""
    kept = {}
    own = compare._Work

    def work(*given):
        kept["work"], kept["controls"] = own(*given), given[2]
        return kept["work"]

    monkeypatch.setattr(compare, "_Work", work)

    async def build() -> SimpleNamespace:
        with gr.Blocks() as page:
            device = gr.Dropdown(["cpu"], value="cpu")
            compare.build(desk, Say("en"), Head(model=device, device=device))
        return SimpleNamespace(page=page, device=device, **kept)

    return asyncio.run(build())


def given(tab: SimpleNamespace, prompt: Path | None, **changes) -> dict:
    values = {control: control.value for control in tab.controls.all}
    values |= {tab.controls.voice.clip: str(prompt) if prompt else None, tab.device: "cpu"}
    values |= {tab.controls.texts: "El gat dorm.\n\nLa porta.\n"}
    return values | {getattr(tab.controls, name): value for name, value in changes.items()}


@pytest.fixture
def prompt(tmp_path) -> Path:
    return write_clip(tmp_path / "voice.wav", seconds=0.4, seed=1)


def test_english_explains_each_figure_as_the_report_does():
    say = Say("en")

    for figure in FIGURES:
        assert say(f"compare.figure_{figure.name}") == figure.label
        assert say(f"compare.explain_{figure.name}") == figure.explanation


@pytest.mark.parametrize("code", PAGE_LANGUAGES)
def test_the_tab_is_built_in_every_language(code, desk):
    async def build() -> None:
        with gr.Blocks():
            device = gr.Dropdown(["cpu"], value="cpu")
            compare.build(desk, Say(code), Head(model=device, device=device))

    asyncio.run(build())


def test_the_first_and_the_last_model_are_chosen_at_first(tab, desk):
    labels = list(desk.catalogue.by_label())

    assert (tab.controls.model_a.value, tab.controls.model_b.value) == (labels[0], labels[-1])


def test_running_shows_progress_then_figures_sounds_and_pictures(tab, desk, prompt):
    shown = list(tab.work.run(given(tab, prompt), VISITOR))

    name, status, figures, sentence, pictures, a, b = shown[-1]
    assert [step[1].split(" · ")[0] for step in shown[1:-1]] == [
        f"Sound {n} of 4" for n in range(5)
    ]
    assert "(estimate)" in shown[2][1]
    assert desk.comparisons.names() == [name]
    assert status.startswith("Finished: 4 of 4 ·")
    assert "real-time factor (RTF)" in figures
    assert [number for _, number in sentence["choices"]] == [1, 2]
    assert pictures.count("<img") == 2
    assert Path(a["value"]).name == Path(b["value"]).name == "001.wav"
    assert a["value"] != b["value"]
    assert (a["label"], b["label"]) == ("A: base", "B: catalan")


def test_cancelling_ends_it_and_the_same_again_goes_on(tab, prompt):
    running = tab.work.run(given(tab, prompt), VISITOR)
    for _ in range(3):
        next(running)

    assert tab.work.cancel(VISITOR).startswith("Ends in a moment")
    *_, last = running

    assert last[1].startswith("Not finished: 1 of 4 ·")
    assert tab.work.cancel(VISITOR) == "Nothing is being compared."
    *_, finished = tab.work.run(given(tab, prompt), VISITOR)
    assert finished[0] == last[0]


def test_without_a_voice_nothing_is_spoken(tab):
    with pytest.raises(UserError, match="there is no voice prompt"):
        list(tab.work.run(given(tab, None), VISITOR))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"texts": " \n"}, "there is no text to speak"),
        ({"texts": "a\n" * 201}, "201 sentences are too many"),
        ({"asr": "faster-whisper:/etc"}, "this recogniser is not offered"),
        ({"model_b": "gpt_gone.pth"}, "this model is no longer there"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_spoken(tab, desk, prompt, changes, problem):
    with pytest.raises(UserError, match=problem):
        list(tab.work.run(given(tab, prompt, **changes), VISITOR))
    assert desk.comparisons.names() == []


def test_a_name_that_is_no_comparison_leads_nowhere(tab, tmp_path):
    for name in ("../models", str(tmp_path), "nothing"):
        with pytest.raises(UserError, match="there is no comparison"):
            tab.work.show(name)
    with pytest.raises(UserError, match="no comparison is shown"):
        tab.work.report(None)


def test_the_report_is_offered_with_the_votes_in_it(tab, desk, prompt):
    *_, (name, *_) = tab.work.run(given(tab, prompt), VISITOR)
    votes = compare_votes._Votes(desk, Say("en"))
    trial, *_ = votes.next(name, "preference")
    votes.vote(name, trial, "1", VISITOR)

    offered = tab.work.report(name)

    page = Path(offered["value"]).read_text(encoding="utf-8")
    assert "Preference: base" in page


def test_a_trial_hides_the_models_until_it_is_answered(desk, tab, prompt):
    *_, (name, *_) = tab.work.run(given(tab, prompt), VISITOR)
    votes = compare_votes._Votes(desk, Say("en"))

    trial, asked, first, second, x, one, two, same, reveal = votes.next(name, "abx")

    told = [asked, *(str(shown.get("label")) for shown in (first, second, x))]
    assert not any(model in text for model in ("base", "catalan") for text in told)
    assert isinstance(first["value"], tuple)  # samples: a path would tell
    assert (one["visible"], two["visible"], same["visible"]) == (True, True, False)
    assert not reveal["visible"]
    result, *_ = votes.vote(name, trial, "1", VISITOR)
    assert result.startswith("ABX: X was found ")
    (kept,) = BallotBox(desk.comparisons.place(name) / VOTES_FILE).votes()
    assert (kept.trial, kept.user) == (trial, "visit")
    with pytest.raises(UserError, match="voted on already"):
        votes.vote(name, trial, "2", VISITOR)
    names = {"a": "base", "b": "catalan"}
    assert votes.reveal(name, trial).startswith(f"1 was {names[trial.first]}, 2 was ")
