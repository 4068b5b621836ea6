"""Roman numerals to words, where they are numerals and not words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from idiolect.text.row import Form, NumberWords, RomanWords, Rule

_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_NUMERAL = r"(?=[IVXLCDM])M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})(?![\w'·])"
_SMALL_DIGITS = r"(?=[IVX])X{0,3}(?:IX|IV|V?I{0,3})"
_SMALL = rf"{_SMALL_DIGITS}(?![\w'·])"
_CAPITALIZED = r"[A-ZÀ-ÖØ-Þ][a-zà-öø-ÿ]+"
_SHOUTED = re.compile(r"[A-ZÀ-ÖØ-Þ]{2,}")


def roman_value(numeral: str) -> int:
    """Return the number that a Roman numeral stands for."""
    values = [_VALUES[letter] for letter in numeral]
    following = [*values[1:], 0]
    return sum(
        -value if value < after else value for value, after in zip(values, following, strict=True)
    )


def rules(romans: RomanWords, words: NumberWords) -> Iterator[Rule]:
    """Yield what is read for Roman numerals."""

    def say_named(match: re.Match[str]) -> str:
        name = match["name"].lower()
        spoken = f"{match['name']} {romans.named(roman_value(match['numeral']), name)}"
        if "second" in match.re.groupindex and match["second"]:
            spoken += match["link"] + romans.named(roman_value(match["second"]), name)
        return spoken

    def say_counted(match: re.Match[str]) -> str:
        return romans.counted(roman_value(match["numeral"]), match["name"].lower())

    def say_alone(match: re.Match[str]) -> str:
        around = match.string[max(0, match.start() - 30) : match.end() + 30].split()
        if any(_SHOUTED.search(word) for word in around if match[0] not in word):
            return match[0]
        number = roman_value(match["numeral"])
        name = match["name"]
        return romans.counted(number, name.lower()) if name else words.cardinal(number, "counting")

    for mark, form in romans.marks:
        say = partial(_say_marked, words=words, form=form)
        pattern = rf"(?<![\w'])(?P<numeral>{_SMALL_DIGITS}){mark}(?!\w)"
        yield Rule(re.compile(pattern), say)
    suffix = romans.named_suffix
    named = rf"(?<!\w)(?P<name>(?i:{romans.before})) (?P<numeral>{_NUMERAL}){suffix}"
    second = rf"(?:(?P<link> ?- ?| [a-zà-ÿ]{{1,3}} )(?P<second>{_NUMERAL}){suffix})?"
    yield Rule(re.compile(named + second), say_named)
    after = rf"(?<![\w'])(?P<numeral>{_NUMERAL}){suffix}(?= (?P<name>(?i:{romans.after}))(?!\w))"
    yield Rule(re.compile(after), say_counted)
    king = rf"(?<!\w)(?P<name>{_CAPITALIZED}) (?P<numeral>{_SMALL})(?! [A-Z]\w){suffix}"
    yield Rule(re.compile(king), say_named)
    alone = rf"(?<![\w'])(?P<numeral>(?=[IVX]{{2}}){_SMALL})(?= ?(?P<name>[^\W\d_]+)?)"
    yield Rule(re.compile(alone), say_alone)


def _say_marked(match: re.Match[str], words: NumberWords, form: Form) -> str:
    return words.ordinal(roman_value(match["numeral"]), form)
