"""The reference pages say what the code says: every flag, every field, every section."""

import dataclasses
import re
import runpy
from pathlib import Path

import pytest

from docs.guide import ROOT
from docs.test_docs import PAGES
from idiolect.data.manifest import KEYS
from idiolect.models.checkpoint import CheckpointHeader
from idiolect.registry.entry import FileRecord, ModelEntry
from idiolect.training.state import RUN_FILES

REFERENCE = ROOT / "docs/reference"
SPECIFICATION = REFERENCE / "indextts2.md"
OTHER_FLAGS = {
    *("--help", "--check", "--amp", "--code-loss-weight", "--editable", "--no-deps"),
    *("--nproc-per-node", "--num-processes", "--use-fsdp"),
}
"""Of other programs, of this folder's own script, and spellings that the trainer takes too."""


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def flags_in(page: Path) -> set[str]:
    """The flags that a page names, or the docstring of a script."""
    found = re.findall(r"(?<![\w-])--[a-z][a-z0-9_-]+", text_of(page))
    return {flag.replace("_", "-") for flag in found}


def anchors_of(page: Path) -> set[str]:
    """The names that headings get on the web, where pages are read."""
    headings = re.findall(r"(?m)^#+ (.+)$", text_of(page))
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.strip().replace(" ", "-") for heading in plain}


def test_the_page_of_commands_is_what_the_commands_print():
    builder = runpy.run_path(str(ROOT / "docs/build_reference.py"))

    assert text_of(REFERENCE / "cli.md") == builder["reference"](), (
        "run python docs/build_reference.py"
    )


def test_every_flag_that_a_page_names_is_one():
    scripts = (ROOT / "recipes").rglob("*.py")
    known = flags_in(REFERENCE / "cli.md").union(OTHER_FLAGS, *map(flags_in, scripts))
    pages = [p for p in PAGES if not set(p.relative_to(ROOT).parts) & {".pytest_cache", "results"}]

    named = {flag for page in pages for flag in flags_in(page)}

    assert sorted(named - known) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_section_that_a_page_points_at_is_there(page: Path):
    links = re.findall(r"\]\(([^)#:]*)#([^)]+)\)", text_of(page))

    missing = [
        f"{name}#{anchor}"
        for name, anchor in links
        if anchor not in anchors_of(page.parent / name if name else page)
    ]

    assert missing == []


@pytest.mark.parametrize("record", [CheckpointHeader, ModelEntry, FileRecord])
def test_the_page_of_formats_has_every_field_of_a_record(record: type):
    page = text_of(REFERENCE / "formats.md")

    missing = [f.name for f in dataclasses.fields(record) if f"`{f.name}`" not in page]

    assert missing == []


def test_the_page_of_formats_has_every_key_of_a_manifest_and_every_file_of_a_run():
    page = text_of(REFERENCE / "formats.md")

    assert [key for key in sorted(KEYS) if f"`{key}`" not in page] == []
    names = [name.replace("step*", "stepN") for name in RUN_FILES if "." in name]
    assert [name for name in names if name not in page] == []


def test_every_section_of_the_specification_that_a_docstring_cites_is_there():
    sources = [p for folder in ("src", "tests") for p in (ROOT / folder).rglob("*.py")]
    cited = {n for p in sources for n in re.findall(r"\b[Ss]pec (\d+(?:\.\d+)?)", text_of(p))}

    headings = set(re.findall(r"(?m)^#+ (\d+(?:\.\d+)?)", text_of(SPECIFICATION)))

    assert cited
    assert sorted(cited - headings) == []


def test_every_golden_file_that_the_specification_names_is_there():
    named = re.findall(r"`(tests/[\w/]+\.\w+)`", text_of(SPECIFICATION))

    assert named
    assert [name for name in named if not (ROOT / name).is_file()] == []
