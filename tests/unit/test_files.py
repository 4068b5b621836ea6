"""Files are written whole or not at all, and lines are told by their number."""

import os
import subprocess
import sys

import pytest

from idiolect.base.errors import DataError, UserError
from idiolect.base.files import (
    atomic_path,
    read_json,
    read_jsonl,
    remove_left_over,
    slug,
    write_json,
    write_jsonl,
    write_text,
)


def write_half_and_fail(path):
    with atomic_path(path) as partial:
        partial.write_text("half of the n")
        raise OSError("disk full")


def test_a_failure_half_way_keeps_the_old_file_and_leaves_nothing_behind(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    with pytest.raises(OSError, match="disk full"):
        write_half_and_fail(path)

    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_reader_never_sees_a_file_that_is_being_written(tmp_path):
    path = tmp_path / "a.txt"

    with atomic_path(path) as partial:
        partial.write_text("new")
        assert not path.exists()

    assert path.read_text() == "new"


def test_folders_on_the_way_are_made(tmp_path):
    write_json(tmp_path / "x" / "y" / "a.json", {"à": 1})

    assert read_json(tmp_path / "x/y/a.json") == {"à": 1}


def test_lines_come_with_their_numbers_and_blank_ones_are_passed_over(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes('\ufeff{"a": 1}\r\n\r\n{"a": 2}'.encode())

    assert list(read_jsonl(path)) == [(1, {"a": 1}), (3, {"a": 2})]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"a": ', "not a JSON object in UTF-8"),
        (b'{"a": "\xff"}', "not a JSON object in UTF-8"),
        (b"[1]", "a JSON list, not an object"),
    ],
    ids=["cut", "not utf-8", "list"],
)
def test_a_bad_line_is_named_by_file_and_number(tmp_path, line, problem):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n' + line)

    with pytest.raises(DataError, match=problem) as error:
        list(read_jsonl(path))

    assert error.value.where == f"{path}:2"


def test_what_is_written_is_read_back(tmp_path):
    records = [{"text": "l'home"}, {"text": "col·lecció\n"}]

    assert write_jsonl(tmp_path / "a.jsonl", records) == 2

    assert [record for _, record in read_jsonl(tmp_path / "a.jsonl")] == records


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a b", "nom·bre", "a\\b"])
def test_a_name_that_is_no_part_of_a_file_name_is_refused(name):
    with pytest.raises(UserError, match="cannot be part of a file name") as error:
        slug(name, flag="--output-name")

    assert error.value.where == "--output-name"


def test_a_plain_name_is_kept():
    assert slug("multilingual_romance-2.1", flag="--output-name") == "multilingual_romance-2.1"


def test_two_writers_of_one_file_do_not_share_a_partial_one(tmp_path):
    with atomic_path(tmp_path / "a") as partial:
        partial.write_text("x")
        assert str(os.getpid()) in partial.name


def test_only_what_a_killed_process_half_wrote_is_removed(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead = tmp_path / f".m.pth.{ended.pid}.partial"
    alive = tmp_path / f".n.pth.{os.getpid()}.partial"
    foreign = tmp_path / ".my.notes.partial"
    for path in (dead, alive, foreign):
        path.write_text("half")

    remove_left_over(tmp_path)

    assert sorted(tmp_path.iterdir()) == sorted([alive, foreign])
