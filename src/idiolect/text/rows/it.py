"""Italian. Centuries and kings have ordinals; *uno* agrees with the sound that follows."""

from __future__ import annotations

import re

from idiolect.text.numbers import spelled, spelled_ordinal
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
    "gennaio", "febbraio", "marzo", "aprile", "maggio", "giugno",
    "luglio", "agosto", "settembre", "ottobre", "novembre", "dicembre",
)  # fmt: skip
_QUEENS = re.compile(r"elisabetta|maria|giovanna|caterina|cristina|margherita|vittoria$|guerra")


def cardinal(number: int, form: Form) -> str:
    """Return ``number`` in words: *uno, una, ventuno, due milioni trecentomila*."""
    if number == 1 and form in ("masculine", "feminine"):
        return "un" if form == "masculine" else "una"
    words = spelled(number, "it").replace(" e ", " ").replace("dicotto", "diciotto")
    return re.sub(r"(?<=\w)tre$", "tré", words)


def ordinal(number: int, form: Form) -> str:
    """Return the ordinal of ``number``: *primo, seconda, ventunesimo*."""
    words = re.sub(r"^un (?=mil)", "", spelled_ordinal(number, "it"))
    return re.sub(r"o$", "a", words) if form == "feminine" else words


def _date(day: int, month: int, year: int | None, before: str) -> str:
    spoken = f"{_day(day, before)} {_MONTHS[month - 1]}"
    return spoken if year is None else f"{spoken} {cardinal(year, 'counting')}"


def _day(day: int, _before: str) -> str:
    return "primo" if day == 1 else cardinal(day, "counting")


def _time(hour: int, minute: int, second: int | None) -> str:
    spoken = cardinal(hour, "feminine")
    if minute:
        spoken += f" e {cardinal(minute, 'counting')}"
    if second:
        spoken += f" e {cardinal(second, 'masculine')} second" + ("i" if second > 1 else "o")
    return spoken


def _named(number: int, name: str) -> str:
    if name in _NAMING:
        return cardinal(number, "naming")
    return ordinal(number, "feminine" if _QUEENS.match(name) else "masculine")


def _counted(number: int, name: str) -> str:
    return ordinal(number, "feminine" if re.fullmatch(_FEMININE_ONE, name) else "masculine")


def _of(counted: str, name: str) -> str:
    return f"{counted} {name}" if counted.endswith(("mila", "mille")) else f"{counted} di {name}"


_NAMING = word_set(
    "numero capitolo pagina articolo tema linea canale gruppo tomo volume livello lezione punto "
    "sezione figura tabella allegato sala aula porta piano camera opzione fase scena esercizio "
    "unità versione binario via autobus treno volo parte passo domanda"
)
_FEMININE_ONE = (
    r"(?!(?:.*(?:ema|ista|gramma)|pianeta|poeta|clima|atleta|pigiama|sintomo|fantasma|collega|"
    r"papa|cinema|dramma|delta|sofà|vaglia)$)"
    r"(?:\w+a|volta|notte|parte|classe|chiave|moglie|mano|fonte|legge|rete|voce|luce|croce|torre|"
    r"sede|frase|base|fase|crisi|tesi|serie|foto|moto|auto|nave|radice|pelle|gente|mente|stazione|"
    r"\w+(?:zione|sione|gione|ssione|tà|tù|trice|udine|aggine))"
)

_CURRENCIES = currencies(
    EUR=Currency(main=noun("euro"), cent=noun("centesimo|centesimi")),
    USD=Currency(main=noun("dollaro|dollari"), cent=noun("centesimo|centesimi")),
    GBP=Currency(main=noun("sterlina|sterline", "feminine"), cent=noun("penny|pence")),
    JPY=Currency(main=noun("yen"), cent=noun("sen")),
    CHF=Currency(main=noun("franco|franchi"), cent=noun("centesimo|centesimi")),
)

