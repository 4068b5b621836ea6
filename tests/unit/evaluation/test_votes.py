"""Blind votes: drawn, hidden, kept and counted."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.base.errors import DataError
from idiolect.evaluation.votes import (
    BallotBox,
    Vote,
    discrimination_of,
    draw_trial,
    preference_of,
    vote_on,
)

ADD = """
import sys
from pathlib import Path
from idiolect.evaluation.votes import BallotBox, draw_trial, vote_on
for n in range(10):
    trial = draw_trial("preference", [1], id=f"{sys.argv[2]}-{n}")
    BallotBox(Path(sys.argv[1])).add(vote_on(trial, "1", sys.argv[2]))
"""


@given(st.text(min_size=1), st.sampled_from(["preference", "abx"]))
def test_a_trial_is_drawn_from_its_id(trial_id, kind):
    assert draw_trial(kind, [1, 2, 3], id=trial_id) == draw_trial(kind, [1, 2, 3], id=trial_id)


def test_every_order_and_every_x_comes_as_often_as_every_other():
    trials = [draw_trial("abx", [1, 2], id=str(n)) for n in range(2000)]

    counts = Counter((t.first, t.x, t.sentence) for t in trials)
    assert len(counts) == 8
    assert min(counts.values()) > 190
    assert all({t.first, t.second} == {"a", "b"} for t in trials)


def test_new_trials_differ():
    assert len({draw_trial("abx", [1]).id for _ in range(50)}) == 50


def test_without_a_sentence_there_is_nothing_to_ask():
    with pytest.raises(DataError, match="no sentence was spoken by both models"):
        draw_trial("abx", [])


def votes_of(kind: str, sides: str) -> list[Vote]:
    """Votes for the models in ``sides``; ``=`` is no difference."""
    votes = []
    for number, side in enumerate(sides):
        trial = draw_trial(kind, [1], id=f"{kind}-{number}")
        choice = "same" if side == "=" else ("1" if trial.first == side else "2")
        votes.append(vote_on(trial, choice, "somebody"))
    return votes


def test_a_preference_is_of_models_whatever_their_order_was():
    found = preference_of([*votes_of("preference", "bbab=b"), *votes_of("abx", "aaaa")])

    assert (found.a, found.b, found.same) == (1, 4, 1)
    assert found.share_b == 0.8
    assert found.winner is None


def test_a_clear_preference_has_a_winner_and_none_has_none():
    assert preference_of(votes_of("preference", "b" * 9 + "a")).winner == "b"
    assert preference_of(votes_of("preference", "a" * 9 + "b")).winner == "a"
    assert preference_of([]).share_b is None
    assert preference_of([]).winner is None


def test_x_is_found_where_the_model_that_is_x_was_chosen():
    trials = [draw_trial("abx", [1], id=str(n)) for n in range(8)]
    right = [vote_on(t, "1" if t.first == t.x else "2", "me") for t in trials]
    wrong = [vote_on(t, "2" if t.first == t.x else "1", "me") for t in trials[:2]]

    found = discrimination_of([*right[2:], *wrong])

    assert (found.right, found.n) == (6, 8)
    assert found.p == pytest.approx(37 / 256)


def test_no_difference_is_no_answer_to_what_x_is():
    with pytest.raises(DataError, match="X is 1 or 2"):
        vote_on(draw_trial("abx", [1]), "same", "me")


def test_votes_are_kept_in_order_and_a_trial_is_voted_on_once(tmp_path):
    box, votes = BallotBox(tmp_path / "votes.jsonl"), votes_of("preference", "ab=")
    for vote in votes:
        box.add(vote)

    assert box.votes() == votes
    with pytest.raises(DataError, match="voted on already"):
        box.add(votes[1])
    assert box.votes() == votes


def test_half_a_line_of_a_process_that_was_killed_costs_no_other_vote(tmp_path):
    box, votes = BallotBox(tmp_path / "votes.jsonl"), votes_of("preference", "ab")
    box.add(votes[0])
    with box.path.open("ab") as file:
        file.write(b'{"trial": {"id": "ha')

    assert box.votes() == votes[:1]
    box.add(votes[1])
    assert box.votes() == votes


def test_a_line_that_is_no_vote_is_named(tmp_path):
    box = BallotBox(tmp_path / "votes.jsonl")
    box.path.write_text('{"trial": 1}\n')

    with pytest.raises(DataError, match="not a vote") as caught:
        box.votes()
    assert caught.value.where.endswith("votes.jsonl:1")


def test_processes_that_vote_at_the_same_time_lose_nothing(tmp_path):
    path: Path = tmp_path / "votes.jsonl"
    voters = [
        subprocess.Popen([sys.executable, "-c", ADD, str(path), name]) for name in ("ann", "bob")
    ]
    assert [voter.wait(timeout=120) for voter in voters] == [0, 0]

    users = Counter(vote.user for vote in BallotBox(path).votes())
    assert users == {"ann": 10, "bob": 10}
