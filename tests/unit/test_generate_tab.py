"""The Generate tab on a nano base: its handlers, called as the page calls them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from clips import write_clip
from idiolect.base.errors import UserError
from idiolect.synthesis.sampling import SamplingSettings

gr = pytest.importorskip("gradio", reason="the extra webui is not installed")
from idiolect.webui import generate as tab  # noqa: E402 -- they need gradio
from idiolect.webui import preview_part  # noqa: E402
from idiolect.webui import voice_part as part  # noqa: E402
from idiolect.webui.desk import Desk, PageSettings  # noqa: E402
from idiolect.webui.head import Head  # noqa: E402
from idiolect.webui.live import SENT_TWICE, LiveFeed  # noqa: E402
from idiolect.webui.messages import PAGE_LANGUAGES, Say, read_messages  # noqa: E402

VISIT = SimpleNamespace(username=None, session_hash="visit")


@pytest.fixture
def desk(nano_base, tmp_path) -> Desk:
    return Desk(
        PageSettings(
            model_dir=tmp_path / "models",
            base=nano_base,
            aux_dir=None,
            output_dir=tmp_path / "outputs",
            device="cpu",
            voices_dir=tmp_path / "voices",
            jobs_dir=tmp_path / "jobs",
            roots=(tmp_path,),
        )
    )


class Page:
    """The tab, built, and the values of its controls."""

    def __init__(self, desk: Desk, language: str = "en") -> None:
        self.desk = desk
        self.say = Say(language)
        self.blocks = gr.Blocks()
        with self.blocks:
            labels = list(desk.catalogue.by_label())
            head = Head(
                model=gr.Dropdown(labels, value=labels[0]), device=gr.Dropdown(["cpu"], value="cpu")
            )
            self.tab = tab.build(desk, self.say, head)
        speak = next(each for each in self.blocks.fns.values() if each.name == "speak")
        self.speaking = speak.fn.__wrapped__.__self__
        self.controls = self.speaking.controls
        self.values = {control: control.value for control in speak.inputs}
        sampling = self.controls.sampling
        self.values |= {sampling["max_codes"]: 8, sampling["num_beams"]: 1}
        self.values[self.controls.plain["max_segment_tokens"]] = 20

    def set(self, **plain) -> None:
        self.values |= {self.controls.plain[name]: value for name, value in plain.items()}

    def speak(self) -> list[dict]:
        return list(self.speaking.speak(self.values, VISIT))


@pytest.fixture
def page(desk) -> Page:
    async def build() -> Page:
        return Page(desk)

    return asyncio.run(build())


@pytest.fixture
def prompt(page, tmp_path) -> Path:
    path = write_clip(tmp_path / "voice.wav", seconds=0.4)
    page.values[page.controls.voice.clip] = str(path)
    return path


@pytest.mark.usefixtures("prompt")
def test_a_text_is_heard_while_it_is_spoken_and_measured_at_the_end(page):
    page.set(text="One two three four. Five six seven eight.", seed="5")

    waiting, *segments, done = page.speak()

    results = page.speaking.results
    assert waiting[results.feed]["sounds"] == []
    assert len(segments) > 1
    assert all(each[results.feed]["sounds"] for each in segments)
    assert "Segment 1 of" in segments[0][results.status]
    assert Path(done[results.sound]).parent == page.desk.settings.output_dir
    assert "RTF" in done[results.figures]
    assert done[results.picture].ndim == 3
    assert done[results.seed] == "5"


@pytest.mark.usefixtures("prompt")
def test_what_the_controls_say_is_what_is_spoken(page):
    emotion = page.controls.emotion
    page.set(text="Hello.", seed=str(2**62 + 1), speed=1.5, volume=0.7, language="en")
    page.values |= {emotion.mode: "weights", emotion.sliders[3]: 0.5, emotion.alpha: 0.8}

    page.speak()

    (record,) = page.desk.history.search()
    settings = record.settings
    assert settings["speed"] == 1.5
    assert settings["volume"] == 0.7
    assert settings["emotion_weights"][3] == 0.5
    assert settings["emotion_alpha"] == 0.8
    assert settings["sampling"]["max_codes"] == 8
    assert record.seed == 2**62 + 1
    assert record.language == "en"


@pytest.mark.usefixtures("prompt")
def test_a_record_fills_the_controls_so_that_it_is_spoken_again_alike(page):
    emotion = page.controls.emotion
    page.set(text="Hello there.", seed="", speed=1.2)
    page.values |= {emotion.mode: "weights", emotion.sliders[0]: 0.4}
    page.speak()
    (record,) = page.desk.history.search()

    updates = page.tab.fill(record)

    assert len(updates) == len(page.tab.filled)
    for control, update in zip(page.tab.filled, updates, strict=True):
        if control in page.values and "value" in update:
            page.values[control] = update["value"]
    page.speak()
    again, first = page.desk.history.search()
    assert again.path.read_bytes() == first.path.read_bytes()
    assert again.settings == first.settings


@pytest.mark.usefixtures("prompt")
def test_cancel_ends_the_requests_of_this_visit_only(page):
    page.set(text="One two three four. Five six seven eight. Nine ten eleven twelve.", seed="1")
    stream = page.speaking.speak(page.values, VISIT)
    next(stream)
    next(stream)

    stranger = page.speaking.cancel(SimpleNamespace(session_hash="another"))
    own = page.speaking.cancel(VISIT)
    *_, last = stream

    assert stranger == page.say("generate.nothing_to_cancel")
    assert own == page.say("generate.cancelling")
    assert last[page.speaking.results.status] == page.say("generate.partial")
    assert page.speaking.cancel(VISIT) == page.say("generate.nothing_to_cancel")


@pytest.mark.usefixtures("prompt")
def test_a_cancel_before_anything_was_spoken_is_no_error(page):
    page.set(text="One two three four.", seed="1")
    stream = page.speaking.speak(page.values, VISIT)
    next(stream)
    page.speaking.cancel(VISIT)

    (last,) = stream

    assert last == {page.speaking.results.status: page.say("generate.cancelled")}


@pytest.mark.parametrize("seed", ["one", "1.5", "-1", "9" * 20])
def test_a_seed_that_is_no_whole_number_is_refused(seed):
    with pytest.raises(UserError, match="no whole number"):
        tab._seed_of(seed)


def test_an_empty_seed_leaves_it_to_be_drawn():
    assert [tab._seed_of(typed) for typed in ("", " ", None, " 7 ")] == [None, None, None, 7]


def test_without_a_voice_it_is_said_what_is_missing(page):
    page.set(text="Hello.")

    with pytest.raises(UserError, match="there is no voice prompt"):
        page.speak()


def test_only_the_controls_of_the_chosen_emotion_are_seen():
    seen = {mode: [each["visible"] for each in tab.shown_for(mode)] for mode in tab.EmotionMode}

    assert seen["voice"] == [False, False, False, False, False]
    assert seen["clip"] == [True, False, False, True, False]
    assert seen["weights"] == [False, True, False, True, True]
    assert seen["text"] == [False, False, True, True, True]


def test_a_model_that_learnt_no_durations_is_not_asked_for_one(page):
    assert page.controls.plain["target_duration_sec"].visible is False


@pytest.mark.parametrize(
    ("languages", "chosen", "expected"),
    [
        (("ca",), "", ""),
        (("zh", "en"), "", ""),
        (("ca", "es"), "", "ca"),
        (("ca", "es"), "es", "es"),
    ],
)
def test_a_model_of_several_languages_is_told_a_visible_guess(page, languages, chosen, expected):
    entry = replace(page.desk.catalogue.entries()[0], languages=languages)
    desk = SimpleNamespace(catalogue=SimpleNamespace(by_label=lambda: {"model": entry}))

    assert tab._language_for(desk, page.say, "model", chosen) == expected


def test_sampling_begins_as_the_base_says(page, desk):
    controls = page.controls.sampling
    base = {**vars_of(SamplingSettings()), **desk.files.config.generation}

    assert controls["temperature"].value == base["temperature"]
    assert controls["num_beams"].value == base["num_beams"]


def vars_of(settings: SamplingSettings) -> dict:
    return {name: getattr(settings, name) for name in ("temperature", "num_beams")}


def test_sentences_are_shown_with_their_tokens(page):
    rows, told = preview_part._previewed(
        page.desk, page.say, page.controls.model.value, "One two three. Four five six.", "en", 20
    )

    assert all(tokens > 0 for _, tokens, _ in rows)
    assert told.startswith("No estimate")


def test_a_voice_is_saved_chosen_and_removed(page, prompt):
    with pytest.raises(UserError, match="whose voice"):
        part._save(page.desk, page.say, str(prompt), "anna", " ")
    chosen, _ = part._save(page.desk, page.say, str(prompt), "anna", "Anna, who agreed")

    assert chosen["value"] == "anna"
    assert "Anna, who agreed" in part._note(page.desk, page.say, "anna")
    assert part._clip(page.desk, "anna") == str(page.desk.voices.path("anna"))
    part._remove(page.desk, page.say, "anna")
    assert page.desk.voices.names() == []


def test_a_message_that_a_browser_passes_over_is_made_up_for():
    feed = LiveFeed()
    messages = [feed.with_segment(np.zeros(2000, np.float32)) for _ in range(5)]

    assert [each["first"] for each in messages] == [0, 0, 0, 1, 2]
    assert all(len(each["sounds"]) <= SENT_TWICE for each in messages)
    assert feed.started()["run"] == messages[0]["run"]


@pytest.mark.parametrize("language", PAGE_LANGUAGES)
def test_the_tab_is_built_in_every_language(desk, language):
    async def build() -> Page:
        return Page(desk, language)

    asyncio.run(build())
    keys = {name for name in read_messages(language) if name.startswith("generate.")}
    assert keys == {name for name in read_messages("en") if name.startswith("generate.")}
