"""The record of what one language needs so that its text can be read aloud.

A language is a row of words plus a handful of small functions for what a table cannot say
(how a number is spelled, how a date is put together). :mod:`idiolect.text.languages` holds the
rows; :mod:`idiolect.text.speak` applies one of them.

==============  ==========================================================================
Form            The number stands ...
==============  ==========================================================================
``masculine``   before a masculine noun: *un llibre*, *veintiún años*, *ein Buch*
``feminine``    before a feminine noun: *dues cases*, *veintiuna casas*, *eine Frau*
``counting``    alone: *uno*, *eins*
``naming``      after the noun that it names: *capítol u*, *Kapitel eins*
==============  ==========================================================================
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

Form = Literal["masculine", "feminine", "counting", "naming"]
"""How a number agrees with the words around it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What to look for, and what is said for it."""

    pattern: re.Pattern[str]
    say: Callable[[re.Match[str]], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Noun:
    """A thing that is counted: a unit, a coin."""

    one: str
    many: str
    form: Form = "masculine"


def word_set(words: str) -> frozenset[str]:
    """Return the words of a line."""
    return frozenset(words.split())


def noun(forms: str, form: Form = "masculine") -> Noun:
    """Return the noun written ``one|many``."""
    one, _, many = forms.partition("|")
    return Noun(one=one, many=many or one, form=form)


@dataclass(frozen=True, slots=True, kw_only=True)
class Currency:
    """A currency and its hundredth."""

    main: Noun
    cent: Noun


CURRENCY_SIGNS = {"€": "EUR", "$": "USD", "US$": "USD", "£": "GBP", "¥": "JPY", "R$": "BRL"}
"""Signs, and the codes of the currencies that are written with them."""


def currencies(**by_code: Currency) -> dict[str, Currency]:
    """Return each currency under its code and under its signs."""
    signs = {sign: by_code[code] for sign, code in CURRENCY_SIGNS.items() if code in by_code}
    return by_code | signs


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberWords:
    """How numbers are written and read."""

    cardinal: Callable[[int, Form], str]
    ordinal: Callable[[int, Form], str]
    decimal_word: str
    """Read for the comma of 3,5."""
    point_word: str
    """Read for the point of 3.5 and of version numbers."""
    decimal_group: int
    """Up to so many decimals are read as one number; more are read digit by digit."""
    plus: str
    minus: str
    range_word: str
    """Read for the dash of 10-15."""
    ratio_word: str
    """Read for the colon of 3:2."""
    over: str
    """Read for the slash of 24/7."""
    squared: str
    cubed: str
    half: str
    """One half alone."""
    half_of: tuple[str, str]
    """One half before a masculine and before a feminine noun: *mig litre, mitja hora*."""
    and_half: str
    """Added after a whole number: two *and a half*."""
    and_word: str
    """Between a whole number and its fraction."""
    fractions: Mapping[int, tuple[str, str]]
    """Denominator to its name, one and many."""
    ordinal_marks: tuple[tuple[str, Form], ...]
    """Pattern of what stands after the digits of an ordinal (3r, 2.ª, 1er), and its form."""
    feminine: str
    """Pattern of the lower-case nouns, in the plural, that ask for a feminine number."""
    feminine_one: str
    """The same in the singular, for the number one."""
    plural: str = r"\w+"
    """Pattern of a word that can be a plural noun."""
    function_words: frozenset[str] = frozenset()
    """Words after a number that are not the noun that it counts."""
    naming: frozenset[str] = frozenset()
    """Nouns after which a number is a name: page, chapter."""
    nouns_are_capitalized: bool = False
    year: Callable[[int], str] | None = None
    """How a four-digit year is read, where it differs from the number."""
    phone: str = r"(?!)"
    """Pattern of the national telephone numbers."""
    phone_in_groups: bool = False
    """Groups of a telephone number are read as numbers, not digit by digit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RomanWords:
    """Where Roman numerals stand and how they are read."""

    before: str = r"(?!)"
    """Pattern of the nouns that a numeral follows: century, chapter."""
    after: str = r"(?!)"
    """Pattern of the nouns that a numeral precedes: secolo, siècle."""
    named: Callable[[int, str], str]
    """Reads the numeral after a noun or a name, given that word in lower case."""
    counted: Callable[[int, str], str]
    """Reads the numeral before a noun, given that word in lower case."""
    marks: tuple[tuple[str, Form], ...] = ()
    """Pattern of what stands after the numeral of an ordinal (XIXe, Ier), and its form."""
    named_suffix: str = ""
    """Pattern of what belongs to a numeral after a name: the full stop of German."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockWords:
    """How dates and times are read."""

    months: tuple[str, ...]
    date: Callable[[int, int, int | None, str], str]
    """Reads day, month (1-12), year or None, given the word before in lower case."""
    time: Callable[[int, int, int | None], str]
    """Reads hour, minute, second or None."""
    hour_marks: str = r"h|hs|hrs"
    """Pattern of what may follow the digits of a time: 15:30 h, 8.15 Uhr."""
    day: Callable[[int, str], str] | None = None
    """Reads the day right before a month's name, given the word before it: *premier mai*."""
    day_mark: str = ""
    """Pattern of what may follow the digits of such a day: 1er, 1°, 1."""
    day_link: str = r" ?"
    """Pattern between such a day and the month: the *de* of *1 de maig*."""
    days_are_dotted: bool = False
    """12.3. is a date."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AmountWords:
    """Money, shares and measures."""

    currencies: Mapping[str, Currency]
    """Sign or code to currency."""
    cents: Callable[[str, str, str], str]
    """Joins the read amount, the read cents and the name of the cent."""
    scales: Mapping[str, Noun]
    """Scale as written between number and currency: M, milions."""
    of: Callable[[str, str], str]
    """Joins a read number of millions to what is counted: *un milió d'euros*."""
    per: str
    """Read for the slash of 3 €/kg."""
    percent: str
    percent_form: Form
    per_mille: str
    units: Mapping[str, Noun]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Speech:
    """All that is needed to read a text of the language aloud."""

    numbers: NumberWords
    romans: RomanWords
    clock: ClockWords
    amounts: AmountWords
    abbreviations: Mapping[str, str]
    """Read so wherever they stand; the full stop belongs to them."""
    closing_abbreviations: Mapping[str, str]
    """May end a sentence: the full stop stays before a capital and at the end."""
    numbered_abbreviations: Mapping[str, str]
    """Read so only before a number: p. 23."""
    symbols: Mapping[str, str]
    address: Mapping[str, str]
    """What is read for the signs of e-mail and web addresses, and for ``www``."""
    own_rules: tuple[Rule, ...] = ()
    """What only this language has, before the other rules for digits."""
    elisions: tuple[tuple[str, str], ...] = ()
    """Pattern and replacement where a number meets its neighbour: *d'onze, un'ora*."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Language:
    """One row: a language as the text front-end sees it."""

    code: str
    name: str
    letters: str = ""
    """Letters beyond a-z that words of the language are written with, lower case."""
    middle_dot: bool = False
    """``l·l`` is a letter, and not a dash."""
    speech: Speech | None = None
    """None: the text is cleaned and nothing is expanded."""
