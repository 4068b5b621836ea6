"""A plan says what the run then does, refuses what cannot work, and leaves nothing behind."""

from __future__ import annotations

import re
from collections import namedtuple
from pathlib import Path

import pytest

from idiolect.base import files as files_module
from idiolect.cli.train import main
from idiolect.data.extraction import extract_features
from idiolect.data.extractor import Extractor
from idiolect.data.features import FeatureStore, features_dir
from idiolect.data.manifest import read_manifest, write_manifest
from idiolect.models.nano import write_nano
from idiolect.models.published import locate_base
from idiolect.training.config import TrainConfig
from idiolect.training.plan import make_plan
from idiolect.training.run import train
from run_kit import write_clips

NUM_CLIPS = 14
STATED_SEC = 15.0
Usage = namedtuple("Usage", "total used free")


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A base and short clips, whose manifest says that each of them has fifteen seconds."""
    folder = tmp_path_factory.mktemp("workplace")
    write_nano(folder / "checkpoints", seed=3)
    write_clips(folder / "data", NUM_CLIPS, stated_sec=STATED_SEC)
    return folder


@pytest.fixture
def here(workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    return workplace


def config(**given) -> TrainConfig:
    plain = {
        "train_manifest": ("data/train.jsonl",),
        "output_dir": Path("run"),
        "batch_size": 2,
        "epochs": 3,
        "device": "cpu",
    }
    return TrainConfig(**(plain | given))


def everything_in(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_plan_counts_what_there_is(here):
    plan = make_plan(config())

    assert plan.works
    assert (plan.data.num_clips, plan.data.num_val_clips) == (NUM_CLIPS - 1, 1)
    assert plan.data.languages == {"ca": STATED_SEC * (NUM_CLIPS - 1)}
    assert plan.data.num_codes == 50 * STATED_SEC * (NUM_CLIPS - 1)
    assert plan.size.intervals.last_step == 3 * 7
    assert plan.pace is not None
    assert min(plan.pace.step_rates) > 0


def test_a_plan_leaves_nothing_behind(here, capsys):
    before = everything_in(here)

    code = main(
        ["--train-manifest", "data/train.jsonl", "--output-dir", "run", "--plan", "--device=cpu"]
    )

    assert code == 0
    assert everything_in(here) == before
    assert "this will work" in capsys.readouterr().out


def test_extracted_features_are_counted_instead_of_guessed(here):
    manifest = here / "data/train.jsonl"
    extractor = Extractor.from_base(locate_base(here / "checkpoints"))
    folder = features_dir(manifest, extractor.fingerprint)
    clips = list(read_manifest(manifest))
    extract_features(clips[:4], extractor, folder)

    plan = make_plan(config())

    store = FeatureStore.open(folder)
    assert plan.data.num_unextracted == NUM_CLIPS - 4
    known = [clip.id for clip in clips[:4]]
    assert plan.data.num_codes <= sum(map(store.num_codes, known)) + 750 * (NUM_CLIPS - 4)


def test_too_little_speech_is_refused(here, capsys):
    short = [clip.id for clip in read_manifest(here / "data/train.jsonl")][:5]
    clips = [c for c in read_manifest(here / "data/train.jsonl") if c.id in short]
    write_manifest(here / "data/few.jsonl", clips)

    code = main(["--train-manifest", "data/few.jsonl", "--output-dir", "run", "--plan"])

    out = capsys.readouterr().out
    assert code == 2
    assert "1 min 00 s of speech are too little to learn from" in out
    assert re.search(r"time +not measured", out)


def test_a_full_disk_is_refused(here, monkeypatch):
    usage = Usage(total=1 << 40, used=1 << 40, free=1 << 20)
    monkeypatch.setattr(files_module.shutil, "disk_usage", lambda _: usage)

    problems = make_plan(config()).problems

    assert [problem.where for problem in problems] == ["--output-dir"]
    assert "are free" in problems[0].problem


def test_what_the_memory_does_not_hold_is_refused_with_what_it_would(here, monkeypatch):
    roomy = make_plan(config(tokens_per_step=8192, tokens_per_pass=8192))
    resident = roomy.memory.resident
    monkeypatch.setattr(
        "idiolect.training.plan.free_on",
        lambda _: round(2 * resident + 1600 * roomy.memory.per_token),
    )

    plan = make_plan(config(tokens_per_step=8192, tokens_per_pass=8192))

    assert plan.pace is None
    (problem,) = plan.problems
    assert "--tokens-per-pass" in problem.fix
    assert "(an estimate)" in problem.problem


def test_the_run_takes_the_steps_that_were_planned(here):
    wanted = config(output_dir=Path("planned"), batch_size=8, epochs=2, probe_sentences=0)
    plan = make_plan(wanted)

    result = train(wanted)

    assert (result.step, result.last_step) == (4, 4)
    assert plan.size.intervals.last_step == 4
    checkpoint = here / "planned/latest.pth"
    state = here / "planned/state/state.pth"
    on_disk = checkpoint.stat().st_size + state.stat().st_size
    assert on_disk < plan.run_space.needed < 8 * on_disk
