"""A batch is spoken line by line, and knows what became of each, whoever is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import pytest
import soundfile

from clips import write_clip
from idiolect.base.errors import DataError, GuardError, UserError
from idiolect.models.published import locate_base
from idiolect.studio.batch import Batches
from idiolect.studio.batch_lines import BatchLine
from idiolect.studio.batch_store import Batch, BatchDefaults, BatchRow, BatchStore
from idiolect.studio.history import History
from idiolect.studio.speech import Speech
from idiolect.studio.voices import VoiceLibrary
from idiolect.studio.waiting import WaitingRoom
from idiolect.synthesis.swap import ModelSlot

SHORT = {"seed": 1, "sampling": {"max_codes": 8, "num_beams": 1}}
DEFAULTS = BatchDefaults(model="base", device="cpu", voice="anna", settings=SHORT)

SPEAK = """
    import sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[3])
    import test_batch as kit

    batches = kit.open_batches(Path(sys.argv[1]), Path(sys.argv[2]))
    batches.run(batches.all()[0].id)
    batches.wait()
"""


def open_batches(folder: Path, base: Path) -> Batches:
    slot = ModelSlot(locate_base(base, aux_dir=None), folder / "models")
    voices = VoiceLibrary(folder / "voices")
    output_dir = folder / "outputs"
    speech = Speech(slot, History(output_dir), output_dir, room=WaitingRoom(most_of_one=1))
    return Batches(output_dir / "batches", speech, voices=voices, roots=[folder / "data"])


def line(name: str, text: str = "Hello.", **values: object) -> BatchLine:
    return BatchLine(name=name, text=text, **values)


def states(batch: Batch) -> list[str]:
    return [row.state for row in batch.rows]


@pytest.fixture(scope="module")
def spoken_in(nano_base, tmp_path_factory) -> Batches:
    """One page's batches for all tests: the models are loaded once."""
    folder = tmp_path_factory.mktemp("studio")
    batches = open_batches(folder, nano_base)
    VoiceLibrary(folder / "voices").add("anna", write_clip(folder / "a.wav", seconds=0.4))
    write_clip(folder / "data" / "joan.wav", seconds=0.5)
    return batches


@pytest.fixture
def batches(spoken_in) -> Batches:
    for batch in spoken_in.all():
        spoken_in.delete(batch.id)
    return spoken_in


def test_every_line_is_spoken_and_one_that_fails_says_why_and_stops_no_other(batches):
    batch = batches.create(
        [line("a"), line("b", model="nobody"), line("c", seed=5, emotion="happy 0.5")],
        DEFAULTS,
        user="marta",
    )
    assert states(batch) == ["waiting"] * 3

    batches.run(batch.id)
    batches.wait()

    batch = batches.get(batch.id)
    assert states(batch) == ["done", "failed", "done"]
    assert [row.seed for row in batch.rows] == [1, None, 5]
    assert "nobody" in batch.rows[1].why
    assert soundfile.info(batch.rows[0].path).duration == pytest.approx(batch.rows[0].duration_sec)
    heard = batches._speech.history.search(limit=2)
    assert [(record.kind, record.user, record.voice) for record in heard] == [
        ("batch", "marta", "anna")
    ] * 2
    assert heard[0].settings["emotion_weights"][0] == 0.5
    assert not batches.is_running(batch.id)


def test_only_what_failed_is_spoken_again_and_a_chosen_row_too(batches):
    batch = batches.create([line("a"), line("b", model="nobody")], DEFAULTS, user="marta")
    batches.run(batch.id)
    batches.wait()
    first = batches.get(batch.id)

    batches.retry(batch.id)
    batches.wait()
    assert batches.get(batch.id).rows[0] == first.rows[0]

    batches.retry(batch.id, [1])
    batches.wait()
    again = batches.get(batch.id).rows[0]
    assert again.path != first.rows[0].path
    assert Path(again.path).read_bytes() == Path(first.rows[0].path).read_bytes()


def test_two_batches_take_turns(batches):
    ids = [
        batches.create([line("a"), line("b")], DEFAULTS, user=user).id for user in ("marta", "joan")
    ]
    before = batches._speech.history.stats().count

    for batch_id in ids:
        batches.run(batch_id)
    batches.wait()

    count = batches._speech.history.stats().count - before
    users = [record.user for record in batches._speech.history.search(limit=count)]
    assert users[::-1] == ["marta", "joan", "marta", "joan"]


def test_what_is_cancelled_is_not_spoken_and_can_be_asked_for_again(batches):
    batch = batches.create([line(f"n{n}", "One. " * 60) for n in range(3)], DEFAULTS, user="m")
    batches.run(batch.id)
    wait_until(lambda: batches.get(batch.id).count("speaking"))

    batches.cancel(batch.id)
    batches.wait()

    assert states(batches.get(batch.id)) == ["cancelled"] * 3


def test_a_deleted_row_is_gone_also_while_it_is_spoken(batches):
    batch = batches.create([line("a", "One. " * 60), line("b")], DEFAULTS, user="marta")
    batches.run(batch.id)
    wait_until(lambda: batches.get(batch.id).count("speaking"))

    batches.delete_rows(batch.id, [1])
    batches.wait()

    assert [(row.line.name, row.state) for row in batches.get(batch.id).rows] == [("b", "done")]


def test_a_batch_that_is_deleted_while_it_is_spoken_stops_no_other(batches):
    gone, stays = (
        batches.create([line("a", text), line("b")], DEFAULTS, user="marta")
        for text in ("One. " * 60, "One.")
    )
    batches.run(gone.id)
    batches.run(stays.id)
    wait_until(lambda: batches.get(gone.id).count("speaking"))

    batches.delete(gone.id)
    batches.wait()

    assert [batch.id for batch in batches.all()] == [stays.id]
    assert states(batches.get(stays.id)) == ["done", "done"]


