from contextlib import closing
from dataclasses import replace

import pytest

from clips import write_clip, write_corpus
from idiolect.audio.checks import AudioLimits, ClipMeasures
from idiolect.base.errors import DataError, GuardError
from idiolect.data import measurements
from idiolect.data.measurements import MeasurementStore, measure_clips, num_workers
from idiolect.data.pool import map_batches
from idiolect.data.sources import Clip, open_source

LIMITS = AudioLimits()


def clips_below(folder):
    source = open_source(folder, None, speaker_from="one", speaker=None)
    return [c for c in replace(source, language="ca").clips() if isinstance(c, Clip)]


@pytest.fixture
def corpus(tmp_path):
    folder = write_corpus(tmp_path / "audio", ["a.wav", "b.flac", "c.wav"])
    (folder / "metadata.csv").write_text("a|Hola.\nb|Adéu.\nc|Ara.\n", "utf-8")
    return folder


def measure(corpus, store, workers=1):
    """Return how many clips were dealt with."""
    counts = []
    measure_clips(
        clips_below(corpus), corpus, store, LIMITS, workers=workers, advance=counts.append
    )
    return sum(counts)


def count_measured(monkeypatch):
    measured = []
    real = measurements.measure_file
    monkeypatch.setattr(
        measurements, "measure_file", lambda path, *a: measured.append(path.name) or real(path, *a)
    )
    return measured


def test_each_clip_is_measured(corpus, tmp_path):
    with closing(MeasurementStore(tmp_path / "m.sqlite")) as store:
        assert measure(corpus, store) == 3
        assert store.get("b.flac").duration_sec == 2.5


def test_a_second_run_measures_only_what_is_new_or_changed(corpus, tmp_path, monkeypatch):
    with closing(MeasurementStore(tmp_path / "m.sqlite")) as store:
        measure(corpus, store)
    write_clip(corpus / "a.wav", seconds=3.0)
    write_clip(corpus / "d.wav", seed=9)
    with (corpus / "metadata.csv").open("a") as lines:
        lines.write("d|Nou.\n")
    measured = count_measured(monkeypatch)

    with closing(MeasurementStore(tmp_path / "m.sqlite")) as store:
        assert measure(corpus, store) == 4
        assert store.get("a.wav").duration_sec == 3.0

    assert measured == ["a.wav", "d.wav"]


def test_a_clip_that_cannot_be_heard_keeps_the_reason(corpus, tmp_path):
    (corpus / "a.wav").write_bytes(b"")
    with closing(MeasurementStore(tmp_path / "m.sqlite")) as store:
        measure(corpus, store)

        assert store.get("a.wav") == ("the audio file is empty", "")
        assert isinstance(store.get("b.flac"), ClipMeasures)


def test_several_processes_measure_what_one_does(corpus, tmp_path):
    with (
        closing(MeasurementStore(tmp_path / "1.sqlite")) as one,
        closing(MeasurementStore(tmp_path / "2.sqlite")) as two,
    ):
        measure(corpus, one)
        assert measure(corpus, two, workers=2) == 3

        for key in ("a.wav", "b.flac", "c.wav"):
            assert one.get(key) == two.get(key)


def test_a_damaged_store_is_begun_anew(tmp_path):
    (tmp_path / "m.sqlite").write_bytes(b"nonsense" * 1000)

    with closing(MeasurementStore(tmp_path / "m.sqlite")) as store:
        assert store.get("a.wav") is None


def test_a_full_disk_is_said_with_what_to_do(tmp_path):
    def fill(store):
        for number in range(1000):
            store.put(str(number), "stamp", ("reason", "detail" * 100))

    with closing(MeasurementStore(tmp_path / "m.sqlite")) as store:
        store._database.execute("PRAGMA max_page_count = 2")

        with pytest.raises(DataError, match="the measurements cannot be written") as caught:
            fill(store)

    assert "the same command then goes on" in str(caught.value)


def test_a_base_folder_holds_no_measurements(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(GuardError):
        MeasurementStore(tmp_path / "checkpoints" / "m.sqlite")


def test_few_clips_need_no_other_process():
    assert num_workers(8, 10) == 1
    assert num_workers(8, 1000) == 8
    assert num_workers(0, 1000) >= 1


def die(_):
    import os

    os._exit(3)


def test_a_process_that_dies_is_said_with_what_to_do():
    with pytest.raises(DataError, match="a process that read clips died") as caught:
        list(map_batches(die, range(100), workers=2))

    assert "--workers 1" in str(caught.value)
