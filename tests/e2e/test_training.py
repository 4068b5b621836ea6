"""Training for real, on a nano base and a few synthetic clips."""

from __future__ import annotations

import json
import os
import shlex
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from idiolect.base.errors import ConfigError, DataError, TokenizerError, TrainingError
from idiolect.base.snapshot import BaseSnapshot
from idiolect.cli.train import main
from idiolect.data.features import FeatureStore
from idiolect.data.manifest import read_manifest, write_manifest
from idiolect.data.pairs import PairConfig, plan_pairs, read_pairs, write_pairs
from idiolect.evaluation.probe import make_probe
from idiolect.models.checkpoint import load_checkpoint, save_checkpoint
from idiolect.models.loading import load_gpt
from idiolect.models.nano import write_nano
from idiolect.models.published import locate_base
from idiolect.synthesis.sampling import GREEDY, generate_codes
from idiolect.text.tokenizer import Tokenizer
from idiolect.training import loop as loop_module
from idiolect.training import step as step_module
from idiolect.training.config import read_run_config
from idiolect.training.run import train
from idiolect.training.state import only_run_in
from run_kit import WAIT_SEC, best_step, config, start_process, trace, wait_for_step, write_clips

REAL_CLIPS = "IDIOLECT_OVERFIT_MANIFEST"
"""Names a manifest of real clips to overfit on; synthetic ones are used where it is not set."""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with a base and a manifest, as a user has them."""
    folder = tmp_path_factory.mktemp("workplace")
    write_nano(folder / "checkpoints", seed=3)
    write_clips(folder / "data/ca", 8)
    return folder


@pytest.fixture
def here(workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    return workplace


def test_a_run_learns_and_leaves_what_the_guide_promises(here, capsys):
    before = BaseSnapshot.take(here / "checkpoints")
    flags = "--train-manifest data/ca/train.jsonl --output-dir training/catalan/checkpoints"

    code = main([*flags.split(), "--epochs", "5", "--learning-rate", "1e-3", "--device", "cpu"])

    printed = capsys.readouterr().out
    folder = here / "training/catalan/checkpoints"
    assert code == 0
    assert {p.name for p in folder.iterdir() if p.name != ".lock"} == {
        *{f"model_step{step}.pth" for step in (8, 9, 10, best_step(folder))},
        *("best.pth", "latest.pth", "state", "runs", "metrics.jsonl", "train.log"),
        *("config.yaml", "left_out.jsonl", "report.html", "samples"),
    }
    assert list((folder / "runs").glob("events*"))
    losses = [row[3] for row in trace(folder) if row[0] == "val"]
    assert losses[-1] < losses[0] - 0.3
    assert "idiolect install --checkpoint training/catalan/checkpoints/best.pth" in printed
    assert "--output-name catalan" in printed
    assert "base unchanged" in printed
    assert before.hashes == BaseSnapshot.take(here / "checkpoints").hashes


def test_a_checkpoint_has_every_published_key_and_frozen_tensors_bit_for_bit(here):
    result = train(config("keys", max_steps=2))

    base, _ = load_checkpoint("checkpoints/gpt.pth")
    tuned, header = load_checkpoint(result.best_path)
    assert list(tuned) == list(base)
    assert torch.equal(tuned["emo_layer.weight"], base["emo_layer.weight"])
    assert not torch.equal(tuned["mel_head.weight"], base["mel_head.weight"])
    assert (header.step, header.languages, header.code_positions) == (2, ("ca",), "decode")
    assert header.base_sha256 == BaseSnapshot.take(here / "checkpoints").hashes["gpt.pth"]
    assert header.tokenizer_sha256 == Tokenizer.load("checkpoints/bpe.model").sha256
    assert header.scores["val_loss"] == result.best.loss


def test_what_is_frozen_stays_bit_for_bit_and_the_rest_learns(here):
    patterns = ("gpt.h.*.attn.*", "mel_pos_embedding.*")
    result = train(config("frozen", max_steps=2, freeze=patterns))

    base, _ = load_checkpoint("checkpoints/gpt.pth")
    tuned, _ = load_checkpoint(result.best_path)
    changed = {name for name in base if not torch.equal(base[name], tuned[name])}
    assert {"text_embedding.weight", "gpt.h.0.mlp.c_fc.weight"} <= changed
    assert not [name for name in changed if ".attn." in name or name.startswith("mel_pos")]
    train(config("frozen", epochs=3, freeze=patterns))  # goes on with the optimizer that it has


@pytest.mark.parametrize(
    ("pattern", "said"), [("gpt.h.*.attention.*", "gpt.h.*.attn"), ("*", "nothing is left")]
)
def test_freezing_nothing_or_everything_is_refused(here, pattern: str, said: str):
    with pytest.raises(ConfigError) as caught:
        train(config("refused", freeze=(pattern,)))
    assert said in str(caught.value)


def test_a_run_that_broke_off_goes_on_bit_for_bit(here, monkeypatch):
    settings = config("whole", epochs=3, save_every=3, val_interval=5, log_interval=2)
    train(settings)
    real = loop_module.train_step

    def break_off(model, optimizer, data, *args, **kwargs):
        if data.step == 8:
            raise KeyboardInterrupt
        return real(model, optimizer, data, *args, **kwargs)

    broken = replace(settings, output_dir=Path("runs/broken-off"))
    monkeypatch.setattr(loop_module, "train_step", break_off)
    with pytest.raises(KeyboardInterrupt):
        train(broken)
    monkeypatch.setattr(loop_module, "train_step", real)
    train(replace(broken, resume="runs/broken-off"))

    assert trace(here / "runs/broken-off") == trace(here / "runs/whole")


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_bit_for_bit(here):
    """Killed with kill -9 between checkpoints and in the middle of an epoch, then by SIGTERM."""
    flags = shlex.split(
        "--train-manifest data/ca/train.jsonl --batch-size 2 --grad-accumulation 2 --epochs 6 "
        "--log-interval 1 --save-every 3 --val-interval 5 --learning-rate 1e-3 --device cpu"
    )
    straight = start_process(*flags, "--output-dir", "runs/straight", folder=here)
    assert straight.wait(timeout=WAIT_SEC) == 0
    stopped = here / "runs/stopped"

    first = start_process(*flags, "--output-dir", "runs/stopped", folder=here)
    wait_for_step(5, stopped, first)
    first.kill()
    first.wait()
    second = start_process("--resume", "runs/stopped/latest.pth", folder=here)
    wait_for_step(7, stopped, second)
    second.send_signal(signal.SIGTERM)
    assert second.wait(timeout=WAIT_SEC) in (0, 130)
    third = start_process("--resume", "runs/stopped/latest.pth", folder=here)
    assert third.wait(timeout=WAIT_SEC) == 0

    assert trace(stopped) == trace(here / "runs/straight")
    assert len([row for row in trace(stopped) if row[0] == "train"]) == 12
    weights = [load_checkpoint(here / f"runs/{n}/latest.pth")[0] for n in ("straight", "stopped")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_resume_alone_with_more_epochs_goes_on_without_a_jump(here, monkeypatch):
    train(config("longer", epochs=2))
    before = trace(here / "runs/longer")

    code = main(["--resume", "runs/longer/latest.pth", "--epochs", "4"])

    rows = [row for row in trace(here / "runs/longer") if row[0] == "train"]
    rates = [row[7] for row in rows]
    assert code == 0
    assert trace(here / "runs/longer")[: len(before)] == before
    assert [row[1] for row in rows] == list(range(1, 17))
    assert rows[-1][2] == 4
    assert abs(rates[8] - rates[7]) < 0.7e-3
    assert read_run_config(here / "runs/longer").epochs == 4


def test_the_same_command_again_says_what_was_learnt_and_trains_no_more(here):
    first = train(config("again"))
    rows = trace(here / "runs/again")

    for named in (None, Path("checkpoints/config.yaml")):
        again = train(config("again", config=named))

        assert (again.step, again.best) == (first.step, first.best)
        assert trace(here / "runs/again") == rows


def test_another_run_in_the_folder_is_moved_aside_and_kept(here):
    train(config("other", epochs=1))
    old = (here / "runs/other/metrics.jsonl").read_text()

    train(config("other", epochs=1, seed=2))

    assert (here / "runs/other/earlier/1/metrics.jsonl").read_text() == old
    assert (here / "runs/other/earlier/1/latest.pth").is_file()
    assert read_run_config(here / "runs/other").seed == 2


def test_a_manifest_that_changed_is_not_gone_on_with(here, tmp_path):
    manifest = write_clips(tmp_path / "data", 4)
    settings = config("changed", epochs=1, train_manifest=(str(manifest),))
    train(settings)
    write_manifest(manifest, list(read_manifest(manifest))[:3])

    with pytest.raises(TrainingError, match="changed since the run was begun") as error:
        train(replace(settings, resume="runs/changed/latest.pth", epochs=2))

    assert "train.jsonl" in error.value.problem


def test_an_older_checkpoint_is_no_place_to_go_on_from(here):
    train(config("older", epochs=1, save_every=2))

    with pytest.raises(TrainingError, match=r"model_step2\.pth is of step 2, but .* of step 4"):
        train(config("older", epochs=1, save_every=2, resume="runs/older/model_step2.pth"))


def test_a_state_that_is_newer_than_latest_finds_its_own_checkpoint(here):
    """What a kill between writing the state and moving latest.pth leaves."""
    train(config("between", epochs=1, save_every=2))
    latest = here / "runs/between/latest.pth"
    latest.unlink()
    latest.hardlink_to(here / "runs/between/model_step2.pth")

    result = train(config("between", epochs=2, save_every=2, resume=str(latest)))

    assert result.is_complete
    assert [row[1] for row in trace(here / "runs/between") if row[0] == "train"] == list(
        range(1, 9)
    )


def test_three_languages_without_tokenizer_and_validation_are_learnt_together(here, capsys):
    manifests = [write_clips(here / f"data/many/{code}", 4) for code in ("ca", "es", "fr")]
    sources = [f"{path}::{path.parent.name}" for path in manifests]
    flags = [flag for source in sources for flag in ("--train-manifest", source)]

    code = main([*flags, "--output-dir", "training/multi", "--output-name", "romance", *_SHORT])

    _, header = load_checkpoint("training/multi/latest.pth")
    assert code == 0
    assert header.languages == ("ca", "es", "fr")
    assert set(header.front_end) == {"ca", "es", "fr"}
    assert "--output-name romance" in capsys.readouterr().out


_SHORT = ["--max-steps", "2", "--device", "cpu"]


def test_a_run_can_begin_from_the_checkpoint_of_another(here, caplog):
    first = train(config("parent", max_steps=2))

    train(config("child", max_steps=2, base_checkpoint=first.best_path))

    _, parent = load_checkpoint(first.best_path)
    weights, child = load_checkpoint("runs/child/latest.pth")
    assert child.base_sha256 == parent.base_sha256
    assert list(weights) == list(load_checkpoint("checkpoints/gpt.pth")[0])
    assert "rows carried over" not in caplog.text


def test_a_tokenizer_of_another_model_is_refused_with_both_hashes(here):
    weights, header = load_checkpoint(train(config("foreign", max_steps=1)).best_path)
    stranger = replace(header, tokenizer_sha256="f" * 64)
    save_checkpoint(Path("runs/stranger.pth"), weights, stranger)

    with pytest.raises(TokenizerError, match="f" * 64) as error:
        train(config("misfit", base_checkpoint=Path("runs/stranger.pth")))

    assert Tokenizer.load("checkpoints/bpe.model").sha256 in error.value.problem


def test_two_runs_never_share_a_folder(here):
    (here / "runs/busy").mkdir(parents=True)

    with only_run_in(here / "runs/busy"), pytest.raises(TrainingError, match="another process"):
        train(config("busy", max_steps=1))


def test_features_are_extracted_once(here, caplog):
    train(config("once", max_steps=1))
    caplog.clear()

    with caplog.at_level("INFO", logger="idiolect"):
        train(config("twice", max_steps=1, seed=9))

    assert "0 extracted" in caplog.text


def test_a_loss_that_is_not_finite_stops_before_the_step_and_keeps_the_checkpoint(
    here, monkeypatch
):
    settings = config("broken", epochs=3, save_every=2)
    real = step_module.mean_loss
    calls = 0

    def break_later(*args, **given):
        nonlocal calls
        calls += 1
        return real(*args, **given) * (float("nan") if calls == 6 else 1.0)

    monkeypatch.setattr(step_module, "mean_loss", break_later)

    with pytest.raises(TrainingError, match="not finite") as error:
        train(settings)

    assert error.value.where == "step 6; the step was not taken"
    weights, header = load_checkpoint("runs/broken/latest.pth")
    assert header.step == 4
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())


def test_a_disk_that_will_be_full_is_told_before_the_start(here, monkeypatch):
    monkeypatch.setattr("idiolect.training.state.free_bytes", lambda path: 1_000_000)

    with pytest.raises(TrainingError, match=r"the run needs .* 976\.6KB are free") as error:
        train(config("full"))

    assert "--keep" in error.value.fix
    assert not (here / "runs/full/latest.pth").exists()


def test_clips_without_sound_are_listed_and_too_many_are_refused(here, tmp_path):
    manifest = write_clips(tmp_path / "data", 4)
    (tmp_path / "data/1.wav").write_bytes(b"not a sound")
    settings = config("silent", train_manifest=(str(manifest),), max_steps=1)

    with pytest.raises(DataError, match="more than 10%"):
        train(settings)

    result = train(replace(settings, allow_skips=True))
    assert sum(result.left_out.values()) >= 1
    assert "clip1" in (here / "runs/silent/left_out.jsonl").read_text()


def test_bf16_learns_too_and_leaves_fp32_weights(here):
    result = train(config("bf16", max_steps=4, precision="bf16"))

    weights, _ = load_checkpoint(result.best_path)
    assert result.best.loss < result.first.loss
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}


def test_workers_that_assemble_batches_change_nothing(here):
    train(config("alone", epochs=1))
    train(config("helped", epochs=1, num_workers=1))

    assert trace(here / "runs/helped") == trace(here / "runs/alone")


def test_eight_clips_are_learnt_until_decoding_repeats_them(here, tmp_path):
    """Catches a wrong label shift, position or mask: each of them breaks free running."""
    manifest = overfit_manifest(tmp_path / "data")
    clips = {clip.id: clip for clip in read_manifest(manifest)}
    pairs_file = manifest.with_name("train_paired.jsonl")
    write_pairs(pairs_file, plan_pairs(clips.values(), PairConfig(pairs_per_target=1)), manifest)
    settings = config(
        "overfit",
        train_manifest=(str(pairs_file),),
        val_manifest=(str(pairs_file),),
        batch_size=8,
        epochs=70,
        learning_rate=3e-3,
        dropout=0.0,
        save_every=70,
    )

    result = train(settings)

    same, total = 0, 0
    files = locate_base("checkpoints")
    gpt, tokenizer = load_gpt(result.best_path, files.config.gpt), Tokenizer.load(files.tokenizer)
    (features,) = (manifest.parent / "features").iterdir()
    store = FeatureStore.open(features)
    for pair in read_pairs(pairs_file)[1]:
        prompt, target = store.get(pair.prompt), store.get(pair.target)
        latents = torch.from_numpy(prompt.latents.astype(np.float32))[None]
        emotion = torch.from_numpy(prompt.emotion.astype(np.float32))[None]
        text_ids = tokenizer.encode(clips[pair.target].text, clips[pair.target].language)
        with torch.no_grad():
            prefix = gpt.prefix(latents, emotion)
        codes = generate_codes(gpt, prefix, torch.tensor([text_ids]), GREEDY)[0].tolist()
        same += sum(a == b for a, b in zip(codes, target.codes.tolist(), strict=False))
        total += max(len(codes), len(target.codes))
    assert result.best.mel_loss < 0.05
    assert same / total >= 0.95


def overfit_manifest(folder: Path) -> Path:
    """Eight short clips: real ones where the environment names their manifest."""
    if REAL_CLIPS not in os.environ:
        return write_clips(folder, 8)
    clips = [c for c in read_manifest(Path(os.environ[REAL_CLIPS])) if 1.2 < c.duration_sec < 2.6]
    folder.mkdir(parents=True)
    write_manifest(folder / "train.jsonl", clips[:8])
    return folder / "train.jsonl"


def test_a_run_that_gets_no_better_stops_and_is_done_until_it_gets_more_patience(here):
    """A rate so high that nothing is learnt any more."""
    settings = config("stuck", epochs=9, learning_rate=0.5, val_interval=1, probe_sentences=0)
    result = train(replace(settings, patience=2))
    again = train(replace(settings, patience=2))
    longer = train(replace(settings, patience=2, max_steps=result.step + 1))

    further = train(replace(settings, patience=30))

    assert result.stopped_early
    assert result.is_complete
    assert result.step < 36
    assert again.step == longer.step == result.step
    assert further.step == 36


def test_means_best_checkpoints_and_rows_are_all_there_at_the_end(here):
    settings = config("mean", epochs=2, val_interval=1, probe_sentences=0)
    result = train(replace(settings, ema=0.5, keep_best=2, average_best=2))

    folder = here / "runs/mean"
    weights = [load_checkpoint(p)[0] for p in sorted(folder.glob("model_step*.pth"))]
    mean, header = load_checkpoint(folder / "averaged.pth")
    assert result.is_complete
    assert header.step == 8
    assert mean.keys() == weights[0].keys()
    assert all(torch.isfinite(tensor).all() for tensor in mean.values())


def test_rows_alone_need_new_pieces(here):
    with pytest.raises(ConfigError, match="no piece that the base lacks"):
        train(config("rows", mode="rows"))


def test_two_languages_are_measured_and_heard_apart(here):
    write_clips(here / "data/eu", 3, language="eu")
    languages = ("data/ca/train.jsonl", "data/eu/train.jsonl")
    settings = config(
        "two", train_manifest=languages, val_manifest=languages, max_steps=1, probe_sentences=1
    )
    train(settings, make_probe)

    lines = [json.loads(x) for x in (here / "runs/two/metrics.jsonl").read_text().splitlines()]
    spoken = [line for line in lines if line["kind"] == "probe"]
    assert all(line["languages"].keys() == {"ca", "eu"} for line in lines if line["kind"] == "val")
    assert [line["step"] for line in spoken] == [0, 1]
    assert (here / "runs/two/samples/step1/ca/001.wav").is_file()
