"""Money, percentages and measures to words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from idiolect.text.numbers import FREE, NUMBER, say_number, say_whole, split_number
from idiolect.text.row import AmountWords, Currency, Form, Noun, NumberWords, Rule

MILLION = 1_000_000

# A range or a single number, with its sign.
_QUANTITY = (
    rf"(?P<minus>(?:(?<=[ (])|^)[-−–](?=\d))?{FREE}"
    rf"(?:(?P<low>{NUMBER}) ?(?:(?<! )-|[–—]) ?)?(?P<number>{NUMBER})"
)
_PART = r"(?P<top>[1-9])[/\u2044](?P<bottom>[1-9])"
_END = r"(?![\w'²³])(?:\.(?= [a-zà-ÿ]))?"


def rules(amounts: AmountWords, words: NumberWords) -> Iterator[Rule]:
    """Yield what is read for amounts of money, shares and measures."""
    yield from _money_rules(amounts, words)

    def say_share(match: re.Match[str]) -> str:
        name = amounts.percent if match["sign"] == "%" else amounts.per_mille
        return f"{_say_quantity(match, words, amounts.percent_form)} {name}"

    yield Rule(re.compile(rf"{_QUANTITY} ?(?P<sign>[%‰])"), say_share)
    yield from _unit_rules(amounts, words)


def _one_of(names: Iterable[str]) -> str:
    return "|".join(sorted(map(re.escape, names), key=len, reverse=True))


def _money_rules(amounts: AmountWords, words: NumberWords) -> Iterator[Rule]:
    sign = rf"(?P<sign>{_one_of(amounts.currencies)})"
    scale = rf"(?: ?(?P<scale>{_one_of(amounts.scales)})(?!\w))?"
    scale_of = rf"(?:(?P<scale>{_one_of(amounts.scales)}) ?(?:d'|de |di )?)?"
    per = r"(?:(?P<per>/ ?[^\W\d_]+)(?!\w))?"

    def say(match: re.Match[str]) -> str:
        currency = amounts.currencies[match["sign"]]
        scale_written = match["scale"]
        if scale_written:
            noun = amounts.scales[scale_written]
            counted = _say_quantity(match, words, noun.form)
            spoken = amounts.of(f"{counted} {_name(match, noun)}", currency.main.many)
        else:
            spoken = _say_money(match, currency, amounts, words)
        return spoken + _say_per(match["per"], amounts)

    yield Rule(re.compile(rf"{_QUANTITY} ?{scale_of}{sign}(?!\w){per}"), say)
    minus = r"(?P<minus>(?:(?<=[ (])|^)[-−–])?"
    number = rf"(?:(?P<low>(?!)))?(?P<number>{NUMBER})"
    yield Rule(re.compile(rf"{minus}(?<!\w){sign} ?{number}{scale}{per}"), say)


def _say_money(
    match: re.Match[str], currency: Currency, amounts: AmountWords, words: NumberWords
) -> str:
    whole, mark, decimals = split_number(match["number"])
    minus = f"{words.minus} " if match["minus"] else ""
    if match["low"] or not mark or len(decimals) != 2:
        counted = _say_quantity(match, words, currency.main.form)
        if not mark and int(whole) and int(whole) % MILLION == 0:
            return amounts.of(counted, currency.main.many)
        return f"{counted} {_name(match, currency.main)}"
    cent = currency.cent
    cents = words.cardinal(int(decimals), cent.form)
    cent_name = cent.one if int(decimals) == 1 else cent.many
    if not int(whole) and int(decimals):
        return f"{minus}{cents} {cent_name}"
    main = currency.main
    spoken = f"{say_whole(whole, words, main.form)} {main.one if int(whole) == 1 else main.many}"
    return minus + (amounts.cents(spoken, cents, cent_name) if int(decimals) else spoken)


def _say_quantity(match: re.Match[str], words: NumberWords, form: Form) -> str:
    spoken = say_number(match["number"], words, form)
    if match["low"]:
        spoken = f"{say_number(match['low'], words, form)} {words.range_word} {spoken}"
    return f"{words.minus} {spoken}" if match["minus"] else spoken


def _name(match: re.Match[str], noun: Noun) -> str:
    return noun.one if match["number"] == "1" and not match["low"] else noun.many


def _say_per(written: str | None, amounts: AmountWords) -> str:
    if not written:
        return ""
    name = written.lstrip("/ ")
    unit = amounts.units.get(name)
    return f" {amounts.per} {unit.one if unit else name}"


def _unit_pattern(units: Iterable[str]) -> str:
    # Catalan, Spanish and Italian *ha* is a verb more often than a hectare.
    return re.sub(r"(?<=\|)ha(?=\|)", r"ha(?= de | d'|[,;:)]|\.?$)", _one_of(units))


def _unit_rules(amounts: AmountWords, words: NumberWords) -> Iterator[Rule]:
    units = _with_digits(amounts.units)
    unit = rf"(?P<unit>{_unit_pattern(units)}){_END}"

    def say(match: re.Match[str]) -> str:
        noun = units[match["unit"]]
        return f"{_say_quantity(match, words, noun.form)} {_name(match, noun)}"

    def say_part(match: re.Match[str]) -> str:
        top, bottom, noun = int(match["top"]), int(match["bottom"]), units[match["unit"]]
        if (top, bottom) == (1, 2):
            return f"{words.half_of[noun.form == 'feminine']} {noun.one}"
        if bottom not in words.fractions or top >= bottom:
            return match[0]
        spoken = f"{words.cardinal(top, 'masculine')} {words.fractions[bottom][top > 1]}"
        return amounts.of(spoken, noun.one)

    def say_bare(match: re.Match[str]) -> str:
        return units[match["unit"]].many

    yield Rule(re.compile(rf"{FREE}{_PART} ?{unit}"), say_part)
    yield Rule(re.compile(rf"{_QUANTITY} ?{unit}"), say)
    bare = _one_of(name for name in units if re.search(r"[a-zA-Z°].*[/²³]|°.", name))
    yield Rule(re.compile(rf"(?<![\w/])(?P<unit>{bare}){_END}"), say_bare)


def _with_digits(units: Mapping[str, Noun]) -> dict[str, Noun]:
    """Return ``units`` and the ways in which they are typed without the right key: m2, ºC."""
    typed = {name.translate(str.maketrans("²³°", "23º")): noun for name, noun in units.items()}
    return {name: noun for name, noun in typed.items() if name != "º"} | dict(units)
