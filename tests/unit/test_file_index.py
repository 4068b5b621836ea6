import pytest

from idiolect.base.errors import DataError
from idiolect.data.file_index import AUDIO_SUFFIXES, FileIndex, audio_index


def index(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return FileIndex(folder, AUDIO_SUFFIXES)


@pytest.mark.parametrize(
    "name",
    ["0001", "0001.wav", "0001.mp3", "marta/0001", "./marta/0001.wav", "/old/disk/marta/0001.wav"],
)
def test_a_file_is_found_with_or_without_suffix_and_folders(tmp_path, name):
    assert index(tmp_path, "marta/0001.wav", "marta/0002.wav").find(name) == ("marta/0001.wav",)


def test_a_name_with_its_folder_tells_two_files_apart(tmp_path):
    files = index(tmp_path, "biel/1.wav", "marta/1.wav")

    assert files.find("marta/1") == ("marta/1.wav",)
    assert files.find("1") == ("biel/1.wav", "marta/1.wav")


def test_a_name_with_its_suffix_tells_two_files_apart(tmp_path):
    files = index(tmp_path, "1.wav", "1.flac")

    assert files.find("1.flac") == ("1.flac",)
    assert len(files.find("1")) == 2


def test_a_dot_in_a_name_is_no_suffix(tmp_path):
    assert index(tmp_path, "v1.2 take.wav").find("v1.2 take") == ("v1.2 take.wav",)


def test_accents_are_found_however_they_are_encoded(tmp_path):
    files = index(tmp_path, "cançó.wav")

    assert files.find("canc\u0327o\u0301") == ("cançó.wav",)


def test_hidden_files_and_other_files_are_not_audio(tmp_path):
    files = index(tmp_path, "a.wav", "._a.wav", ".cache/b.wav", "notes.txt")

    assert list(files) == ["a.wav"]


def test_nothing_outside_the_folder_is_ever_found(tmp_path):
    (tmp_path / "secret.wav").touch()

    assert index(tmp_path / "in", "a.wav").find("../secret.wav") == ()


def test_the_level_of_the_speakers_is_the_first_that_differs(tmp_path):
    assert index(tmp_path, "wavs/p1/x/1.wav", "wavs/p2/x/1.wav").speaker_level() == 1
    assert FileIndex(tmp_path / "wavs/p1", AUDIO_SUFFIXES).speaker_level() is None


def test_a_missing_folder_and_one_without_audio_are_errors(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        audio_index(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no audio anywhere below"):
        audio_index(tmp_path)
