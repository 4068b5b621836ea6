"""A language learnt: tokenizer, plan, training, and the model installed; each step a job."""

from __future__ import annotations

import html
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from idiolect.base.errors import UserError
from idiolect.base.files import slug
from idiolect.base.guard import check_output
from idiolect.base.places import SHIPPED_DIR, SHIPPED_NAME
from idiolect.data.manifest import parse_source
from idiolect.models.published import BASE_ROLES
from idiolect.registry.install import InstallConfig
from idiolect.studio.commands import install_command, tokenizer_command, train_command
from idiolect.studio.jobs import NO_DEVICE
from idiolect.studio.projects import KeptCheckpoint, Project
from idiolect.studio.roots import below_roots
from idiolect.text.train_bpe import TokenizerConfig
from idiolect.training.config import TrainConfig
from idiolect.training.presets import NAMES as PRESETS
from idiolect.webui.dataset import project_of, size_text
from idiolect.webui.desk import CPU, Desk
from idiolect.webui.head import Head
from idiolect.webui.job_panel import log_panel, status_text
from idiolect.webui.messages import Say
from idiolect.webui.shown import shown_on_page, user_of

NARROW_PX = 200
LISTED_JOBS = 50
EXTEND, NEW, BASE = "extend", "new", "base"
MODES = ("full", "lora", "rows")
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
            timer, stage = log_panel(desk, say, job, tab)
        listed = _jobs_part(desk, say, project, job, timer)
        checkpoint = _install_part(desk, say, project, job)

    for button, plans in zip(buttons, (True, False), strict=True):
        button.click(_starter(desk, say, plans=plans), asked, job)

    def look(name: str | None, kept: str | None) -> tuple[Any, str, Any, Any]:
        choices = _checkpoints(desk, say, name)
        files = [file for _, file in choices]
        return (
            gr.update(choices=desk.projects.names()),
            standing_of_project(desk, say, name),
            gr.update(choices=choices, value=kept if kept in files else next(iter(files), None)),
            _job_choices(desk),
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
        run = say("train.has_run", n=len(state.checkpoints), best=_scores(best, say))
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
        return _submit(desk, found, command, CPU, "tokenizer", title, user_of(request))

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
        return _submit(desk, project, command, device, kind, title, user_of(request))

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


def _jobs_part(
    desk: Desk, say: Say, project: gr.Dropdown, job: gr.State, timer: gr.Timer
) -> gr.Dropdown:
    """Add the list of jobs, and what can be done with one."""
    gr.Markdown(say("train.jobs_title"))
    columns = ("number", "job_title", "device", "status", "began")
    rows = gr.Dataframe(
        [],
        headers=[say(f"train.{name}") for name in columns],
        interactive=False,
        wrap=True,
        label=say("train.jobs"),
    )
    with gr.Row():
        chosen = gr.Dropdown([], label=say("train.chosen"), scale=3, min_width=NARROW_PX)
        stop = gr.Button(say("train.stop"), variant="stop", min_width=NARROW_PX)
        again = gr.Button(say("train.resume"), min_width=NARROW_PX)
        forget = gr.Button(say("train.forget"), min_width=NARROW_PX)

    def listed(seen: list[list[str]]) -> tuple[Any, Any]:
        desk.jobs.wake()
        found = _job_rows(desk, say)
        if found == seen:
            return gr.skip(), gr.skip()
        return found, found

    def resume(job_id: str | None, request: gr.Request) -> str:
        return desk.jobs.again(_chosen(job_id), user=user_of(request)).id

    drawn = gr.State([])
    for event in (timer.tick, job.change):
        event(listed, drawn, [rows, drawn], show_progress="hidden")
    chosen.focus(lambda: _job_choices(desk), None, chosen, show_progress="hidden")
    chosen.input(lambda job_id: job_id, chosen, job)
    stop.click(shown_on_page(lambda job_id: desk.jobs.stop(_chosen(job_id)).id), chosen, job)
    again.click(shown_on_page(resume), chosen, job)
    forget.click(shown_on_page(lambda job_id: _forget(desk, job_id)), chosen, [chosen, job])
    job.change(
        lambda job_id: gr.update(choices=_choices(desk), value=job_id or None),
        job,
        chosen,
        show_progress="hidden",
    )
    project.change(lambda: _job_choices(desk), None, chosen, show_progress="hidden")
    return chosen


def _install_part(desk: Desk, say: Say, project: gr.Dropdown, job: gr.State) -> gr.Dropdown:
    usual = InstallConfig(checkpoint=Path(), tokenizer=Path(), output_name="")
    gr.Markdown(say("train.install_title"))
    with gr.Row():
        checkpoint = gr.Dropdown([], label=say("train.checkpoint"), scale=2, min_width=NARROW_PX)
        name = gr.Textbox(label=say("train.name"), info=say("train.name_info"), min_width=NARROW_PX)
        description = gr.Textbox(label=say("train.description"), min_width=NARROW_PX)
    with gr.Row():
        blend = gr.Number(
            usual.blend, label=say("train.blend"), minimum=0.01, maximum=1, min_width=NARROW_PX
        )
        # A text: a field of a number shows 0 where nothing is asked for.
        gate = gr.Textbox(label=say("train.gate"), info=say("train.gate_info"), min_width=NARROW_PX)
        force = gr.Checkbox(usual.force, label=say("train.force"), min_width=NARROW_PX)
    install = gr.Button(say("train.install"), variant="primary")

    def start(request: gr.Request, *given: Any) -> str:
        chosen, path, *rest = given
        found = project_of(desk, chosen)
        config = _install_config(desk, found, path, rest)
        title = say("train.job_install", model=config.output_name)
        command = install_command(config)
        return _submit(desk, found, command, NO_DEVICE, "install", title, user_of(request))

    asked = [project, checkpoint, name, description, blend, gate, force]
    install.click(shown_on_page(start), asked, job)
    return checkpoint


def _install_config(
    desk: Desk, project: Project, file: str | None, given: Sequence[Any]
) -> InstallConfig:
    """Return what to install under which name.

    Raises:
        UserError: No checkpoint is chosen, or the name cannot be that of a file.
    """
    name, description, blend, gate, force = given
    kept = {each.path.name: each for each in desk.projects.state(project.name).checkpoints}
    if file not in kept:
        raise UserError("no checkpoint is chosen", fix="choose one of those that the run kept")
    settings = project.settings
    own = None if settings is None else settings.tokenizer
    aux = desk.settings.aux_dir
    return InstallConfig(
        checkpoint=project.named(kept[file].path),
        tokenizer=project.named(project.root / own if own else desk.files.tokenizer),
        output_name=slug((name or "").strip() or project.name, flag="name"),
        description=(description or "").strip(),
        output_dir=project.named(desk.settings.model_dir),
        base=project.named(desk.settings.base),
        aux_dir=None if aux is None else project.named(aux),
        blend=blend or 1.0,
        gate=_points(gate or ""),
        force=force,
    )


def _points(typed: str) -> float | None:
    """Return the points of the gate; None where the field is empty.

    Raises:
        UserError: It is no number.
    """
    try:
        return float(typed.replace(",", ".")) if typed.strip() else None
    except ValueError as error:
        raise UserError(f"{typed!r} is no number of points", fix="give one, such as 3") from error


def _checkpoints(desk: Desk, say: Say, name: str | None) -> list[tuple[str, str]]:
    if not (name or "").strip():
        return []
    state = desk.projects.state(project_of(desk, name).name)
    usable = [each for each in state.checkpoints if not each.problem]
    return [
        (
            say("train.checkpoint_line", file=each.path.name, scores=_scores(each, say)),
            each.path.name,
        )
        for each in usable
    ]


def _scores(checkpoint: KeptCheckpoint, say: Say) -> str:
    """Return step, losses and what languages lost, as the checkpoint's header has them."""
    losses = [f"{k} {v:.4g}" for k, v in checkpoint.scores.items() if not k.startswith("probe_cer")]
    return ", ".join([say("train.step", n=checkpoint.step), *losses, *map(str, checkpoint.kept)])


def _submit(
    desk: Desk,
    project: Project,
    command: Sequence[str],
    device: str,
    kind: str,
    title: str,
    user: str,
) -> str:
    return desk.jobs.submit(
        command,
        cwd=project.root,
        device=device,
        title=title,
        project=project.name,
        kind=kind,
        user=user,
    ).id


def _chosen(job_id: str | None) -> str:
    if not job_id:
        raise UserError("no job is chosen", fix="choose one of the list")
    return job_id


def _forget(desk: Desk, job_id: str | None) -> tuple[Any, str]:
    desk.jobs.remove(_chosen(job_id))
    return gr.update(choices=_choices(desk), value=None), ""


def _job_rows(desk: Desk, say: Say) -> list[list[str]]:
    return [
        [job.id, job.title, job.device, status_text(job, say), _clock(job.created_sec)]
        for job in desk.jobs.list()[:LISTED_JOBS]
    ]


def _clock(since_1970_sec: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(since_1970_sec))


def _job_choices(desk: Desk) -> Any:
    return gr.update(choices=_choices(desk))


def _choices(desk: Desk) -> list[tuple[str, str]]:
    return [(f"{job.id} · {job.title}", job.id) for job in desk.jobs.list()[:LISTED_JOBS]]
