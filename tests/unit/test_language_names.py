import pytest

from idiolect.data.language_names import code_of, codes_in_path, language_code


@pytest.mark.parametrize(
    ("word", "code"),
    [("ca", "ca"), ("Català", "ca"), ("pt_BR", "pt-BR"), ("Spanish", "es"), ("marta", None)],
)
def test_a_code_or_a_name_tells_a_language(word, code):
    assert code_of(word) == code


def test_any_code_may_be_given_and_no_other_word():
    assert language_code("gsw") == "gsw"
    assert language_code("my favourite") is None


@pytest.mark.parametrize(
    ("path", "codes"),
    [
        ("data/catalan_dataset/train.jsonl", {"ca"}),
        ("data/raw/catalan_transcripts.txt", {"ca"}),
        ("data/ca/train.jsonl", {"ca"}),
        ("data/my/no/so/train.jsonl", set()),
        ("data/es_ca/train.jsonl", set()),
        ("data/français/french.txt", {"fr"}),
        ("data/spanish/catalan.txt", {"es", "ca"}),
    ],
)
def test_names_of_folders_and_files_tell_a_language(path, codes):
    assert set(codes_in_path(path)) == codes
