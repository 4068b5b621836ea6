"""Catalan. ``l·l`` is a letter; 1 is *un* before a noun and *u* as a name (*capítol u*)."""

from __future__ import annotations

import re

from idiolect.text.numbers import spelled
from idiolect.text.row import (
    AmountWords,
    ClockWords,
    Currency,
    Form,
    Language,
    NumberWords,
    RomanWords,
    Speech,
    currencies,
    noun,
    word_set,
)

_MONTHS = (
    "gener", "febrer", "març", "abril", "maig", "juny",
    "juliol", "agost", "setembre", "octubre", "novembre", "desembre",
)  # fmt: skip
_VOWELS = "aeiouàèéíòóúh"

_FEMININE_WORDS = {"dos": "dues", "un": "una", "u": "una"}
_ORDINALS = {1: ("primer", "primera"), 2: ("segon", "segona"), 3: ("tercer", "tercera"),
             4: ("quart", "quarta")}  # fmt: skip
_ORDINAL_ENDINGS = (
    ("quatre", "quatr"), ("cinc", "cinqu"), ("nou", "nov"), ("deu", "des"), ("onze", "onz"),
    ("ze", "z"), ("trenta", "trent"), ("cents", "cent"), ("anta", "ant"),
)  # fmt: skip
_QUEENS = re.compile(r"isabel|elisabet|maria|joana|caterina|cristina|margarida|victòria|guerra")


def cardinal(number: int, form: Form) -> str:
    """Return ``number`` in words: *un, dos, dues-centes, vint-i-una*."""
    words = spelled(number, "ca")
    if form == "naming":
        return re.sub(r"\bun$", "u", words)
    if form != "feminine":
        return words
    millions, milion, rest = words.rpartition("milions" if "milions" in words else "milió")
    rest = re.sub(r"\b(dos|[a-zç]+)-cents\b", lambda m: f"{_feminine(m[1])}-centes", rest)
    return millions + milion + re.sub(r"\b(?:dos|un)\b", lambda m: _feminine(m[0]), rest)


def ordinal(number: int, form: Form) -> str:
    """Return the ordinal of ``number``: *primer, segona, vint-i-unè*."""
    feminine = form == "feminine"
    if number in _ORDINALS:
        return _ORDINALS[number][feminine]
    words = spelled(number, "ca")
    for ending, stem in _ORDINAL_ENDINGS:
        if words.endswith(ending):
            words = words.removesuffix(ending) + stem
            break
    return words + ("ena" if feminine else "è")


def _feminine(word: str) -> str:
    return _FEMININE_WORDS.get(word, word)


def _date(day: int, month: int, year: int | None, _before: str) -> str:
    name = _MONTHS[month - 1]
    link = "d'" if name[0] in _VOWELS else "de "
    spoken = f"{_day(day, '')} {link}{name}"
    return spoken if year is None else f"{spoken} de {cardinal(year, 'counting')}"


def _day(day: int, _before: str) -> str:
    return cardinal(day, "naming" if day == 1 else "counting")


def _time(hour: int, minute: int, second: int | None) -> str:
    spoken = cardinal(hour, "feminine")
    if minute:
        spoken += f" i {cardinal(minute, 'counting')}"
    elif hour != 1:
        spoken += " hores"
    if second:
        spoken += f" i {cardinal(second, 'masculine')} segon" + "s" * (second > 1)
    return spoken


def _named(number: int, name: str) -> str:
    if name.startswith(("segle", "centúria")) or name not in _NAMING:
        form: Form = "feminine" if _QUEENS.match(name) else "masculine"
        return ordinal(number, form) if number <= 10 else cardinal(number, "naming")
    return cardinal(number, "naming")


def _counted(number: int, name: str) -> str:
    feminine = re.fullmatch(_FEMININE_SINGULARS, name)
    return ordinal(number, "feminine" if feminine else "masculine")


def _of(counted: str, name: str) -> str:
    if counted.endswith("mil"):
        return f"{counted} {name}"
    return f"{counted} d'{name}" if name[0] in _VOWELS else f"{counted} de {name}"


