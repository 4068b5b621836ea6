"""Blind votes: which of two models people prefer, and whether they can tell them apart.

Who votes hears two sounds as 1 and 2 and does not know which model is which. The order is drawn
for each trial from its id, and kept. Two kinds: a preference (1, 2, or no difference), and ABX, in
which a third sound X is one of the two and has to be found.
"""

from __future__ import annotations

import json
import os
import random
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from filelock import FileLock

from idiolect.base.config import from_mapping, to_mapping
from idiolect.base.errors import DataError, UserError
from idiolect.base.files import parse_json
from idiolect.base.guard import check_output
from idiolect.base.hashes import sha256_text
from idiolect.evaluation.chance import Interval, at_least_by_chance, wilson_interval
from idiolect.evaluation.reading import Side

Kind = Literal["preference", "abx"]
Choice = Literal["1", "2", "same"]
LOCK_SUFFIX = ".lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One question, with what is hidden from who answers."""

    id: str
    kind: Kind
    sentence: int
    """From 1."""
    first: Side
    """The model that is heard as 1."""
    x: Side
    """The model that is heard as X; of a preference it is not played."""

    @property
    def second(self) -> Side:
        """The model that is heard as 2."""
        return "b" if self.first == "a" else "a"

    def side_of(self, choice: Choice) -> Side | None:
        """Return the model that was chosen; None for no difference."""
        return {"1": self.first, "2": self.second}.get(choice)


def draw_trial(kind: Kind, sentences: Sequence[int], *, id: str | None = None) -> Trial:  # noqa: A002 -- as the field
    """Return a trial of one of ``sentences``; the same id and sentences, the same trial.

    Args:
        kind: What is asked.
        sentences: Those that both models have spoken.
        id: Of the trial; a new one for None.

    Raises:
        DataError: There is no sentence to hear.
    """
    if not sentences:
        raise DataError("no sentence was spoken by both models", fix="compare them first")
    own = secrets.token_hex(8) if id is None else id
    rng = random.Random(int(sha256_text(own), 16))  # noqa: S311 -- a draw that can be checked
    return Trial(
        id=own,
        kind=kind,
        sentence=rng.choice(list(sentences)),
        first=rng.choice(("a", "b")),
        x=rng.choice(("a", "b")),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """An answer."""

    trial: Trial
    choice: Choice
    user: str
    made: str
    """When, ISO 8601 in UTC."""

    def __post_init__(self) -> None:
        """Check that it answers what was asked.

        Raises:
            DataError: X is always one of the two.
        """
        if self.trial.kind == "abx" and self.choice == "same":
            raise DataError("X is 1 or 2", fix="choose the one that it is more like")

    @property
    def preferred(self) -> Side | None:
        """The model that was preferred; None for no difference."""
        return self.trial.side_of(self.choice)

    @property
    def is_right(self) -> bool:
        """Whether X was found."""
        return self.trial.side_of(self.choice) == self.trial.x


def vote_on(trial: Trial, choice: Choice, user: str) -> Vote:
    """Return the answer of ``user`` to ``trial``, made now."""
    made = datetime.now(UTC).isoformat(timespec="seconds")
    return Vote(trial=trial, choice=choice, user=user, made=made)


class BallotBox:
    """Votes in a file to which lines are added, by several processes at a time.

    Args:
        path: JSON Lines, one vote each; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, vote: Vote) -> None:
        """Keep ``vote``, whole or not at all.

        Raises:
            DataError: The trial was voted on already.
            GuardError: The file lies in a base.
        """
        check_output(self.path)
        line = json.dumps(to_mapping(vote), ensure_ascii=False).encode() + b"\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}{LOCK_SUFFIX}"):
            if any(each.trial.id == vote.trial.id for each in self.votes()):
                raise DataError("this trial was voted on already", fix="ask for the next one")
            with self.path.open("ab") as file:
                file.truncate(_whole_bytes(self.path))
                file.write(line)
                file.flush()
                os.fsync(file.fileno())

    def votes(self) -> list[Vote]:
        """Return all votes in order; half a line, left by a process that was killed, is none.

        Raises:
            DataError: A line is no vote.
        """
        if not self.path.is_file():
            return []
        whole = self.path.read_bytes()[: _whole_bytes(self.path)]
        lines = enumerate(whole.splitlines(), start=1)
        return [_vote(line, where=f"{self.path}:{number}") for number, line in lines]


def _whole_bytes(path: Path) -> int:
    """Return how many bytes of ``path`` are whole lines."""
    return path.read_bytes().rfind(b"\n") + 1


def _vote(line: bytes, *, where: str) -> Vote:
    try:
        values = parse_json(line)
    except ValueError as error:
        raise DataError(f"not a vote: {error}", where=where) from error
    if not isinstance(values, dict):
        raise DataError("not a vote", where=where)
    try:
        return from_mapping(Vote, values, where=where)
    except UserError as error:
        raise DataError(f"not a vote: {error.problem}", where=where) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """What the votes of preference say."""

    a: int
    b: int
    same: int

    @property
    def decided(self) -> int:
        """Votes for one of the two."""
        return self.a + self.b

    @property
    def share_b(self) -> float | None:
        """Share of the decided votes that b has; None when there are none."""
        return self.b / self.decided if self.decided else None

    @property
    def interval(self) -> Interval:
        """Where that share lies, after Wilson."""
        return wilson_interval(self.b, self.decided)

    @property
    def winner(self) -> Side | None:
        """The preferred model; None where the interval holds one half."""
        interval = self.interval
        if interval.low <= 0.5 <= interval.high:
            return None
        return "b" if interval.low > 0.5 else "a"


@dataclass(frozen=True, slots=True, kw_only=True)
class Discrimination:
    """What the votes on X say."""

    right: int
    n: int

    @property
    def p(self) -> float:
        """How likely as many right answers are for who hears no difference; exact."""
        return at_least_by_chance(self.right, self.n)


def preference_of(votes: Sequence[Vote]) -> Preference:
    """Return what the votes of preference among ``votes`` say."""
    sides = [vote.preferred for vote in votes if vote.trial.kind == "preference"]
    return Preference(a=sides.count("a"), b=sides.count("b"), same=sides.count(None))


def discrimination_of(votes: Sequence[Vote]) -> Discrimination:
    """Return what the votes on X among ``votes`` say."""
    found = [vote.is_right for vote in votes if vote.trial.kind == "abx"]
    return Discrimination(right=sum(found), n=len(found))
