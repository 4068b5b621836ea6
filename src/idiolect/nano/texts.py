"""Sentences of our own writing for the corpus of nano: a grammar and word lists per language.

The word lists and the grammar of a language are in ``sentences/<language>.yaml``. A *table* holds
words with their forms (``food[m,s]``, ``food[m,p]``), filled by ending rules where a form is not
written out. A *rule* rewrites a symbol; capital letters in its brackets are variables, and one
variable has one value in the whole rule, which is what makes words agree.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from idiolect.base.errors import ConfigError, did_you_mean

LANGUAGES = ("en", "es", "ca")

KINDS: Mapping[str, tuple[float, int, int]] = {
    "PHRASE": (0.10, 1, 3),
    "SHORT": (0.57, 2, 6),
    "LONG": (0.33, 7, 14),
}
"""Start symbol to its share of the sentences, and its least and greatest number of words."""

RESERVED_ONE_IN = 20
"""One in so many of all possible sentences is kept for :func:`unseen_sentences`."""

MISSES_ALLOWED = 20_000
"""After so many draws in a row without a new sentence the grammar is taken for exhausted."""

POOL_TIMES = 12
"""How many sentences :func:`covering_sentences` looks at for each that it picks."""

SCOWL_DIR = Path("/usr/share/dict/scowl")
"""Where Debian's package puts the lists; those of sizes 10 and 20 hold 12 000 common words."""
WORDS_IN_TEXT = (2, 8)
BETWEEN_WORDS = {" ": 0.77, ", ": 0.15, ". ": 0.08}
"""What stands between two of them, and how often: nano must not take every pause for the end."""
LONGEST_WORD = 13
COMMON_SENTENCES = 6000
"""So many sentences hold nearly every word of a grammar."""

_SYMBOL = re.compile(r"\{([^{}]+)\}")
_WEIGHT = re.compile(r"^(\d+)\s*\*\s*")
_ECHO = re.compile(r"\b((?:\w+[ '])?\w+),? (?:(?:and|or|y|e|o|u|i) )?\1\b")
"""Marie and Marie, at home at home: the grammar does not know what it said a word ago."""

_FIRST_LETTER = re.compile(r"(?:^|\. )\w")

_WORD = re.compile(r"[^\W_]+(?:['’·-][^\W_]+)*")


@dataclass(frozen=True)
class Grammar:
    """What a language's file says, with every variable already replaced by its values.

    Attributes:
        options: Symbol to the texts it can become and their running sums of weights.
        spelling: Pattern and replacement pairs applied in order to a drawn text (l'aigua, an egg).
    """

    options: Mapping[str, tuple[list[str], list[float]]]
    spelling: tuple[tuple[re.Pattern[str], str], ...]


def sentences(language: str, count: int, seed: int) -> list[str]:
    """Return ``count`` different sentences to train on, the same ones for the same ``seed``.

    Args:
        language: ``en``, ``es`` or ``ca``.
        count: How many.
        seed: Another seed gives another order, and so other sentences.

    Raises:
        ConfigError: An unknown language, or more sentences than its grammar can say.
    """
    return list(itertools.islice(_distinct(language, seed, reserved=False), count))


def unseen_sentences(language: str, count: int, seed: int = 0) -> list[str]:
    """Return ``count`` different sentences that :func:`sentences` never returns.

    Raises:
        ConfigError: As :func:`sentences`.
    """
    return list(itertools.islice(_distinct(language, seed, reserved=True), count))


def covering_sentences(language: str, count: int, seed: int) -> list[str]:
    """Return ``count`` training sentences picked so that every pair of letters comes early.

    Each pick is the sentence of a pool that has most letter pairs seen rarely so far, for its
    length.

    Raises:
        ConfigError: As :func:`sentences`.
    """
    pool = {text: _letter_pairs(text) for text in sentences(language, POOL_TIMES * count, seed)}
    seen: Counter[str] = Counter()
    picked = []
    for _ in range(count):
        best = max(pool, key=lambda text: _gain(pool[text], seen))
        seen.update(pool.pop(best))
        picked.append(best)
    return picked


def scattered_words(language: str, count: int, seed: int) -> list[str]:
    """Return ``count`` texts of words in no order, many of them in no sentence of the grammar.

    Who learns from sentences alone knows them by heart, and spells new words badly. English ones
    come from SCOWL; those of the other languages, which are spelled as they sound, are half of the
    grammar's own and half invented: chains of letters as the grammar's words have them.

    Raises:
        ConfigError: An unknown language, or SCOWL is not installed.
    """
    rng = random.Random(f"{language} words {seed}")  # noqa: S311 -- words, not secrets
    listed = _listed_words(language)
    chain = None if language == "en" else _letter_chain(listed)
    texts = []
    for _ in range(count):
        number = rng.randint(*WORDS_IN_TEXT)
        picked = rng.choices(listed, k=number)
        if chain is not None:
            picked[::2] = [_invented_word(chain, rng) for _ in picked[::2]]
        between = rng.choices(list(BETWEEN_WORDS), list(BETWEEN_WORDS.values()), k=number - 1)
        text = "".join(itertools.chain(*zip(picked, [*between, "."], strict=True)))
        texts.append(_FIRST_LETTER.sub(lambda match: match[0].upper(), text))
    return texts