_NAMING = word_set(
    "número núm capítol pàgina pàg article tema línia canal grup tom volum nivell lliçó apartat "
    "punt secció figura taula annex sala aula porta pis planta habitació opció fase acte escena "
    "exercici unitat versió plató andana via autobús bus tren vol carrer"
)
# Plurals in -es are feminine, but for these endings and words.
_MASCULINE_PLURALS = (
    r"(?:.*(?:metres|litres|emes|atges|icles|acles|istes|mbres|arbres|ostres|astres|istres|"
    r"esos|nautes)|homes|dies|mestres|programes|pares|pobles|minutes|mapes|planetes|cotxes|exemples|"
    r"partes|alumnes|oncles|sastres|poetes|idiomes|diplomes|climes|centres|metges|monges|nobles|"
    r"filtres|quadres|vespres|mobles|segles|cercles|pobres|tigres|joves|policies|atletes|"
    r"col·legues|cables|dobles|temples|títols|negres|llançaments|mes|tres|dotzes|vegetes|"
    r"grames|quilogrames|trimestres|semestres|noies i nois|cadàvers|telèfons|nervis)"
)
_FEMININE_PLURALS = (
    rf"(?!{_MASCULINE_PLURALS}$)(?:[a-zçà-ÿ·]+es|nits|flors|parts|mans|sals|veus|dents|claus|"
    r"fonts|ments|[a-zçà-ÿ·]+(?:cions|sions|tats|tuds))"
)
_FEMININE_SINGULARS = (
    r"(?!(?:dia|mapa|programa|planeta|poeta|idioma|diploma|clima|col·lega|.*ema|.*ista)$)"
    r"(?:[a-zçà-ÿ·]+(?:a|ció|sió|tat|tud)|nit|flor|part|mà|sal|veu|dent|clau|font|classe|ment)"
)

_CURRENCIES = currencies(
    EUR=Currency(main=noun("euro|euros"), cent=noun("cèntim|cèntims")),
    USD=Currency(main=noun("dòlar|dòlars"), cent=noun("centau|centaus")),
    GBP=Currency(main=noun("lliura|lliures", "feminine"), cent=noun("penic|penics")),
    JPY=Currency(main=noun("ien|iens"), cent=noun("sen|sens")),
    CHF=Currency(main=noun("franc|francs"), cent=noun("cèntim|cèntims")),
)


_UNITS = {
    "km": noun("quilòmetre|quilòmetres"), "m": noun("metre|metres"),
    "cm": noun("centímetre|centímetres"), "mm": noun("mil·límetre|mil·límetres"),
    "dm": noun("decímetre|decímetres"),
    "km/h": noun("quilòmetre per hora|quilòmetres per hora"),
    "m/s": noun("metre per segon|metres per segon"),
    "m²": noun("metre quadrat|metres quadrats"),
    "km²": noun("quilòmetre quadrat|quilòmetres quadrats"),
    "cm²": noun("centímetre quadrat|centímetres quadrats"),
    "m³": noun("metre cúbic|metres cúbics"),
    "cm³": noun("centímetre cúbic|centímetres cúbics"),
    "hm³": noun("hectòmetre cúbic|hectòmetres cúbics"),
    "ha": noun("hectàrea|hectàrees", "feminine"),
    "kg": noun("quilogram|quilograms"), "g": noun("gram|grams"),
    "mg": noun("mil·ligram|mil·ligrams"),
    "t": noun("tona|tones", "feminine"),
    "l": noun("litre|litres"), "L": noun("litre|litres"),
    "ml": noun("mil·lilitre|mil·lilitres"), "mL": noun("mil·lilitre|mil·lilitres"),
    "cl": noun("centilitre|centilitres"), "dl": noun("decilitre|decilitres"),
    "°C": noun("grau Celsius|graus Celsius"),
    "°F": noun("grau Fahrenheit|graus Fahrenheit"), "°": noun("grau|graus"),
    "h": noun("hora|hores", "feminine"), "min": noun("minut|minuts"), "s": noun("segon|segons"),
    "ms": noun("mil·lisegon|mil·lisegons"),
    "W": noun("watt|watts"), "kW": noun("quilowatt|quilowatts"), "MW": noun("megawatt|megawatts"),
    "kWh": noun("quilowatt hora|quilowatts hora"), "V": noun("volt|volts"),
    "Hz": noun("hertz|hertz"), "kHz": noun("quilohertz|quilohertz"),
    "MHz": noun("megahertz|megahertz"), "GHz": noun("gigahertz|gigahertz"),
    "KB": noun("quilobyte|quilobytes"), "kB": noun("quilobyte|quilobytes"),
    "MB": noun("megabyte|megabytes"),
    "GB": noun("gigabyte|gigabytes"), "TB": noun("terabyte|terabytes"),
    "Mbps": noun("megabit per segon|megabits per segon"),
    "dB": noun("decibel|decibels"), "kcal": noun("quilocaloria|quilocalories", "feminine"),
    "hPa": noun("hectopascal|hectopascals"),
}  # fmt: skip

