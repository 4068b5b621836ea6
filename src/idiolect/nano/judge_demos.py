"""Judges what the demo taught, over several seeds, by nano's recogniser and by others.

After the demo the letters of its language that are heard wrong are at most 40 % of those before,
and at most 30 % of all; the languages of the base lose at most 3 points.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from idiolect.base.files import read_json
from idiolect.listening.listeners import Listener, hear_file, knowing
from idiolect.listening.scores import LetterErrors
from idiolect.nano.demo import SCORES
from idiolect.nano.demo_steps import NAME
from idiolect.nano.verdict import Verdict
from idiolect.registry.describe import BASE_NAME

MOST_LEFT_OF_BASE = 0.4
MOST_ERRORS = 0.3
MOST_POINTS_LOST = 0.03


def judge_demos(demos: Sequence[Path], listeners: Sequence[Listener]) -> Verdict:
    """Judge finished demos, one a seed, by what their ``scores.json`` and their sounds say.

    Raises:
        DataError: A folder has no scores.
    """
    verdict = Verdict()
    for demo in demos:
        scores = read_json(demo / SCORES)
        speeches = {speech["label"]: speech["readings"] for speech in scores["speeches"]}
        own = scores["language"]
        judges: list[Listener | None] = [None, *knowing(listeners, own)]
        for judge in judges:
            name = judge.name if judge else scores["listener"] or "nobody"
            rates = {label: _rates(demo, speeches[label], judge) for label in (BASE_NAME, NAME)}
            before, after = rates[BASE_NAME][own], rates[NAME][own]
            where = f"seed {scores['seed']}"
            share = after / max(before, 1e-9)
            verdict.find("demo", f"{where}: {own} after", name, after, MOST_ERRORS)
            verdict.find("demo", f"{where}: {own}, of before", name, share, MOST_LEFT_OF_BASE)
            others = [language for language in rates[BASE_NAME] if language != own]
            lost = [rates[NAME][language] - rates[BASE_NAME][language] for language in others]
            if lost and judge is None:
                measure = f"{where}: lost of {', '.join(others)}"
                verdict.find("demo", measure, name, max(lost), MOST_POINTS_LOST)
            verdict.details[f"demo {where} {name}"] = rates
    return verdict


def _rates(
    demo: Path, readings: Sequence[dict[str, Any]], judge: Listener | None
) -> dict[str, float]:
    """Return the share of wrong letters by language; as it was noted when there is no judge."""
    parts: dict[str, list[LetterErrors]] = defaultdict(list)
    for reading in readings:
        language = reading["language"]
        if judge is None and reading["errors"] is not None:
            parts[language].append(LetterErrors(**reading["errors"]))
        elif judge is not None and judge.speaks(language):
            sound = demo / reading["sound"] if reading["sound"] else None
            parts[language].append(hear_file(judge, sound, reading["text"], language))
    return {language: LetterErrors.total(found).rate for language, found in parts.items()}
