"""Spanish. *uno* loses its last letter before a masculine noun: *un año, veintiún años*."""

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
    "enero", "febrero", "marzo", "abril", "mayo", "junio",
    "julio", "agosto", "septiembre", "octubre", "noviembre", "diciembre",
)  # fmt: skip

_ORDINAL_CORRECTIONS = (
    ("décimoprimero", "undécimo"), ("décimosegundo", "duodécimo"), ("décimo ", "decimo"),
    ("quadragésimo", "cuadragésimo"),
)  # fmt: skip
_QUEENS = re.compile(r"isabel|maría|juana|catalina|cristina|margarita|victoria|guerra|sofía")


def cardinal(number: int, form: Form) -> str:
    """Return ``number`` in words: *uno, veintiún, doscientas*."""
    words = re.sub(r"veintiuno (?=mil)", "veintiún ", spelled(number, "es"))
    words = re.sub(r"\buno (?=mil)", "un ", words)
    if form == "masculine":
        return re.sub(r"veintiuno$", "veintiún", re.sub(r"\buno$", "un", words))
    if form != "feminine":
        return words
    millions, name, rest = words.rpartition("millones" if "millones" in words else "millón")
    rest = re.sub(r"(cient|quinient)os\b", r"\1as", rest)
    return millions + name + re.sub(r"uno$", "una", rest)


def ordinal(number: int, form: Form) -> str:
    """Return the ordinal of ``number``: *primero, primer, segunda, undécimo*."""
    words = spelled_ordinal(number, "es")
    for wrong, right in _ORDINAL_CORRECTIONS:
        words = words.replace(wrong, right)
    if form == "feminine":
        return re.sub(r"o\b", "a", words)
    return re.sub(r"(prim|terc)ero$", r"\1er", words) if form == "masculine" else words


def _date(day: int, month: int, year: int | None, _before: str) -> str:
    spoken = f"{cardinal(day, 'counting')} de {_MONTHS[month - 1]}"
    return spoken if year is None else f"{spoken} de {cardinal(year, 'counting')}"


def _time(hour: int, minute: int, second: int | None) -> str:
    spoken = cardinal(hour, "feminine")
    if minute:
        spoken += f" y {cardinal(minute, 'counting')}"
    elif hour != 1:
        spoken += " horas"
    if second:
        spoken += f" y {cardinal(second, 'masculine')} segundo" + "s" * (second > 1)
    return spoken


def _named(number: int, name: str) -> str:
    if name not in _NAMING and number <= 10:
        return ordinal(number, "feminine" if _QUEENS.match(name) else "counting")
    return cardinal(number, "counting")


def _counted(number: int, name: str) -> str:
    return ordinal(number, "feminine" if re.fullmatch(_FEMININE_ONE, name) else "masculine")


def _of(counted: str, name: str) -> str:
    return f"{counted} {name}" if counted.endswith("mil") else f"{counted} de {name}"


_NAMING = word_set(
    "número núm capítulo página pág artículo tema línea canal grupo tomo volumen nivel lección "
    "apartado punto sección figura tabla anexo sala aula puerta piso planta habitación opción "
    "fase acto escena ejercicio unidad versión plataforma andén vía autobús bus tren vuelo calle "
    "opción paso parte kilómetro"
)
_FEMININE_PLURAL = (
    r"(?!(?:.*(?:emas|istas|gramas)|días|mapas|planetas|poetas|idiomas|climas|atletas|"
    r"aromas|axiomas|síntomas|diplomas|cometas|quizás|más|curas|gorilas|pijamas|policías|guardias|"
    r"jerarcas|camaradas|colegas|fantasmas|dogmas|enigmas|telegramas|kilogramas)$)"
    r"(?:\w+as|veces|noches|tardes|partes|clases|calles|llaves|flores|mujeres|manos|fuentes|leyes|"
    r"redes|imágenes|voces|luces|cruces|naves|claves|señales|sales|mieles|pieles|torres|sedes|"
    r"frases|bases|fases|crisis|tesis|series|fotos|motos|nubes|nueces|raíces|perdices|serpientes|"
    r"\w+(?:ciones|siones|xiones|dades|tades|tudes|umbres))"
)
_FEMININE_ONE = (
    r"(?!(?:.*(?:ema|ista|grama)|día|mapa|planeta|poeta|idioma|clima|atleta|aroma|pijama|"
    r"policía|fantasma|enigma|colega|cura|agua|águila|aula|arma|área)$)"
    r"(?:\w+a|vez|noche|tarde|parte|clase|calle|llave|flor|mujer|mano|fuente|ley|red|imagen|voz|"
    r"luz|cruz|nave|clave|señal|torre|sede|frase|base|fase|crisis|tesis|serie|foto|moto|nube|"
    r"nuez|\w+(?:ción|sión|xión|dad|tad|tud|umbre))"
)

