"""Portuguese of Portugal, and of Brazil where its numbers and its coin differ."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

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
    "janeiro", "fevereiro", "março", "abril", "maio", "junho",
    "julho", "agosto", "setembro", "outubro", "novembro", "dezembro",
)  # fmt: skip
_SCALE = re.compile(r"(?:ilh|ili)(?:ão|ões)(?: e)? ?")
_QUEENS = re.compile(r"isabel|maria|joana|catarina|cristina|margarida|vitória|guerra|leonor")


def _european(number: int, form: Form) -> str:
    return _agree(spelled(number, "pt"), form)


def _brazilian(number: int, form: Form) -> str:
    return _agree(spelled(number, "pt_BR"), form)


def _agree(words: str, form: Form) -> str:
    """Return ``words`` with one, two and the hundreds in the feminine, but for the millions."""
    if form != "feminine":
        return words
    ends = [match.end() for match in _SCALE.finditer(words)]
    cut = ends[-1] if ends else 0
    rest = re.sub(r"(zent|cent|enhent|inhent)os\b", r"\1as", words[cut:])
    rest = re.sub(r"\bdois\b", "duas", rest)
    return words[:cut] + re.sub(r"\bum\b", "uma", rest)


def ordinal(number: int, form: Form) -> str:
    """Return the ordinal of ``number``: *primeiro, segunda, vigésimo primeiro*."""
    words = spelled_ordinal(number, "pt")
    return re.sub(r"o\b", "a", words) if form == "feminine" else words


def _clock(cardinal: Callable[[int, Form], str], first: str) -> ClockWords:
    """Return the clock of a country that counts with ``cardinal``; ``first`` of the month."""

    def say_day(day: int, _before: str) -> str:
        return first if day == 1 else cardinal(day, "counting")

    def say_date(day: int, month: int, year: int | None, before: str) -> str:
        spoken = f"{say_day(day, before)} de {_MONTHS[month - 1]}"
        return spoken if year is None else f"{spoken} de {cardinal(year, 'counting')}"

    def say_time(hour: int, minute: int, second: int | None) -> str:
        spoken = cardinal(hour, "feminine")
        spoken += f" e {cardinal(minute, 'counting')}" if minute else " hora" + "s" * (hour != 1)
        if second:
            spoken += f" e {cardinal(second, 'masculine')} segundo" + "s" * (second > 1)
        return spoken

    return ClockWords(
        months=_MONTHS, date=say_date, time=say_time, day=say_day, day_link=" de ",
        hour_marks=r"h|hs|hrs|horas",
    )  # fmt: skip


def _romans(cardinal: Callable[[int, Form], str]) -> RomanWords:
    def say_named(number: int, name: str) -> str:
        if name not in _NAMING and number <= 10:
            return ordinal(number, "feminine" if _QUEENS.match(name) else "masculine")
        return cardinal(number, "counting")

    return RomanWords(
        before=r"séculos?|capítulos?|volumes?|tomos?|atos?|actos?|títulos?|apêndices?|anexos?|papa",
        named=say_named,
        counted=_counted,
    )


def _counted(number: int, name: str) -> str:
    return ordinal(number, "feminine" if re.fullmatch(_FEMININE_ONE, name) else "masculine")


def _of(counted: str, name: str) -> str:
    return f"{counted} {name}" if counted.endswith("mil") else f"{counted} de {name}"


_NAMING = word_set(
    "número capítulo página artigo tema linha canal grupo tomo volume nível lição alínea ponto "
    "secção seção figura tabela anexo sala aula porta piso andar quarto opção fase ato cena "
    "exercício unidade versão plataforma via autocarro ônibus comboio trem voo rua parte passo "
    "quilómetro quilômetro"
)
_FEMININE_PLURAL = (
    r"(?!(?:.*(?:emas|istas|gramas)|dias|mapas|planetas|poetas|idiomas|climas|atletas|pijamas|"
    r"sintomas|diplomas|cometas|mais|polícias|guardas|camaradas|colegas|fantasmas|gorilas|"
    r"dramas|papas)$)"
    r"(?:\w+as|vezes|noites|tardes|partes|classes|chaves|flores|mulheres|mãos|fontes|leis|redes|"
    r"imagens|vozes|luzes|cruzes|torres|sedes|frases|bases|fases|crises|teses|séries|fotos|motos|"
    r"nozes|raízes|viagens|mensagens|cores|dores|maçãs|irmãs|manhãs|mães|nuvens|ordens|"
    r"\w+(?:ções|sões|xões|dades|tades|tudes|agens))"
)
_FEMININE_ONE = (
    r"(?!(?:.*(?:ema|ista|grama)|dia|mapa|planeta|poeta|idioma|clima|atleta|pijama|sintoma|"
    r"fantasma|colega|guarda|drama)$)"
    r"(?:\w+a|vez|noite|tarde|parte|classe|chave|flor|mulher|mão|fonte|lei|rede|imagem|voz|luz|"
    r"cruz|torre|sede|frase|base|fase|crise|tese|série|foto|moto|noz|raiz|viagem|mensagem|cor|"
    r"maçã|irmã|manhã|mãe|nuvem|ordem|\w+(?:ção|são|xão|dade|tade|tude|agem))"
)

_LADIES = {
    f"D. {name}": f"dona {name}"
    for name in (
        "Maria", "Ana", "Isabel", "Inês", "Leonor", "Teresa", "Filipa", "Beatriz", "Joana",
        "Catarina", "Amélia", "Carlota", "Luísa", "Helena", "Rosa", "Graça", "Manuela",
    )
}  # fmt: skip

_CURRENCIES = currencies(
    EUR=Currency(main=noun("euro|euros"), cent=noun("cêntimo|cêntimos")),
    USD=Currency(main=noun("dólar|dólares"), cent=noun("cêntimo|cêntimos")),
    GBP=Currency(main=noun("libra|libras", "feminine"), cent=noun("péni|pence")),
    JPY=Currency(main=noun("iene|ienes"), cent=noun("sen|sen")),
    CHF=Currency(main=noun("franco|francos"), cent=noun("cêntimo|cêntimos")),
    BRL=Currency(main=noun("real|reais"), cent=noun("centavo|centavos")),
)
_CURRENCIES_OF_BRAZIL = currencies(
    USD=Currency(main=noun("dólar|dólares"), cent=noun("centavo|centavos"))
)

_UNITS = {
    "km": noun("quilómetro|quilómetros"), "m": noun("metro|metros"),
    "cm": noun("centímetro|centímetros"), "mm": noun("milímetro|milímetros"),
    "dm": noun("decímetro|decímetros"),
    "km/h": noun("quilómetro por hora|quilómetros por hora"),
    "m/s": noun("metro por segundo|metros por segundo"),
    "m²": noun("metro quadrado|metros quadrados"),
    "km²": noun("quilómetro quadrado|quilómetros quadrados"),
    "cm²": noun("centímetro quadrado|centímetros quadrados"),
    "m³": noun("metro cúbico|metros cúbicos"),
    "cm³": noun("centímetro cúbico|centímetros cúbicos"),
    "ha": noun("hectare|hectares"),
    "kg": noun("quilograma|quilogramas"), "g": noun("grama|gramas"),
    "mg": noun("miligrama|miligramas"), "t": noun("tonelada|toneladas", "feminine"),
    "l": noun("litro|litros"), "L": noun("litro|litros"), "ml": noun("mililitro|mililitros"),
    "mL": noun("mililitro|mililitros"), "cl": noun("centilitro|centilitros"),
    "dl": noun("decilitro|decilitros"),
    "°C": noun("grau Celsius|graus Celsius"),
    "°F": noun("grau Fahrenheit|graus Fahrenheit"), "°": noun("grau|graus"),
    "h": noun("hora|horas", "feminine"), "min": noun("minuto|minutos"),
    "s": noun("segundo|segundos"), "seg": noun("segundo|segundos"),
    "ms": noun("milissegundo|milissegundos"),
    "W": noun("watt|watts"), "kW": noun("quilowatt|quilowatts"),
    "MW": noun("megawatt|megawatts"), "kWh": noun("quilowatt-hora|quilowatts-hora"),
    "V": noun("volt|volts"), "Hz": noun("hertz"), "kHz": noun("quilohertz"),
    "MHz": noun("megahertz"), "GHz": noun("gigahertz"),
    "KB": noun("quilobyte|quilobytes"), "kB": noun("quilobyte|quilobytes"),
    "MB": noun("megabyte|megabytes"), "GB": noun("gigabyte|gigabytes"),
    "TB": noun("terabyte|terabytes"), "Mbps": noun("megabit por segundo|megabits por segundo"),
    "dB": noun("decibel|decibéis"), "kcal": noun("quilocaloria|quilocalorias", "feminine"),
    "cal": noun("caloria|calorias", "feminine"), "hPa": noun("hectopascal|hectopascais"),
}  # fmt: skip

_SPEECH = Speech(
    numbers=NumberWords(
        cardinal=_european,
        ordinal=ordinal,
        decimal_word="vírgula",
        point_word="ponto",
        decimal_group=2,
        plus="mais",
        minus="menos",
        range_word="a",
        ratio_word="a",
        over="barra",
        squared="ao quadrado",
        cubed="ao cubo",
        half="meio",
        half_of=("meio", "meia"),
        and_half="e meio",
        and_word="e",
        fractions={
            2: ("meio", "meios"), 3: ("terço", "terços"), 4: ("quarto", "quartos"),
            5: ("quinto", "quintos"), 6: ("sexto", "sextos"), 7: ("sétimo", "sétimos"),
            8: ("oitavo", "oitavos"), 9: ("nono", "nonos"), 10: ("décimo", "décimos"),
        },
        ordinal_marks=((r"(?:\.?º|\.o)", "counting"), (r"\.?ª", "feminine")),
        feminine=_FEMININE_PLURAL,
        feminine_one=_FEMININE_ONE,
        function_words=word_set(
            "e ou de do da dos das em no na nos nas a ao à aos às com por para que é são era eram "
            "vai não nem como quando se até entre sem sobre mais menos o os as um uma há"
        ),
        naming=_NAMING,
        phone=r"[29]\d{2}[ .-]?\d{3}[ .-]?\d{3}|[29]\d[ .-]\d{3}[ .-]\d{2}[ .-]\d{2}"
        r"|\(\d{2}\) ?9?\d{4}-?\d{4}",
    ),
    romans=_romans(_european),
    clock=_clock(_european, "um"),
    amounts=AmountWords(
        currencies=_CURRENCIES,
        cents=lambda main, cents, name: f"{main} e {cents} {name}",
        scales={
            "M": noun("milhão|milhões"), "milhões": noun("milhão|milhões"),
            "milhão": noun("milhão|milhões"), "mil": noun("mil"),
        },
        of=_of,
        per="por",
        percent="por cento",
        percent_form="counting",
        per_mille="por mil",
        units=_UNITS,
    ),
    abbreviations={
        "Sr.": "senhor", "Sra.": "senhora", "Sr.ª": "senhora", "Srs.": "senhores",
        "Sras.": "senhoras", "Dr.": "doutor", "Dra.": "doutora", "Dr.ª": "doutora",
        "Prof.": "professor", "Profa.": "professora", "Prof.ª": "professora", "Eng.": "engenheiro",
        "Eng.º": "engenheiro", "D.": "dom", **_LADIES,
        "Exmo.": "excelentíssimo", "Exma.": "excelentíssima",
        "Sto.": "santo", "Sta.": "santa", "V. Ex.ª": "vossa excelência", "Av.": "avenida",
        "R.": "rua", "Pç.": "praça", "p. ex.": "por exemplo", "tel.": "telefone",
        "telem.": "telemóvel", "dep.": "departamento", "aprox.": "aproximadamente",
        "máx.": "máximo", "mín.": "mínimo", "EUA": "Estados Unidos", "Cel.": "coronel",
        "Gen.": "general",
    },
    closing_abbreviations={
        "etc.": "et cetera", "a. C.": "antes de Cristo", "d. C.": "depois de Cristo",
        "S. A.": "ésse á", "Lda.": "limitada", "Ltda.": "limitada", "Cia.": "companhia",
        "a. m.": "da manhã", "p. m.": "da tarde",
    },
    numbered_abbreviations={
        "n.º": "número", "nº": "número", "n.o": "número", "núm.": "número", "n.°": "número",
        "n.os": "números", "pág.": "página", "págs.": "páginas", "p.": "página", "pp.": "páginas",
        "art.": "artigo", "art.º": "artigo", "cap.": "capítulo", "vol.": "volume",
        "fig.": "figura", "#": "número",
    },
    symbols={
        "+": "mais", "=": "igual a", "&": "e", "@": "arroba", "#": "cardinal",
        "%": "por cento", "‰": "por mil", "€": "euros", "$": "dólares", "£": "libras",
        "¥": "ienes", "°": "graus", "×": "vezes", "÷": "a dividir por", "−": "menos",
        "<": "menor que", ">": "maior que", "≤": "menor ou igual a", "≥": "maior ou igual a",
        "≈": "aproximadamente", "±": "mais ou menos", "§": "parágrafo", "√": "raiz de",
        "∞": "infinito",
    },
    address={
        "@": "arroba", ".": "ponto", "-": "hífen", "_": "sublinhado", "/": "barra",
        ":": "dois pontos", "+": "mais", "=": "igual", "?": "ponto de interrogação", "&": "e",
        "#": "cardinal", "%": "por cento", "~": "til", "www": "três dáblios",
    },
)  # fmt: skip

ROW = Language(code="pt", name="Portuguese", letters="áâãàçéêíóôõúü", speech=_SPEECH)

BRAZIL = Language(
    code="pt-br",
    name="Brazilian Portuguese",
    letters=ROW.letters,
    speech=replace(
        _SPEECH,
        numbers=replace(_SPEECH.numbers, cardinal=_brazilian),
        romans=_romans(_brazilian),
        clock=_clock(_brazilian, "primeiro"),
        amounts=replace(
            _SPEECH.amounts,
            currencies=_CURRENCIES | _CURRENCIES_OF_BRAZIL,
            units={
                symbol: replace(
                    unit,
                    one=unit.one.replace("quilóm", "quilôm"),
                    many=unit.many.replace("quilóm", "quilôm"),
                )
                for symbol, unit in _UNITS.items()
            },
        ),
    ),
)  # fmt: skip
