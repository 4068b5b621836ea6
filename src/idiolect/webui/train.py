"""A language learnt: tokenizer, plan, training, and the model installed; each step a job."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from idiolect.base.errors import UserError
from idiolect.base.guard import check_output
from idiolect.base.places import SHIPPED_DIR, SHIPPED_NAME
from idiolect.data.manifest import parse_source
from idiolect.models.published import BASE_ROLES
from idiolect.studio.commands import tokenizer_command, train_command
from idiolect.studio.projects import Project
from idiolect.studio.roots import below_roots
from idiolect.text.train_bpe import TokenizerConfig
from idiolect.training.config import TrainConfig
from idiolect.training.presets import NAMES as PRESETS
from idiolect.webui.choices import offered
from idiolect.webui.dataset import project_of, size_text
from idiolect.webui.desk import CPU, Desk
from idiolect.webui.head import Head
from idiolect.webui.install_part import build_install, checkpoint_choices, scores_text
from idiolect.webui.job_list import build_job_list, job_choices
from idiolect.webui.job_panel import log_panel, submit
from idiolect.webui.messages import Say
from idiolect.webui.shown import shown_on_page, user_of

NARROW_PX = 200
EXTEND, NEW, BASE = "extend", "new", "base"
MODES = ("full", "lora", "rows")
JOBS = ("tokenizer", "plan", "train", "install")
OWN_BASE = "base"
"""What stands for the base of this page; its path is not told."""
LISTENERS = ("none", "nano", "whisper-base", "whisper-small", "moonshine")
EXTENSION_SIZE = 2000
"""Pieces that an extension appends at most, unless asked for more."""
SETTINGS = ("epochs", "learning_rate", "batch_size", "grad_accumulation", "lora_rank", "patience")
FLOATS = frozenset({"learning_rate"})


def build(desk: Desk, say: Say, head: Head) -> None:
    """Add the tab."""
    with gr.Tab(say("train.tab"), id="train") as tab:
        with gr.Row():
            project = gr.Dropdown(
                desk.projects.names(),
                value=None,
                allow_custom_value=True,
                label=say("train.project"),
                scale=3,
            )
            refresh = gr.Button(say("train.refresh"), scale=1)
        standing = gr.Markdown()
        job = gr.State("")
        tokenizer = _tokenizer_part(desk, say, project, job)
        buttons, asked = _training_part(desk, say, project, tokenizer, head)
        with gr.Accordion(say("train.job"), open=True):
            timer, stage = log_panel(desk, say, job, tab, JOBS)
        listed = build_job_list(desk, say, project, job, timer)
        checkpoint = build_install(desk, say, project, job)

    for button, plans in zip(buttons, (True, False), strict=True):
        button.click(_starter(desk, say, plans=plans), asked, job)

    def look(name: str | None, kept: str | None) -> tuple[Any, str, Any, Any]:
        choices = checkpoint_choices(desk, say, name)
        files = [file for _, file in choices]
        return (
            gr.update(choices=desk.projects.names()),
            standing_of_project(desk, say, name),
            offered(choices, had=kept, wanted=kept if kept in files else next(iter(files), None)),
            job_choices(desk),
        )

    shown = [project, standing, checkpoint, listed]
    for event in (tab.select, refresh.click, project.change, stage.change):
        event(shown_on_page(look), [project, checkpoint], shown, show_progress="hidden")


def standing_of_project(desk: Desk, say: Say, name: str | None) -> str:
    """Return what the project has, step by step, as Markdown."""
    if not (name or "").strip():
        return ""
    state = desk.projects.state(project_of(desk, name).name)
    if state.manifest is None:
        data = say("train.no_data")
    else:
        data = say("train.has_data", size=size_text(state.manifest, say))
    if state.vocab_size is None:
        tokenizer = say("train.no_tokenizer")
    else:
        tokenizer = say("train.has_tokenizer", n=state.vocab_size)
    best = next((each for each in state.checkpoints if each.is_best), None)
    if best is None:
        run = say("train.no_run")
    else:
        run = say("train.has_run", n=len(state.checkpoints), best=scores_text(best, say))
    problems = [html.escape(problem) for problem in state.problems]
    return "  \n".join([data, tokenizer, run, *problems])


def _tokenizer_part(desk: Desk, say: Say, project: gr.Dropdown, job: gr.State) -> gr.Radio:
    gr.Markdown(say("train.tokenizer_title"))
    kinds = [(say(f"train.tokenizer_{kind}"), kind) for kind in (EXTEND, NEW, BASE)]
    with gr.Row():
        kind = gr.Radio(kinds, value=EXTEND, label=say("train.tokenizer"), scale=3)
        size = gr.Number(
            EXTENSION_SIZE, label=say("train.vocab_size"), precision=0, minimum=1, scale=1
        )
        make = gr.Button(say("train.make_tokenizer"), scale=1)
    usual = TokenizerConfig(output_prefix=Path()).vocab_size
    kind.input(
        lambda chosen: gr.update(
            value=usual if chosen == NEW else EXTENSION_SIZE, interactive=chosen != BASE
        ),
        kind,
        size,
    )
    kind.input(lambda chosen: gr.update(interactive=chosen != BASE), kind, make)

    def train(name: str | None, chosen: str, pieces: float, request: gr.Request) -> str:
        found = project_of(desk, name)
        config = TokenizerConfig(
            output_prefix=found.named(found.tokenizer_prefix),
            vocab_size=int(pieces),
            extend=found.named(desk.files.tokenizer) if chosen == EXTEND else None,
            # Checkpoints of a run are of no use without the tokenizer that they learnt with.
            overwrite=not desk.projects.state(found.name).checkpoints,
        )
        command = tokenizer_command([str(found.named(found.manifest))], config)
        title = say("train.job_tokenizer", project=found.name)
        return submit(
            desk,
            found,
            command,
            device=CPU,
            kind="tokenizer",
            title=title,
            user=user_of(request),
        )

    make.click(shown_on_page(train), [project, kind, size], job)
    return kind


def _training_part(
    desk: Desk, say: Say, project: gr.Dropdown, tokenizer: gr.Radio, head: Head
) -> tuple[list[gr.Button], list[Any]]:
    """Add the settings; return the buttons (plan, start) and what they ask."""
    usual = TrainConfig()
    gr.Markdown(say("train.training_title"))
    with gr.Row():
        bases = gr.Dropdown(
            _bases(desk, say),
            value=OWN_BASE,
            allow_custom_value=True,
            label=say("train.base"),
            info=say("train.base_info"),
            min_width=NARROW_PX,
        )
        mode = gr.Dropdown(
            [(say("train.mode_open"), ""), *((say(f"train.mode_{m}"), m) for m in MODES)],
            value="",
            label=say("train.mode"),
            min_width=NARROW_PX,
        )
        preset = gr.Dropdown(
            list(PRESETS),
            value=[],
            multiselect=True,
            label=say("train.preset"),
            info=say("train.preset_info"),
            min_width=NARROW_PX,
        )
    replay = gr.Textbox(
        label=say("train.replay"), info=say("train.replay_info"), lines=2, max_lines=6
    )
    with gr.Row():
        numbers = [
            gr.Number(
                getattr(usual, name),
                label=say(f"train.{name}"),
                precision=None if name in FLOATS else 0,
                minimum=0,
                min_width=NARROW_PX,
            )
            for name in SETTINGS
        ]
    with gr.Row():
        listener = gr.Dropdown(
            list(LISTENERS),
            value=usual.asr,
            allow_custom_value=True,
            label=say("train.asr"),
            info=say("train.asr_info"),
            min_width=NARROW_PX,
        )
        allow = gr.Checkbox(usual.allow_skips, label=say("train.allow_skips"), min_width=NARROW_PX)
    with gr.Row():
        plan = gr.Button(say("train.plan"))
        start = gr.Button(say("train.start"), variant="primary")
    gr.Markdown(say("train.plan_info"))
    asked = [project, tokenizer, head.device, bases, mode, preset, replay, listener, allow]
    return [plan, start], [*asked, *numbers]


def _starter(desk: Desk, say: Say, *, plans: bool) -> Any:
    """Return what the buttons do; gradio gives the visit to whoever asks for it by its type."""

    def start(request: gr.Request, *given: Any) -> str:
        name, tokenizer, device, base, mode, presets, replay, listener, allow, *numbers = given
        project = project_of(desk, name)
        config = _config(desk, project, tokenizer=tokenizer, device=device, base=base)
        config = replace(
            config,
            train_manifest=_manifests(desk, project, replay or ""),
            **({"mode": mode} if mode else {}),
            asr=listener,
            allow_skips=allow,
            **_numbers(numbers),
        )
        command = train_command(
            config, presets=presets or (), typed=["mode"] if mode else [], plan=plans
        )
        kind = "plan" if plans else "train"
        title = say(f"train.job_{kind}", project=project.name)
        return submit(
            desk,
            project,
            command,
            device=device,
            kind=kind,
            title=title,
            user=user_of(request),
        )

    return shown_on_page(start)


def _config(desk: Desk, project: Project, *, tokenizer: str, device: str, base: str) -> TrainConfig:
    """Return what the project and the fields say of a run, less its data."""
    folder = _base_folder(desk, base)
    aux = desk.settings.aux_dir
    return TrainConfig(
        tokenizer=None if tokenizer == BASE else project.named(project.tokenizer),
        base_checkpoint=project.named(folder / BASE_ROLES["gpt"] if folder.is_dir() else folder),
        config=None if folder.is_dir() else project.named(desk.settings.base / "config.yaml"),
        aux_dir=None if aux is None else project.named(aux),
        output_dir=project.named(check_output(project.run_dir)),
        output_name=project.name,
        device="cuda" if device.startswith("cuda") else "cpu",
    )


def _numbers(numbers: Sequence[float | None]) -> dict[str, Any]:
    """Return the settings whose fields were not left empty."""
    given = {
        name: value for name, value in zip(SETTINGS, numbers, strict=True) if value is not None
    }
    return {name: float(v) if name in FLOATS else int(v) for name, v in given.items()}


def _manifests(desk: Desk, project: Project, replay: str) -> tuple[str, ...]:
    """Return the project's data, paired where it is, and what is seen again beside it.

    Raises:
        GuardError: A manifest is not below the declared folders.
        UserError: The project has no data.
    """
    own = project.pairs if project.pairs.is_file() else project.manifest
    if not own.is_file():
        raise UserError(
            f"the project {project.name} has no data", fix="prepare it in the tab of the data"
        )
    found = [str(project.named(own))]
    for line in filter(None, map(str.strip, replay.splitlines())):
        spec = parse_source(line)
        path = below_roots(spec.path, desk.settings.roots)
        found.append(line.replace(str(spec.path), str(project.named(path)), 1))
    return tuple(found)


def _bases(desk: Desk, say: Say) -> list[tuple[str, str]]:
    own = (say("train.base_page", folder=desk.settings.base.name), OWN_BASE)
    is_shipped = desk.settings.base.resolve() == SHIPPED_DIR.resolve()
    return [own] if is_shipped else [own, (say("train.base_nano"), SHIPPED_NAME)]


def _base_folder(desk: Desk, base: str) -> Path:
    """Return the base that was chosen, or the checkpoint below the declared folders.

    Raises:
        GuardError: It is neither.
    """
    known = {OWN_BASE: desk.settings.base, SHIPPED_NAME: SHIPPED_DIR}
    return known[base] if base in known else below_roots(base, desk.settings.roots)