_CURRENCIES = currencies(
    EUR=Currency(main=noun("euro|euros"), cent=noun("céntimo|céntimos")),
    USD=Currency(main=noun("dólar|dólares"), cent=noun("centavo|centavos")),
    GBP=Currency(main=noun("libra|libras", "feminine"), cent=noun("penique|peniques")),
    JPY=Currency(main=noun("yen|yenes"), cent=noun("sen|sen")),
    CHF=Currency(main=noun("franco|francos"), cent=noun("céntimo|céntimos")),
    MXN=Currency(main=noun("peso|pesos"), cent=noun("centavo|centavos")),
)

_UNITS = {
    "km": noun("kilómetro|kilómetros"), "m": noun("metro|metros"),
    "cm": noun("centímetro|centímetros"), "mm": noun("milímetro|milímetros"),
    "dm": noun("decímetro|decímetros"),
    "km/h": noun("kilómetro por hora|kilómetros por hora"),
    "m/s": noun("metro por segundo|metros por segundo"),
    "m²": noun("metro cuadrado|metros cuadrados"),
    "km²": noun("kilómetro cuadrado|kilómetros cuadrados"),
    "cm²": noun("centímetro cuadrado|centímetros cuadrados"),
    "m³": noun("metro cúbico|metros cúbicos"),
    "cm³": noun("centímetro cúbico|centímetros cúbicos"),
    "hm³": noun("hectómetro cúbico|hectómetros cúbicos"),
    "ha": noun("hectárea|hectáreas", "feminine"),
    "kg": noun("kilogramo|kilogramos"), "g": noun("gramo|gramos"),
    "mg": noun("miligramo|miligramos"), "t": noun("tonelada|toneladas", "feminine"),
    "l": noun("litro|litros"), "L": noun("litro|litros"), "ml": noun("mililitro|mililitros"),
    "mL": noun("mililitro|mililitros"), "cl": noun("centilitro|centilitros"),
    "dl": noun("decilitro|decilitros"),
    "°C": noun("grado Celsius|grados Celsius"),
    "°F": noun("grado Fahrenheit|grados Fahrenheit"), "°": noun("grado|grados"),
    "h": noun("hora|horas", "feminine"), "min": noun("minuto|minutos"),
    "s": noun("segundo|segundos"), "seg": noun("segundo|segundos"),
    "ms": noun("milisegundo|milisegundos"),
    "W": noun("vatio|vatios"), "kW": noun("kilovatio|kilovatios"),
    "MW": noun("megavatio|megavatios"), "kWh": noun("kilovatio hora|kilovatios hora"),
    "V": noun("voltio|voltios"), "Hz": noun("hercio|hercios"),
    "kHz": noun("kilohercio|kilohercios"), "MHz": noun("megahercio|megahercios"),
    "GHz": noun("gigahercio|gigahercios"),
    "KB": noun("kilobyte|kilobytes"), "kB": noun("kilobyte|kilobytes"),
    "MB": noun("megabyte|megabytes"), "GB": noun("gigabyte|gigabytes"),
    "TB": noun("terabyte|terabytes"), "Mbps": noun("megabit por segundo|megabits por segundo"),
    "dB": noun("decibelio|decibelios"), "kcal": noun("kilocaloría|kilocalorías", "feminine"),
    "cal": noun("caloría|calorías", "feminine"), "hPa": noun("hectopascal|hectopascales"),
}  # fmt: skip

