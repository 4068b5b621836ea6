"""What was spoken is kept: exactly, by several at once, through kills and damage."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from idiolect.base.errors import DataError, GuardError
from idiolect.studio.history import DATABASE_NAME, History, SpokenRecord, Wanted

SETTINGS = {"top_p": 0.8, "temperature": 0.1 + 0.2, "emotion": {"weights": [0.0, 0.5]}, "x": None}

ADD_FOREVER = """
    import sys
    from pathlib import Path
    from idiolect.studio.history import History, SpokenRecord

    history = History(Path(sys.argv[1]))
    for number in range(10**6):
        record = SpokenRecord(
            user="u", kind="speech", model="m", text=f"text {number} " * 200, voice="v",
            seed=number, path=Path(sys.argv[1]) / "a.wav", duration_sec=1.0, elapsed_sec=2.0,
        )
        print(history.add(record), flush=True)
"""


def spoken(folder: Path, text: str = "Bon dia.", **values: object) -> SpokenRecord:
    record = SpokenRecord(
        user="marta",
        kind="speech",
        model="catalan",
        language="ca",
        text=text,
        voice="anna",
        settings=SETTINGS,
        seed=2**63 - 1,
        path=folder / "a.wav",
        duration_sec=2.0,
        elapsed_sec=3.0,
        first_sound_sec=0.5,
        peak_bytes=3 * 2**30,
        created_sec=1000.25,
    )
    return replace(record, **values)


@pytest.fixture
def history(tmp_path) -> History:
    return History(tmp_path / "outputs")


def texts(records: list[SpokenRecord]) -> list[str]:
    return [record.text for record in records]


def test_a_record_comes_back_exactly_as_it_was(history):
    record = spoken(history.folder, "L'Àngel diu: «què?» 😀\n\x00")

    assert history.get(history.add(record)) == replace(record, id=1)


def test_the_newest_come_first_and_page_by_page(history):
    for number in range(5):
        history.add(spoken(history.folder, f"n{number}", created_sec=float(number)))

    assert texts(history.search(limit=2)) == ["n4", "n3"]
    assert texts(history.search(limit=2, offset=4)) == ["n0"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(text="ÀNGEL"), ["L'àngel"]),
        (Wanted(text="catalan anna"), ["50%", "L'àngel"]),
        (Wanted(text="%"), ["50%"]),
        (Wanted(text="àngel absent"), []),
        (Wanted(user="joan"), ["per a joan"]),
        (Wanted(model="base"), ["per a joan"]),
        (Wanted(since_sec=2.0), ["per a joan", "50%"]),
        (Wanted(until_sec=2.0), ["L'àngel"]),
    ],
)
def test_sounds_are_found_by_text_names_user_model_and_time(history, wanted, found):
    history.add(spoken(history.folder, "L'àngel", created_sec=1.0))
    history.add(spoken(history.folder, "50%", created_sec=2.0))
    history.add(spoken(history.folder, "per a joan", user="joan", model="base", created_sec=3.0))

    assert texts(history.search(wanted)) == found
    assert history.stats(wanted).count == len(found)


def test_the_figures_are_those_of_the_sounds_that_are_meant(history):
    for elapsed_sec in (1.0, 3.0, 20.0):
        history.add(spoken(history.folder, elapsed_sec=elapsed_sec))
    history.add(spoken(history.folder, user="joan", duration_sec=0.0))

    stats = history.stats()
    assert (stats.count, stats.duration_sec, stats.median_rtf) == (4, 6.0, 1.5)
    assert history.stats(Wanted(user="joan")).median_rtf is None


def test_deleting_takes_the_row_and_its_sound(history):
    sound = history.folder / "a.wav"
    sound.write_bytes(b"RIFF")
    number = history.add(spoken(history.folder))

    history.delete(number)

    assert not sound.exists()
    with pytest.raises(DataError, match="no sound number 1"):
        history.get(number)


@pytest.mark.parametrize("name", ["../kept.wav", "link.wav", DATABASE_NAME])
def test_deleting_never_takes_a_file_that_is_not_a_sound_of_the_folder(history, tmp_path, name):
    kept = tmp_path / "kept.wav"
    kept.write_bytes(b"RIFF")
    (history.folder / "link.wav").symlink_to(kept)
    history.add(spoken(history.folder, path=history.folder / name))

    assert history.clear() == 1

    assert kept.exists()
    assert history.stats().count == 0


def test_clearing_takes_only_what_was_meant(history):
    for name in ("marta", "joan"):
        (history.folder / f"{name}.wav").write_bytes(b"RIFF")
        history.add(spoken(history.folder, user=name, path=history.folder / f"{name}.wav"))

    assert history.clear(Wanted(user="marta")) == 1

    assert [path.name for path in history.folder.glob("*.wav")] == ["joan.wav"]
    assert [record.user for record in history.search()] == ["joan"]


def test_a_folder_that_was_moved_still_has_its_sounds(history, tmp_path):
    history.add(spoken(history.folder))
    history.folder.rename(tmp_path / "elsewhere")

    assert History(tmp_path / "elsewhere").get(1).path == tmp_path / "elsewhere" / "a.wav"


def test_many_threads_add_and_search_at_once(history):
    def work(number: int) -> int:
        added = history.add(spoken(history.folder, f"n{number}"))
        assert history.search(Wanted(text="n"))
        return added

    with ThreadPoolExecutor(8) as pool:
        added = list(pool.map(work, range(80)))

    assert sorted(added) == list(range(1, 81))


def start(folder: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(ADD_FOREVER), str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_processes_killed_while_adding_lose_nothing_that_they_said_was_kept(tmp_path):
    adders = [start(tmp_path), start(tmp_path)]
    said = [int(adder.stdout.readline()) for adder in adders for _ in range(20)]
    for adder in adders:
        adder.send_signal(signal.SIGKILL)
        said += [int(line) for line in adder.communicate()[0].splitlines()]

    history = History(tmp_path)

    assert history.notice == ""
    kept = {record.id for record in history.search(limit=-1)}
    assert kept >= set(said)
    assert len(kept) <= len(said) + len(adders)


@pytest.mark.parametrize("harm", ["not a database", "a torn page"])
def test_a_damaged_file_is_moved_aside_and_said(history, caplog, harm):
    for number in range(100):
        history.add(spoken(history.folder, f"n{number} " * 100))
    whole = history.path.read_bytes()
    harmed = b"x" * 5000 if harm == "not a database" else whole[:8192] + b"\xff" * 4096 * 4
    history.path.write_bytes(harmed)

    opened = History(history.folder)

    (aside,) = history.folder.glob("history.damaged-*.sqlite")
    assert aside.read_bytes() == harmed
    assert str(aside) in opened.notice
    assert opened.notice in caplog.text
    assert opened.add(spoken(history.folder)) == 1


def test_damage_in_the_middle_of_a_day_is_told_with_how_to_mend_it(history):
    history.add(spoken(history.folder))
    history.path.write_bytes(b"x" * 5000)

    with pytest.raises(DataError, match="not a database") as caught:
        history.search()

    assert "start the page again" in caught.value.fix


def test_a_database_of_a_later_version_is_left_alone(history):
    history.add(spoken(history.folder))
    with sqlite3.connect(history.path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()

    with pytest.raises(DataError, match="of version 99"):
        History(history.folder)

    assert list(history.folder.glob("history.damaged-*")) == []


def test_no_history_is_kept_in_a_base_folder(nano_base):
    with pytest.raises(GuardError):
        History(nano_base)
