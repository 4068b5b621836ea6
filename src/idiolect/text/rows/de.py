"""German. Ordinals end as the word before them asks; years are counted in hundreds."""

from __future__ import annotations

import re

from idiolect.text.numbers import spelled, spelled_ordinal, word_after, word_before
from idiolect.text.row import (
    AmountWords,
    ClockWords,
    Currency,
    Form,
    Language,
    NumberWords,
    RomanWords,
    Rule,
    Speech,
    currencies,
    noun,
    word_set,
)

_MONTHS = (
    "Januar", "Februar", "März", "April", "Mai", "Juni",
    "Juli", "August", "September", "Oktober", "November", "Dezember",
)  # fmt: skip
_QUEENS = re.compile(r"elisabeth|maria|katharina|christina|margarethe|viktoria|victoria|isabella")

_ASK_FOR_E = word_set(
    "der die das diese dieser dieses jene eine keine meine deine seine ihre unsere eure jede"
)
_ASK_FOR_EN = word_set(
    "am im vom zum zur beim ab bis seit den dem des einem einen einer eines seinem seinen seiner "
    "ihrem ihren ihrer meinem meinen meiner unserem unseren unserer diesem diesen jedem jeden und "
    "oder ans ins"
)
_ASK_FOR_ER = word_set("ein mein dein sein ihr unser kein jeder")
_FEMININE_ORDERED = (
    r"klasse|etage|liga|runde|auflage|woche|stunde|minute|symphonie|sinfonie|ausgabe|folge|reihe|"
    r"strophe|staffel|person|stufe|sitzung|version|generation|halbzeit"
)
_NEUTER_ORDERED = (
    r"jahrhundert|mal|kapitel|schuljahr|jahr|jahrtausend|semester|quartal|viertel|tor|buch"
)
_MASCULINE_ORDERED = (
    r"stock|platz|rang|geburtstag|weltkrieg|tag|monat|teil|band|akt|advent|bezirk|versuch|spieltag|"
    r"kreuzzug|hochzeitstag|jahrestag|kongress"
)
_ORDERED = re.compile(rf"(?i:{_FEMININE_ORDERED}|{_NEUTER_ORDERED}|{_MASCULINE_ORDERED})s?")
_SENTENCE_STARTS = word_set(
    "Dann Danach Er Sie Es Wir Ich Ihr Du Das Die Der Den Dem Ein Eine Und Aber Doch Also Heute "
    "Jetzt Da Dort Hier Als Wenn Weil Nun So Wer Was Wo Wie Warum Mein Seine Ihre Im Am In An Auf"
)


def cardinal(number: int, form: Form) -> str:
    """Return ``number`` in words: *eins, ein, eine, einundzwanzig*."""
    if number == 1 and form in ("masculine", "feminine"):
        return "ein" if form == "masculine" else "eine"
    return spelled(number, "de").replace("einstausend", "eintausend")


def year(number: int) -> str:
    """Return a year in words: *neunzehnhundertvierundachtzig, zweitausendvier*."""
    if not 1100 <= number <= 1999:
        return cardinal(number, "counting")
    hundreds, rest = divmod(number, 100)
    return spelled(hundreds, "de") + "hundert" + (spelled(rest, "de") if rest else "")


def ordinal(number: int, form: Form) -> str:
    """Return the ordinal of ``number`` as it stands alone: *erster, zweite*."""
    return _stem(number) + ("e" if form == "feminine" else "er")


def _stem(number: int) -> str:
    """Return the ordinal without its ending: *erst, zweit, einundzwanzigst*."""
    return spelled_ordinal(number, "de").removesuffix("e").replace("einstausend", "eintausend")


