"""French. *un* and *une* alone agree; the first day of a month is *premier*."""

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
    "janvier", "février", "mars", "avril", "mai", "juin",
    "juillet", "août", "septembre", "octobre", "novembre", "décembre",
)  # fmt: skip
_VOWELS = "aeiouyàâéèêëîïôûüœh"

_NAMING = word_set(
    "numéro chapitre page article ligne canal groupe tome volume niveau leçon point section "
    "figure table annexe salle porte étage chambre option phase acte scène exercice unité version "
    "quai voie bus train vol route chaîne partie question étape"
)
_FEMININE_ONE = (
    r"(?!(?:homme|livre|problème|système|programme|poème|kilomètre|mètre|litre|franc|musée|lycée|"
    r"siècle|arbre|verre|monde|peuple|groupe|nombre|titre|article|chapitre|volume|élève|jeune|"
    r".*(?:isme|age|ège|aire|oire|mètre|gramme|bre|cle)|adulte|membre|ministre|maître|centre|"
    r"théâtre|temple|modèle|exemple|rêve|signe|style|cycle|code|mode|pôle|rôle|contrôle|diplôme|"
    r"symptôme|domaine|doute|fleuve|geste|légume|manque|masque|meuble|orchestre|ordre|parapluie|"
    r"incendie|génie|foie|père|frère|oncle|prince|juge|artiste|collègue|compte|costume|disque|"
    r"texte|type|vote|poste|pique-nique|camarade|dollar|euro|autre|même)$)"
    r"(?:\w+e|fois|maison|main|fin|part|nuit|fleur|sœur|eau|peau|vertu|tribu|fourmi|voix|croix|clé|clef|mer|cour|dent|mort|loi|"
    r"couleur|chaleur|douleur|peur|erreur|leçon|chanson|boisson|saison|raison|façon|moisson|"
    r"\w+(?:tion|sion|xion|té))"
)
_FEMININE_PLURAL = (
    r"(?:heures|personnes|années|semaines|minutes|secondes|femmes|filles|pages|fois|maisons|tables|"
    r"chaises|voitures|tonnes|livres sterling|lignes|villes|pièces|pommes|bouteilles|places|nuits|"
    r"fleurs|voix|mains|questions|réponses|îles|écoles|lettres|portes|chambres|tasses|langues|"
    r"\w+(?:tions|sions|ettes|elles|ances|ences|ures|ières|euses|trices|ées))"
)
_QUEENS = re.compile(r"élisabeth|elizabeth|marie|catherine|christine|marguerite|guerre|isabelle")


def cardinal(number: int, form: Form) -> str:
    """Return ``number`` in words: *vingt et un, vingt et une, deux cents*."""
    words = spelled(number, "fr")
    return re.sub(r"\bun$", "une", words) if form == "feminine" else words


def ordinal(number: int, form: Form) -> str:
    """Return the ordinal of ``number``: *premier, première, vingt et unième*."""
    if number == 1:
        return "première" if form == "feminine" else "premier"
    words = spelled_ordinal(number, "fr").replace("centsième", "centième")
    return re.sub(r"^un (?=m)", "", words)


def _date(day: int, month: int, year: int | None, before: str) -> str:
    spoken = f"{_day(day, before)} {_MONTHS[month - 1]}"
    return spoken if year is None else f"{spoken} {cardinal(year, 'counting')}"


def _day(day: int, _before: str) -> str:
    return "premier" if day == 1 else cardinal(day, "counting")


def _time(hour: int, minute: int, second: int | None) -> str:
    spoken = f"{cardinal(hour, 'feminine')} heure" + "s" * (hour > 1)
    if minute:
        spoken += f" {cardinal(minute, 'feminine')}"
    if second:
        spoken += f" et {cardinal(second, 'feminine')} seconde" + "s" * (second > 1)
    return spoken


def _named(number: int, _name: str) -> str:
    # Kings and chapters alike: only the first one is an ordinal.
    if number == 1 and _name not in _NAMING:
        return ordinal(1, "feminine" if _QUEENS.match(_name) else "masculine")
    return cardinal(number, "counting")


def _counted(number: int, name: str) -> str:
    return ordinal(number, "feminine" if re.fullmatch(_FEMININE_ONE, name) else "masculine")


