"""The Generate tab: a voice, a text, everything a request may say; heard while it is spoken."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import gradio as gr

from idiolect.audio.picture import sound_picture
from idiolect.base.errors import UserError
from idiolect.base.units import format_bytes, format_duration
from idiolect.registry.describe import tells_language
from idiolect.registry.entry import ModelEntry
from idiolect.studio.history import SpokenRecord
from idiolect.studio.loudness import VOLUME_RANGE
from idiolect.studio.settings import (
    DEFAULT_SILENCE_MS,
    SEGMENT_TOKENS_RANGE,
    SILENCE_RANGE_MS,
    EmotionMode,
    SpeechSettings,
)
from idiolect.studio.speech import SegmentDone, SpeechDone, SpeechOrder
from idiolect.synthesis.request import SPEED_RANGE, sampling_settings
from idiolect.synthesis.sampling import Cancelled
from idiolect.text.segments import MAX_SEGMENT_TOKENS
from idiolect.webui.choices import UNSAID, language_choices
from idiolect.webui.desk import Desk
from idiolect.webui.emotion_part import EmotionPart, build_emotion, shown_for
from idiolect.webui.head import NARROW_PX, Head, chosen_entry
from idiolect.webui.live import LiveFeed, build_player
from idiolect.webui.messages import Say
from idiolect.webui.preview_part import build_preview, wire_preview
from idiolect.webui.sampling_part import build_sampling, sampling_of, sampling_updates
from idiolect.webui.shown import shown_on_page, user_of
from idiolect.webui.voice_part import VoicePart, build_voice, prompt_of

MAX_SEED_DIGITS = 19
"""Of the largest seed, 2**63 - 1."""
QUIETER_DB = 0.05
"""Less than this nobody hears, and it is not told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generate:
    """The tab's parts that other tabs need."""

    tab: gr.Tab
    filled: list[Any]
    """What :attr:`fill` gives a value to."""
    fill: Callable[[SpokenRecord], list[Any]]
    """Updates that put a record of the history into the controls, exactly as it was spoken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Controls:
    """Everything that a request is read from."""

    model: gr.Dropdown
    device: gr.Dropdown
    voice: VoicePart
    emotion: EmotionPart
    plain: Mapping[str, Any]
    """Controls by the name of what they say."""
    sampling: Mapping[str, Any]
    """Controls by the field of the sampling's settings."""

    @property
    def all(self) -> list[Any]:
        emotion = self.emotion
        return [
            *(self.model, self.device, self.voice.name, self.voice.clip),
            *(emotion.mode, emotion.alpha, emotion.clip, emotion.text, emotion.random),
            *(*emotion.sliders, *self.plain.values(), *self.sampling.values()),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Results:
    """Where it is told how a request goes."""

    status: gr.Markdown
    feed: gr.JSON
    sound: gr.Audio
    figures: gr.Markdown
    picture: gr.Image
    seed: gr.Textbox
    again: gr.Button

    @property
    def all(self) -> list[Any]:
        return [
            *(self.status, self.feed, self.sound, self.figures, self.picture, self.seed),
            self.again,
        ]


def build(desk: Desk, say: Say, head: Head) -> Generate:
    """Add the tab."""
    with gr.Tab(say("generate.tab"), id="generate") as tab, gr.Row():
        with gr.Column(min_width=NARROW_PX):
            controls = _build_controls(desk, say, head)
        with gr.Column(min_width=NARROW_PX):
            buttons, results = _build_results(say)
    _wire(desk, say, controls, buttons, results)
    return Generate(
        tab=tab,
        filled=[*controls.all, *controls.emotion.shown],
        fill=lambda record: _filled(desk, controls, record),
    )


def _build_controls(desk: Desk, say: Say, head: Head) -> _Controls:
    voice = build_voice(desk, say)
    text = gr.Textbox(label=say("generate.text"), lines=4, max_lines=16, elem_id="text")
    language = gr.Dropdown(
        language_choices(say("generate.as_the_model")),
        value=_language_for(desk, say, head.model.value, UNSAID),
        label=say("generate.language"),
        min_width=NARROW_PX,
    )
    preview = build_preview(say)
    emotion = build_emotion(say)
    plain = {
        "text": text,
        "language": language,
        **_build_plain(say, _knows_durations(desk, head.model.value)),
    }
    with gr.Accordion(say("generate.sampling"), open=False):
        plain |= _build_pauses(say)
        defaults = sampling_settings(dict(desk.files.config.generation))
        sampling = build_sampling(say, defaults)
    wire_preview(desk, say, preview, [head.model, text, language, plain["max_segment_tokens"]])
    head.model.change(
        lambda label: gr.update(visible=_knows_durations(desk, label)),
        head.model,
        plain["target_duration_sec"],
        show_progress="hidden",
    )
    # By the visitor only: a record of the history brings its own language.
    head.model.input(
        lambda label, chosen: _language_for(desk, say, label, chosen),
        [head.model, language],
        language,
        show_progress="hidden",
    )
    return _Controls(
        model=head.model,
        device=head.device,
        voice=voice,
        emotion=emotion,
        plain=plain,
        sampling=sampling,
    )


def _build_plain(say: Say, knows_durations: bool) -> dict[str, Any]:  # noqa: FBT001
    with gr.Row():
        # A field of numbers is never empty in a browser, and would round a large seed.
        seed = gr.Textbox(
            label=say("generate.seed"),
            info=say("generate.seed_info"),
            min_width=140,
        )
        speed = gr.Slider(
            *SPEED_RANGE, value=1.0, step=0.05, label=say("generate.speed"), min_width=140
        )
        volume = gr.Slider(
            *VOLUME_RANGE, value=1.0, step=0.05, label=say("generate.volume"), min_width=140
        )
    duration = gr.Number(
        value=None,
        minimum=0,
        label=say("generate.duration"),
        info=say("generate.duration_info"),
        visible=knows_durations,
    )
    return {"seed": seed, "speed": speed, "volume": volume, "target_duration_sec": duration}


def _build_pauses(say: Say) -> dict[str, Any]:
    with gr.Row():
        silence = gr.Slider(
            *SILENCE_RANGE_MS, value=DEFAULT_SILENCE_MS, step=50, label=say("generate.silence")
        )
        tokens = gr.Slider(
            *SEGMENT_TOKENS_RANGE,
            value=MAX_SEGMENT_TOKENS,
            step=5,
            label=say("generate.segment_tokens"),
        )
    return {"interval_silence_ms": silence, "max_segment_tokens": tokens}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Buttons:
    """What starts and ends a request."""

    generate: gr.Button
    cancel: gr.Button
    is_live: gr.Checkbox


def _build_results(say: Say) -> tuple[_Buttons, _Results]:
    with gr.Row():
        generate = gr.Button(say("generate.generate"), variant="primary", scale=3)
        cancel = gr.Button(say("generate.cancel"), scale=1)
    is_live = gr.Checkbox(value=True, label=say("generate.is_live"))
    status = gr.Markdown()
    player = build_player(say("generate.live"))
    sound = gr.Audio(
        label=say("generate.sound"), type="filepath", interactive=False, buttons=["download"]
    )
    figures = gr.Markdown()
    picture = gr.Image(
        alt_text=say("generate.picture"),
        show_label=False,  # it would cover the waveform
        interactive=False,
        buttons=["download", "fullscreen"],
    )
    seed = gr.Textbox(label=say("generate.seed_used"), interactive=False)
    again = gr.Button(say("generate.again"), interactive=False)
    results = _Results(
        status=status,
        feed=player.feed,
        sound=sound,
        figures=figures,
        picture=picture,
        seed=seed,
        again=again,
    )
    return _Buttons(generate=generate, cancel=cancel, is_live=is_live), results


def _wire(desk: Desk, say: Say, controls: _Controls, buttons: _Buttons, results: _Results) -> None:
    speaking = _Speaking(desk, say, controls, buttons, results)
    buttons.generate.click(
        shown_on_page(speaking.speak),
        {*controls.all, buttons.is_live},
        results.all,
        show_progress_on=results.status,  # an error would cover the sound of the last request
        concurrency_limit=None,  # who waits for whom is decided below: by model and device
    ).failure(lambda: say("generate.failed"), None, results.status, show_progress="hidden")
    buttons.cancel.click(
        shown_on_page(speaking.cancel), None, results.status, queue=False, show_progress="hidden"
    )
    results.again.click(str, results.seed, controls.plain["seed"], show_progress="hidden")


class _Speaking:
    """What the buttons do; who is being spoken for is told by the visit."""

    def __init__(
        self, desk: Desk, say: Say, controls: _Controls, buttons: _Buttons, results: _Results
    ) -> None:
        self.desk = desk
        self.say = say
        self.controls = controls
        self.buttons = buttons
        self.results = results
        self._cancels: dict[str, list[Event]] = {}
        """Of the requests of each visit that are under way."""

    def speak(self, given: dict[Any, Any], request: gr.Request) -> Iterator[dict[Any, Any]]:
        """Yield what the page shows, from the wish to the finished sound."""
        order = _order(self.desk, self.controls, given, user_of(request))
        feed, is_live, cancel = LiveFeed(), bool(given[self.buttons.is_live]), Event()
        visit = str(request.session_hash)
        self._cancels.setdefault(visit, []).append(cancel)
        try:
            yield self._waiting(feed)
            for event in self.desk.speech.speak(order, cancel.is_set):
                if isinstance(event, SpeechDone):
                    yield self._done(event)
                else:
                    yield self._segment(event, feed if is_live else None)
        except Cancelled:
            yield {self.results.status: self.say("generate.cancelled")}
        finally:
            self._cancels[visit].remove(cancel)
            if not self._cancels[visit]:
                del self._cancels[visit]

    def cancel(self, request: gr.Request) -> str:
        """Have the requests of this visit end after the segment that is being spoken."""
        events = list(self._cancels.get(str(request.session_hash), ()))
        for event in events:
            event.set()
        return self.say("generate.cancelling" if events else "generate.nothing_to_cancel")

    def _waiting(self, feed: LiveFeed) -> dict[Any, Any]:
        others = self.desk.speech.room.num_waiting
        results = self.results
        return {
            results.status: self.say("generate.waiting", others=others),
            results.feed: feed.started(),
            results.sound: None,
            results.figures: "",
            results.picture: None,
            results.again: gr.update(interactive=False),
        }

    def _segment(self, done: SegmentDone, feed: LiveFeed | None) -> dict[Any, Any]:
        status = self.say(
            "generate.progress",
            done=done.index + 1,
            count=done.count,
            elapsed=format_duration(done.elapsed_sec),
            left=format_duration(done.left_sec),
        )
        live = {} if feed is None else {self.results.feed: feed.with_segment(done.wave)}
        return {self.results.status: status, **live}

    def _done(self, done: SpeechDone) -> dict[Any, Any]:
        results = self.results
        return {
            results.status: self.say("generate.partial" if done.is_partial else "generate.done"),
            results.sound: str(done.path),
            results.figures: _figures(self.say, done),
            results.picture: sound_picture(done.wave),
            results.seed: str(done.seed),
            results.again: gr.update(interactive=True),
        }


def _order(desk: Desk, controls: _Controls, given: Mapping[Any, Any], user: str) -> SpeechOrder:
    """Return what the controls ask for.

    Raises:
        UserError: Something is missing, or out of range.
    """
    return SpeechOrder(
        model=chosen_entry(desk, given[controls.model]).name,
        device=given[controls.device],
        voice=prompt_of(given[controls.voice.clip]),
        text=given[controls.plain["text"]] or "",
        settings=_settings(controls, given, _knows_durations(desk, given[controls.model])),
        user=user,
        voice_name=given[controls.voice.name] or "",
    )


def _settings(
    controls: _Controls,
    given: Mapping[Any, Any],
    knows_durations: bool,  # noqa: FBT001
) -> SpeechSettings:
    plain = {name: given[control] for name, control in controls.plain.items()}
    emotion = controls.emotion
    clip = given[emotion.clip]
    seed, duration = plain["seed"], plain["target_duration_sec"]
    return SpeechSettings(
        language=plain["language"] or None,
        seed=_seed_of(seed),
        speed=plain["speed"],
        # Hidden for other models, and then what was once typed there does not count.
        target_duration_sec=(duration or None) if knows_durations else None,
        interval_silence_ms=int(plain["interval_silence_ms"]),
        max_segment_tokens=int(plain["max_segment_tokens"]),
        emotion=EmotionMode(given[emotion.mode]),
        emotion_alpha=given[emotion.alpha],
        emotion_clip=None if clip is None else Path(clip),
        emotion_weights=tuple(given[slider] for slider in emotion.sliders),
        emotion_text=given[emotion.text] or "",
        random_emotion=given[emotion.random],
        sampling=sampling_of({name: given[control] for name, control in controls.sampling.items()}),
        volume=plain["volume"],
    )


def _seed_of(typed: str | None) -> int | None:
    """Return the seed that was typed; None for an empty field.

    Raises:
        UserError: It is no whole number.
    """
    digits = (typed or "").strip()
    if not digits:
        return None
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= MAX_SEED_DIGITS):
        raise UserError(
            f"the seed {digits!r} is no whole number from 0",
            fix="give digits only, or leave it empty: one is drawn then",
        )
    return int(digits)


