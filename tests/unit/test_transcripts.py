import json

import pytest

from idiolect.base.errors import DataError
from idiolect.data.file_index import AUDIO_SUFFIXES, FileIndex
from idiolect.data.transcripts import Fault, Row, open_transcript

NAMES = [f"{n:04d}.wav" for n in range(6)]


@pytest.fixture
def audio(tmp_path):
    folder = tmp_path / "audio"
    folder.mkdir()
    for name in NAMES:
        (folder / name).touch()
    return FileIndex(folder, AUDIO_SUFFIXES)


def rows_of(path, text, audio, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    transcript = open_transcript(path, audio)
    return transcript.form, list(transcript.rows())


def told(rows):
    return [(row.name, row.speaker, row.text) for row in rows]


def test_file_and_text(tmp_path, audio):
    form, rows = rows_of(tmp_path / "t.txt", "0001.wav|Hola.\n0002.wav|Adéu | o no.\n", audio)

    assert form == "audio|text"
    assert told(rows) == [("0001.wav", None, "Hola."), ("0002.wav", None, "Adéu | o no.")]
    assert rows[1].where == f"{tmp_path}/t.txt:2"


def test_file_speaker_and_text(tmp_path, audio):
    text = "0001|marta|Bon dia a tothom.\n0002|biel|Fins demà, si plou.\n0003|marta|Ara vinc.\n"

    form, rows = rows_of(tmp_path / "t.txt", text, audio)

    assert form == "audio|speaker|text"
    assert told(rows)[1] == ("0002", "biel", "Fins demà, si plou.")


def test_file_speaker_language_and_text(tmp_path, audio):
    text = "0001.wav|marta|ca|Bon dia a tothom.\n0002.wav|marta|es|Buenos días a todos.\n"

    _, rows = rows_of(tmp_path / "t.list", text, audio)

    assert [(r.speaker, r.language, r.text) for r in rows] == [
        ("marta", "ca", "Bon dia a tothom."),
        ("marta", "es", "Buenos días a todos."),
    ]


def test_ljspeech_metadata_gives_the_text_as_spoken(tmp_path, audio):
    text = (
        "0001|In 1984 we met.|In nineteen eighty-four we met.\n"
        "0002|Dr. Bell was late.|Doctor Bell was late.\n"
        "0003|Only the first form.|\n"
    )

    form, rows = rows_of(tmp_path / "metadata.csv", text, audio)

    assert form == "file|text|text as spoken"
    assert [row.text for row in rows] == [
        "In nineteen eighty-four we met.",
        "Doctor Bell was late.",
        "Only the first form.",
    ]


def test_common_voice(tmp_path, audio):
    header = "client_id\tpath\tsentence\tup_votes\tage\tlocale\n"
    text = (
        header
        + 'f3a\t0001.mp3\t"El ""cap"" mana."\t2\ttwenties\tca\nb71\t0002.mp3\tVa "bé"\t2\t\tca\n'
    )

    form, rows = rows_of(tmp_path / "validated.tsv", text, audio)

    assert form == "Common Voice"
    assert told(rows) == [("0001.mp3", "f3a", 'El "cap" mana.'), ("0002.mp3", "b71", 'Va "bé"')]
    assert rows[0].language == "ca"
    assert rows[0].extra == {"up_votes": "2", "age": "twenties"}


def test_common_voice_lists_only_some_of_the_clips(tmp_path, audio):
    (tmp_path / "t.tsv").write_text("client_id\tpath\tsentence\nf3a\t0001\tHola.\n")

    assert open_transcript(tmp_path / "t.tsv", audio).is_selection


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_table_with_a_header_in_any_order(tmp_path, audio, delimiter):
    cells = [["Speaker", "Text", "File_Name"], ["marta", "Hola, bon dia; passa.", "0001.wav"]]
    if delimiter in ",;":
        cells[1][1] = f'"{cells[1][1]}"'
    text = "\n".join(delimiter.join(row) for row in cells)

    _, rows = rows_of(tmp_path / "t.csv", text, audio)

    assert told(rows) == [("0001.wav", "marta", "Hola, bon dia; passa.")]


def test_commas_without_quotes_stay_in_the_text(tmp_path, audio):
    text = "0001.wav,Un, dos i tres.\n0002.wav,Quatre.\n0003.wav,Cinc, sis.\n0004.wav,Set.\n"

    _, rows = rows_of(tmp_path / "t.csv", text, audio)

    assert [row.text for row in rows] == ["Un, dos i tres.", "Quatre.", "Cinc, sis.", "Set."]


def test_a_quote_that_is_never_closed_swallows_no_other_line(tmp_path, audio):
    text = 'audio,text\n0001.wav,"Va dir\n0002.wav,Adéu.\n'

    _, rows = rows_of(tmp_path / "t.csv", text, audio)

    assert [row.text for row in rows] == ['"Va dir', "Adéu."]


def test_tabs_bom_and_crlf(tmp_path, audio):
    text = "\ufeff0001.wav\tHola  a\u00a0tothom.\r\n\r\n0002.wav\tAdéu.\r\n"

    form, rows = rows_of(tmp_path / "t.txt", text, audio)

    assert form == "audio, text, cut by tabs"
    assert told(rows) == [("0001.wav", None, "Hola a tothom."), ("0002.wav", None, "Adéu.")]
    assert rows[1].where.endswith("t.txt:3")


def test_names_cut_by_spaces_or_colons(tmp_path, audio):
    _, spaced = rows_of(tmp_path / "a.txt", "0001 Hola a tothom.\n0002 Adéu.\n", audio)
    _, colons = rows_of(tmp_path / "b.txt", "0001: Són les 12:30.\n0002: Adéu.\n", audio)

    assert spaced[0].text == "Hola a tothom."
    assert colons[0].text == "Són les 12:30."


def test_json_lines_with_the_keys_of_others(tmp_path, audio):
    records = [
        {"audio_filepath": "0001.wav", "text": "Hola.", "duration": 2.0, "dialect": "nord"},
        {"audio": "0002.wav", "sentence": "Adéu.", "start": 1.5, "end": 2.5, "emotion": "calm"},
        {"audio_filepath": "0003.wav", "text": "Ara.", "offset": 3.0, "duration": 2.0},
    ]
    text = "".join(json.dumps(record) + "\n" for record in records)

    form, rows = rows_of(tmp_path / "t.jsonl", text, audio)

    assert form == "JSON Lines"
    assert [(r.start_sec, r.end_sec) for r in rows] == [(None, None), (1.5, 2.5), (3.0, 5.0)]
    assert rows[0].extra == {"dialect": "nord"}
    assert rows[1].emotion == "calm"


def test_kaldi(tmp_path, audio):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "utt2spk").write_text("marta-1 marta\nbiel-1 biel\nbiel-2 biel\n")
    (folder / "wav.scp").write_text("rec1 /x/0001.wav\nbiel-1 /x/0002.wav\nbiel-2 sox x |\n")
    (folder / "segments").write_text("marta-1 rec1 0.50 2.25\n")
    text = "marta-1 hola a tothom\nbiel-1 adéu\nbiel-2 no\n"

    form, rows = rows_of(folder / "text", text, audio)

    assert form == "Kaldi"
    assert (rows[0].id, rows[0].name, rows[0].speaker) == ("marta-1", "/x/0001.wav", "marta")
    assert (rows[0].start_sec, rows[0].end_sec, rows[0].text) == (0.5, 2.25, "hola a tothom")
    assert rows[1].text == "adéu"
    assert rows[2].reason == "the audio is a command, which is never run"
    assert open_transcript(folder, audio).form == "Kaldi"