_UNITS = {
    "km": noun("chilometro|chilometri"), "m": noun("metro|metri"),
    "cm": noun("centimetro|centimetri"), "mm": noun("millimetro|millimetri"),
    "dm": noun("decimetro|decimetri"),
    "km/h": noun("chilometro orario|chilometri orari"),
    "m/s": noun("metro al secondo|metri al secondo"),
    "m²": noun("metro quadrato|metri quadrati"), "mq": noun("metro quadrato|metri quadrati"),
    "km²": noun("chilometro quadrato|chilometri quadrati"),
    "cm²": noun("centimetro quadrato|centimetri quadrati"),
    "m³": noun("metro cubo|metri cubi"), "cm³": noun("centimetro cubo|centimetri cubi"),
    "ha": noun("ettaro|ettari"),
    "kg": noun("chilogrammo|chilogrammi"), "g": noun("grammo|grammi"),
    "hg": noun("ettogrammo|ettogrammi"), "mg": noun("milligrammo|milligrammi"),
    "t": noun("tonnellata|tonnellate", "feminine"),
    "l": noun("litro|litri"), "L": noun("litro|litri"), "ml": noun("millilitro|millilitri"),
    "mL": noun("millilitro|millilitri"), "cl": noun("centilitro|centilitri"),
    "dl": noun("decilitro|decilitri"),
    "°C": noun("grado Celsius|gradi Celsius"),
    "°F": noun("grado Fahrenheit|gradi Fahrenheit"), "°": noun("grado|gradi"),
    "h": noun("ora|ore", "feminine"), "min": noun("minuto|minuti"),
    "s": noun("secondo|secondi"), "sec": noun("secondo|secondi"),
    "ms": noun("millisecondo|millisecondi"),
    "W": noun("watt"), "kW": noun("chilowatt"), "MW": noun("megawatt"), "kWh": noun("chilowattora"),
    "V": noun("volt"), "Hz": noun("hertz"), "kHz": noun("chilohertz"), "MHz": noun("megahertz"),
    "GHz": noun("gigahertz"),
    "KB": noun("kilobyte"), "kB": noun("kilobyte"), "MB": noun("megabyte"),
    "GB": noun("gigabyte"), "TB": noun("terabyte"), "Mbps": noun("megabit al secondo"),
    "dB": noun("decibel"), "kcal": noun("chilocaloria|chilocalorie", "feminine"),
    "cal": noun("caloria|calorie", "feminine"), "hPa": noun("ettopascal"),
}  # fmt: skip