def _knows_durations(desk: Desk, label: str | None) -> bool:
    entry: ModelEntry | None = desk.catalogue.by_label().get(label or "")
    return entry is not None and desk.previews.knows_durations(entry.name)


def _language_for(desk: Desk, say: Say, label: str | None, chosen: str) -> str:
    """Return the language that a text for the model is likely in, ``chosen`` if it speaks that.

    A model with several languages of its own has to be told which; that of the page is a guess
    that the visitor sees.
    """
    entry = desk.catalogue.by_label().get(label or "")
    languages = () if entry is None else entry.languages
    if chosen in languages:
        return chosen
    if not languages or tells_language(languages):
        return UNSAID
    return say.language if say.language in languages else languages[0]


def _figures(say: Say, done: SpeechDone) -> str:
    """Return what was measured, as lines of Markdown."""
    record = done.record
    lines = [
        say(
            "generate.figures",
            duration=format_duration(record.duration_sec),
            elapsed=format_duration(record.elapsed_sec),
            rtf=f"{done.rtf:.2f}",
            first=format_duration(record.first_sound_sec or 0.0),
            waited=format_duration(done.waited_sec),
        )
    ]
    if record.peak_bytes is not None:
        lines.append(say("generate.peak", memory=format_bytes(record.peak_bytes)))
    if done.loudness.lowered_db > QUIETER_DB:
        lines.append(say("generate.lowered", decibels=f"{done.loudness.lowered_db:.1f}"))
    if done.clipped_samples:
        lines.append(say("generate.clipped", count=done.clipped_samples))
    return "  \n".join(lines)