def _inflected(number: int, before: str, ordered: str = "") -> str:
    """Return the ordinal that follows the word ``before`` and counts the noun ``ordered``."""
    if before in _ASK_FOR_EN:
        return _stem(number) + "en"
    is_feminine = re.fullmatch(rf"(?:{_FEMININE_ORDERED})", ordered.lower())
    is_neuter = re.fullmatch(rf"(?:{_NEUTER_ORDERED})", ordered.lower())
    if before in _ASK_FOR_E:
        # Der is also the dative of a feminine noun: in der dritten Klasse.
        return _stem(number) + ("en" if before == "der" and is_feminine else "e")
    if is_feminine:
        return _stem(number) + "e"
    return _stem(number) + ("es" if is_neuter else "er")


def _say_ordinal(match: re.Match[str]) -> str:
    before, ordered = word_before(match), word_after(match)
    asked_for = before in _ASK_FOR_E | _ASK_FOR_EN | _ASK_FOR_ER
    ends = not match.string[match.end() :].strip()
    if ordered in _SENTENCE_STARTS or not (asked_for or _ORDERED.fullmatch(ordered)):
        return match[0]
    if not ordered and not ends:
        return match[0]
    return _inflected(int(match["digits"]), before, ordered) + ("." if ends else "")


def _day(day: int, before: str) -> str:
    return _inflected(day, before)


def _date(day: int, month: int, year_number: int | None, before: str) -> str:
    spoken = f"{_inflected(day, before)} {_MONTHS[month - 1]}"
    return spoken if year_number is None else f"{spoken} {year(year_number)}"


def _time(hour: int, minute: int, second: int | None) -> str:
    spoken = f"{cardinal(hour, 'masculine')} Uhr"
    if minute:
        spoken += f" {cardinal(minute, 'counting')}"
    if second:
        spoken += f" und {cardinal(second, 'feminine')} Sekunde" + "n" * (second > 1)
    return spoken


def _named(number: int, name: str) -> str:
    if name in _NAMING:
        return cardinal(number, "naming")
    return f"{'die' if _QUEENS.match(name) else 'der'} {_stem(number).capitalize()}e"


def _counted(number: int, _name: str) -> str:
    return f"{number}."  # the rule for ordinals knows the word before


_NAMING = word_set(
    "nummer kapitel seite artikel thema zeile kanal gruppe band stufe lektion punkt abschnitt "
    "abbildung tabelle anhang saal raum tür zimmer option phase akt szene übung einheit version "
    "gleis linie bus zug flug teil schritt frage paragraf absatz haus ziffer platz"
)
_FEMININE_ONE = (
    r"(?!(?:name|junge|löwe|affe|hase|käse|ende|auge|kunde|gedanke|buchstabe|glaube|wille|"
    r"kollege|zeuge|experte|franzose|gebäude|gemüse|interesse)$)"
    r"(?:\w+e|million|milliarde|frau|person|nacht|stadt|hand|wand|bank|zahl|wahl|tür|form|"
    r"mutter|tochter|schwester|art|fahrt|welt|zeit|arbeit|antwort|nummer|feier|"
    r"\w+(?:ung|heit|keit|schaft|ion|tät|ik|ei|enz|anz))"
)

_CURRENCIES = currencies(
    EUR=Currency(main=noun("Euro"), cent=noun("Cent")),
    USD=Currency(main=noun("Dollar"), cent=noun("Cent")),
    GBP=Currency(main=noun("Pfund"), cent=noun("Penny|Pence")),
    JPY=Currency(main=noun("Yen"), cent=noun("Sen")),
    CHF=Currency(main=noun("Franken"), cent=noun("Rappen")),
)

