"""How the recogniser of nano spells: the letters of three languages, no punctuation."""

from __future__ import annotations

from collections.abc import Iterable

from idiolect.text.normalize import prepare_text

ALPHABET = " '-·abcdefghijklmnopqrstuvwxyzàáçèéíïñòóúü"
"""What is heard. The row of a letter in the recogniser's head is one higher: row 0 is silence."""
SAME_LETTER = str.maketrans({"’": "'", "\u2010": "-", "\u2011": "-", "\u2027": "·", "•": "·"})


def spelling(text: str, language: str | None) -> str:
    """Return ``text`` as it is said, in the letters of :data:`ALPHABET`; others are left out."""
    said = prepare_text(text, language).lower().translate(SAME_LETTER)
    letters = "".join(letter if letter in ALPHABET else " " for letter in said)
    words = (word.strip("'-·") for word in letters.split())
    return " ".join(word for word in words if word)


def to_rows(text: str, alphabet: str = ALPHABET) -> list[int]:
    """Return the rows of the head that spell ``text``."""
    return [alphabet.index(letter) + 1 for letter in text]


def from_rows(rows: Iterable[int], alphabet: str = ALPHABET) -> str:
    """Return what the rows of every frame spell: repeats count once, row 0 keeps letters apart."""
    letters, before = [], 0
    for row in rows:
        if row not in (0, before):
            letters.append(alphabet[row - 1])
        before = row
    return " ".join("".join(letters).split())