def _of(counted: str, name: str) -> str:
    if counted.endswith("mille"):
        return f"{counted} {name}"
    return f"{counted} d'{name}" if name[0] in _VOWELS else f"{counted} de {name}"


_CURRENCIES = currencies(
    EUR=Currency(main=noun("euro|euros"), cent=noun("centime|centimes")),
    USD=Currency(main=noun("dollar|dollars"), cent=noun("cent|cents")),
    GBP=Currency(main=noun("livre|livres", "feminine"), cent=noun("penny|pence")),
    JPY=Currency(main=noun("yen|yens"), cent=noun("sen|sen")),
    CHF=Currency(main=noun("franc|francs"), cent=noun("centime|centimes")),
)

_UNITS = {
    "km": noun("kilomètre|kilomètres"), "m": noun("mètre|mètres"),
    "cm": noun("centimètre|centimètres"), "mm": noun("millimètre|millimètres"),
    "dm": noun("décimètre|décimètres"),
    "km/h": noun("kilomètre-heure|kilomètres-heure"),
    "m/s": noun("mètre par seconde|mètres par seconde"),
    "m²": noun("mètre carré|mètres carrés"), "km²": noun("kilomètre carré|kilomètres carrés"),
    "cm²": noun("centimètre carré|centimètres carrés"),
    "m³": noun("mètre cube|mètres cubes"), "cm³": noun("centimètre cube|centimètres cubes"),
    "ha": noun("hectare|hectares"),
    "kg": noun("kilogramme|kilogrammes"), "g": noun("gramme|grammes"),
    "mg": noun("milligramme|milligrammes"), "t": noun("tonne|tonnes", "feminine"),
    "l": noun("litre|litres"), "L": noun("litre|litres"), "ml": noun("millilitre|millilitres"),
    "mL": noun("millilitre|millilitres"), "cl": noun("centilitre|centilitres"),
    "dl": noun("décilitre|décilitres"),
    "°C": noun("degré Celsius|degrés Celsius"),
    "°F": noun("degré Fahrenheit|degrés Fahrenheit"), "°": noun("degré|degrés"),
    "h": noun("heure|heures", "feminine"), "min": noun("minute|minutes", "feminine"),
    "mn": noun("minute|minutes", "feminine"), "s": noun("seconde|secondes", "feminine"),
    "ms": noun("milliseconde|millisecondes", "feminine"),
    "W": noun("watt|watts"), "kW": noun("kilowatt|kilowatts"), "MW": noun("mégawatt|mégawatts"),
    "kWh": noun("kilowattheure|kilowattheures"), "V": noun("volt|volts"),
    "Hz": noun("hertz"), "kHz": noun("kilohertz"), "MHz": noun("mégahertz"),
    "GHz": noun("gigahertz"),
    "Ko": noun("kilooctet|kilooctets"), "Mo": noun("mégaoctet|mégaoctets"),
    "Go": noun("gigaoctet|gigaoctets"), "To": noun("téraoctet|téraoctets"),
    "KB": noun("kilobyte|kilobytes"), "MB": noun("mégabyte|mégabytes"),
    "GB": noun("gigabyte|gigabytes"),
    "Mbps": noun("mégabit par seconde|mégabits par seconde"),
    "dB": noun("décibel|décibels"), "kcal": noun("kilocalorie|kilocalories", "feminine"),
    "cal": noun("calorie|calories", "feminine"), "hPa": noun("hectopascal|hectopascals"),
}  # fmt: skip