@cache
def _listed_words(language: str) -> tuple[str, ...]:
    """Return common words of ``language``, in small letters."""
    if language == "en":
        found = {word for path in _scowl_files() for word in path.read_text("latin-1").split()}
    else:
        found = set(word_counts(language))
    return tuple(sorted(word for word in found if word.isalpha() and len(word) <= LONGEST_WORD))


@cache
def word_counts(language: str) -> Mapping[str, int]:
    """Return how often sentences of ``language`` have each of its words, in small letters.

    Raises:
        ConfigError: An unknown language.
    """
    drawn = sentences(language, COMMON_SENTENCES, seed=0)
    return MappingProxyType(Counter(word for text in drawn for word in words(text)))


def _scowl_files() -> list[Path]:
    if found := sorted(SCOWL_DIR.glob("english-words.[12]0")):
        return found
    raise ConfigError(
        "the English word lists of SCOWL are not installed",
        where=str(SCOWL_DIR),
        fix="apt-get install scowl",
    )


def _letter_chain(listed: tuple[str, ...]) -> dict[str, list[str]]:
    """Return each pair of neighbouring letters to the letters that follow it in ``listed``."""
    follow = defaultdict(list)
    for word in listed:
        for place, letter in enumerate(f"{word}$"):
            follow[f"^^{word}"[place : place + 2]].append(letter)
    return dict(follow)


def _invented_word(chain: Mapping[str, list[str]], rng: random.Random) -> str:
    """Return letters that follow each other as those of words do."""
    while True:
        word = "^^"
        while not word.endswith("$"):
            word += rng.choice(chain[word[-2:]])
        if 2 < len(word[2:-1]) <= LONGEST_WORD:
            return word[2:-1]


