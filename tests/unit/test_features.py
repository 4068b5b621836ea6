import pickle
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from idiolect.base.errors import DataError, GuardError
from idiolect.data import features as features_module
from idiolect.data.features import (
    FeatureStore,
    FeatureWriter,
    audio_key,
    features_dir,
)
from training_kit import features, utterance


def test_features_lie_beside_their_manifest():
    assert features_dir(Path("data/ca/train.jsonl"), "f00d") == Path("data/ca/features/f00d")


def test_what_is_written_comes_back(tmp_path):
    first, second = features(num_codes=5, seed=1), features(num_codes=9, seed=2)

    with FeatureWriter(tmp_path) as writer:
        writer.add("a/../b", 7, first)
        writer.add("ü", 8, second)

    store = FeatureStore.open(tmp_path)
    assert len(store) == 2
    assert "ü" in store
    assert "c" not in store
    assert store.num_codes("ü") == 9
    assert store.audio_key("a/../b") == 7
    for name in ("codes", "latents", "emotion"):
        expected, found = getattr(second, name), getattr(store.get("ü"), name)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(KeyError):
        store.get("c")


def test_a_caller_may_write_into_what_it_got(tmp_path):
    with FeatureWriter(tmp_path) as writer:
        writer.add("a", 0, features())
    store = FeatureStore.open(tmp_path)

    store.get("a").codes[:] = 0

    assert store.get("a").codes.any()


def test_an_empty_folder_is_an_empty_store(tmp_path):
    assert len(FeatureStore.open(tmp_path / "nothing here")) == 0


def test_shards_are_written_when_full_and_go_on_counting(tmp_path, monkeypatch):
    monkeypatch.setattr(features_module, "SHARD_CLIPS", 2)
    for start in (0, 3):
        with FeatureWriter(tmp_path) as writer:
            for index in range(start, start + 3):
                writer.add(f"c{index}", index, features(seed=index))

    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"part-0000{number}.arrow" for number in range(4)]
    store = FeatureStore.open(tmp_path)
    assert len(store) == 6
    np.testing.assert_array_equal(store.get("c4").latents, features(seed=4).latents)


def test_a_shard_does_not_wait_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(features_module, "SHARD_SEC", -1.0)
    with FeatureWriter(tmp_path) as writer:
        writer.add("a", 0, features())

        assert "a" in FeatureStore.open(tmp_path)


def test_what_was_extracted_again_counts(tmp_path):
    for seed in (1, 2):
        with FeatureWriter(tmp_path) as writer:
            writer.add("a", seed, features(num_codes=4 + seed, seed=seed))

    store = FeatureStore.open(tmp_path)

    assert len(store) == 1
    assert store.num_codes("a") == 6
    assert store.audio_key("a") == 2


def test_an_error_does_not_lose_what_was_added_before(tmp_path):
    def add_and_fail():
        with FeatureWriter(tmp_path) as writer:
            writer.add("a", 0, features())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        add_and_fail()

    assert "a" in FeatureStore.open(tmp_path)


def test_a_store_travels_to_another_process_as_a_folder(tmp_path):
    with FeatureWriter(tmp_path) as writer:
        writer.add("a", 0, features(num_codes=500))

    packed = pickle.dumps(FeatureStore.open(tmp_path))

    assert len(packed) < 500
    assert pickle.loads(packed).num_codes("a") == 500


def test_a_damaged_shard_is_named(tmp_path):
    with FeatureWriter(tmp_path) as writer:
        writer.add("a", 0, features())
    shard = tmp_path / "part-00000.arrow"
    shard.write_bytes(shard.read_bytes()[:-40])

    with pytest.raises(DataError, match="cannot be read") as caught:
        FeatureStore.open(tmp_path)

    assert caught.value.where == str(shard)
    assert "delete it" in caught.value.fix


def test_another_format_is_refused(tmp_path):
    batch = pa.RecordBatch.from_pydict({"id": ["a"]})
    with (
        pa.OSFile(str(tmp_path / "part-00000.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, batch.schema) as writer,
    ):
        writer.write_batch(batch)

    with pytest.raises(DataError, match="its format is None, not 'idiolect-features/1'"):
        FeatureStore.open(tmp_path)


def test_features_are_never_written_into_a_base(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    writer = FeatureWriter(tmp_path / "checkpoints" / "features")
    writer.add("a", 0, features())

    with pytest.raises(GuardError):
        writer.flush()


def test_the_key_of_a_sound_changes_with_the_sound_only(tmp_path):
    sound = np.arange(20_000, dtype=np.int16)
    (tmp_path / "a.wav").write_bytes(sound.tobytes())
    clip = utterance("a", root=tmp_path)
    key = audio_key(clip)

    shutil.copytree(tmp_path, tmp_path / "copy")
    assert audio_key(utterance("a", root=tmp_path / "copy")) == key
    assert audio_key(utterance("a", root=tmp_path, start_sec=0.5)) != key

    (tmp_path / "a.wav").write_bytes((sound // 2).tobytes())
    assert audio_key(clip) != key