_SPEECH = Speech(
    numbers=NumberWords(
        cardinal=cardinal,
        ordinal=ordinal,
        decimal_word="virgule",
        point_word="point",
        decimal_group=3,
        plus="plus",
        minus="moins",
        range_word="à",
        ratio_word="à",
        over="sur",
        squared="au carré",
        cubed="au cube",
        half="un demi",
        half_of=("un demi", "une demi"),
        and_half="et demi",
        and_word="et",
        fractions={
            2: ("demi", "demis"), 3: ("tiers", "tiers"), 4: ("quart", "quarts"),
            5: ("cinquième", "cinquièmes"), 6: ("sixième", "sixièmes"),
            7: ("septième", "septièmes"), 8: ("huitième", "huitièmes"),
            9: ("neuvième", "neuvièmes"), 10: ("dixième", "dixièmes"),
        },
        ordinal_marks=(
            (r"(?:re|ère|ere|ʳᵉ|nde)", "feminine"),
            (r"(?:e|er|ers|nd|ème|eme|ième|ᵉ|ᵉʳ)", "masculine"),
        ),
        feminine=_FEMININE_PLURAL,
        feminine_one=_FEMININE_ONE,
        function_words=word_set(
            "et ou ni de du des en à au aux par pour que qui est sont était ne pas avec sans sur "
            "sous dans comme quand si le la les un une se plus moins entre dont mais or car "
            "contre vers chez depuis"
        ),
        naming=_NAMING,
        phone=r"0[1-9](?:[ .-]?\d{2}){4}",
        phone_in_groups=True,
    ),
    romans=RomanWords(
        before=r"chapitres?|volumes?|tomes?|actes?|titres?|annexes?|scènes?|livres?",
        after=r"siècles?|guerre|république|arrondissement|empire|congrès|édition",
        named=_named,
        counted=_counted,
        marks=((r"(?:re|ère|ʳᵉ)", "feminine"), (r"(?:e|er|ème|ᵉ|ᵉʳ)", "masculine")),
    ),
    clock=ClockWords(
        months=_MONTHS, date=_date, time=_time, day=_day, day_mark=r"(?:er)?",
        hour_marks=r"h|heures?",
    ),
    amounts=AmountWords(
        currencies=_CURRENCIES,
        cents=lambda main, cents, _name: f"{main} {cents}",
        scales={
            "M": noun("million|millions"), "millions": noun("million|millions"),
            "million": noun("million|millions"), "Md": noun("milliard|milliards"),
            "milliards": noun("milliard|milliards"), "milliard": noun("milliard|milliards"),
            "mille": noun("mille"), "k": noun("mille"),
        },
        of=_of,
        per="par",
        percent="pour cent",
        percent_form="counting",
        per_mille="pour mille",
        units=_UNITS,
    ),
    abbreviations={
        "M.": "monsieur", "MM.": "messieurs", "Mme": "madame", "Mme.": "madame", "Mmes": "mesdames",
        "Mlle": "mademoiselle", "Mlle.": "mademoiselle",
        "Mlles": "mesdemoiselles", "Dr": "docteur", "Dr.": "docteur",
        "Pr": "professeur", "Prof.": "professeur", "Mgr": "monseigneur",
        "St": "saint", "Ste": "sainte", "av.": "avenue", "bd": "boulevard", "bd.": "boulevard",
        "boul.": "boulevard", "p. ex.": "par exemple", "tél.": "téléphone",
        "c.-à-d.": "c'est-à-dire", "env.": "environ", "dép.": "département",
        "max.": "maximum", "svp": "s'il vous plaît", "cf.": "confer",
        "apr.": "après", "éd.": "édition",
    },
    closing_abbreviations={
        "etc.": "et cetera", "av. J.-C.": "avant Jésus-Christ", "apr. J.-C.": "après Jésus-Christ",
        "S.A.": "esse a", "Cie": "compagnie", "J.-C.": "Jésus-Christ",
    },
    numbered_abbreviations={
        "n°": "numéro", "nº": "numéro", "no": "numéro", "num.": "numéro",
        "p.": "page", "pp.": "pages", "art.": "article", "chap.": "chapitre", "vol.": "volume",
        "fig.": "figure", "t.": "tome", "#": "numéro",
    },
    symbols={
        "+": "plus", "=": "égale", "&": "et", "@": "arobase", "#": "dièse", "%": "pour cent",
        "‰": "pour mille", "€": "euros", "$": "dollars", "£": "livres", "¥": "yens",
        "°": "degrés", "×": "fois", "÷": "divisé par", "−": "moins", "<": "inférieur à",
        ">": "supérieur à", "≤": "inférieur ou égal à", "≥": "supérieur ou égal à",
        "≈": "environ", "±": "plus ou moins", "§": "paragraphe", "√": "racine de",
        "∞": "infini",
    },
    address={
        "@": "arobase", ".": "point", "-": "tiret", "_": "tiret bas", "/": "barre oblique",
        ":": "deux points", "+": "plus", "=": "égale", "?": "point d'interrogation", "&": "et",
        "#": "dièse", "%": "pour cent", "~": "tilde", "www": "trois double vé",
    },
)  # fmt: skip

ROW = Language(code="fr", name="French", letters="àâæçéèêëîïôœùûüÿ", speech=_SPEECH)
