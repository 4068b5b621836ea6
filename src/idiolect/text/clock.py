"""Dates and times of day to words."""

from __future__ import annotations

import re
from collections.abc import Iterator

from idiolect.text.numbers import word_before
from idiolect.text.row import ClockWords, Rule

CENTURY_TURNS_AT = 50
"""A two-digit year below it belongs to this century, any other to the last one."""

_DATE_PARTS = ("day", "month", "year")
_DATE = re.compile(
    r"(?<![\w/.,-])(?:"
    r"(?P<day>\d{1,2})(?P<mark>[/.-])(?P<month>\d{1,2})(?P=mark)(?P<year>\d{4}|\d{2}(?!\d))"
    r"|(?P<iso_year>\d{4})-(?P<iso_month>\d{2})-(?P<iso_day>\d{2}))(?![\w/-]|\.\d)"
)
_DOTTED_DAY = re.compile(r"(?<![\w.,])(?P<day>\d{1,2})\. ?(?P<month>\d{1,2})\.(?! ?\d)")


def rules(clock: ClockWords) -> Iterator[Rule]:
    """Yield what is read for dates and times."""

    def say_date(match: re.Match[str]) -> str:
        day, month, year = (int(match[name] or match[f"iso_{name}"]) for name in _DATE_PARTS)
        if not (1 <= day <= 31 and 1 <= month <= 12):
            return match[0]
        if match["year"] and len(match["year"]) == 2:
            year += 2000 if year < CENTURY_TURNS_AT else 1900
        return clock.date(day, month, year, word_before(match))

    def say_dotted_day(match: re.Match[str]) -> str:
        day, month = int(match["day"]), int(match["month"])
        if not (1 <= day <= 31 and 1 <= month <= 12):
            return match[0]
        ends = "" if match.string[match.end() : match.end() + 1] else "."
        return clock.date(day, month, None, word_before(match)) + ends

    def say_time(match: re.Match[str]) -> str:
        hour = int(match["hour"])
        minute = match["minute"] or match["minute_h"] or match["minute_dot"]
        if hour > 24 or int(minute) > 59:
            return match[0]
        return clock.time(hour, int(minute), int(match["second"]) if match["second"] else None)

    yield Rule(_DATE, say_date)
    if clock.days_are_dotted:
        yield Rule(_DOTTED_DAY, say_dotted_day)
    yield Rule(_time_pattern(clock.hour_marks), say_time)
    yield from _day_rules(clock)


def _time_pattern(hour_marks: str) -> re.Pattern[str]:
    mark = rf"(?: ?(?:{hour_marks})(?![\w'])(?:\.(?= [a-zà-ÿ]))?)"
    return re.compile(
        r"(?<![\w.,:/])(?P<hour>\d{1,2})(?:"
        rf":(?P<minute>\d\d)(?::(?P<second>[0-5]\d))?{mark}?"
        r"| ?h ?(?P<minute_h>\d\d)(?: ?(?:min|m|h))?(?!')"
        rf"|[.,](?P<minute_dot>[0-5]\d){mark})(?![\w:]|[.,]\d)"
    )


def _day_rules(clock: ClockWords) -> Iterator[Rule]:
    def say_day(match: re.Match[str]) -> str:
        assert clock.day is not None
        space = "" if match.string[match.end()] == " " else " "
        return clock.day(int(match["day"]), word_before(match)) + space

    if clock.day is not None:
        month = rf"{clock.day_link}(?:{'|'.join(clock.months)})(?!\w)"
        pattern = rf"(?<![\w.,])(?P<day>[1-9]\d?){clock.day_mark}(?={month})"
        yield Rule(re.compile(pattern, re.IGNORECASE), say_day)
