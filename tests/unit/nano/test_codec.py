"""The codec of nano: what it learns, what it leaves behind, what is said of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from idiolect.base.files import copy_file
from idiolect.listening.recogniser import Recogniser
from idiolect.models.checkpoint import load_tensors, load_weights
from idiolect.models.codec import SemanticCodec
from idiolect.models.published import CODEC_FILE, SEMANTIC_DIR
from idiolect.nano.codec import (
    DEAD_USE,
    STATS_FILE,
    CodecConfig,
    CodeUse,
    Ear,
    heard_loss,
    open_features,
    rebuild,
    reseed,
    train_codec,
)
from idiolect.nano.codec_report import judge_codec
from idiolect.nano.encoder import train_encoder
from idiolect.nano.stage import Pace
from tone_speech import (
    TINY_CODEC,
    TINY_READ_LAYER,
    tiny_encoder_config,
    write_tone_corpus,
)

STEPS = 60


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tone_corpus(tmp_path_factory.mktemp("tones"))


@pytest.fixture(scope="module")
def encoder_folder(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    train_encoder(manifest, folder, tiny_encoder_config(10))
    return folder


def tiny_config(steps: int = STEPS) -> CodecConfig:
    pace = Pace(total_steps=steps, learning_rate=5e-3, warmup_steps=3)
    return CodecConfig(
        pace=pace, dims=TINY_CODEC, read_layer=TINY_READ_LAYER, batch_clips=6, crop_frames=30
    )


@pytest.fixture(scope="module")
def codec_folder(
    manifest: Path, encoder_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("codec")
    train_codec(manifest, encoder_folder, folder, tiny_config())
    return folder


def test_features_have_mean_0_and_variance_1_by_the_statistics_that_are_written(
    manifest: Path, encoder_folder: Path, codec_folder: Path
) -> None:
    features = open_features(manifest, encoder_folder, codec_folder, tiny_config())
    frames = torch.from_numpy(features.frames[0].astype("float32"))
    noisy = torch.from_numpy(features.frames[1].astype("float32"))
    assert 0 < (frames - noisy).abs().mean() < 1
    torch.testing.assert_close(frames.mean(0), torch.zeros(32), atol=2e-3, rtol=0)
    torch.testing.assert_close(frames.var(0), torch.ones(32), atol=2e-2, rtol=0)
    stats = load_tensors(codec_folder / STATS_FILE)
    states = Recogniser(encoder_folder / SEMANTIC_DIR).encoder.network
    assert set(stats) == {"mean", "var"}
    assert states.config.hidden_size == len(stats["mean"]) == len(stats["var"])


def test_the_errors_of_the_codec_fall(codec_folder: Path) -> None:
    lines = (codec_folder / "metrics.jsonl").read_text().splitlines()
    assert '"used"' in lines[-1]
    codec = SemanticCodec(TINY_CODEC)
    load_weights(codec, load_tensors(codec_folder / CODEC_FILE), where=codec_folder)
    assert error_of(codec, codec_folder) < 0.8 * error_of(SemanticCodec(TINY_CODEC), codec_folder)


def error_of(codec: SemanticCodec, folder: Path) -> float:
    frames = np.fromfile(folder / "cache" / "features.f16", dtype=np.float16).reshape(2, -1, 32)
    x = torch.from_numpy(frames[:1].astype(np.float32))
    lens = torch.tensor([x.shape[1]])
    with torch.no_grad():
        rebuilt, _, _ = rebuild(codec, x, lens, torch.ones(x.shape[:2], dtype=torch.bool))
    return float((rebuilt - x).square().mean())


def test_a_codec_begins_with_the_weights_that_lie_in_its_folder(
    manifest: Path, encoder_folder: Path, codec_folder: Path, tmp_path: Path
) -> None:
    copy_file(codec_folder / CODEC_FILE, tmp_path / CODEC_FILE)
    barely = replace(tiny_config(), pace=Pace(total_steps=1, learning_rate=1e-9, warmup_steps=1))
    train_codec(manifest, encoder_folder, tmp_path, barely)
    before, after = (load_tensors(folder / CODEC_FILE) for folder in (codec_folder, tmp_path))
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, rtol=0, atol=1e-6)


def test_a_stopped_codec_goes_on_to_the_same_weights(
    manifest: Path, encoder_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(25)
    train_codec(manifest, encoder_folder, tmp_path / "whole", config)
    calls = []

    def failing(*arguments):
        calls.append(1)
        if len(calls) == 22:
            raise KeyboardInterrupt
        return heard_loss(*arguments)

    stopping = replace(config, pace=replace(config.pace, save_every_sec=0.0))
    monkeypatch.setattr("idiolect.nano.codec.heard_loss", failing)
    with pytest.raises(KeyboardInterrupt):
        train_codec(manifest, encoder_folder, tmp_path / "stopped", stopping)
    monkeypatch.undo()
    train_codec(manifest, encoder_folder, tmp_path / "stopped", config)
    whole, stopped = (tmp_path / name / CODEC_FILE for name in ("whole", "stopped"))
    assert whole.read_bytes() == stopped.read_bytes()


def test_gradients_reach_the_encoder_through_the_codes() -> None:
    codec = SemanticCodec(TINY_CODEC)
    x, mask = torch.randn(2, 9, 32), torch.ones(2, 9, dtype=torch.bool)
    rebuilt, points, codes = rebuild(codec, x, torch.tensor([9, 9]), mask)
    rebuilt.square().sum().backward()
    assert codec.encoder[1].weight.grad is not None
    assert codec.encoder[1].weight.grad.abs().sum() > 0
    assert codec.quantizer.only.codebook.weight.grad is None
    assert points.shape == (2, 9, TINY_CODEC.code_dim)
    assert torch.equal(codes, codec.quantize(x)[0][mask])


def test_dead_codes_are_put_on_points_and_used_ones_stay() -> None:
    codec, use = SemanticCodec(TINY_CODEC), CodeUse(TINY_CODEC.codebook_size)
    use.share.fill_(2 / TINY_CODEC.codebook_size)
    use.share[3] = 0.5 * DEAD_USE / TINY_CODEC.codebook_size
    before = codec.quantizer.only.codebook.weight.detach().clone()
    points = torch.full((5, TINY_CODEC.code_dim), 7.0)
    reseed(codec, use, points, torch.Generator())
    changed = (codec.quantizer.only.codebook.weight != before).any(dim=1)
    assert changed.nonzero().flatten().tolist() == [3]
    assert torch.equal(codec.quantizer.only.codebook.weight[3], points[0])


def test_what_is_heard_in_true_features_costs_nothing(
    encoder_folder: Path, codec_folder: Path
) -> None:
    stats = load_tensors(codec_folder / STATS_FILE)
    ear = Ear(encoder_folder / SEMANTIC_DIR, TINY_READ_LAYER, stats)
    x, mask = torch.randn(2, 12, 32), torch.ones(2, 12, dtype=torch.bool)
    assert heard_loss(ear, x, x, mask).item() == pytest.approx(0, abs=1e-6)
    assert heard_loss(ear, torch.zeros_like(x), x, mask).item() > 1e-3


def test_the_report_says_how_codes_are_used_and_what_is_heard_in_them(
    manifest: Path, encoder_folder: Path, codec_folder: Path
) -> None:
    report = judge_codec(manifest, encoder_folder, codec_folder, TINY_CODEC, TINY_READ_LAYER)
    assert 1 / 16 <= report.used <= 1
    assert 1 <= report.perplexity <= 16 * report.used
    assert 0 < report.firm <= 1
    assert 0 <= report.repeated < 1
    assert set(report.cer) == set(report.cer_of_codes) == {"es"}
    assert set(report.as_dict()) >= {"used", "cer", "firm"}