def test_festival(tmp_path, audio):
    form, rows = rows_of(tmp_path / "txt.done.data", '( 0001 "Va dir \\"no\\"." )\n', audio)

    assert form == "Festival"
    assert rows[0].text == 'Va dir "no".'


@pytest.mark.parametrize("suffix", [".txt", ".lab"])
def test_one_text_file_for_each_clip_in_a_folder_or_beside_the_audio(tmp_path, audio, suffix):
    for folder in (tmp_path / "texts", audio.folder):
        (folder / "sub").mkdir(parents=True)
        (folder / "sub" / f"0001{suffix}").write_text("\ufeffHola\r\na tothom.\r\n", "utf-8")

    for path in (tmp_path / "texts", None):
        transcript = open_transcript(path, audio)
        assert transcript.form == "one text file for each clip"
        assert told(transcript.rows()) == [("sub/0001", None, "Hola a tothom.")]


def test_a_transcript_with_the_usual_name_is_found_beside_the_audio(audio):
    (audio.folder / "metadata.csv").write_text("0001|Hola.\n")

    assert told(open_transcript(None, audio).rows()) == [("0001", None, "Hola.")]


SRT = """1
00:00:01,000 --> 00:00:03,500
<i>Bon dia</i>
a tothom.

2
00:01:02,250 --> 00:01:04,000
42

"""
VTT = """WEBVTT

NOTE made by hand

intro
00:01.000 --> 00:03.500 align:start
<v Marta Puig>Bon dia a tothom.

01:00:02.000 --> 01:00:01.000
Tard.
"""


