"""What reading aloud never does, whatever the text."""

import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idiolect.text.languages import LANGUAGES, NEUTRAL
from idiolect.text.speak import speak

MARKS = set(" .,!?…'-·")
# fmt: off
PIECES = r"""
    1 2 3.5 3,5 1.000 1 000 12/03/2024 15:30 8.15h 15h30 1r 2n 3a 1º 1ª 1er 2e 1. 3. € $ £ %
    km/h kg m² °C XXI IV Sr. Dr. etc. núm. p. a@b.cat www.x.org https://x.org/y l·l l.l «bon» -5
    – — … ... : ; ¿ ¡ ( ) [ ] # @ & + = * / \ | ½ ² ³ 🎉 1/2 24/7 10-15 +34 612 345 678 Mai mai
    maig d'abril ' " 1'000 M€ millones 007 x² B2B COVID-19 casa Haus am Ludwig XIV.
    999999999999999999 . , ! ?
""".split()  # noqa: SIM905 -- a list of a hundred literals is harder to read
# fmt: on

anything = st.text(max_size=60)
written = st.lists(st.sampled_from(PIECES), max_size=8).flatmap(
    lambda pieces: st.lists(
        st.sampled_from(["", " ", " ", ", "]), min_size=len(pieces), max_size=len(pieces)
    ).map(lambda gaps: "".join(a + b for a, b in zip(pieces, gaps, strict=True)))
)
latin_words = st.lists(
    st.text(alphabet="abcdefghijklmnopqrstuvwxyzàéèíòóúçñü", min_size=2, max_size=9), min_size=1
)
roomy = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


def is_known(character):
    return character in MARKS or unicodedata.category(character)[0] in "LM"


@pytest.mark.parametrize("code", sorted(LANGUAGES))
@given(text=anything | written)
@roomy
def test_what_is_read_has_no_digit_and_no_symbol(code, text):
    spoken = speak(text, LANGUAGES[code])
    assert [character for character in spoken if not is_known(character)] == []
    assert "  " not in spoken
    assert spoken == spoken.strip()


@pytest.mark.parametrize("code", sorted(LANGUAGES))
@given(text=anything | written)
@roomy
def test_reading_twice_changes_nothing_more(code, text):
    spoken = speak(text, LANGUAGES[code])
    assert speak(spoken, LANGUAGES[code]) == spoken


@pytest.mark.parametrize("code", sorted(LANGUAGES))
@given(words=latin_words)
@roomy
def test_plain_words_stay_as_they_are(code, words):
    abbreviations = LANGUAGES[code].speech.abbreviations
    text = " ".join(word for word in words if word not in abbreviations)
    assert speak(text, LANGUAGES[code]) == text


@given(text=anything)
@roomy
def test_the_neutral_row_keeps_letters_and_digits(text):
    cleaned = speak(text, NEUTRAL)
    assert speak(cleaned, NEUTRAL) == cleaned
    assert [c for c in cleaned if c.isdecimal()] == [c for c in text if c.isdecimal()]