_SPEECH = Speech(
    numbers=NumberWords(
        cardinal=cardinal,
        ordinal=ordinal,
        decimal_word="virgola",
        point_word="punto",
        decimal_group=2,
        plus="più",
        minus="meno",
        range_word="a",
        ratio_word="a",
        over="su",
        squared="al quadrato",
        cubed="al cubo",
        half="un mezzo",
        half_of=("mezzo", "mezza"),
        and_half="e mezzo",
        and_word="e",
        fractions={
            2: ("mezzo", "mezzi"), 3: ("terzo", "terzi"), 4: ("quarto", "quarti"),
            5: ("quinto", "quinti"), 6: ("sesto", "sesti"), 7: ("settimo", "settimi"),
            8: ("ottavo", "ottavi"), 9: ("nono", "noni"), 10: ("decimo", "decimi"),
        },
        ordinal_marks=(
            # The sign of degrees is typed for the ordinal too; then a noun follows.
            (r"(?:\.?º|°(?= (?!(?:di|a|e|al|all|in|nel|ad|con|da|per|o|fino|sopra|sotto)\b)[a-z]))",
             "masculine"),
            (r"\.?ª", "feminine"),
        ),
        feminine=r"(?!)",
        feminine_one=_FEMININE_ONE,
        function_words=word_set(
            "e o ed di del della dei delle da dal in nel a al alla ai con per che è sono era "
            "erano va non né come quando se fino tra fra senza su più meno il lo la i gli le un "
            "una si ha hanno ma contro"
        ),
        naming=_NAMING,
        phone=r"3\d{2}[ .-]?\d{3}[ .-]?\d{3,4}|3\d{2}[ .-]\d{6,7}"
        r"|0\d{1,3}[ .-]\d{3,8}(?:[ .-]\d{2,4})*",
    ),
    romans=RomanWords(
        before=r"secol[oi]|capitol[oi]|volumi?|tomi|tomo|att[oi]|titol[oi]|appendice|papa|canto",
        after=r"secolo|guerra|repubblica|edizione|congresso|legislatura",
        named=_named,
        counted=_counted,
    ),
    clock=ClockWords(
        months=_MONTHS, date=_date, time=_time, day=_day, day_mark=r"[°º]?", hour_marks=r"h|ore"
    ),
    amounts=AmountWords(
        currencies=_CURRENCIES,
        cents=lambda main, cents, name: f"{main} e {cents} {name}",
        scales={
            "M": noun("milione|milioni"), "milioni": noun("milione|milioni"),
            "milione": noun("milione|milioni"), "mln": noun("milione|milioni"),
            "miliardi": noun("miliardo|miliardi"), "miliardo": noun("miliardo|miliardi"),
            "mld": noun("miliardo|miliardi"), "mila": noun("mila"),
        },
        of=_of,
        per="al",
        percent="per cento",
        percent_form="counting",
        per_mille="per mille",
        units=_UNITS,
    ),
    abbreviations={
        "Sig.": "signor", "Sig.ra": "signora", "Sig.na": "signorina", "Sigg.": "signori",
        "Dott.": "dottor", "Dr.": "dottor", "Dott.ssa": "dottoressa", "Prof.": "professor",
        "Prof.ssa": "professoressa", "Avv.": "avvocato", "Ing.": "ingegner", "Arch.": "architetto",
        "Geom.": "geometra", "Rag.": "ragionier", "On.": "onorevole", "Mons.": "monsignor",
        "S.": "san", "Gen.": "generale", "Egr.": "egregio", "Gent.": "gentile",
        "V.le": "viale", "P.za": "piazza", "P.zza": "piazza", "C.so": "corso",
        "p. es.": "per esempio", "ad es.": "ad esempio", "es.": "esempio", "tel.": "telefono",
        "cell.": "cellulare", "ca.": "circa", "max.": "massimo",
        "cfr.": "confronta",
    },
    closing_abbreviations={
        "ecc.": "eccetera", "etc.": "eccetera", "a. C.": "avanti Cristo", "d. C.": "dopo Cristo",
        "S. p. A.": "esse pi a", "S. r. l.": "esse erre elle",
    },
    numbered_abbreviations={
        "n.": "numero", "n°": "numero", "nº": "numero", "n.º": "numero", "num.": "numero",
        "nr.": "numero", "pag.": "pagina", "pagg.": "pagine", "p.": "pagina", "pp.": "pagine",
        "art.": "articolo", "artt.": "articoli", "cap.": "capitolo", "vol.": "volume",
        "fig.": "figura", "#": "numero",
    },
    symbols={
        "+": "più", "=": "uguale a", "&": "e", "@": "chiocciola", "#": "cancelletto",
        "%": "per cento", "‰": "per mille", "€": "euro", "$": "dollari", "£": "sterline",
        "¥": "yen", "°": "gradi", "×": "per", "÷": "diviso", "−": "meno", "<": "minore di",
        ">": "maggiore di", "≤": "minore o uguale a", "≥": "maggiore o uguale a",
        "≈": "circa", "±": "più o meno", "§": "paragrafo", "√": "radice di", "∞": "infinito",
    },
    address={
        "@": "chiocciola", ".": "punto", "-": "trattino", "_": "trattino basso", "/": "barra",
        ":": "due punti", "+": "più", "=": "uguale", "?": "punto interrogativo", "&": "e",
        "#": "cancelletto", "%": "per cento", "~": "tilde", "www": "vu vu vu",
    },
    elisions=(
        (r"\buna (?!(?:e|ed|o|od|a|ad|al|alla|alle|in|il|ogni)\b)(?=[aeiouàèéìòùh])", "un'"),
        (r"\bun (?=s[^aeiouàèéìòù\W]|z|gn|ps|pn|x|y)", "uno "),
    ),
)  # fmt: skip

ROW = Language(code="it", name="Italian", letters="àèéìíîòóùú", speech=_SPEECH)
