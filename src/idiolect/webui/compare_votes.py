"""The blind votes of the Compare tab: sounds without names, an answer, what all answers say."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from idiolect.audio.io import read_audio
from idiolect.base.errors import UserError
from idiolect.base.units import SAMPLE_RATE
from idiolect.evaluation.comparison import VOTES_FILE, Comparison, read_comparison
from idiolect.evaluation.reading import Side
from idiolect.evaluation.votes import (
    BallotBox,
    Trial,
    Vote,
    discrimination_of,
    draw_trial,
    preference_of,
    vote_on,
)
from idiolect.webui.desk import Desk
from idiolect.webui.messages import Say
from idiolect.webui.shown import shown_on_page, user_of

KINDS = ("preference", "abx")


def build_votes(desk: Desk, say: Say, name: gr.State) -> None:
    """Add the votes on the comparison that ``name`` holds the name of."""
    with gr.Accordion(say("compare.votes"), open=False):
        gr.Markdown(say("compare.votes_info"))
        with gr.Row():
            kind = gr.Radio(
                [(say(f"compare.kind_{each}"), each) for each in KINDS],
                value=KINDS[0],
                label=say("compare.kind"),
            )
            following = gr.Button(say("compare.next_trial"))
        asked = gr.Markdown()
        with gr.Row():
            sounds = [
                gr.Audio(label=label, interactive=False, buttons=[], visible=False, min_width=200)
                for label in ("1", "2", "X")
            ]
        with gr.Row():
            answers = [
                gr.Button(say(f"compare.answer_{choice}"), visible=False)
                for choice in ("1", "2", "same")
            ]
        result = gr.Markdown()
        reveal = gr.Button(say("compare.reveal"), visible=False)
    trial, work = gr.State(None), _Votes(desk, say)
    shown = [trial, asked, *sounds, *answers, reveal]
    following.click(shown_on_page(work.next), [name, kind], shown)
    for choice, answer in zip(("1", "2", "same"), answers, strict=True):
        given = gr.State(choice)
        answer.click(shown_on_page(work.vote), [name, trial, given], [result, *answers, reveal])
    reveal.click(shown_on_page(work.reveal), [name, trial], asked)


class _Votes:
    """What the buttons do."""

    def __init__(self, desk: Desk, say: Say) -> None:
        self._desk = desk
        self._say = say

    def next(self, name: str | None, kind: str) -> list[Any]:
        """Show the next trial."""
        folder, comparison = self._chosen(name)
        spoken = [a.sentence for a, _ in comparison.pairs()]
        trial = draw_trial("abx" if kind == "abx" else "preference", spoken)
        is_abx = trial.kind == "abx"
        text = comparison.order.texts[trial.sentence - 1]
        asked = self._say(f"compare.ask_{trial.kind}", text=escape(text, quote=False))
        return [
            trial,
            asked,
            _played(folder, trial, trial.first),
            _played(folder, trial, trial.second),
            _played(folder, trial, trial.x) if is_abx else gr.update(value=None, visible=False),
            *[gr.update(visible=True)] * 2,
            gr.update(visible=not is_abx),
            gr.update(visible=False),
        ]

    def vote(
        self, name: str | None, trial: Trial | None, choice: str, request: gr.Request
    ) -> list[Any]:
        """Keep an answer; show what all say, and offer to tell which was which."""
        folder, comparison = self._chosen(name)
        if trial is None or choice not in {"1", "2", "same"}:
            raise UserError("there is no trial to answer", fix="ask for the next one")
        box = BallotBox(folder / VOTES_FILE)
        box.add(vote_on(trial, choice, user_of(request)))  # type: ignore[arg-type]  # one of three
        hidden = [gr.update(visible=False)] * 3
        return [self._result(comparison, box.votes()), *hidden, gr.update(visible=True)]

    def reveal(self, name: str | None, trial: Trial | None) -> str:
        """Tell which model was which in the trial that was answered."""
        _, comparison = self._chosen(name)
        if trial is None:
            raise UserError("there is no trial", fix="ask for the next one")
        first, second, x = (
            comparison.model(side).name for side in (trial.first, trial.second, trial.x)
        )
        kind = f"compare.revealed_{trial.kind}"
        return self._say(kind, first=first, second=second, x=x)

    def _chosen(self, name: str | None) -> tuple[Path, Comparison]:
        if not name:
            raise UserError("no comparison is shown", fix="run one, or choose one that was made")
        folder = self._desk.comparisons.place(name)
        return folder, read_comparison(folder)

    def _result(self, comparison: Comparison, votes: list[Vote]) -> str:
        lines, preference = [], preference_of(votes)
        if preference.decided + preference.same:
            lines.append(
                self._say(
                    "compare.preferences",
                    a=comparison.a.name,
                    b=comparison.b.name,
                    num_a=preference.a,
                    num_b=preference.b,
                    same=preference.same,
                    low=f"{preference.interval.low:.0%}",
                    high=f"{preference.interval.high:.0%}",
                )
            )
        found = discrimination_of(votes)
        if found.n:
            lines.append(
                self._say("compare.found", right=found.right, n=found.n, p=f"{found.p:.3f}")
            )
        return "  \n".join(lines)


def _played(folder: Path, trial: Trial, side: Side) -> Any:
    """Return a player of samples: the path of a file would tell which model it is."""
    comparison = read_comparison(folder)
    reading = comparison.reading(trial.sentence, side)
    if reading is None or reading.sound is None:
        raise UserError("this sentence was not spoken by both models", fix="ask for the next one")
    wave, _ = read_audio(folder / reading.sound, SAMPLE_RATE)
    return gr.update(value=(SAMPLE_RATE, wave), visible=True)