def test_srt_cuts_a_long_file(tmp_path, audio):
    form, rows = rows_of(tmp_path / "0001.ca.srt", SRT, audio)

    assert form == "subtitles"
    assert told(rows) == [("0001", None, "Bon dia a tothom."), ("0001", None, "42")]
    assert (rows[0].start_sec, rows[0].end_sec) == (1.0, 3.5)
    assert (rows[1].start_sec, rows[1].end_sec, rows[1].source) == (62.25, 64.0, "0001")


def test_vtt_names_its_speakers_and_bad_times_are_told(tmp_path, audio):
    _, rows = rows_of(tmp_path / "0002.vtt", VTT, audio)

    assert told(rows[:1]) == [("0002", "Marta Puig", "Bon dia a tothom.")]
    assert rows[1].reason == "the times of the line make no sense"
    assert rows[1].where.endswith("0002.vtt:9")


def test_each_bad_line_is_a_fault_in_its_place(tmp_path, audio):
    lines = [b"0001.wav|Hola.", "0002.wav|Adéu.".encode("latin-1"), b"0003.wav", b"0004.wav|  "]
    path = tmp_path / "t.txt"
    path.write_bytes(b"\n".join([*lines, b"|Sense nom.", b"0005.wav|Fi."]))

    rows = list(open_transcript(path, audio).rows())

    assert [type(row) for row in rows] == [Row, Fault, Fault, Fault, Fault, Row]
    assert [row.where for row in rows[1:5]] == [f"{path}:{n}" for n in (2, 3, 4, 5)]
    assert [row.reason for row in rows[1:5]] == [
        "the line is not UTF-8",
        "the line has fewer columns than the others",
        "the text is empty",
        "the line names no audio",
    ]
    assert "byte 0xe9" in rows[1].detail


def test_a_form_that_is_not_known_shows_the_first_line_and_how_to_write_it(tmp_path, audio):
    (tmp_path / "t.txt").write_text("Once upon a time.\n")

    with pytest.raises(DataError) as caught:
        open_transcript(tmp_path / "t.txt", audio)

    message = str(caught.value)
    assert "its first line is 'Once upon a time.'" in message
    assert "no part of it is the name of one of the 6 clips" in message
    assert "write lines like 'clip.wav|What is said.'" in message


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "holds no readable line"),
        ("0001|Hola".encode("utf-16"), "in UTF-16, not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_at_all_is_an_error(tmp_path, audio, content, problem):
    (tmp_path / "t.txt").write_bytes(content)

    with pytest.raises(DataError, match=problem):
        open_transcript(tmp_path / "t.txt", audio)


def test_a_missing_transcript_is_an_error(tmp_path, audio):
    with pytest.raises(DataError, match="no such file"):
        open_transcript(tmp_path / "nowhere.txt", audio)
    with pytest.raises(DataError, match="no text named like a clip"):
        open_transcript(None, audio)