def _filled(desk: Desk, controls: _Controls, record: SpokenRecord) -> list[Any]:
    """Return updates of :attr:`Generate.filled` that stand as they did for ``record``.

    Raises:
        UserError: Its model is no longer installed, or its clip no longer kept.
    """
    entries = {entry.name: label for label, entry in desk.catalogue.by_label().items()}
    if record.model not in entries:
        raise UserError(
            f"the model {record.model!r} is no longer installed", fix="install it again"
        )
    order = desk.speech.again(record, device="", user="")
    settings = order.settings
    emotion_clip = settings.emotion_clip
    name = record.voice if record.voice in desk.voices.names() else UNSAID
    plain = {name_of: getattr(settings, name_of, None) for name_of in controls.plain} | {
        "text": record.text,
        "seed": str(record.seed),
        "language": settings.language or UNSAID,
    }
    sampling = settings.sampling or sampling_settings(dict(desk.files.config.generation))
    values = [
        *(entries[record.model], gr.skip(), name, str(order.voice)),
        *(str(settings.emotion), settings.emotion_alpha),
        *(None if emotion_clip is None else str(emotion_clip), settings.emotion_text),
        *(settings.random_emotion, *settings.emotion_weights),
        *plain.values(),
        *(sampling_updates(sampling)[name_of] for name_of in controls.sampling),
    ]
    updates = [value if isinstance(value, dict) else gr.update(value=value) for value in values]
    return [*updates, *shown_for(str(settings.emotion))]
