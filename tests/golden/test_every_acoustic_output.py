"""No output of an acoustic fixture goes unchecked."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from golden.fixtures import read_json

FIXTURES = ("bigvgan", "campplus", "codec", "features", "s2mel")


def named_in(source: str) -> list[re.Pattern[str]]:
    """Patterns of the names that ``source`` checks: its strings, and f-strings given to check()."""
    nodes = list(ast.walk(ast.parse(source)))
    strings = [n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    calls = [n for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)]
    checked = [call.args[0] for call in calls if call.func.attr == "check"]
    patterns = [re.compile(re.escape(text)) for text in strings]
    return patterns + [pattern_of(text) for text in checked if isinstance(text, ast.JoinedStr)]


def pattern_of(text: ast.JoinedStr) -> re.Pattern[str]:
    """``text`` with a word for each value that is put in."""
    literal = (re.escape(p.value) if isinstance(p, ast.Constant) else r"\w+" for p in text.values)
    return re.compile("".join(literal))


@pytest.mark.parametrize("name", FIXTURES)
def test_every_output_is_named_by_a_test(name):
    source = Path(__file__).with_name(f"test_{name}.py").read_text(encoding="utf-8")
    patterns = named_in(source)
    outputs = read_json(f"{name}.json")["outputs"]
    assert not [out for out in outputs if not any(p.fullmatch(out) for p in patterns)]
