"""What the documentation says exists, exists; both languages of the guide say the same."""

import re
from pathlib import Path

import pytest

from docs.guide import GUIDES, ROOT, blocks
from idiolect.cli.main import COMMANDS

PAGES = sorted(
    p for p in ROOT.rglob("*.md") if not {".venv", "demo", "node_modules"} & set(p.parts)
)


def commands(language: str) -> list[list[str]]:
    """The commands without their comments."""
    return [[c.split(" #")[0] for c in block.commands] for block in blocks(GUIDES[language])]


def test_both_languages_of_the_guide_have_the_same_commands():
    assert commands("es") == commands("en")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_to_a_file(page: Path):
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))

    missing = [link for link in links if not (page.parent / link).exists()]

    assert not missing


def test_every_script_that_the_guide_names_is_there():
    text = "\n".join(guide.read_text(encoding="utf-8") for guide in GUIDES.values())

    scripts = set(re.findall(r"python ((?:[\w/]+)\.py)", text))

    assert scripts
    assert not [script for script in scripts if not (ROOT / script).is_file()]


def test_every_idiolect_command_that_a_page_names_is_one():
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)

    named = set(re.findall(r"(?:`|\$ )idiolect ([a-z]+)", text))

    assert named
    assert named <= set(COMMANDS)