def is_reserved(text: str) -> bool:
    """Tell whether ``text`` is kept for :func:`unseen_sentences`, whatever its punctuation."""
    digest = hashlib.blake2b(_key(text).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % RESERVED_ONE_IN == 0


def words(text: str) -> list[str]:
    """Return the words of ``text`` in small letters; l'home and dona-me'l are one word each."""
    return _WORD.findall(text.lower())


def _distinct(language: str, seed: int, *, reserved: bool) -> Iterator[str]:
    """Draw sentences of one side of the split, without end or repetition."""
    grammar = load_grammar(language)
    rng = random.Random(f"{language} {seed}")  # noqa: S311 -- sentences, not secrets
    done = {_key(text) for text in JUDGE_SENTENCES[language]}
    misses = 0
    while misses < MISSES_ALLOWED:
        text = _draw(grammar, rng)
        if _key(text) in done or is_reserved(text) != reserved:
            misses += 1
            continue
        misses = 0
        done.add(_key(text))
        yield text
    raise ConfigError(
        f"the grammar of {language} has no more than {len(done)} sentences of this kind",
        where=f"sentences/{language}.yaml",
        fix="ask for fewer sentences, or add words and rules",
    )


def _key(text: str) -> str:
    return " ".join(words(text))


def _draw(grammar: Grammar, rng: random.Random) -> str:
    """Draw one text of a random kind, and again until it has the kind's number of words."""
    shares = [share for share, _, _ in KINDS.values()]
    kind = rng.choices(list(KINDS), shares)[0]
    _, least, most = KINDS[kind]
    while True:
        text = _finish(_expand(f"{{{kind}}}", grammar, rng), grammar)
        if least <= len(words(text)) <= most and not _ECHO.search(text.lower()):
            return text


def _expand(text: str, grammar: Grammar, rng: random.Random) -> str:
    """Replace every symbol of ``text`` by something it can become."""

    def become(match: re.Match[str]) -> str:
        texts, sums = grammar.options[match[1]]
        return _expand(rng.choices(texts, cum_weights=sums)[0], grammar, rng)

    return _SYMBOL.sub(become, text)


def _finish(text: str, grammar: Grammar) -> str:
    """Spell what words do to each other, and give the sentence its capital."""
    text = " ".join(text.split())
    for pattern, replacement in grammar.spelling:
        text = pattern.sub(replacement, text)
    return re.sub(r"^[¿¡]?\w", lambda match: match[0].upper(), text)


def _letter_pairs(text: str) -> frozenset[str]:
    """Return the pairs of neighbours, with a word's borders; digits do not count."""
    spelled = (f" {word} " for word in words(text) if not word.isdigit())
    return frozenset(a + b for word in spelled for a, b in itertools.pairwise(word))


def _gain(pairs: frozenset[str], seen: Counter[str]) -> float:
    """What a sentence adds: a pair's worth falls with the square of how often it was seen."""
    worth = sum(1.0 / (1 + seen[pair]) ** 2 for pair in pairs)
    return worth / math.sqrt(len(pairs))


@cache
def load_grammar(language: str) -> Grammar:
    """Read the grammar of ``language``.

    Raises:
        ConfigError: There is none, or it uses a symbol that it does not explain.
    """
    if language not in LANGUAGES:
        raise ConfigError(
            f"no sentences for language {language!r}",
            where="idiolect.nano.texts",
            fix=did_you_mean(language, LANGUAGES),
        )
    raw = _read(language)
    options = {**_lexicon(raw), **_ground_rules(raw)}
    _check(options, language)
    return Grammar(
        options={symbol: _weighted(texts) for symbol, texts in options.items()},
        spelling=tuple((re.compile(p), r) for p, r in raw["spelling"]),
    )


def _read(name: str) -> dict[str, Any]:
    place = resources.files("idiolect.nano").joinpath("sentences", f"{name}.yaml")
    content: dict[str, Any] = yaml.safe_load(place.read_text(encoding="utf-8"))
    return content


def _lexicon(raw: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return every form of every table: ``food[m,s]`` to its words."""
    lexicon: dict[str, dict[str, float]] = {}
    for name, rows in raw["words"].items():
        symbol, _, shape_name = name.partition(" ")
        shape = raw["shapes"].get(shape_name, {"forms": "", "endings": []})
        columns = shape["forms"].split() or [""]
        for row in re.split(r"[,\n]", rows.strip().rstrip(",")):
            for column, form in zip(columns, _forms(row.strip(), shape["endings"]), strict=True):
                full = f"{symbol}[{column}]" if column else symbol
                if form != "-":
                    lexicon.setdefault(full, {})[form] = 1.0
    return lexicon


def _forms(row: str, endings: list[str]) -> list[str]:
    """Fill what a row ``pez/peces`` leaves out by the ending rules of its columns."""
    written = row.split("/")
    written += [""] * (1 + len(endings) - len(written))
    rest = zip(written[1:], endings, strict=True)
    return [written[0], *(form or _inflect(written[0], rules) for form, rules in rest)]


def _inflect(word: str, rules: str) -> str:
    """Change the ending of ``word`` by the first rule ``old:new`` that fits it."""
    for rule in rules.split():
        old, new = rule.split(":")
        if word.endswith(old):
            return word[: len(word) - len(old)] + new
    return "-"


def _ground_rules(raw: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return the rules with variables replaced: one line shares its weight between its values."""
    values = {name: row.split() for name, row in raw["variables"].items()}
    rules: dict[str, dict[str, float]] = {}
    for head, lines in raw["rules"].items():
        for line in lines.strip().splitlines():
            weight = _WEIGHT.match(line)
            share = float(weight[1]) if weight else 1.0
            _add_line(rules, head, _WEIGHT.sub("", line), share, values)
    return rules


def _add_line(
    rules: dict[str, dict[str, float]],
    head: str,
    line: str,
    share: float,
    values: Mapping[str, list[str]],
) -> None:
    names = [name for name in values if f"{name}" in _features(f"{{{head}}}" + line)]
    fixed = [name for name in names if name in _features(f"{{{head}}}")]
    free = math.prod(len(values[name]) for name in names if name not in fixed)
    for chosen in itertools.product(*(values[name] for name in names)):
        binding = dict(zip(names, chosen, strict=True))
        symbol, text = (_bind(part, binding) for part in (f"{{{head}}}", line))
        texts = rules.setdefault(symbol[1:-1], {})
        texts[text] = texts.get(text, 0.0) + share / free


def _features(text: str) -> str:
    """Return everything that stands in the brackets of the symbols of ``text``."""
    return "".join(re.findall(r"\[([^\]]*)\]", text))


def _bind(text: str, binding: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        return "".join(binding.get(character, character) for character in match[0])

    return re.sub(r"\[[^\]]*\]", value, text)


def _check(options: Mapping[str, Mapping[str, float]], language: str) -> None:
    used = {name for texts in options.values() for text in texts for name in _SYMBOL.findall(text)}
    if missing := sorted((used | set(KINDS)) - set(options)):
        raise ConfigError(
            f"no rule and no words for {', '.join(missing)}",
            where=f"sentences/{language}.yaml",
            fix="add them, or correct the name",
        )


def _weighted(texts: Mapping[str, float]) -> tuple[list[str], list[float]]:
    return list(texts), list(itertools.accumulate(texts.values()))


JUDGE_SENTENCES: dict[str, tuple[str, ...]] = {
    language: tuple(texts) for language, texts in _read("judge").items()
}
"""Twenty sentences per language that judge a model; no other function here returns them."""
