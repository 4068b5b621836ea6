"""Roman numerals to words, where they are numerals and not words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from idiolect.text.numbers import word_before
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
    """Yield what is read for Roman numerals, in the order to apply."""
    for mark, form in romans.marks:
        marked = rf"(?<![\w'])(?P<numeral>{_SMALL_DIGITS}){mark}(?!\w)"
        yield Rule(re.compile(marked), partial(_say_marked, words=words, form=form))
    suffix = romans.named_suffix
    say_named = partial(_say_named, romans=romans)
    named = rf"(?<!\w)(?P<name>(?i:{romans.before})) (?P<numeral>{_NUMERAL}){suffix}"
    second = rf"(?:(?P<link> ?- ?| [a-zà-ÿ]{{1,3}} )(?P<second>{_NUMERAL}){suffix})?"
    yield Rule(re.compile(named + second), say_named)
    after = rf"(?<![\w'])(?P<numeral>{_NUMERAL}){suffix}(?= (?P<name>(?i:{romans.after}))(?!\w))"
    yield Rule(re.compile(after), partial(_say_counted, romans=romans))
    king = rf"(?<!\w)(?P<name>{_CAPITALIZED}) (?P<numeral>{_SMALL})(?! [A-Z]\w){suffix}"
    yield Rule(re.compile(king), say_named)
    alone = rf"(?<![\w'])(?P<numeral>(?=[IVX]{{2}}){_SMALL})(?= ?(?P<name>[^\W\d_]+)?)"
    yield Rule(re.compile(alone), partial(_say_alone, romans=romans, words=words))


def _say_marked(match: re.Match[str], words: NumberWords, form: Form) -> str:
    return words.ordinal(roman_value(match["numeral"]), form)


def _say_named(match: re.Match[str], romans: RomanWords) -> str:
    """Read *segle XXI*, *segles XIX i XX*, *Lluís XIV*."""
    name, parts = match["name"].lower(), match.groupdict()
    spoken = f"{match['name']} {romans.named(roman_value(match['numeral']), name)}"
    if parts.get("second"):
        spoken += parts["link"] + romans.named(roman_value(parts["second"]), name)
    return spoken


def _say_counted(match: re.Match[str], romans: RomanWords) -> str:
    """Read the numeral of *XX secolo*."""
    return romans.counted(roman_value(match["numeral"]), match["name"].lower())


def _say_alone(match: re.Match[str], romans: RomanWords, words: NumberWords) -> str:
    """Read *II Guerra*, *pàgina XV*; among words in capitals it may be a word, and stays."""
    around = match.string[max(0, match.start() - 30) : match.end() + 30].split()
    if any(_SHOUTED.search(word) for word in around if match[0] not in word):
        return match[0]
    number, name = roman_value(match["numeral"]), (match["name"] or "").lower()
    is_name = word_before(match) in words.naming or match.string[: match.start()].endswith("-")
    if is_name or not name or name in words.function_words:
        return words.cardinal(number, "naming")
    return romans.counted(number, name)
