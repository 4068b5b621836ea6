"""What judges found: numbers, each beside what is asked for."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from idiolect.base.files import write_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One number, and whether it is good enough."""

    test: str
    measure: str
    judge: str
    value: float
    limit: float
    at_least: bool = False
    """The limit is the least that is asked for, not the most that is borne."""

    @property
    def passed(self) -> bool:
        """Whether it is good enough."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def line(self) -> str:
        """Return it as a line to read."""
        sign = ">=" if self.at_least else "<="
        verdict = "ok  " if self.passed else "MISS"
        return (
            f"{verdict} {self.test:7} {self.measure:34} {self.value:7.1%} {sign} {self.limit:.0%}"
            f"  by {self.judge}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """All that was found, and what it was found in."""

    findings: list[Finding] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def find(
        self,
        test: str,
        measure: str,
        judge: str,
        value: float,
        limit: float,
        *,
        at_least: bool = False,
    ) -> None:
        """Add a number that was found; see :class:`Finding`."""
        self.findings.append(
            Finding(
                test=test, measure=measure, judge=judge, value=value, limit=limit, at_least=at_least
            )
        )

    def write(self, path: Path) -> None:
        """Write everything as JSON."""
        findings = [{**asdict(found), "passed": found.passed} for found in self.findings]
        write_json(path, {"findings": findings, "details": self.details})