_UNITS = {
    "km": noun("Kilometer"), "m": noun("Meter"), "cm": noun("Zentimeter"),
    "mm": noun("Millimeter"), "dm": noun("Dezimeter"),
    "km/h": noun("Kilometer pro Stunde"), "m/s": noun("Meter pro Sekunde"),
    "m²": noun("Quadratmeter"), "km²": noun("Quadratkilometer"), "qm": noun("Quadratmeter"),
    "cm²": noun("Quadratzentimeter"), "m³": noun("Kubikmeter"), "cm³": noun("Kubikzentimeter"),
    "ha": noun("Hektar"), "kg": noun("Kilogramm"), "g": noun("Gramm"), "mg": noun("Milligramm"),
    "t": noun("Tonne|Tonnen", "feminine"),
    "l": noun("Liter"), "L": noun("Liter"), "ml": noun("Milliliter"), "mL": noun("Milliliter"),
    "cl": noun("Zentiliter"), "dl": noun("Deziliter"),
    "°C": noun("Grad Celsius"), "°F": noun("Grad Fahrenheit"), "°": noun("Grad"),
    "h": noun("Stunde|Stunden", "feminine"), "min": noun("Minute|Minuten", "feminine"),
    "Min": noun("Minute|Minuten", "feminine"), "Std": noun("Stunde|Stunden", "feminine"),
    "s": noun("Sekunde|Sekunden", "feminine"), "Sek": noun("Sekunde|Sekunden", "feminine"),
    "ms": noun("Millisekunde|Millisekunden", "feminine"),
    "W": noun("Watt"), "kW": noun("Kilowatt"), "MW": noun("Megawatt"),
    "kWh": noun("Kilowattstunde|Kilowattstunden", "feminine"), "V": noun("Volt"),
    "PS": noun("Pferdestärke|Pferdestärken", "feminine"),
    "Hz": noun("Hertz"), "kHz": noun("Kilohertz"), "MHz": noun("Megahertz"),
    "GHz": noun("Gigahertz"),
    "KB": noun("Kilobyte"), "kB": noun("Kilobyte"), "MB": noun("Megabyte"),
    "GB": noun("Gigabyte"), "TB": noun("Terabyte"), "Mbps": noun("Megabit pro Sekunde"),
    "dB": noun("Dezibel"), "kcal": noun("Kilokalorie|Kilokalorien", "feminine"),
    "cal": noun("Kalorie|Kalorien", "feminine"), "hPa": noun("Hektopascal"),
}  # fmt: skip