_SPEECH = Speech(
    numbers=NumberWords(
        cardinal=cardinal,
        ordinal=ordinal,
        decimal_word="coma",
        point_word="punt",
        decimal_group=2,
        plus="més",
        minus="menys",
        range_word="a",
        ratio_word="a",
        over="barra",
        squared="al quadrat",
        cubed="al cub",
        half="mig",
        half_of=("mig", "mitja"),
        and_half="i mig",
        and_word="i",
        fractions={
            2: ("mig", "mitjos"), 3: ("terç", "terços"), 4: ("quart", "quarts"),
            5: ("cinquè", "cinquens"), 6: ("sisè", "sisens"), 7: ("setè", "setens"),
            8: ("vuitè", "vuitens"), 9: ("novè", "novens"), 10: ("dècim", "dècims"),
        },
        ordinal_marks=(
            (r"(?:r|er|n|on|t|rt|è|é|º|\.º)", "masculine"),
            (r"(?:a|ª|\.ª)", "feminine"),
        ),
        feminine=_FEMININE_PLURALS,
        feminine_one=_FEMININE_SINGULARS,
        function_words=word_set(
            "i o de del dels en a al als amb per que és són era eren va no ni on com quan si fins "
            "entre cap sobre sense des més menys el la els les un una ha han hi es"
        ),
        naming=_NAMING,
        phone=r"[6789]\d{2}[ .-]?\d{3}[ .-]?\d{3}|[6789]\d{2}(?:[ .-]?\d{2}){3}"
        r"|9\d[ .-]\d{3}[ .-]\d{2}[ .-]\d{2}",
    ),
    romans=RomanWords(
        before=r"segles?|capítols?|volums?|toms?|actes?|títols?|annex(?:os)?|papa|rei|reina",
        named=_named,
        counted=_counted,
    ),
    clock=ClockWords(
        months=_MONTHS, date=_date, time=_time, day=_day, day_link=r" d(?:e |')",
        hour_marks=r"h|hs|hores",
    ),
    amounts=AmountWords(
        currencies=_CURRENCIES,
        cents=lambda main, cents, name: f"{main} amb {cents} {name}",
        scales={
            "M": noun("milió|milions"), "milions": noun("milió|milions"),
            "milió": noun("milió|milions"), "mil": noun("mil|mil"),
        },
        of=_of,
        per="per",
        percent="per cent",
        percent_form="naming",
        per_mille="per mil",
        units=_UNITS,
    ),
    abbreviations={
        "Sr.": "senyor", "Sra.": "senyora", "Srs.": "senyors", "Sres.": "senyores",
        "Srta.": "senyoreta", "Dr.": "doctor", "Dra.": "doctora", "Drs.": "doctors",
        "Prof.": "professor", "Profa.": "professora", "Il·lm.": "il·lustríssim",
        "Excm.": "excel·lentíssim", "Excma.": "excel·lentíssima", "Mn.": "mossèn", "St.": "sant",
        "Sta.": "santa", "C/": "carrer", "Av.": "avinguda", "Avda.": "avinguda",
        "Pl.": "plaça", "Pg.": "passeig", "Ctra.": "carretera", "Rda.": "ronda",
        "p. ex.": "per exemple", "tel.": "telèfon", "dept.": "departament", "pral.": "principal",
        "aprox.": "aproximadament", "màx.": "màxim", "mín.": "mínim", "EUA": "Estats Units",
    },
    closing_abbreviations={
        "etc.": "etcètera", "a. C.": "abans de Crist", "aC": "abans de Crist",
        "d. C.": "després de Crist", "dC": "després de Crist", "S. A.": "essa a",
        "S. L.": "essa ela", "a. m.": "del matí", "p. m.": "de la tarda",
    },
    numbered_abbreviations={
        "núm.": "número", "n.º": "número", "nº": "número", "núms.": "números", "pàg.": "pàgina",
        "pàgs.": "pàgines", "p.": "pàgina", "pp.": "pàgines", "art.": "article", "cap.": "capítol",
        "vol.": "volum", "fig.": "figura", "km.": "quilòmetre", "#": "número", "ap.": "apartat",
    },
    symbols={
        "+": "més", "=": "igual a", "&": "i", "@": "arrova", "#": "coixinet", "%": "per cent",
        "‰": "per mil", "€": "euros", "$": "dòlars", "£": "lliures", "¥": "iens", "°": "graus",
        "×": "per", "÷": "dividit per", "−": "menys", "<": "més petit que", ">": "més gran que",
        "≤": "més petit o igual que", "≥": "més gran o igual que", "≈": "aproximadament",
        "±": "més menys", "§": "secció", "√": "arrel de", "∞": "infinit",
    },
    address={
        "@": "arrova", ".": "punt", "-": "guió", "_": "guió baix", "/": "barra", ":": "dos punts",
        "+": "més", "=": "igual", "?": "interrogant", "&": "i", "#": "coixinet", "%": "per cent",
        "~": "titlla", "www": "tres ve dobles",
    },
    elisions=((r"\b([Dd])e (?=(?:una?|onze)\b)", r"\1'"),),
)  # fmt: skip

ROW = Language(code="ca", name="Catalan", letters="àçèéíïòóúü", middle_dot=True, speech=_SPEECH)
