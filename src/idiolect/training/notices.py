"""What the figures of a run say, in words: each thing once, when it is seen for the first time.

All are functions of the records so far, and what is said does not change when those of further
steps come in.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median

from idiolect.training.history import History, languages_in
from idiolect.training.metrics import Record

DIVERGED_FACTOR = 1.2
"""Of the loss before the first step. A warm-up may lift it by some hundredths; a fifth more than
a model that has learnt nothing is no warm-up."""
LEAP_FACTOR = 10.0
"""Of the middle norm. Clips of another length or voice make two or three times as much."""
LEAP_LINES = 20
"""Lines of progress that a middle norm needs; those of the warm-up are higher than the rest."""
LEAP_WINDOW = 100
"""Newest lines that the middle norm is of: it falls and rises slowly over a run."""
PLATEAU_VALIDATIONS = 5
"""Two or three without a step forward are common in runs that still learn."""
PLATEAU_SHARE = 0.005
"""Of the loss: less than that in five validations does not pay for its time."""
HIGH_RATE_SHARE = 0.5
"""Of the highest learning rate. Below it the cosine comes to its end, and a flat loss with it."""
BY_HEART_VALIDATIONS = 2
"""One may be a slip."""
BY_HEART_SHARE = 0.01
"""Of the best loss: a hundredth more is above what two seeds differ by."""
STALLED_PROBES = 3
"""Of a few sentences each, so that chance moves every one of them."""
SPOILT_POINTS = 0.1
"""Share of letters, in each of as many probes: a few sentences differ by less from run to run."""
FORGOTTEN_POINTS = 0.03
"""Share of letters: what an installation refuses to lose, too."""
WAITING_SHARE = 0.1
"""Of the time of a step: below it, more processes gain nothing that one would feel."""
WAITING_LINES = 10
"""Lines of progress over which waiting is counted: a disk has its moments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing to know about a run."""

    kind: str
    """Said once; see :data:`RULES`."""
    step: int
    """Behind which it was seen first."""
    text: str


def find_notices(records: Iterable[Record], base_languages: Collection[str] = ()) -> list[Notice]:
    """Return what is to be said of ``records``, in order of the steps.

    Args:
        records: Lines of ``metrics.jsonl``, in order.
        base_languages: What the base spoke before; the others are being taught.
    """
    history = History.of(records, base_languages)
    found = [
        Notice(kind=kind, step=seen[0], text=seen[1])
        for kind, rule in RULES.items()
        if (seen := rule(history)) is not None
    ]
    return sorted(found, key=lambda notice: notice.step)


Seen = tuple[int, str]
"""A step, and what is to be said of it."""


def _unlearnt_rows(history: History) -> Seen | None:
    for line in history.rows:
        missing = line["total"] - line["learnt"]
        if missing:
            return line["step"], (
                f"{missing} of the {line['total']} new pieces of the tokenizer are in no text to "
                "learn from: their rows stay as they were put together. A smaller --vocab-size "
                "of the tokenizer, or more texts, mends it."
            )
    return None


def _diverges(history: History) -> Seen | None:
    losses = [(line["step"], history.loss_of_taught(line)) for line in history.val]
    first = next((loss for step, loss in losses if step == 0), None)
    if first is None:
        return None
    for step, loss in losses:
        if loss > DIVERGED_FACTOR * first:
            return step, (
                f"the validation loss is {loss:.3f}, far above the {first:.3f} before the "
                "first step: the run diverges. Begin again with a third of --learning-rate, or a "
                "longer --warmup-share."
            )
    return None


def _leaps(history: History) -> Seen | None:
    norms: list[float] = []
    for line in history.train:
        norm = line["grad_norm"]
        usual = median(norms[-LEAP_WINDOW:]) if len(norms) >= LEAP_LINES else norm
        if norm > LEAP_FACTOR * usual:
            return line["step"], (
                f"the gradient is {norm / usual:.0f} times as long as usual ({norm:.3g}, not "
                f"{usual:.3g}). Once is harmless, for it is shortened to --grad-clip; if the loss "
                "leaps too, look at the clips there, or lower --learning-rate."
            )
        norms.append(norm)
    return None


def _flattens(history: History) -> Seen | None:
    losses = [history.loss_of_taught(line) for line in history.val]
    for end in range(PLATEAU_VALIDATIONS + 1, len(losses) + 1):
        newest = losses[end - PLATEAU_VALIDATIONS : end]
        before, best, worst = min(losses[: end - PLATEAU_VALIDATIONS]), min(newest), max(newest)
        step = history.val[end - 1]["step"]
        gains, rises = before - best > PLATEAU_SHARE * before, worst > (1 + BY_HEART_SHARE) * before
        if not gains and not rises and _rate_is_high(history.train, step):
            return step, (
                f"{PLATEAU_VALIDATIONS} validations have lowered the loss by less than "
                f"{PLATEAU_SHARE:.1%} ({before:.4f} to {best:.4f}). More steps like these bring "
                "little: try another --learning-rate, more recordings, or stop here (--patience)."
            )
    return None


def _rate_is_high(train: Sequence[Record], step: int) -> bool:
    """Tell whether a flat loss at ``step`` is not the end of the schedule."""
    rates = [line["lr"] for line in train[: bisect_right(train, step, key=_step_of)]]
    return bool(rates) and rates[-1] >= HIGH_RATE_SHARE * max(rates)


def _learns_by_heart(history: History) -> Seen | None:
    points = _losses_at_validations(history)
    for end in range(BY_HEART_VALIDATIONS + 1, len(points) + 1):
        best = min(points[:end], key=lambda point: point.val)
        newest = points[end - BY_HEART_VALIDATIONS : end]
        rises = all(point.val > (1 + BY_HEART_SHARE) * best.val for point in newest)
        if rises and newest[-1].train < best.train:
            last = newest[-1]
            return last.step, (
                f"since step {best.step} the loss on the clips to learn from falls "
                f"({best.train:.3f} to {last.train:.3f}), and on the others it rises "
                f"({best.val:.3f} to {last.val:.3f}): the run learns by heart. More recordings "
                "help most; else fewer --epochs, --code-noise 0.2, --text-loss-weight 0 or --mode "
                f"lora. {_what_to_install(history, best.step, last.step)}"
            )
    return None


def _what_to_install(history: History, best_step: int, step: int) -> str:
    """Return what those who listened say of a loss that rises."""
    rates = {
        probe["step"]: rate
        for probe in history.probes
        if (rate := history.cer_of_taught(probe)) is not None and probe["step"] <= step
    }
    if best_step not in rates or step not in rates:
        return "Listen to latest.pth as well as to best.pth: letters may still come right."
    if rates[step] < rates[best_step]:
        return (
            f"Fewer letters are heard wrong all the same ({rates[best_step]:.1%} to "
            f"{rates[step]:.1%}): judge by those."
        )
    return (
        f"The letters heard wrong do not fall either ({rates[best_step]:.1%} to {rates[step]:.1%})."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Losses:
    step: int
    train: float
    """Mean of the lines of progress since the validation before."""
    val: float
    """Of the languages that are being taught: those of the base rise where they are forgotten."""


def _losses_at_validations(history: History) -> list[_Losses]:
    """Return both losses at each validation that has lines of progress before it."""
    points = []
    for before, line in pairwise(history.val):
        start, end = (
            bisect_right(history.train, step, key=_step_of)
            for step in (before["step"], line["step"])
        )
        between = [progress["loss"] for progress in history.train[start:end]]
        if between:
            val = history.loss_of_taught(line)
            points.append(_Losses(step=line["step"], train=fmean(between), val=val))
    return points


def _step_of(record: Record) -> int:
    step: int = record["step"]
    return step


def _forgets(history: History) -> Seen | None:
    for end in range(STALLED_PROBES + 1, len(history.probes) + 1):
        seen = history.probes[:end]
        rates = [rate for probe in seen[1:] if (rate := history.cer_of_taught(probe)) is not None]
        earlier, newest = rates[:-STALLED_PROBES], rates[-STALLED_PROBES:]
        if not earlier or min(newest) < min(earlier):
            continue
        lost = _points_lost(history, seen[0], seen[-1])
        if lost:
            named = ", ".join(f"{name} {100 * points:.1f} points" for name, points in lost.items())
            return seen[-1]["step"], (
                f"{STALLED_PROBES} validations have made the new language no clearer, and the "
                f"base forgets ({named} more letters wrong): stop here (--patience), or teach "
                "its languages along: --train-manifest PATH::LANG@0.2, --base-kl, or --mode lora."
            )
    return None


def _spoils(history: History) -> Seen | None:
    first, *others = [(p["step"], history.cer_of_taught(p)) for p in history.probes] or [(1, None)]
    before = first[1]
    if first[0] or before is None:
        return None
    worse: list[float] = []
    for step, rate in others:
        is_worse = rate is not None and rate > before + SPOILT_POINTS
        worse = [*worse, rate] if is_worse and rate is not None else []
        if len(worse) == STALLED_PROBES:
            return step, (
                f"the new language is understood less than before the first step: {rate:.1%} of "
                f"its letters are heard wrong, not {before:.1%}. Lower --learning-rate; with few "
                "recordings, --text-loss-weight 0 and --code-noise 0.2 keep what could be read."
            )
    return None


def _points_lost(history: History, first: Record, last: Record) -> dict[str, float]:
    """Return the languages of the base that lost too much, and how much."""
    before = languages_in(first)
    lost = {
        name: scores["cer"] - before[name]["cer"]
        for name, scores in languages_in(last).items()
        if not history.is_taught(name) and "cer" in scores and "cer" in before.get(name, {})
    }
    return {name: points for name, points in lost.items() if points > FORGOTTEN_POINTS}


def _waits(history: History) -> Seen | None:
    timed = [line for line in history.train if "wait_sec" in line]
    for end in range(WAITING_LINES + 1, len(timed) + 1):  # the first has the start in it
        window = timed[end - WAITING_LINES : end]
        waited = sum(line["wait_sec"] for line in window)
        share = waited / sum(line["step_sec"] for line in window)
        if share > WAITING_SHARE:
            return window[-1]["step"], (
                f"the device waits for data {share:.0%} of the time: give --num-workers 2 or "
                "more, or keep the features on a faster disk."
            )
    return None


RULES: dict[str, Callable[[History], Seen | None]] = {
    "rows": _unlearnt_rows,
    "diverges": _diverges,
    "leaps": _leaps,
    "flattens": _flattens,
    "by-heart": _learns_by_heart,
    "spoils": _spoils,
    "forgets": _forgets,
    "waits": _waits,
}
"""Each kind of notice, and what looks for the first place that gives cause."""