_SPEECH = Speech(
    numbers=NumberWords(
        cardinal=cardinal,
        ordinal=ordinal,
        decimal_word="Komma",
        point_word="Punkt",
        decimal_group=1,
        plus="plus",
        minus="minus",
        range_word="bis",
        ratio_word="zu",
        over="durch",
        squared="Quadrat",
        cubed="hoch drei",
        half="ein halb",
        half_of=("ein halbes", "eine halbe"),
        and_half="einhalb",
        and_word="und",
        fractions={
            2: ("Halb", "Halbe"), 3: ("Drittel", "Drittel"), 4: ("Viertel", "Viertel"),
            5: ("Fünftel", "Fünftel"), 6: ("Sechstel", "Sechstel"), 7: ("Siebtel", "Siebtel"),
            8: ("Achtel", "Achtel"), 9: ("Neuntel", "Neuntel"), 10: ("Zehntel", "Zehntel"),
        },
        ordinal_marks=(),
        feminine=r"(?!)",
        feminine_one=_FEMININE_ONE,
        naming=_NAMING,
        nouns_are_capitalized=True,
        year=year,
        phone=r"0\d{2,5}(?:[ /-]{1,3}\d{2,8}){1,4}",
    ),
    romans=RomanWords(
        before=r"Kapitel|Band|Akt|Teil|Anhang|Papst",
        after=r"Weltkriegs?|Jahrhunderts?|Akt|Kapitel|Band|Republik|Internationale",
        named=_named,
        counted=_counted,
        named_suffix=r"(?:\.(?! ?$))?",
    ),
    clock=ClockWords(
        months=_MONTHS, date=_date, time=_time, day=_day,
        day_mark=r"\.", days_are_dotted=True, hour_marks=r"h|Uhr",
    ),
    amounts=AmountWords(
        currencies=_CURRENCIES,
        cents=lambda main, cents, _name: f"{main} {cents}",
        scales={
            "Millionen": noun("Million|Millionen", "feminine"),
            "Million": noun("Million|Millionen", "feminine"),
            "Milliarden": noun("Milliarde|Milliarden", "feminine"),
            "Milliarde": noun("Milliarde|Milliarden", "feminine"), "Tausend": noun("Tausend"),
        },
        of=lambda counted, name: f"{counted} {name}",
        per="pro",
        percent="Prozent",
        percent_form="masculine",
        per_mille="Promille",
        units=_UNITS,
    ),
    abbreviations={
        "Hr.": "Herr", "Hrn.": "Herrn", "Fr.": "Frau", "Dr.": "Doktor", "Prof.": "Professor",
        "Dipl.-Ing.": "Diplomingenieur", "St.": "Sankt", "z. B.": "zum Beispiel",
        "d. h.": "das heißt", "u. a.": "unter anderem", "bzw.": "beziehungsweise",
        "ca.": "circa", "evtl.": "eventuell", "ggf.": "gegebenenfalls", "vgl.": "vergleiche",
        "inkl.": "inklusive", "exkl.": "exklusive", "Tel.": "Telefon", "Mio.": "Millionen",
        "Mrd.": "Milliarden", "i. d. R.": "in der Regel", "o. g.": "oben genannt",
        "sog.": "sogenannt", "Std.": "Stunden", "Min.": "Minuten", "Sek.": "Sekunden",
        "geb.": "geboren", "gest.": "gestorben", "zzgl.": "zuzüglich", "max.": "maximal",
        "Hbf": "Hauptbahnhof",
    },
    closing_abbreviations={
        "usw.": "und so weiter", "etc.": "et cetera", "u. s. w.": "und so weiter",
        "v. Chr.": "vor Christus", "n. Chr.": "nach Christus", "str.": "straße", "Str.": "Straße",
        "u. Ä.": "und Ähnliches", "z. T.": "zum Teil",
    },
    numbered_abbreviations={
        "Nr.": "Nummer", "Nrn.": "Nummern", "S.": "Seite", "Art.": "Artikel", "Abs.": "Absatz",
        "Abb.": "Abbildung", "Bd.": "Band", "Kap.": "Kapitel", "§": "Paragraf", "#": "Nummer",
        "Tab.": "Tabelle", "Nº": "Nummer",
    },
    symbols={
        "+": "plus", "=": "gleich", "&": "und", "@": "at", "#": "Raute", "%": "Prozent",
        "‰": "Promille", "€": "Euro", "$": "Dollar", "£": "Pfund", "¥": "Yen", "°": "Grad",
        "×": "mal", "÷": "geteilt durch", "−": "minus", "<": "kleiner als", ">": "größer als",
        "≤": "kleiner gleich", "≥": "größer gleich", "≈": "ungefähr", "±": "plus minus",
        "§": "Paragraf", "√": "Wurzel aus", "∞": "unendlich",
    },
    address={
        "@": "at", ".": "Punkt", "-": "Bindestrich", "_": "Unterstrich", "/": "Schrägstrich",
        ":": "Doppelpunkt", "+": "plus", "=": "gleich", "?": "Fragezeichen", "&": "und",
        "#": "Raute", "%": "Prozent", "~": "Tilde", "www": "we we we",
    },
    own_rules=(
        Rule(
            re.compile(r"(?<![\w.,])(\d{2}|\d{4})er(?!\w)"),
            lambda match: year(int(match[1])) + "er",
        ),
        Rule(re.compile(r"(?<=[a-zäöüß])str\.(?= ?\d)"), lambda _match: "straße"),
        Rule(
            re.compile(
                r"(?<![\w.,])(?P<digits>[1-9]\d{0,2})\."
                rf"(?= (?!(?:{'|'.join(_MONTHS)})\b)[^\W\d_]|$)"
            ),
            _say_ordinal,
        ),
    ),
)  # fmt: skip

ROW = Language(code="de", name="German", letters="äöüßé", speech=_SPEECH)
