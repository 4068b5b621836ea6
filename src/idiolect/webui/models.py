"""The tab of the models: what each is, and what can be done with its files."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import gradio as gr

from idiolect.base.errors import UserError
from idiolect.base.units import format_bytes
from idiolect.models.terms import terms_named
from idiolect.registry.catalogue import entry_named
from idiolect.registry.change import MAX_NOTES, set_notes
from idiolect.registry.describe import BASE_NAME
from idiolect.registry.entry import ModelEntry
from idiolect.registry.export import ExportForm, export_model
from idiolect.registry.gate import AFTER, BEFORE, kept_languages
from idiolect.registry.lineage import lineage
from idiolect.registry.remove import Removal, plan_removal, remove_model
from idiolect.registry.store import verify_model
from idiolect.webui.choices import offered
from idiolect.webui.desk import Desk
from idiolect.webui.head import Head
from idiolect.webui.messages import Say
from idiolect.webui.shown import shown_on_page

LOOK_EVERY_SEC = 3.0
NARROW_PX = 320
EXPORTS_DIR = "exports"
FORMS = ("safetensors", "pth")
PRECISIONS = ("float32", "bf16")
CARD_STYLE = (
    "border:1px solid var(--border-color-primary);border-radius:var(--radius-lg);padding:1rem;"
    "overflow-wrap:anywhere;min-width:0"
)
GRID_STYLE = (
    "display:grid;gap:1rem;grid-template-columns:repeat(auto-fill,minmax(min(22rem,100%),1fr))"
)
BAD_STYLE = "color:var(--error-text-color,#b91c1c)"


def build(desk: Desk, say: Say, head: Head) -> None:
    """Add the tab; the model that is chosen in ``head`` is chosen here, too."""
    with gr.Tab(say("models.tab"), id="models"):
        cards = gr.HTML(_cards(desk, say))
        seen = gr.State(-1)
        model = gr.Dropdown(
            _names(desk),
            value=_first(desk),
            label=say("models.model"),
            min_width=NARROW_PX,
            elem_id="models-model",
        )
        notes = gr.Textbox(
            _notes(desk, model.value),
            label=say("models.notes"),
            lines=3,
            max_length=MAX_NOTES,
            elem_id="models-notes",
        )
        with gr.Row():
            save = gr.Button(say("models.save"))
            verify = gr.Button(say("models.verify"))
            remove = gr.Button(say("models.remove"), variant="stop")
        with gr.Group(visible=False) as asked:
            question = gr.Markdown()
            with gr.Row():
                yes = gr.Button(say("models.agree"), variant="stop")
                keep = gr.Button(say("models.keep"))
        with gr.Row():
            form = gr.Radio(FORMS, value=FORMS[0], label=say("models.form"))
            precision = gr.Radio(PRECISIONS, value=PRECISIONS[0], label=say("models.precision"))
            export = gr.Button(say("models.export"))
        status = gr.Markdown(elem_id="models-status")
        planned = gr.State(None)

        listed = [seen, cards, model]
        gr.Timer(LOOK_EVERY_SEC).tick(
            partial(_look, desk, say), [seen, model], listed, show_progress="hidden"
        )
        model.change(
            lambda name: (_notes(desk, name), gr.update(visible=False), None),
            model,
            [notes, asked, planned],
            show_progress="hidden",
        )
        head.model.change(
            partial(_follow, desk), [head.model, model], model, show_progress="hidden"
        )
        save.click(_shown(_save, desk, say), [model, notes], status).then(
            partial(_look, desk, say), [seen, model], listed, show_progress="hidden"
        )
        verify.click(_shown(_verify, desk, say), model, status)
        remove.click(_shown(_ask, desk, say), model, [planned, question, asked])
        keep.click(lambda: (None, gr.update(visible=False)), None, [planned, asked])
        yes.click(_shown(_remove, desk, say), [planned, model], [planned, asked, status]).then(
            partial(_look, desk, say), [seen, model], listed, show_progress="hidden"
        )
        export.click(_shown(_export, desk, say), [model, form, precision], status)


def _shown(work: Callable[..., Any], desk: Desk, say: Say) -> Callable[..., Any]:
    """Return ``work`` on this page, with its errors shown."""

    def on_page(*values: Any) -> Any:
        return work(desk, say, *values)

    return shown_on_page(on_page)


def _look(desk: Desk, say: Say, seen: int, name: str | None) -> Any:
    """Show the models anew when the folder is another than the one that was shown."""
    version = desk.catalogue.version()
    if version == seen:
        return gr.skip()
    names = _names(desk)
    chosen = name if name in names else _first(desk)
    return version, _cards(desk, say), offered(names, had=name, wanted=chosen)


def _follow(desk: Desk, label: str | None, name: str | None) -> str | None:
    """Return the model of ``label``; ``name`` when that is the base, which has no files here."""
    entry = desk.catalogue.by_label().get(label or "")
    return name if entry is None or entry.name == BASE_NAME else entry.name


def _names(desk: Desk) -> list[str]:
    return [entry.name for entry in desk.catalogue.models()]


def _first(desk: Desk) -> str | None:
    return next(iter(_names(desk)), None)


def _notes(desk: Desk, name: str | None) -> str:
    return next((each.notes for each in desk.catalogue.models() if each.name == name), "")


def _chosen(name: str | None, say: Say) -> str:
    if not name:
        raise UserError(say("models.none"), fix=say("models.none_fix"))
    return name


def _save(desk: Desk, say: Say, name: str | None, notes: str) -> str:
    entry = set_notes(_chosen(name, say), notes, desk.catalogue)
    return say("models.saved", model=entry.name)


def _verify(desk: Desk, say: Say, name: str | None) -> str:
    name = _chosen(name, say)
    faults = verify_model(name, desk.settings.model_dir)
    if not faults:
        return say("models.sound", model=name)
    return say("models.unsound", model=name, faults=html.escape("; ".join(faults)))


def _ask(desk: Desk, say: Say, name: str | None) -> tuple[Removal, str, Any]:
    removal = plan_removal(_chosen(name, say), desk.catalogue)
    files = "  \n".join(f"`{path.name}`" for path in removal.files)
    size = format_bytes(removal.size_bytes)
    lines = [say("models.sure", model=removal.name, size=size), files]
    lines += [say("models.stays", file=path.name, model=user) for path, user in removal.shared]
    return removal, "\n\n".join(lines), gr.update(visible=True)


def _remove(
    desk: Desk, say: Say, planned: Removal | None, name: str | None
) -> tuple[None, Any, str]:
    """Delete what was asked about, as it is now; nothing when another model was chosen since."""
    if planned is None or planned.name != name:
        raise UserError(say("models.none"), fix=say("models.none_fix"))
    removal = plan_removal(planned.name, desk.catalogue)
    if removal.files != planned.files:
        raise UserError(say("models.changed"), fix=say("models.changed_fix"))
    remove_model(removal)
    desk.slot.unload(removal.name)
    size = format_bytes(removal.size_bytes)
    return None, gr.update(visible=False), say("models.removed", model=removal.name, size=size)


def _export(desk: Desk, say: Say, name: str | None, form: Any, precision: Any) -> str:
    entry = entry_named(_chosen(name, say), desk.catalogue)
    folder = desk.settings.output_dir / EXPORTS_DIR / f"{entry.name}-{form}-{precision}"
    wanted = ExportForm(form=form, precision=precision)
    done = export_model(entry.name, desk.catalogue, folder, wanted, force=True)
    size = format_bytes(done.size_bytes)
    return say("models.exported", model=entry.name, folder=folder, size=size)


def _cards(desk: Desk, say: Say) -> str:
    cards = "".join(_card(entry, say) for entry in desk.catalogue.entries())
    return f'<div style="{GRID_STYLE}">{cards}</div>'


def _card(entry: ModelEntry, say: Say) -> str:
    """Return ``entry`` as HTML; whatever comes from a file is escaped."""
    rows = "".join(
        f"<dt><strong>{html.escape(title)}</strong></dt><dd>{html.escape(value)}</dd>"
        for title, value in _facts(entry, say)
    )
    problem = ""
    if entry.problem:
        said = html.escape(say("models.damaged", problem=entry.problem))
        problem = f'<p role="alert" style="{BAD_STYLE}">{said}</p>'
    label, told = html.escape(entry.label), html.escape(entry.description)
    name = html.escape(entry.name, quote=True)
    return (
        f'<article data-model="{name}" style="{CARD_STYLE}"><h2>{label}</h2><p>{told}</p>{problem}'
        f"<dl>{rows}</dl></article>"
    )


def _facts(entry: ModelEntry, say: Say) -> Iterator[tuple[str, str]]:
    """Yield what is known of ``entry`` as (title, value)."""
    yield say("models.languages"), ", ".join(entry.languages) or say("models.unknown")
    if not entry.problem:
        for line in (entry.tokenizer_line, entry.vram_line):
            title, _, fact = line.partition(": ")
            yield title, fact
    for kept in kept_languages(entry.scores):
        yield (
            say("models.kept", language=kept.language),
            say(
                "models.before_after",
                before=f"{kept.before:.1%}",
                after=f"{kept.after:.1%}",
                points=f"{kept.lost_points:+.1f}",
            ),
        )
    for name, value in entry.scores.items():
        if not name.startswith((AFTER, BEFORE)):
            yield name, f"{value:g}"
    if entry.name != BASE_NAME and not entry.problem:
        yield from ((say(f"models.from_{key}"), fact) for key, fact in lineage(entry))
    if not entry.problem:
        yield say("models.licence"), terms_named(entry.base_name, entry.licence).licence
    if entry.notes:
        yield say("models.notes"), entry.notes
