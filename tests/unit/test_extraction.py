import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from clips import warble
from idiolect.audio.io import write_wav
from idiolect.base.errors import ConfigError, DataError
from idiolect.base.units import SEMANTIC_SAMPLE_RATE
from idiolect.cli.features import main
from idiolect.data.extraction import (
    NOT_FINITE,
    TOO_LONG,
    TOO_SHORT,
    UNREADABLE,
    FeatureConfig,
    extract_features,
    extract_manifests,
)
from idiolect.data.extractor import Extractor, fingerprint_of
from idiolect.data.features import Features, FeatureStore
from idiolect.data.manifest import write_manifest
from idiolect.data.pairs import PairConfig, plan_pairs, write_pairs
from idiolect.models.published import locate_base
from training_kit import utterance


def clips_in(folder, **durations_sec):
    for seed, (name, duration_sec) in enumerate(durations_sec.items()):
        write_wav(folder / f"{name}.wav", warble(duration_sec, seed), SEMANTIC_SAMPLE_RATE)
    return [
        utterance(name, root=folder, duration_sec=duration_sec)
        for name, duration_sec in durations_sec.items()
    ]


class Stub:
    """An extractor without networks: one code a clip, its length."""

    fingerprint = "stub"
    device = torch.device("cpu")

    def __init__(self, fault=None):
        self.batches = []
        self.fault = fault or (lambda audio: None)

    def extract(self, audio):
        self.batches.append(len(audio))
        self.fault(audio)
        return [
            Features(
                codes=np.array([len(clip) // 160], np.uint16),
                latents=np.zeros((32, 4), np.float16),
                emotion=np.zeros(4, np.float16),
            )
            for clip in audio
        ]


def test_a_second_call_does_only_the_rest(tmp_path):
    clips = clips_in(tmp_path, a=1.0, b=2.0, c=1.5)
    first = extract_features(clips[:2], Stub(), tmp_path / "f")

    stub = Stub()
    second = extract_features(clips, stub, tmp_path / "f")

    assert (first.num_extracted, first.num_reused) == (2, 0)
    assert (second.num_extracted, second.num_reused) == (1, 2)
    assert stub.batches == [1]
    assert FeatureStore.open(tmp_path / "f").get("b").codes[0] == 200


def test_nothing_is_loaded_when_there_is_nothing_to_do(tmp_path):
    clips = clips_in(tmp_path, a=1.0)
    extract_features(clips, Stub(), tmp_path / "f")

    def load():
        raise AssertionError

    unused = Extractor(fingerprint="stub", load=load, device=torch.device("cpu"))
    assert extract_features(clips, unused, tmp_path / "f").num_reused == 1


def test_a_clip_that_was_recorded_again_is_extracted_again(tmp_path):
    clips = clips_in(tmp_path, a=1.0, b=2.0)
    extract_features(clips, Stub(), tmp_path / "f")
    clips_in(tmp_path, a=3.0)

    report = extract_features(clips, Stub(), tmp_path / "f")

    assert (report.num_extracted, report.num_reused) == (1, 1)
    assert FeatureStore.open(tmp_path / "f").get("a").codes[0] == 300


def test_features_still_serve_when_the_sound_is_elsewhere(tmp_path):
    clips = clips_in(tmp_path, a=1.0)
    extract_features(clips, Stub(), tmp_path / "f")
    (tmp_path / "a.wav").unlink()

    assert extract_features(clips, Stub(), tmp_path / "f").num_reused == 1


def test_a_piece_of_a_recording_is_cut_out(tmp_path):
    clips_in(tmp_path, tape=5.0)
    piece = utterance(
        "p", audio="tape.wav", root=tmp_path, start_sec=1.0, end_sec=2.5, duration_sec=1.5
    )

    extract_features([piece], Stub(), tmp_path / "f")

    assert FeatureStore.open(tmp_path / "f").get("p").codes[0] == 150


def test_rejected_clips_are_counted_by_reason_and_listed(tmp_path):
    clips = clips_in(tmp_path, good=1.0, tiny=0.05)
    (tmp_path / "noise.wav").write_text("this is no sound")
    clips += [
        utterance("noise", root=tmp_path),
        utterance("gone", root=tmp_path),
        utterance("endless", root=tmp_path, duration_sec=7200.0),
    ]

    report = extract_features(clips, Stub(), tmp_path / "f", FeatureConfig(allow_skips=True))

    assert report.num_extracted == 1
    assert report.rejected == {
        TOO_SHORT: ["tiny"],
        UNREADABLE: ["noise", "gone"],
        TOO_LONG: ["endless"],
    }
    assert f"  2 clips: {UNREADABLE}" in report.summary()
    lines = (tmp_path / "f" / "rejected.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["tiny", "noise", "gone", "endless"]
    assert "no such audio file" in json.loads(lines[2])["detail"]


def test_a_list_of_rejected_clips_does_not_outlive_them(tmp_path):
    clips = clips_in(tmp_path, a=0.05)
    extract_features(clips, Stub(), tmp_path / "f", FeatureConfig(allow_skips=True))
    clips = clips_in(tmp_path, a=1.0)

    extract_features(clips, Stub(), tmp_path / "f")

    assert not (tmp_path / "f" / "rejected.jsonl").exists()


def test_more_than_a_tenth_rejected_is_refused_and_what_was_done_is_kept(tmp_path):
    clips = clips_in(tmp_path, **{f"c{i}": 1.0 for i in range(17)})
    clips += [utterance("gone", root=tmp_path), utterance("lost", root=tmp_path)]
    extract_features(clips[:17], Stub(), tmp_path / "f")

    with pytest.raises(DataError, match="2 of 19 clips cannot be used, more than 10%") as caught:
        extract_features(clips, Stub(), tmp_path / "f")

    assert "gone: its audio cannot be read; no such audio file" in caught.value.problem
    assert "--allow-skips" in caught.value.fix
    assert (tmp_path / "f" / "rejected.jsonl").is_file()
    assert len(FeatureStore.open(tmp_path / "f")) == 17


def test_a_bad_clip_in_a_small_validation_set_is_counted_over_all_manifests(tmp_path):
    train = clips_in(tmp_path, **{f"c{i}": 1.0 for i in range(15)})
    val = [*clips_in(tmp_path, v=1.0), utterance("gone", root=tmp_path)]
    manifests = {tmp_path / "t/train.jsonl": train, tmp_path / "v/val.jsonl": val}

    reports = list(extract_manifests(manifests, Stub(), FeatureConfig()))

    assert [report.num_extracted for report in reports] == [15, 1]
    assert reports[1].rejected == {UNREADABLE: ["gone"]}
    assert reports[1].folder == tmp_path / "v/features" / Stub().fingerprint


def test_values_that_are_no_numbers_are_rejected(tmp_path):
    class Broken(Stub):
        def extract(self, audio):
            rows = super().extract(audio)
            rows[0].latents[:] = np.nan
            return rows

    clips = clips_in(tmp_path, a=1.0, b=2.0)

    report = extract_features(clips, Broken(), tmp_path / "f", FeatureConfig(allow_skips=True))

    assert report.rejected == {NOT_FINITE: ["b"]}
    assert report.num_extracted == 1


def test_out_of_memory_halves_the_batch_and_says_so(tmp_path, caplog):
    def fault(audio):
        if len(audio) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")

    stub = Stub(fault)

    clips = clips_in(tmp_path, **{f"c{i}": 1.0 for i in range(8)})
    report = extract_features(clips, stub, tmp_path / "f", FeatureConfig(batch_size=8))

    assert report.num_extracted == 8
    assert stub.batches == [8, 4, 2, 2, 2, 2]
    assert "out of memory: going on with 2 clips in a pass" in caplog.text


def test_one_clip_that_does_not_fit_is_an_error_with_its_name(tmp_path):
    def fault(audio):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(DataError, match=r"out of memory on one clip of 1\.0 s") as caught:
        extract_features(clips_in(tmp_path, a=1.0), Stub(fault), tmp_path / "f")

    assert caught.value.where == "a"


def test_other_errors_of_the_networks_are_not_taken_for_a_lack_of_memory(tmp_path):
    def fault(audio):
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        extract_features(clips_in(tmp_path, a=1.0), Stub(fault), tmp_path / "f")


def test_a_batch_is_limited_in_seconds_and_the_longest_clips_come_first(tmp_path):
    stub = Stub()
    clips = clips_in(tmp_path, a=1.0, b=4.0, c=1.0, d=1.0, e=3.0)

    extract_features(clips, stub, tmp_path / "f", FeatureConfig(max_batch_sec=8.0))

    assert stub.batches == [2, 3]


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="batch_size must be at least 1, got 0") as caught:
        FeatureConfig(batch_size=0)

    assert caught.value.where == "--batch-size"


KILLED = """
import sys, time
from pathlib import Path
from idiolect.data import features
from idiolect.data.extraction import FeatureConfig, extract_features
from idiolect.data.manifest import read_manifest
from test_extraction import Stub

features.SHARD_CLIPS = 2
folder = Path(sys.argv[1])
clips = list(read_manifest(folder / "train.jsonl"))
stub = Stub(lambda audio: time.sleep(0.2))
extract_features(clips, stub, folder / "f", FeatureConfig(batch_size=1))
"""


def test_a_killed_extraction_goes_on_where_it_was(tmp_path):
    clips = clips_in(tmp_path, **{f"c{i:02d}": 0.5 for i in range(30)})
    write_manifest(tmp_path / "train.jsonl", clips)
    tests = Path(__file__).parent
    environment = {"PYTHONPATH": f"{tests}:{tests.parent}", "OMP_NUM_THREADS": "1"}
    running = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], env=environment)

    deadline = time.monotonic() + 60
    while len(list((tmp_path / "f").glob("part-*.arrow"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGKILL)
    running.wait()

    num_kept = len(FeatureStore.open(tmp_path / "f"))
    assert 4 <= num_kept < 30
    report = extract_features(clips, Stub(), tmp_path / "f")
    assert (report.num_reused, report.num_extracted) == (num_kept, 30 - num_kept)
    assert len(FeatureStore.open(tmp_path / "f")) == 30


def test_the_command_extracts_what_pairs_belong_to(nano_base, tmp_path, capsys):
    clips = clips_in(tmp_path, a=1.0, b=2.0)
    write_manifest(tmp_path / "train.jsonl", clips)
    plan = plan_pairs(clips, PairConfig())
    write_pairs(tmp_path / "train_paired.jsonl", plan, tmp_path / "train.jsonl")

    code = main(["--manifest", str(tmp_path / "train_paired.jsonl"), "--base", str(nano_base)])

    assert code == 0
    assert "features of 2 clips: 2 extracted" in capsys.readouterr().out
    folder = tmp_path / "features" / fingerprint_of(locate_base(nano_base))
    dim = locate_base(nano_base).config.gpt.dim
    assert FeatureStore.open(folder).get("b").latents.shape == (32, dim)


def test_the_command_asks_for_a_manifest(capsys):
    assert main([]) == 2

    assert "no manifest is given" in capsys.readouterr().err
