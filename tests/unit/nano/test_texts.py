"""The sentences of nano's corpus: repeatable, split, and right in spelling and agreement."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from idiolect.base.errors import ConfigError
from idiolect.nano import texts
from idiolect.nano.texts import (
    JUDGE_SENTENCES,
    KINDS,
    LANGUAGES,
    covering_sentences,
    is_reserved,
    scattered_words,
    sentences,
    unseen_sentences,
    words,
)
from idiolect.text.normalize import prepare_text

LETTERS = {
    "en": "abcdefghijklmnopqrstuvwxyz'",
    "es": "abcdefghijklmnopqrstuvwxyzñáéíóúü",
    "ca": "abcdefghijklmnopqrstuvwxyzàèéíòóúïüç·'-",
}

SPELLINGS = {
    "en": "th sh ch ght kn wr ph ough n't 's",
    "es": "ll rr ch ñ güe güi gue gui que qui ge j x h ¿ ¡",
    "ca": "l·l ny tx ig tj tg ix qü gü ï ç l' d' n' m'ho -me'l ss",
}

# What a slip of the grammar or of its spelling rules would look like.
WRONG = {
    "en": (
        r"\ba [aeio]\w",
        r"\ban [bcdfgjklmnpqrstvwyz]",
        r"\ban us",
        r"\b(i|you|we|they) (is|has|goes|does)\b",
        r"\b(he|she|it) (are|were)\b",
        r"\b(mans|childs|mouses|knifes|buyed|goed)\b",
        r"\b(a|this|that) (books|cats|men|children)\b",
    ),
    "es": (
        r"\b(a|de) el\b",
        r"\b(el|un|este|nuestro|los) (mesa|casa|llave|mujer)s?\b",
        r"\b(la|una|esta|nuestra|las) (libro|coche|hombre)s?\b",
        r"\b(la agua|y i\w|o o\w)",
        r"\blos (?!he )\w+[aeiou] ",
        r"\w+zes\b",
        r"\w+[óí]nes\b",
        r"(?<!y )\b(yo|tú) \w+mos\b",
        r"\b(él|ella) \w+[sn]\b",
    ),
    "ca": (
        r"\b(el|la|de) h?[aeoàèéòó]\w",
        r"\b(de|a|per) els?\b",
        r"\b(al|del|pel) h?[aeoàèéòó]",
        r"\b(un|aquest|el meu) (taula|casa|porta)\b",
        r"\b(una|aquesta|la meva) (llibre|cotxe|gos)\b",
        r"\b(?!vas|gas)\w+[cjgç]as\b",
        r"\b(?!nas|cas|vas|gas|compàs)\w\w+as\b",
        r"\b(dos \w+es (és|era)|dues \w+ts)\b",
        r"(?<!i )\b(jo|tu) \w+(em|eu)\b",
    ),
}

INFLECTED = {
    "en": "the mice, the children, knives, he has, an egg, wrote, a useful",
    "es": "las luces, los peces, los leones, el agua está, tuve, busqué, leyó, e inés, al, del",
    "ca": "les taronges, els peixos, boges, vam, tanques, coneixem, pel·lícules, d'aigua, a l'hort",
}


@pytest.fixture(scope="module", params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def many(language: str) -> list[str]:
    return sentences(language, 15_000, 1)


def test_there_are_fifteen_thousand_sentences_and_no_two_say_the_same(many: list[str]) -> None:
    assert len({" ".join(words(text)) for text in many}) == 15_000


def test_a_seed_gives_its_sentences_again_and_a_longer_list_begins_alike(
    many: list[str], language: str
) -> None:
    assert sentences(language, 500, 1) == many[:500]
    assert sentences(language, 500, 2) != many[:500]


def test_no_training_sentence_is_kept_for_judging(many: list[str], language: str) -> None:
    trained = {" ".join(words(text)) for text in many}
    kept = [*unseen_sentences(language, 150), *JUDGE_SENTENCES[language]]
    assert trained.isdisjoint(" ".join(words(text)) for text in kept)
    assert all(is_reserved(text) for text in unseen_sentences(language, 150))


def test_other_punctuation_does_not_bring_a_kept_sentence_into_training(language: str) -> None:
    for text in unseen_sentences(language, 50):
        assert is_reserved(text.rstrip(".!?").upper() + "!")


def test_unseen_sentences_use_words_that_training_says(many: list[str], language: str) -> None:
    known = {word for text in many for word in words(text)}
    asked = [word for text in unseen_sentences(language, 150) for word in words(text)]
    assert sum(word in known for word in asked) / len(asked) > 0.98


def test_every_letter_and_the_typical_spellings_occur(many: list[str], language: str) -> None:
    text = " ".join(many).lower()
    assert [letter for letter in LETTERS[language] if text.count(letter) < 20] == []
    assert [spelling for spelling in SPELLINGS[language].split() if text.count(spelling) < 10] == []


def test_inflected_forms_are_those_of_the_language(many: list[str], language: str) -> None:
    text = " ".join(many).lower()
    assert [form for form in INFLECTED[language].split(", ") if form not in text] == []


def test_no_sentence_shows_a_slip_of_agreement_or_elision(many: list[str], language: str) -> None:
    wrong = re.compile("|".join(WRONG[language]))
    assert [text for text in many if wrong.search(text.lower())] == []


def test_lengths_are_those_promised(many: list[str]) -> None:
    lengths = [len(words(text)) for text in many]
    assert min(lengths) == 1
    assert max(lengths) == max(most for _, _, most in KINDS.values())
    assert 0.35 < sum(length > 6 for length in lengths) / len(lengths) < 0.48


def test_a_few_sentences_hold_digits(many: list[str]) -> None:
    share = sum(any(map(str.isdigit, text)) for text in many) / len(many)
    assert 0.01 < share < 0.05


def test_the_front_end_reads_every_sentence(many: list[str], language: str) -> None:
    allowed = set(LETTERS[language].upper()) | set(" ,.?!-'")
    for text in [*many[:500], *JUDGE_SENTENCES[language]]:
        assert set(prepare_text(text, language)) <= allowed, text


def test_sentences_begin_with_a_capital_and_end_with_a_mark(many: list[str]) -> None:
    assert [text for text in many if not re.match(r"^[¿¡]?[A-ZÁÉÍÓÚÀÈÒÑ].*[.?!]$", text)] == []
    assert [text for text in many if re.search(r"[{}\[\]/]| ,|  |[¿¡] ", text)] == []


def test_spanish_opens_its_questions_and_exclamations() -> None:
    for text in sentences("es", 3000, 4):
        assert text.count("?") == text.count("¿"), text
        assert text.count("!") == text.count("¡"), text


def test_twenty_judge_sentences_of_four_to_ten_words_a_language() -> None:
    for judged in JUDGE_SENTENCES.values():
        assert len(set(judged)) == 20
        assert all(4 <= len(words(text)) <= 10 for text in judged)


def test_covering_sentences_hold_more_letter_pairs_than_the_first_ones(language: str) -> None:
    def pairs(texts: list[str]) -> int:
        joined = " ".join(texts).lower()
        return len({joined[at : at + 2] for at in range(len(joined) - 1)})

    picked = covering_sentences(language, 40, 1)
    assert len(set(picked)) == 40
    assert not any(is_reserved(text) for text in picked)
    assert pairs(picked) > 1.15 * pairs(sentences(language, 40, 1))


def test_sixty_covering_catalan_sentences_hold_the_spellings_of_catalan() -> None:
    text = " ".join(covering_sentences("ca", 60, 0)).lower()
    wanted = ("l·l", "ny", "tx", "ix", "tj", "ç", "ï", "ü", "l'", "d'")
    assert [spelling for spelling in wanted if spelling not in text] == []


def test_an_unknown_language_is_named() -> None:
    with pytest.raises(ConfigError, match="'fr'"):
        sentences("fr", 1, 0)


@pytest.fixture
def word_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "english-words.10").write_text("river\nit's\nmoon\n", "latin-1")
    (tmp_path / "english-words.20").write_text("glove\n", "latin-1")
    (tmp_path / "english-words.35").write_text("rare\n", "latin-1")
    monkeypatch.setattr(texts, "SCOWL_DIR", tmp_path)
    texts._listed_words.cache_clear()
    yield tmp_path
    texts._listed_words.cache_clear()


def test_scattered_english_words_are_the_common_ones_of_the_lists(word_lists: Path):
    drawn = scattered_words("en", 50, seed=3)
    assert {word for text in drawn for word in words(text)} == {"river", "moon", "glove"}
    assert drawn == scattered_words("en", 50, seed=3)
    assert drawn != scattered_words("en", 50, seed=4)


def test_without_the_lists_it_is_said_how_to_get_them(word_lists: Path):
    for path in word_lists.iterdir():
        path.unlink()
    with pytest.raises(ConfigError, match="word lists of SCOWL"):
        scattered_words("en", 1, seed=0)


@pytest.mark.parametrize("language", ["es", "ca"])
def test_many_scattered_words_are_in_no_sentence(language: str):
    said = {word for text in sentences(language, 6000, seed=0) for word in words(text)}
    drawn = [word for text in scattered_words(language, 300, seed=1) for word in words(text)]
    new = [word for word in drawn if word not in said]
    assert 0.3 < len(new) / len(drawn) < 0.6
    shown = "".join(f"^{word}$" for word in said)
    assert all(f"^{word[:2]}" in shown and f"{word[-2:]}$" in shown for word in new)


def test_scattered_words_begin_with_a_capital_behind_every_full_stop():
    for text in scattered_words("es", 200, seed=2):
        assert all(part[0].isupper() for part in text.split(". "))
        assert text.endswith(".")