_SPEECH = Speech(
    numbers=NumberWords(
        cardinal=cardinal,
        ordinal=ordinal,
        decimal_word="coma",
        point_word="punto",
        decimal_group=2,
        plus="más",
        minus="menos",
        range_word="a",
        ratio_word="a",
        over="barra",
        squared="al cuadrado",
        cubed="al cubo",
        half="medio",
        half_of=("medio", "media"),
        and_half="y medio",
        and_word="y",
        fractions={
            2: ("medio", "medios"), 3: ("tercio", "tercios"), 4: ("cuarto", "cuartos"),
            5: ("quinto", "quintos"), 6: ("sexto", "sextos"), 7: ("séptimo", "séptimos"),
            8: ("octavo", "octavos"), 9: ("noveno", "novenos"), 10: ("décimo", "décimos"),
        },
        ordinal_marks=(
            (r"(?<=[13])\.?er", "masculine"),
            (r"(?:\.?º|ro|do|to|mo|vo|no)", "counting"),
            (r"(?:\.?ª|ra|da|ta|ma|va|na)", "feminine"),
        ),
        feminine=_FEMININE_PLURAL,
        feminine_one=_FEMININE_ONE,
        plural=r"\w+s",
        function_words=word_set(
            "y e o u de del en a al con por para que es son era eran va no ni como cuando si "
            "hasta entre sin sobre más menos el la los las un una ha han hay se lo le les nos os "
            "tras desde contra ya pues pero"
        ),
        naming=_NAMING,
        phone=r"[6789]\d{2}[ .-]?\d{3}[ .-]?\d{3}|[6789]\d{2}(?:[ .-]?\d{2}){3}"
        r"|9\d[ .-]\d{3}[ .-]\d{2}[ .-]\d{2}",
    ),
    romans=RomanWords(
        before=r"siglos?|capítulos?|volumen|volúmenes|tomos?|actos?|títulos?|apéndices?|anexos?|papa",
        named=_named,
        counted=_counted,
    ),
    clock=ClockWords(months=_MONTHS, date=_date, time=_time, hour_marks=r"h|hs|hrs|horas"),
    amounts=AmountWords(
        currencies=_CURRENCIES,
        cents=lambda main, cents, name: f"{main} con {cents} {name}",
        scales={
            "M": noun("millón|millones"), "millones": noun("millón|millones"),
            "millón": noun("millón|millones"), "mil": noun("mil"),
        },
        of=_of,
        per="por",
        percent="por ciento",
        percent_form="counting",
        per_mille="por mil",
        units=_UNITS,
    ),
    abbreviations={
        "Sr.": "señor", "Sra.": "señora", "Sres.": "señores", "Sras.": "señoras",
        "Srta.": "señorita", "Dr.": "doctor", "Dra.": "doctora", "Dres.": "doctores",
        "Prof.": "profesor", "Profa.": "profesora", "D.": "don", "Dña.": "doña", "D.ª": "doña",
        "Excmo.": "excelentísimo", "Excma.": "excelentísima", "Ilmo.": "ilustrísimo",
        "Ud.": "usted", "Uds.": "ustedes", "Vd.": "usted", "Vds.": "ustedes", "Sto.": "santo",
        "Sta.": "santa", "Avda.": "avenida", "Av.": "avenida", "C/": "calle", "Pza.": "plaza",
        "Ctra.": "carretera", "p. ej.": "por ejemplo", "tel.": "teléfono", "tfno.": "teléfono",
        "dpto.": "departamento", "aprox.": "aproximadamente", "máx.": "máximo",
        "mín.": "mínimo", "EE. UU.": "Estados Unidos", "EEUU": "Estados Unidos",
        "Gral.": "general", "Ing.": "ingeniero", "Lic.": "licenciado", "Arq.": "arquitecto",
        "Hnos.": "hermanos", "izqda.": "izquierda", "dcha.": "derecha",
    },
    closing_abbreviations={
        "etc.": "etcétera", "a. C.": "antes de Cristo", "d. C.": "después de Cristo",
        "S. A.": "ese a", "S. L.": "ese ele", "a. m.": "de la mañana", "p. m.": "de la tarde",
        "Cía.": "compañía",
    },
    numbered_abbreviations={
        "núm.": "número", "n.º": "número", "nº": "número", "nro.": "número", "n.°": "número",
        "núms.": "números", "pág.": "página", "págs.": "páginas", "p.": "página", "pp.": "páginas",
        "art.": "artículo", "cap.": "capítulo", "vol.": "volumen", "fig.": "figura",
        "km.": "kilómetro", "#": "número",
    },
    symbols={
        "+": "más", "=": "igual a", "&": "y", "@": "arroba", "#": "almohadilla",
        "%": "por ciento", "‰": "por mil", "€": "euros", "$": "dólares", "£": "libras",
        "¥": "yenes", "°": "grados", "×": "por", "÷": "dividido entre", "−": "menos",
        "<": "menor que", ">": "mayor que", "≤": "menor o igual que", "≥": "mayor o igual que",
        "≈": "aproximadamente", "±": "más menos", "§": "sección", "√": "raíz de",
        "∞": "infinito",
    },
    address={
        "@": "arroba", ".": "punto", "-": "guion", "_": "guion bajo", "/": "barra",
        ":": "dos puntos", "+": "más", "=": "igual", "?": "interrogación", "&": "y",
        "#": "almohadilla", "%": "por ciento", "~": "virgulilla", "www": "tres uves dobles",
    },
)  # fmt: skip

ROW = Language(code="es", name="Spanish", letters="áéíñóúü", speech=_SPEECH)