def test_lines_can_be_added_and_none_takes_the_name_of_another(batches):
    batch = batches.create([line("a")], DEFAULTS, user="marta")
    batches.delete_rows(batch.id, [1])

    batch = batches.add(batch.id, [line("b")])

    assert [(row.number, row.line.name) for row in batch.rows] == [(2, "b")]
    with pytest.raises(UserError, match="has a line 'B'"):
        batches.add(batch.id, [line("B")])


def test_a_batch_waits_for_a_place_when_others_are_many(batches):
    batch = batches.create([line("a")], DEFAULTS, user="marta")

    with batches._speech.room.place("marta"):
        batches.run(batch.id)
        wait_until(lambda: batches.get(batch.id).count("speaking"))
        time.sleep(0.2)
        assert batches.get(batch.id).rows[0].state == "speaking"
    batches.wait()

    assert states(batches.get(batch.id)) == ["done"]


def test_the_archive_has_the_sounds_under_the_names_of_the_lines(batches):
    lines = [line("a", "Bon dia.", language="en"), line("b", model="nobody")]
    batch = batches.create(lines, DEFAULTS, user="m")
    with pytest.raises(DataError, match="nothing of the batch was spoken"):
        batches.zip(batch.id)
    batches.run(batch.id)
    batches.wait()

    with ZipFile(batches.zip(batch.id)) as archive:
        assert archive.namelist() == ["a.wav", "lines.jsonl"]
        row = batches.get(batch.id).rows[0]
        assert archive.read("a.wav") == Path(row.path).read_bytes()
        assert json.loads(archive.read("lines.jsonl")) == {
            "id": "a",
            "audio": "a.wav",
            "text": "Bon dia.",
            "speaker": "anna",
            "language": "en",
            "duration": row.duration_sec,
            "model": "base",
            "seed": 1,
        }


def test_a_voice_may_be_a_clip_of_a_declared_folder_and_of_no_other(batches):
    data, kept = batches._roots[0], batches._speech.clips
    clip = kept.keep(data / "joan.wav")
    lines = [
        line("a", voice=str(data / "joan.wav")),
        line("b", voice=str(clip)),
        line("c", voice=str(data.parent / "a.wav")),
    ]
    batch = batches.create(lines, DEFAULTS, user="marta")
    batches.run(batch.id)
    batches.wait()

    batch = batches.get(batch.id)
    assert states(batch) == ["done", "done", "failed"]
    assert "not below a folder" in batch.rows[2].why


def test_a_line_without_any_voice_and_a_setting_out_of_range_are_told_at_once(batches):
    with pytest.raises(UserError, match="the line 'a' has no voice"):
        batches.create([line("a")], replace(DEFAULTS, voice=""), user="m")
    with pytest.raises(UserError, match="speed 9"):
        batches.create([line("a")], replace(DEFAULTS, settings={"speed": 9.0}), user="m")

    assert batches.all() == []


def test_the_time_left_is_told_by_letters_once_a_line_is_spoken():
    rows = (
        BatchRow(number=1, line=line("a", "12345"), state="done", elapsed_sec=10.0),
        BatchRow(number=2, line=line("b", "12")),
        BatchRow(number=3, line=line("c", "1"), state="failed"),
    )
    batch = Batch(id="x", title="x", user="m", defaults=DEFAULTS, rows=rows)

    assert batch.eta_sec == 4.0
    assert replace(batch, rows=rows[1:]).eta_sec is None


def test_a_damaged_state_is_passed_over_and_told(batches, caplog):
    good, bad = (batches.create([line("a")], DEFAULTS, user="m") for _ in range(2))
    (batches.store.folder_of(bad.id) / "batch.json").write_text('{"id": 1}')

    assert [batch.id for batch in batches.all()] == [good.id]
    assert "not the state of a batch" in caplog.text
    (batches.store.folder_of(bad.id) / "batch.json").unlink()


@pytest.mark.parametrize("name", ["..", "../x", "a/b", ""])
def test_an_id_leads_nowhere_else(batches, name):
    with pytest.raises(UserError):
        batches.get(name)


def test_no_batch_is_kept_in_a_base_folder(nano_base):
    with pytest.raises(GuardError):
        BatchStore(nano_base / "batches")


def test_a_killed_server_tells_the_truth_when_it_starts_again_and_goes_on(nano_base, tmp_path):
    VoiceLibrary(tmp_path / "voices").add("anna", write_clip(tmp_path / "a.wav", seconds=0.4))
    batches = open_batches(tmp_path, nano_base)
    lines = [line("a"), line("b", "One. " * 200), line("c")]
    batch = batches.create(lines, DEFAULTS, user="marta")
    server = subprocess.Popen(
        [
            *(sys.executable, "-c", textwrap.dedent(SPEAK)),
            *(str(tmp_path), str(nano_base), str(Path(__file__).parent)),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    wait_until(lambda: states(batches.get(batch.id)) == ["done", "speaking", "waiting"], server)
    with pytest.raises(UserError, match="another server"):
        batches.run(batch.id)
    server.send_signal(signal.SIGKILL)
    server.wait()

    batches = open_batches(tmp_path, nano_base)

    assert states(batches.get(batch.id)) == ["done", "waiting", "waiting"]
    assert not batches.is_running(batch.id)
    batches.delete_rows(batch.id, [2])
    batches.run(batch.id)
    batches.wait()
    assert states(batches.get(batch.id)) == ["done", "done"]


def wait_until(is_so, server: subprocess.Popen | None = None) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert server is None or server.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
