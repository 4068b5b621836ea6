"""Lines of a batch: the forms they come in, and what is said of bad ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from idiolect.base.errors import DataError, UserError
from idiolect.models.emotion import EMOTIONS
from idiolect.studio import batch_files, batch_lines
from idiolect.studio.batch_files import read_batch_file
from idiolect.studio.batch_lines import BatchLine, Places, check_lines, emotion_weights

NOWHERE = Places()


def write(folder: Path, text: str | bytes, name: str = "lines.txt") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def fault(path: Path, places: Places = NOWHERE) -> str:
    with pytest.raises(DataError) as caught:
        read_batch_file(path, places)
    return str(caught.value)


WHOLE = BatchLine(
    name="a", text="Bon dia, a tots", voice="anna", language="ca", seed=7, emotion="sad 0.5"
)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'id,text,voice,language,seed,emotion\na,"Bon dia, a tots",anna,ca,7,sad 0.5\n'),
        (
            "a.csv",
            'text;name;veu;idioma;llavor;emoció\r\nBon dia, a tots;a;anna;ca;7;"sad 0.5"\r\n',
        ),
        (
            "a.tsv",
            "\ufeffID\tTEXT\tspeaker\tlang\tseed\temotion\n"
            "a\tBon dia, a tots\tanna\tca\t7\tsad 0.5",
        ),
        ("a.txt", "seed|name|text|voice|language|emotion\n7|a|Bon dia, a tots|anna|ca|sad 0.5\n\n"),
        (
            "a.jsonl",
            '{"id": "a", "text": "Bon dia, a tots", "voice": "anna", "language": "ca", '
            '"seed": 7, "emotion": "sad 0.5"}',
        ),
    ],
)
def test_every_form_gives_the_same_line(tmp_path, name, content):
    assert read_batch_file(write(tmp_path, content, name), Places(voices=["anna"])) == [WHOLE]


def test_of_name_and_text_the_name_is_a_voice_where_there_is_one(tmp_path):
    path = write(tmp_path, "anna|Bon dia.\nintro|Hola | i adeu.\n")

    first, second = read_batch_file(path, Places(voices=["anna"]))

    assert (first.name, first.voice, first.text) == ("0001", "anna", "Bon dia.")
    assert (second.name, second.voice, second.text) == ("intro", "", "Hola | i adeu.")


def test_a_file_of_plain_texts_is_one_line_each(tmp_path):
    lines = read_batch_file(write(tmp_path, "Bon dia, text.\n\nBona nit.\n"), NOWHERE)

    assert [(line.name, line.text) for line in lines] == [
        ("0001", "Bon dia, text."),
        ("0002", "Bona nit."),
    ]


def test_a_field_in_quotes_may_go_over_lines_and_the_next_is_still_told_by_its_own(tmp_path):
    path = write(tmp_path, 'name,text\na,"one\n\ntwo"\nb/c,three\n', "a.csv")

    assert "a.csv:5: 'b/c' cannot be part of a file name" in fault(path)


def test_clips_are_found_beside_the_file_and_only_below_the_declared_folders(tmp_path):
    inside = tmp_path / "data"
    (inside / "wavs").mkdir(parents=True)
    for clip in (inside / "wavs" / "a.wav", tmp_path / "secret.wav"):
        clip.write_bytes(b"RIFF")
    places = Places(roots=[inside], folder=inside)

    (line,) = read_batch_file(write(inside, "wavs/a.wav|Bon dia."), places)

    assert line.voice == str(inside / "wavs" / "a.wav")
    for name in ("../secret.wav", str(tmp_path / "secret.wav"), "/etc/passwd"):
        assert "not below a folder" in fault(write(inside, f"{name}|Bon dia."), places)
    (inside / "wavs" / "b.wav").symlink_to(tmp_path / "secret.wav")
    assert "not below a folder" in fault(write(inside, "wavs/b.wav|Bon dia."), places)


def test_all_bad_lines_are_told_at_once_with_place_and_mend(tmp_path):
    path = write(
        tmp_path,
        b'{"text": "good", "id": "a"}\n'
        b'{"text": ""}\n'
        b"[1]\n"
        b'{"text": "x", "seed": 1.5}\n'
        b'{"text": "x", "colour": "red"}\n'
        b'{"text": "x", "id": "A"}\n'
        b'{"text": "\xff"}\n'
        b'{"text": "x", "emotion": "hapy"}\n'
        b'{"text": "x", "language": "../ca"}\n'
        b'{"text": 5}\n',
        "a.jsonl",
    )

    said = fault(path)

    assert said.startswith("9 lines cannot be used:\n")
    for line in (
        "a.jsonl:2: the text is empty; write what shall be said",
        "a.jsonl:3: not a JSON object",
        "a.jsonl:4: the seed 1.5 is none; write a whole number",
        "a.jsonl:5: nobody knows the key 'colour'; known: emotion",
        "a.jsonl:6: the name 'A' is that of a.jsonl:1 too; rename one",
        "a.jsonl:7: not UTF-8: byte 0xff",
        "a.jsonl:8: 'hapy' is no emotion",
        "did you mean 'happy'?",
        "a.jsonl:9: '../ca' is no code of a language",
        "a.jsonl:10: text is 5, not a text",
    ):
        assert line in said


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "name,text,colour\na,b,c\n", "nobody knows the column 'colour'"),
        ("a.csv", "text,texto\na,b\n", "two columns hold the text"),
        ("a.csv", "name,text\na,b,c\n", "a.csv:2: 3 fields, and the header has 2"),
        ("a.csv", 'name,text\na,"b\nc,d\n', "a.csv:2: unexpected end of data"),
        ("a.txt", "a|b\nno bar\n", "a.txt:2: there is no '|' between name and text"),
        ("a.txt", "\n \n", "no line has a text"),
        ("a.txt", "..|b", "cannot be part of a file name"),
        ("a.txt", b"\xff\xfea\x00", "UTF-16"),
        ("a.jsonl", '{"text": "\\ud800"}', "not JSON"),
    ],
)
def test_what_cannot_be_read_is_told_in_its_place(tmp_path, name, content, said):
    assert said in fault(write(tmp_path, content, name))


def test_too_much_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = write(tmp_path, "one\ntwo\nthree\n")

    monkeypatch.setattr(batch_lines, "MAX_LINES", 2)
    assert "more than 2 lines" in fault(path)
    monkeypatch.setattr(batch_files, "MAX_FILE_BYTES", 10)
    assert "a file of 14B; 10B are allowed" in fault(path)
    monkeypatch.setattr(batch_lines, "MAX_TEXT_LETTERS", 3)
    with pytest.raises(DataError, match="a text of 4 letters"):
        check_lines([("row 1", {"text": "four"})], NOWHERE, source="table")


def test_an_emotion_is_weights_in_the_order_of_the_model():
    weights = dict(zip(EMOTIONS, emotion_weights("calm 0.2, Happy:0.6,sad"), strict=True))

    assert {name: w for name, w in weights.items() if w} == {"happy": 0.6, "sad": 1.0, "calm": 0.2}
    assert emotion_weights("") is None
    with pytest.raises(UserError, match="not 0 to 1"):
        emotion_weights("happy 1.2")
