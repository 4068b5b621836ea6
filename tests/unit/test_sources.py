from dataclasses import replace

import pytest

from idiolect.base.errors import ConfigError
from idiolect.data.sources import Clip, open_source


def source(tmp_path, names, lines, **options):
    for name in names:
        (tmp_path / "audio" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "audio" / name).touch()
    (tmp_path / "t.txt").write_text("".join(f"{line}\n" for line in lines), "utf-8")
    chosen = {"speaker_from": "auto", "speaker": None} | options
    return replace(open_source(tmp_path / "audio", tmp_path / "t.txt", **chosen), language="ca")


def speakers(found):
    return [clip.speaker for clip in found.clips() if isinstance(clip, Clip)]


def test_a_clip_is_known_by_its_path_without_suffix(tmp_path):
    found = source(tmp_path, ["marta/1.wav", "biel/1.wav"], ["marta/1|Hola.", "biel/1.wav|Adéu."])

    assert [clip.id for clip in found.clips()] == ["marta/1", "biel/1"]


def test_faults_between_lines_and_files_name_the_line_and_what_fits(tmp_path):
    names = ["a.wav", "x/b.wav", "y/b.wav", "left over.wav"]
    lines = ["a|Hola.", "b|Quina?", "c.wav|No hi és.", "a|Una altra vegada."]

    faults = [f for f in source(tmp_path, names, lines).clips() if not isinstance(f, Clip)]

    line = f"{tmp_path}/t.txt"
    assert [(fault.where, fault.reason, fault.detail) for fault in faults] == [
        (f"{line}:2", "several audio files have this name", "x/b.wav, y/b.wav"),
        (f"{line}:3", "no audio file has this name", "c.wav"),
        (
            f"{line}:4",
            "the clip has another line already",
            f"id 'a' is used twice, first at {line}:1",
        ),
        (
            f"{tmp_path}/audio/left over.wav",
            "no line of the transcript names this audio",
            "",
        ),
    ]


def test_the_clips_of_two_readings_are_the_same(tmp_path):
    found = source(tmp_path, ["a.wav", "b.wav"], ["a|Hola.", "a|Hola.", "z|?"])

    assert list(found.clips()) == list(found.clips())


def test_a_speaker_column_goes_before_folders(tmp_path):
    names = ["x/1.wav", "x/2.wav", "y/3.wav", "y/4.wav"]
    lines = ["1|marta|Hola a tothom.", "2|biel|Adéu.", "3|marta|Vine aquí.", "4|biel|Ara vinc."]

    assert speakers(source(tmp_path, names, lines)) == ["marta", "biel", "marta", "biel"]


def test_folders_are_speakers_when_no_column_says_more(tmp_path):
    names = ["marta/1.wav", "marta/2.wav", "biel/3.wav", "biel/4.wav"]
    found = source(tmp_path, names, ["1|Hola.", "2|Sí.", "3|No.", "4|Bé."])

    assert speakers(found) == ["marta", "marta", "biel", "biel"]


def test_folders_of_anybody_are_no_speakers(tmp_path):
    names = ["train/1.wav", "train/2.wav", "test/3.wav", "test/4.wav"]
    found = source(tmp_path, names, ["1|Hola.", "2|Sí.", "3|No.", "4|Bé."])

    assert speakers(found) == ["audio"] * 4
    assert found.speaker_told_by == "nothing: all clips count as one speaker, audio"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        pytest.param({"speaker": "marta"}, "marta", id="one name"),
        pytest.param({"speaker_from": "name"}, "p225", id="file name"),
        pytest.param({"speaker_from": "folder"}, "s1", id="folder"),
        pytest.param({"speaker_from": r"_(m\d)_"}, "m7", id="pattern"),
        pytest.param({"speaker_from": "one"}, "audio", id="one"),
    ],
)
def test_the_speaker_is_told_as_asked(tmp_path, options, told):
    found = source(tmp_path, ["s1/p225_m7_1.wav", "s2/x.wav"], ["p225_m7_1|Hola."], **options)

    assert speakers(found) == [told]


@pytest.mark.parametrize(
    ("speaker_from", "problem"),
    [
        ("column", "no speaker can be told by column"),
        ("folder", "no speaker can be told by folder"),
        ("([a-z", "is not a regular expression"),
        ("[a-z]+", "has no group to take the speaker from"),
    ],
)
def test_a_speaker_that_cannot_be_told_is_an_error_with_the_flag(tmp_path, speaker_from, problem):
    with pytest.raises(ConfigError, match=problem) as caught:
        source(tmp_path, ["a.wav"], ["a|Hola."], speaker_from=speaker_from)

    assert "--speaker-from" in str(caught.value)


def test_a_clip_whose_name_has_no_speaker_is_left_out(tmp_path):
    (clip, fault) = source(
        tmp_path, ["m_1.wav", "x.wav"], ["m_1|Hola.", "x|Adéu."], speaker_from="name"
    ).clips()

    assert clip.speaker == "m"
    assert (fault.reason, fault.detail) == ("the speaker cannot be told", "told by the file name")


def test_the_language_column_goes_before_the_language_of_the_rest(tmp_path):
    lines = ["audio|text|language", "a|Hola.|es", "b|Adéu.|", "c|Hi.|somewhere"]

    spanish, catalan, fault = source(tmp_path, ["a.wav", "b.wav", "c.wav"], lines).clips()

    assert (spanish.language, catalan.language) == ("es", "ca")
    assert (fault.reason, fault.detail) == (
        "the language cannot be told",
        "it says 'somewhere'",
    )
