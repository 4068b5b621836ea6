"""The guide as a test reads it: its command blocks in order, each with the heading it is under."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
GUIDES = {"es": ROOT / "docs/es/guia.md", "en": ROOT / "docs/en/guide.md"}


@dataclass(frozen=True)
class Block:
    heading: str
    script: str

    @property
    def commands(self) -> list[str]:
        """One command a line, continuations joined, comments left to the shell."""
        joined = self.script.replace("\\\n", " ")
        return [re.sub(r"\s+", " ", line).strip() for line in joined.splitlines() if line.strip()]


def blocks(guide: Path) -> list[Block]:
    found, heading, inside = [], "", None
    for line in guide.read_text(encoding="utf-8").splitlines():
        if inside is not None and line == "```":
            found.append(Block(heading, "\n".join(inside)))
            inside = None
        elif inside is not None:
            inside.append(line)
        elif line == "```bash":
            inside = []
        elif line.startswith("#"):
            heading = line.lstrip("# ")
    return found
