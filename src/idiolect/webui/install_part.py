"""A checkpoint that a run kept becomes a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from idiolect.base.errors import UserError
from idiolect.base.files import slug
from idiolect.registry.install import InstallConfig
from idiolect.studio.commands import install_command
from idiolect.studio.jobs import NO_DEVICE
from idiolect.studio.projects import KeptCheckpoint, Project
from idiolect.webui.dataset import project_of
from idiolect.webui.desk import Desk
from idiolect.webui.job_panel import submit
from idiolect.webui.messages import Say
from idiolect.webui.shown import shown_on_page, user_of

NARROW_PX = 200


def build_install(desk: Desk, say: Say, project: gr.Dropdown, job: gr.State) -> gr.Dropdown:
    """Add the controls; return what chooses the checkpoint."""
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
        return submit(
            desk,
            found,
            command,
            device=NO_DEVICE,
            kind="install",
            title=title,
            user=user_of(request),
        )

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


def checkpoint_choices(desk: Desk, say: Say, name: str | None) -> list[tuple[str, str]]:
    """Return the checkpoints of a project that can be installed."""
    if not (name or "").strip():
        return []
    state = desk.projects.state(project_of(desk, name).name)
    usable = [each for each in state.checkpoints if not each.problem]
    return [
        (
            say("train.checkpoint_line", file=each.path.name, scores=scores_text(each, say)),
            each.path.name,
        )
        for each in usable
    ]


def scores_text(checkpoint: KeptCheckpoint, say: Say) -> str:
    """Return step, loss and what was heard of each language, in words."""
    told = [say("train.step", n=checkpoint.step)]
    if (loss := checkpoint.scores.get("val_loss")) is not None:
        told.append(say("train.loss", loss=f"{loss:.3f}"))
    for kept in checkpoint.kept:
        before, after = f"{kept.before:.0%}", f"{kept.after:.0%}"
        told.append(say("train.heard", language=kept.language, before=before, after=after))
    return ", ".join(told)
