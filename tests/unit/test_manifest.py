import json

import pytest

from idiolect.base.errors import DataError
from idiolect.data.manifest import Utterance, read_manifest, write_manifest


def record(utterance_id="a1", **changes):
    values = {
        "id": utterance_id,
        "audio": f"wavs/{utterance_id}.wav",
        "text": "Bon dia a tothom.",
        "speaker": "marta",
        "language": "ca",
        "duration": 2.5,
    }
    return values | changes


def written(path, *records):
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), "utf-8")
    return path


def test_a_manifest_is_read_in_file_order(tmp_path):
    path = written(tmp_path / "m.jsonl", record("b"), record("a"))

    utterances = list(read_manifest(path))

    assert [u.id for u in utterances] == ["b", "a"]
    assert utterances[0].audio_path == tmp_path / "wavs/b.wav"
    assert utterances[0].duration_sec == 2.5


def test_unknown_fields_and_pieces_of_a_recording_survive_a_round_trip(tmp_path):
    one = record("a", source="tape 3", start=1.5, end=4.0, emotion="calm", dialect="nord")
    path = written(tmp_path / "m.jsonl", one)

    write_manifest(tmp_path / "again.jsonl", read_manifest(path))

    assert json.loads((tmp_path / "again.jsonl").read_text("utf-8")) == one


def test_audio_is_rewritten_relative_to_the_new_folder(tmp_path):
    path = written(tmp_path / "m.jsonl", record("a"))

    write_manifest(tmp_path / "deep" / "er" / "m.jsonl", read_manifest(path))

    (moved,) = read_manifest(tmp_path / "deep" / "er" / "m.jsonl")
    assert moved.audio == "../../wavs/a.wav"
    assert moved.audio_path.resolve() == (tmp_path / "wavs/a.wav").resolve()


def test_an_absolute_audio_path_becomes_relative(tmp_path):
    path = written(tmp_path / "m.jsonl", record("a", audio=str(tmp_path / "x" / "a.wav")))

    write_manifest(tmp_path / "n.jsonl", read_manifest(path))

    assert next(read_manifest(tmp_path / "n.jsonl")).audio == "x/a.wav"


def test_a_dot_dot_path_is_kept_as_it_is(tmp_path):
    path = written(tmp_path / "m.jsonl", record("a", audio="../d/x.wav"))

    assert next(read_manifest(path)).audio == "../d/x.wav"


def test_bom_crlf_and_blank_lines_are_passed_over(tmp_path):
    path = tmp_path / "m.jsonl"
    text = "\ufeff" + json.dumps(record("a")) + "\r\n\r\n" + json.dumps(record("b")) + "\r\n"
    path.write_bytes(text.encode("utf-8"))

    assert [u.id for u in read_manifest(path)] == ["a", "b"]


def test_all_bad_lines_are_reported_together_before_the_first_utterance(tmp_path):
    path = tmp_path / "m.jsonl"
    lines = [
        json.dumps(record("a")).encode(),
        json.dumps(record("a")).encode(),
        json.dumps(record("c", text=" ", duration=0)).encode(),
        b"{nonsense",
        b'["a list"]',
        '{"id": "adéu"}'.encode("latin-1"),
        json.dumps(record("d", start=3, end=2)).encode(),
        json.dumps(record("e", duration=float("nan"))).encode(),
    ]
    path.write_bytes(b"\n".join(lines))

    with pytest.raises(DataError) as caught:
        read_manifest(path)

    message = str(caught.value)
    assert "7 lines of the manifest cannot be used" in message
    assert f"{path}:2: id 'a' is used twice, first on line 1" in message
    assert f"{path}:3: missing or empty: text, duration (seconds, above 0)" in message
    assert f"{path}:4: not JSON" in message
    assert f"{path}:5: a JSON list, not an object" in message
    assert f"{path}:6: not UTF-8: byte 0xe9 near " in message
    assert f"{path}:7: end (2) is not after start (3)" in message
    assert f"{path}:8: missing or empty: duration" in message


def test_only_ten_bad_lines_are_listed(tmp_path):
    path = written(tmp_path / "m.jsonl", *(record(str(n), text="") for n in range(25)))

    with pytest.raises(DataError, match=r"\.\.\. and 15 more"):
        read_manifest(path)


def test_a_file_of_pairs_is_recognised(tmp_path):
    path = written(tmp_path / "m.jsonl", {"manifest": "train.jsonl"})

    with pytest.raises(DataError, match="is this a file of pairs"):
        read_manifest(path)


def test_an_empty_manifest_is_an_error(tmp_path):
    with pytest.raises(DataError, match="holds no utterance"):
        read_manifest(written(tmp_path / "m.jsonl"))


def test_an_utterance_has_no_dictionary_so_that_a_million_fit_in_memory():
    assert "__slots__" in vars(Utterance)
    assert "__dict__" not in vars(Utterance)
