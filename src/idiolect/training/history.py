"""The records of a run, sorted: what is drawn, what is judged, and when to stop."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from idiolect.training.metrics import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The lines of ``metrics.jsonl`` by kind, each in order of its steps."""

    train: Sequence[Record]
    val: Sequence[Record]
    probes: Sequence[Record]
    rows: Sequence[Record]
    base_languages: frozenset[str]
    """What the base spoke before; all others are being taught."""

    @classmethod
    def of(cls, records: Iterable[Record], base_languages: Collection[str] = ()) -> History:
        """Return ``records``, which may be of kinds that nobody knows yet, sorted."""
        kinds: dict[str, list[Record]] = {}
        for record in records:
            kinds.setdefault(record["kind"], []).append(record)
        return cls(
            train=kinds.get("train", []),
            val=kinds.get("val", []),
            probes=kinds.get("probe", []),
            rows=kinds.get("rows", []),
            base_languages=frozenset(base_languages),
        )

    @property
    def languages(self) -> list[str]:
        """Every language that was measured; those that are being taught come first."""
        found = {name for record in (*self.val, *self.probes) for name in languages_in(record)}
        return sorted(found, key=lambda name: (name in self.base_languages, name))

    def is_taught(self, language: str) -> bool:
        """Tell whether ``language`` is one that the base did not speak."""
        return language not in self.base_languages

    def cer_of_taught(self, probe: Record) -> float | None:
        """Return the mean error of the letters of the languages that are being taught.

        That of all languages where the base spoke each of them; None when nobody listened.
        """
        rates = {k: scores["cer"] for k, scores in languages_in(probe).items() if "cer" in scores}
        taught = [rate for name, rate in rates.items() if self.is_taught(name)]
        chosen = taught or list(rates.values())
        return fmean(chosen) if chosen else None

    def loss_of_taught(self, line: Record) -> float:
        """Return the mean loss of the languages that are being taught.

        That of all tokens where the base spoke each language, or nobody told them apart.
        """
        each = languages_in(line)
        taught = [scores["loss"] for name, scores in each.items() if self.is_taught(name)]
        return fmean(taught) if taught else float(line["loss"])

    def course(self) -> list[tuple[int, float]]:
        """Return what a run is judged by, behind each step: letters heard wrong, else the loss.

        What was measured before the first step is not of the run.
        """
        heard = [(probe["step"], self.cer_of_taught(probe)) for probe in self.probes]
        letters = [(step, rate) for step, rate in heard if step > 0 and rate is not None]
        losses = [(line["step"], line["loss"]) for line in self.val if line["step"] > 0]
        return letters or losses

    def curve(self, records: Sequence[Record], language: str, name: str) -> list[tuple[int, float]]:
        """Return the score ``name`` of ``language`` behind each step that has it."""
        found = [(r["step"], languages_in(r).get(language, {}).get(name)) for r in records]
        return [(step, value) for step, value in found if value is not None]


def languages_in(record: Record) -> dict[str, dict[str, float]]:
    """Return the scores of each language in ``record``; none in one of an older run."""
    scores: dict[str, dict[str, float]] = record.get("languages", {})
    return scores


def should_stop(
    records: Iterable[Record], patience: int, base_languages: Collection[str] = ()
) -> bool:
    """Tell whether the last ``patience`` validations brought nothing better than one before.

    Args:
        records: Of the run so far.
        patience: In validations; 0 never stops.
        base_languages: What the base spoke before; the others decide, by their letters that are
            heard wrong. Without a listener, the loss decides.
    """
    course = History.of(records, base_languages).course()
    if not patience or len(course) <= patience:
        return False
    best = min(value for _, value in course[:-patience])
    return min(value for _, value in course[-patience:]) >= best
