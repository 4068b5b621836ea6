"""Digits to words: cardinals, ordinals, decimals, ranges, fractions, telephone numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache, partial

from idiolect.text.row import Form, NumberWords, Rule

LARGEST_DIGITS = 15
"""Longer numbers are read digit by digit."""

NUMBER = (
    r"(?:\d{1,3}(?:,\d{3})+\.\d+|\d{1,3}(?:,\d{3}){2,}"  # 1,234.56 as English writes it
    r"|[1-9]\d{0,2}(?:\.\d{3})+(?!\d)(?:,\d+)?"
    r"|[1-9]\d{0,2}(?:'\d{3})+(?!\d)(?:[.,]\d+)?"
    r"|[1-9]\d{0,2}(?: \d{3})+(?!\d)(?:,\d+)?"
    r"|\d+(?:[.,]\d+)?)"
)
"""Pattern of a number as it is written, its marks of thousands and decimals included."""

FREE = r"(?<![\w.,])"
"""Pattern that keeps a number from starting within another or within a word."""

_GROUPED = re.compile(r"[1-9]\d{0,2}(?:\.\d{3})+")
_ENGLISH = re.compile(r"\d{1,3}(?:,\d{3})+\.\d+|\d{1,3}(?:,\d{3}){2,}")
_WORD_BEFORE = re.compile(r"([^\W\d_]+)['.º]?[ ]?$")
_WORD_AFTER = re.compile(r" ?(?:mil )?([^\W\d_]+)")  # dues mil cases


@lru_cache(maxsize=8192)
def spelled(number: int, num2words_code: str) -> str:
    """Return ``number`` in words as num2words has it; the rows correct the rest."""
    from num2words import num2words

    return str(num2words(number, lang=num2words_code)).replace(",", "")


def spelled_ordinal(number: int, num2words_code: str) -> str:
    """Return the ordinal of ``number`` as num2words has it."""
    from num2words import num2words

    return str(num2words(number, lang=num2words_code, to="ordinal"))


def split_number(written: str) -> tuple[str, str, str]:
    """Return the whole digits, the decimal mark (or nothing) and the decimals of a number."""
    if _ENGLISH.fullmatch(written):
        whole, _, decimals = written.partition(".")
        return whole.replace(",", ""), "." if decimals else "", decimals
    if _GROUPED.fullmatch(written):
        return written.replace(".", ""), "", ""
    mark = "," if "," in written else "."
    whole, mark, decimals = written.rpartition(mark) if mark in written else (written, "", "")
    return re.sub(r"[.' ]", "", whole), mark, decimals


def say_whole(digits: str, words: NumberWords, form: Form = "counting") -> str:
    """Return a run of digits as a number, or digit by digit when it is a code."""
    if len(digits) > LARGEST_DIGITS or (len(digits) > 1 and digits[0] == "0"):
        return say_digits(digits, words)
    return words.cardinal(int(digits), form)


def say_digits(digits: str, words: NumberWords) -> str:
    """Return each of ``digits`` by its name."""
    return " ".join(words.cardinal(int(digit), "naming") for digit in digits)


def say_number(written: str, words: NumberWords, form: Form = "counting") -> str:
    """Return a number as it is written, with marks of thousands and decimals, in words."""
    whole, mark, decimals = split_number(written)
    if not mark:
        return say_whole(whole, words, form)
    mark_word = words.decimal_word if mark == "," else words.point_word
    spoken = say_whole(whole, words, "feminine" if form == "feminine" else "naming")
    return f"{spoken} {mark_word} {_say_decimals(decimals, words)}"


def _say_decimals(decimals: str, words: NumberWords) -> str:
    if len(decimals) > words.decimal_group:
        return say_digits(decimals, words)
    significant = decimals.lstrip("0")
    zeros = decimals[: len(decimals) - len(significant)]
    parts = [say_digits(zeros, words)] if zeros else []
    return " ".join(parts + ([words.cardinal(int(significant), "naming")] if significant else []))


def word_before(match: re.Match[str]) -> str:
    """Return the word that stands right before ``match``, in lower case, or nothing."""
    found = _WORD_BEFORE.search(match.string[max(0, match.start() - 40) : match.start()])
    return found[1].lower() if found else ""


def word_after(match: re.Match[str]) -> str:
    """Return the word that stands right after ``match``, or nothing."""
    found = _WORD_AFTER.match(match.string, match.end())
    return found[1] if found else ""


def form_for(match: re.Match[str], words: NumberWords, *, singular: bool = False) -> Form:
    """Return how a number agrees with the words before and after ``match``.

    Args:
        match: The number.
        words: How the language counts.
        singular: The noun after it is one thing, whatever the number: the third floor.
    """
    if word_before(match) in words.naming:
        return "naming"
    noun = word_after(match)
    if not noun or noun.lower() in words.function_words:
        return "counting"
    if words.nouns_are_capitalized and not noun[0].isupper():
        return "counting"
    is_one = singular or match[0].strip(" -") == "1"
    if _compiled(words.feminine_one if is_one else words.feminine).fullmatch(noun.lower()):
        return "feminine"
    return "masculine" if is_one or _compiled(words.plural).fullmatch(noun) else "counting"


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def rules(words: NumberWords) -> Iterator[Rule]:
    """Yield what is read for numbers that are nothing more special, in the order to apply."""
    yield from _phone_rules(words)
    yield from _fraction_rules(words)
    yield from _range_rules(words)
    yield from _plain_rules(words)


def _phone_rules(words: NumberWords) -> Iterator[Rule]:
    def say(match: re.Match[str]) -> str:
        groups = re.findall(r"\d+", match[0])
        plus = [words.plus] if match[0].lstrip("(").startswith("+") else []
        return " ".join([*plus, ", ".join(say_group(group) for group in groups)])

    def say_group(group: str) -> str:
        if words.phone_in_groups and len(group) <= 2:
            zeros = len(group) - len(group.lstrip("0")) if len(group) > 1 else 0
            rest = group[zeros:]
            spoken = [say_digits(group[:zeros], words)] if zeros else []
            return " ".join(spoken + ([words.cardinal(int(rest), "naming")] if rest else []))
        return say_digits(group, words)

    code = r"\d{1,5}(?:-\d{1,7}){2,}"
    abroad = r"\+\d{1,3}(?:[ .-]?\(?\d{1,4}\)?){2,6}"
    yield Rule(re.compile(rf"(?<![\w.,])(?:{abroad}|{words.phone}|{code})(?![\w])"), say)


def _fraction_rules(words: NumberWords) -> Iterator[Rule]:
    def say(match: re.Match[str]) -> str:
        whole, top, bottom = match["whole"], int(match["top"]), int(match["bottom"])
        if (top, bottom) == (1, 2):
            return f"{say_whole(whole, words)} {words.and_half}" if whole else words.half
        if bottom not in words.fractions or not 0 < top < bottom:
            spoken = (
                f"{say_whole(match['top'], words)} {words.over} {say_whole(match['bottom'], words)}"
            )
            return f"{say_whole(whole, words)} {spoken}" if whole else spoken
        name = words.fractions[bottom][top > 1]
        spoken = f"{words.cardinal(top, 'masculine')} {name}"
        return f"{say_whole(whole, words)} {words.and_word} {spoken}" if whole else spoken

    yield Rule(
        re.compile(
            rf"{FREE}(?:(?P<whole>\d{{1,6}}) )?(?P<top>\d{{1,6}}) ?[/\u2044] ?(?P<bottom>\d{{1,6}})"
            r"(?![\w/]|[.,]\d)"
        ),
        say,
    )


def ordinal_rules(words: NumberWords) -> Iterator[Rule]:
    """Yield what is read for digits with the mark of an ordinal."""
    for mark, form in words.ordinal_marks:
        pattern = rf"(?<![\w.,])(?P<digits>[1-9]\d{{0,3}}){mark}(?![\w])"
        yield Rule(re.compile(pattern), partial(_say_ordinal, words=words, form=form))


def _say_ordinal(match: re.Match[str], words: NumberWords, form: Form) -> str:
    if form == "counting" and form_for(match, words, singular=True) == "masculine":
        form = "masculine"
    return words.ordinal(int(match["digits"]), form)


def _range_rules(words: NumberWords) -> Iterator[Rule]:
    def say(match: re.Match[str]) -> str:
        form = form_for(match, words)
        low, high = (_say_year_or_number(match[side], words, form) for side in ("low", "high"))
        link = words.ratio_word if ":" in match[0] else words.range_word
        return f"{low} {link} {high}"

    yield Rule(
        re.compile(
            rf"{FREE}(?P<low>{NUMBER}) ?(?:(?<! )[-:]|[–—])(?! -) ?(?P<high>{NUMBER})(?![\w-])"
        ),
        say,
    )


def _plain_rules(words: NumberWords) -> Iterator[Rule]:
    def say(match: re.Match[str]) -> str:
        minus = f"{words.minus} " if match["minus"] else ""
        return minus + _say_year_or_number(match["number"], words, form_for(match, words))

    def say_dotted(match: re.Match[str]) -> str:
        spoken = (say_whole(part, words, "naming") for part in match[0].split("."))
        return f" {words.point_word} ".join(spoken)

    def say_leftover(match: re.Match[str]) -> str:
        spoken = say_whole(match["digits"], words, form_for(match, words))
        before, after = match.string[: match.start()][-1:], match.string[match.end() :][:1]
        return " " * before.isalnum() + spoken + " " * after.isalnum()

    yield Rule(
        re.compile(rf"{FREE}(?!{_GROUPED.pattern}(?!\d))\d+(?:\.\d+){{2,}}(?![\w])"), say_dotted
    )
    number = rf"(?P<number>{NUMBER})"
    minus = r"(?P<minus>(?:(?<=[ (])|^)[-−–](?=\d))?"
    yield Rule(re.compile(rf"{minus}(?<![\w.,]){number}(?![\w])"), say)
    yield Rule(re.compile(r"(?P<digits>\d+)"), say_leftover)


def _say_year_or_number(written: str, words: NumberWords, form: Form) -> str:
    if words.year and form == "counting" and len(written) == 4 and written.isdigit():
        return words.year(int(written))
    return say_number(written, words, form)
