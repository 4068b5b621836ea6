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
    Noun,
    NumberWords,
    RomanWords,
    Speech,
)

_MONTHS = (
    "gener", "febrer", "març", "abril", "maig", "juny",
    "juliol", "agost", "setembre", "octubre", "novembre", "desembre",
)  # fmt: skip
_VOWELS = "aeiouàèéíòóúh"

_FEMININE_WORDS = {"dos": "dues", "un": "una", "u": "una"}
_FEMININE = re.compile(r"\b(dos-|[a-z]+-)cents\b|\b(dos|un)\b")
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
    feminine = re.fullmatch(r"(?!dia|.*ema$|programa|mapa)\w+(?:a|ió|at)", name)
    return ordinal(number, "feminine" if feminine else "masculine")


def _of(counted: str, name: str) -> str:
    if counted.endswith("mil"):
        return f"{counted} {name}"
    return f"{counted} d'{name}" if name[0] in _VOWELS else f"{counted} de {name}"


_NAMING = frozenset(
    "número núm capítol pàgina pàg article tema línia canal grup tom volum nivell lliçó apartat punt "
    "secció figura taula annex sala aula porta pis planta habitació opció fase acte escena "
    "exercici unitat versió plató andana via autobús bus tren vol carrer".split()
)
_FEMININE_NOUNS = (
    r"(?!(?:homes|dies|metres|litres|mestres|problemes|programes|temes|sistemes|pares|nombres|"
    r"pobles|llibres|minutes|jugadores|membres|arbres|quilòmetres|centímetres|mil·límetres|"
    r"hectolitres|decilitres|mil·lilitres|mapes|planetes|cotxes|viatges|llenguatges|missatges|"
    r"exemples|partes|títols|dos|tres|alumnes|oncles|sastres|ministres|artistes|turistes|"
    r"cinemes|poemes|idiomes|diplomes|dilemes|climes|esquemes|símptomes|centres|metges|monges|"
    r"ponts|fetges|formatges|paisatges|personatges|euros|gestes|trens|sostres|astres|rostres|"
    r"filtres|quadres|vespres|desastres|registres|mobles|nobles|obstacles|espectacles|"
    r"miracles|segles|cercles|articles|vehicles|títeres|cèntimes|grades|gigues|mes|trimestres|"
    r"semestres|setembres|octubres|novembres|desembres|timbres|pobres|tigres|noies i nois|"
    r"mossos|joves|esportistes|periodistes|dentistes|pianistes|guàrdies|policies|poetes|"
    r"atletes|col·legues|ases|nassos|gossos)$)(?:[a-zçà-ÿ·]+es"
    r"|hora|setmana|vegada|persona|casa|dona|noia|nena|cadira|taula|botella|ampolla|poma|"
    r"pàgina|línia|lliura|tona|peça|milla|gota|classe|part|nit|clau|flor|tardor|cosa|"
    r"nits|flors|parts|mans|mà|sals|veus|veu|dents|claus|fonts|gents|ments|salut|vides|vida|"
    r"[a-zçà-ÿ·]+(?:cions|ció|sions|sió|tats|tat|tuds|tud|tuts))"
)

_EURO = Currency(main=Noun(one="euro", many="euros"), cent=Noun(one="cèntim", many="cèntims"))
_DOLLAR = Currency(main=Noun(one="dòlar", many="dòlars"), cent=Noun(one="centau", many="centaus"))
_POUND = Currency(
    main=Noun(one="lliura", many="lliures", form="feminine"), cent=Noun(one="penic", many="penics")
)
_YEN = Currency(main=Noun(one="ien", many="iens"), cent=Noun(one="sen", many="sens"))
_FRANC = Currency(main=Noun(one="franc", many="francs"), cent=Noun(one="cèntim", many="cèntims"))


def _unit(one: str, many: str = "", *, feminine: bool = False) -> Noun:
    return Noun(one=one, many=many or f"{one}s", form="feminine" if feminine else "masculine")


