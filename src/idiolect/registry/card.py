"""The model card: what a model is, what it was made of, and the sentence of the licence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from idiolect.models.terms import Terms, terms_named
from idiolect.registry.entry import ModelEntry


def model_card(entry: ModelEntry) -> str:
    """Return the card of ``entry`` in Markdown."""
    terms = terms_named(entry.base_name, entry.licence)
    sections = [
        f"# {entry.name}",
        entry.description or f"A fine-tuned GPT for {terms.base}.",
        _facts(entry, terms),
        _data(entry.data.get("train")),
        _table("Scores", entry.scores),
        _files(entry),
        f"## Licence\n\nA Derivative Work of {terms.base}, under the {terms.licence}.\n\n"
        f"{terms.notice}\n\nWhoever passes these files on passes the licence on with them. "
        "The voices of living people are used with their consent.",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _facts(entry: ModelEntry, terms: Terms) -> str:
    blended = f"- Weights: {entry.blend:.0%} of the way from the base to the trained ones"
    return "\n".join(
        [
            f"- Languages: {', '.join(entry.languages) or 'not recorded'}",
            f"- Base: {terms.base}, version {entry.version}, gpt.pth {entry.base_sha256 or '?'}",
            f"- {entry.tokenizer_line}",
            f"- Optimizer steps: {entry.step}",
            *([blended] if entry.blend < 1 else []),
        ]
    )


def _data(sources: object) -> str:
    """Return what the training says of its manifests; nothing of what says it in another form."""
    if not (isinstance(sources, list) and all(isinstance(source, dict) for source in sources)):
        return ""
    names = list(dict.fromkeys(name for source in sources for name in source))
    lines = [
        names,
        ["---"] * len(names),
        *([_cell(source.get(name, "")) for name in names] for source in sources),
    ]
    return "## Trained on\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _table(title: str, values: Mapping[str, Any]) -> str:
    if not values:
        return ""
    rows = "\n".join(f"| {name} | {value} |" for name, value in values.items())
    return f"## {title}\n\n| | |\n| --- | --- |\n{rows}"


def _files(entry: ModelEntry) -> str:
    records = [entry.checkpoint, entry.tokenizer, entry.config]
    rows = [f"{record.sha256}  {record.name}" for record in records if record is not None]
    return "## Files\n\nSHA-256:\n\n```text\n" + "\n".join(rows) + "\n```"
