"""The one front-end: what the tokenizer sees of a text in each language."""

import logging
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from idiolect.text import normalize as front_end
from idiolect.text import published_rules
from idiolect.text.normalize import (
    FRONT_END_VERSION,
    front_end_identity,
    language_code,
    normalize,
    prepare_text,
)
from idiolect.text.published_rules import choose_rules


@pytest.fixture(autouse=True)
def notices_are_new():
    front_end._notice_unknown.cache_clear()
    published_rules._notice_unread.cache_clear()


def test_catalan_keeps_its_middle_dot_and_its_apostrophe_in_capitals():
    assert prepare_text("la col·lecció de l'home", "ca") == "LA COL·LECCIÓ DE L'HOME"


def test_catalan_numbers_are_not_read_in_english():
    said = prepare_text("Tinc 25 llibres.", "ca")

    assert said == "TINC VINT-I-CINC LLIBRES."


@pytest.mark.parametrize("tag", ["ca", "CA", "ca-ES", "ca_ES", " ca-valencia "])
def test_a_regional_tag_has_the_rules_of_its_language(tag):
    assert language_code(tag) == "ca"
    assert front_end_identity(tag) == f"idiolect-text/{FRONT_END_VERSION}:ca"


def test_a_region_with_rules_of_its_own_keeps_them():
    assert language_code("pt_BR") == "pt-br"
    assert language_code("pt-PT") == "pt"


def test_text_without_a_language_has_an_identity_of_its_own():
    assert front_end_identity(None) == f"idiolect-text/{FRONT_END_VERSION}:zh-or-en"


def test_an_unknown_language_is_cleaned_only_and_said_once(caplog):
    with caplog.at_level(logging.WARNING):
        first = prepare_text("dydd da 25", "cy")
        prepare_text("bore da", "cy-GB")

    assert first == "DYDD DA 25"
    assert len(caplog.records) == 1
    assert "'cy'" in caplog.text
    assert "known: ca" in caplog.text


def test_korean_is_not_read_by_chinese_rules():
    assert prepare_text("안녕 25", "ko") == "안 녕 25"


def test_chinese_characters_stand_apart():
    assert prepare_text("他说OK，然后走了。", "zh") == "他 说 OK, 然 后 走 了 ."


def test_turkish_keeps_the_dot_of_its_capital():
    assert prepare_text("ılık bir iş", "tr") == "ILIK BİR İŞ"


def test_a_single_character_without_a_language_stays_as_published():
    assert prepare_text(" a ", None) == "a"
    assert prepare_text("7", None) == "7"


def test_a_single_character_in_a_language_is_prepared_as_any_text():
    assert prepare_text("a", "en") == "A"
    assert prepare_text("7", "en") == "SEVEN"
    assert prepare_text("7", "zh") == "七"
    assert prepare_text("7", "ca") == "SET"


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\x00"])
@pytest.mark.parametrize("language", [None, "en", "zh", "ca", "xx"])
def test_nothing_prepared_is_nothing(text, language):
    assert prepare_text(text, language) == ""


def test_english_is_never_read_by_chinese_rules_when_the_language_is_given():
    assert choose_rules("42", None) == "zh"
    assert choose_rules("42", "en") == "en"
    assert choose_rules("bo3", "en") == "en"
    assert choose_rules("42 个", "en") == "zh"
    assert choose_rules("Hello", "zh") == "en"


def test_straight_quotes_lose_the_backslash_of_the_grammar():
    assert normalize('"Go," he said.', None) == "\\'Go,\\' he said."
    assert prepare_text('"Go," he said.', None) == "'GO,' HE SAID."


def test_spaces_and_control_characters_do_not_stop_the_grammar():
    assert prepare_text("2  cats\tand \x07 3 dogs", "en") == "TWO CATS AND THREE DOGS"


def test_a_text_that_the_grammar_cannot_read_stays_and_is_said_once(caplog):
    with caplog.at_level(logging.WARNING):
        first = prepare_text("My number is +44 20 7946 0958.", "en")
        prepare_text("My number is +44 20 7946 0958.", "en")

    assert first == "MY NUMBER IS +44 20 7946 0958."
    assert len(caplog.records) == 1


def test_annotations_come_through_unchanged():
    assert normalize("他<行|XING2>走", None) == "他<行|XING2>走"
    many = " ".join(f"<w{i}|P {i}>" for i in range(30))
    assert normalize(many + " ok", None) == many + " ok"


def test_pinyin_that_holds_other_pinyin_is_kept_whole():
    assert normalize("hai4 ai4 3个", None) == "hai4 ai4 三个"


def test_a_glossary_serves_every_language_and_prefers_longer_terms():
    glossary = {"XY": "x i", "XYZ": {"ca": "equis i zeta", "en": "ex why zed"}}

    assert normalize("l'xyz i XY", "ca", glossary=glossary) == "l'equis i zeta i x i"
    assert normalize("the XYZ", "en", glossary=glossary) == "the ex why zed"


def test_a_term_without_a_reading_in_the_language_is_said_as_it_is_listed():
    assert normalize("el xyz", "es", glossary={"XYZ": {"ca": "equis i zeta"}}) == "el XYZ"


def test_a_glossary_reading_may_hold_a_backslash():
    assert normalize("a b", "ca", glossary={"b": r"c\1"}).startswith("a c")


def test_the_grammars_warn_of_nothing():
    published_rules._grammar.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert prepare_text("3 cats", "en") == "THREE CATS"
        assert prepare_text("3只猫", "zh") == "三 只 猫"


def test_threads_share_the_front_end():
    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(lambda i: prepare_text(f"{i} cats", "en"), [3, 4] * 50))

    assert said == ["THREE CATS", "FOUR CATS"] * 50