_UNITS = {
    "km": _unit("quilòmetre"), "m": _unit("metre"), "cm": _unit("centímetre"),
    "mm": _unit("mil·límetre"), "dm": _unit("decímetre"),
    "km/h": _unit("quilòmetre per hora", "quilòmetres per hora"),
    "m/s": _unit("metre per segon", "metres per segon"),
    "m²": _unit("metre quadrat", "metres quadrats"),
    "km²": _unit("quilòmetre quadrat", "quilòmetres quadrats"),
    "cm²": _unit("centímetre quadrat", "centímetres quadrats"),
    "m³": _unit("metre cúbic", "metres cúbics"),
    "cm³": _unit("centímetre cúbic", "centímetres cúbics"),
    "hm³": _unit("hectòmetre cúbic", "hectòmetres cúbics"),
    "ha": _unit("hectàrea", "hectàrees", feminine=True),
    "kg": _unit("quilogram"), "g": _unit("gram"), "mg": _unit("mil·ligram"),
    "t": _unit("tona", "tones", feminine=True),
    "l": _unit("litre"), "L": _unit("litre"), "ml": _unit("mil·lilitre"),
    "mL": _unit("mil·lilitre"), "cl": _unit("centilitre"), "dl": _unit("decilitre"),
    "°C": _unit("grau Celsius", "graus Celsius"),
    "°F": _unit("grau Fahrenheit", "graus Fahrenheit"), "°": _unit("grau"),
    "h": _unit("hora", "hores", feminine=True), "min": _unit("minut"), "s": _unit("segon"),
    "ms": _unit("mil·lisegon"),
    "W": _unit("watt"), "kW": _unit("quilowatt"), "MW": _unit("megawatt"),
    "kWh": _unit("quilowatt hora", "quilowatts hora"), "V": _unit("volt"),
    "Hz": _unit("hertz", "hertz"), "kHz": _unit("quilohertz", "quilohertz"),
    "MHz": _unit("megahertz", "megahertz"), "GHz": _unit("gigahertz", "gigahertz"),
    "KB": _unit("quilobyte"), "kB": _unit("quilobyte"), "MB": _unit("megabyte"),
    "GB": _unit("gigabyte"), "TB": _unit("terabyte"),
    "Mbps": _unit("megabit per segon", "megabits per segon"),
    "dB": _unit("decibel"), "kcal": _unit("quilocaloria", "quilocalories", feminine=True),
    "cal": _unit("caloria", "calories", feminine=True), "hPa": _unit("hectopascal"),
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
        power="elevat a",
        half="mig",
        half_feminine="mitja",
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
        feminine=_FEMININE_NOUNS,
        function_words=frozenset(
            "i o de del dels en a al als amb per que és són era eren va no ni on com quan si "
            "fins entre cap sobre sense des més menys el la els les un una ha han hi es".split()
        ),
        naming=_NAMING,
        phone=r"[6789]\d{2}[ .-]?\d{3}[ .-]?\d{3}|[6789]\d{2}(?:[ .-]?\d{2}){3}"
        r"|9\d[ .-]\d{3}[ .-]\d{2}[ .-]\d{2}",
    ),
    romans=RomanWords(
        before=r"segles?|capítols?|volums?|toms?|actes?|títols?|apèndixs?|annex(?:os)?|papa|rei|reina",
        named=_named,
        counted=_counted,
    ),
    clock=ClockWords(
        months=_MONTHS, date=_date, time=_time, day=_day, day_link=r" d(?:e |')",
        hour_marks=r"h|hs|hores",
    ),
    amounts=AmountWords(
        currencies={
            "€": _EURO, "EUR": _EURO, "$": _DOLLAR, "US$": _DOLLAR, "USD": _DOLLAR,
            "£": _POUND, "GBP": _POUND, "¥": _YEN, "JPY": _YEN, "CHF": _FRANC,
        },
        cents=lambda main, cents, name: f"{main} amb {cents} {name}",
        scales={
            "M": Noun(one="milió", many="milions"), "milions": Noun(one="milió", many="milions"),
            "milió": Noun(one="milió", many="milions"), "mil": Noun(one="mil", many="mil"),
        },
        of=_of,
        per="per",
        percent="per cent",
        per_mille="per mil",
        units=_UNITS,
    ),
    abbreviations={
        "Sr.": "senyor", "Sra.": "senyora", "Srs.": "senyors", "Sres.": "senyores",
        "Srta.": "senyoreta", "Dr.": "doctor", "Dra.": "doctora", "Drs.": "doctors",
        "Prof.": "professor", "Profa.": "professora", "Il·lm.": "il·lustríssim",
        "Excm.": "excel·lentíssim", "Excma.": "excel·lentíssima", "Mn.": "mossèn", "St.": "sant",
        "Sta.": "santa", "C/": "carrer", "c.": "carrer", "Av.": "avinguda", "Avda.": "avinguda",
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
)  # fmt: skip

ROW = Language(
    code="ca", name="Catalan", letters="àçèéíïòóúü", middle_dot=True, speech=_SPEECH
)
