"""The recogniser that goes on learning: what stays as it is, and what is heard better."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from idiolect.data.manifest import read_manifest
from idiolect.listening.recogniser import HEAD_FILE, WEIGHTS_FILE
from idiolect.listening.spelling import spelling, to_rows
from idiolect.models.published import SEMANTIC_DIR
from idiolect.nano import hearing
from idiolect.nano.codec import CodecConfig, Ear, open_features, train_codec
from idiolect.nano.encoder import ctc_loss, train_encoder
from idiolect.nano.flow_data import Ragged
from idiolect.nano.hearing import HearingConfig, disturbed, train_hearing
from idiolect.nano.stage import METRICS_FILE, Pace
from tone_speech import TINY_CODEC, TINY_READ_LAYER, tiny_encoder_config, write_tone_corpus

CODEC = CodecConfig(
    pace=Pace(total_steps=20, learning_rate=5e-3, warmup_steps=3),
    dims=TINY_CODEC,
    read_layer=TINY_READ_LAYER,
    batch_clips=6,
    crop_frames=30,
)


def config(steps: int) -> HearingConfig:
    pace = Pace(total_steps=steps, learning_rate=5e-3, warmup_steps=3)
    return HearingConfig(pace=pace, batch_sec=8.0, average_decay=0.5)


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A manifest, and the folders of an encoder and a codec that learnt a little."""
    folder = tmp_path_factory.mktemp("taught")
    manifest = write_tone_corpus(folder / "tones")
    train_encoder(manifest, folder / "encoder", tiny_encoder_config(10))
    train_codec(manifest, folder / "encoder", folder / "codec", CODEC)
    return manifest, folder / "encoder", folder / "codec"


def test_the_layers_below_the_features_stay_bit_for_bit(taught, tmp_path: Path):
    train_hearing(*taught, tmp_path, config(4), CODEC)
    before = load_file(taught[1] / SEMANTIC_DIR / WEIGHTS_FILE)
    after = load_file(tmp_path / SEMANTIC_DIR / WEIGHTS_FILE)
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    behind = tuple(f"encoder.layers.{layer}." for layer in range(TINY_READ_LAYER, 9))
    assert all(name.startswith(behind) for name in changed)
    heads = [load_file(f / SEMANTIC_DIR / HEAD_FILE)["weight"] for f in (taught[1], tmp_path)]
    assert not torch.equal(*heads)


def test_it_spells_better_the_longer_it_learns(taught, tmp_path: Path):
    train_hearing(*taught, tmp_path, config(4), CODEC)
    first = _last_loss(tmp_path)
    train_hearing(*taught, tmp_path, config(146), CODEC)
    train_hearing(*taught, tmp_path, config(150), CODEC)  # four steps again: a line of their own
    assert _last_loss(tmp_path) < 0.8 * first


def test_stopping_and_going_on_ends_where_not_stopping_ends(
    taught, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    train_hearing(*taught, tmp_path / "straight", config(12), CODEC)
    calls = 0

    def loss_until_stopped(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 7:
            raise KeyboardInterrupt
        return ctc_loss(*args)

    monkeypatch.setattr(hearing, "ctc_loss", loss_until_stopped)
    with pytest.raises(KeyboardInterrupt):
        train_hearing(*taught, tmp_path / "stopped", config(12), CODEC)
    train_hearing(*taught, tmp_path / "stopped", config(12), CODEC)
    name = f"{SEMANTIC_DIR}/{WEIGHTS_FILE}"
    straight, stopped = (load_file(tmp_path / run / name) for run in ("straight", "stopped"))
    assert all(torch.equal(straight[name], stopped[name]) for name in straight)


def test_nanos_own_sound_is_learnt_too(taught, tmp_path: Path):
    manifest, encoder, codec = taught
    features = open_features(manifest, encoder, codec, CODEC)
    # A sound that engines never make: every feature the other way round; of every second clip.
    pieces = [features.batch([i])[0][0].numpy() * (-1.0) for i in range(len(features.ends))]
    pieces = [piece[: len(piece) * (i % 2)] for i, piece in enumerate(pieces)]
    rows = np.concatenate(pieces).astype(np.float16)
    copies = Ragged(rows, np.cumsum([len(piece) for piece in pieces]))
    for name, copied in (("with", copies), ("without", None)):
        train_hearing(*taught, tmp_path / name, config(80), CODEC, copied)

    def loss(name: str) -> float:
        ear = Ear(tmp_path / name / SEMANTIC_DIR, TINY_READ_LAYER, features.stats)
        texts = [spelling(u.text, u.language) for u in read_manifest(manifest)]
        found = []
        for index in np.flatnonzero(copies.lens).tolist():
            x = torch.from_numpy(copies[index]).float()[None]
            logits = ear(x, torch.ones(x.shape[:2], dtype=torch.bool))
            target = torch.tensor(to_rows(texts[index]))
            found.append(ctc_loss(logits, torch.tensor([x.shape[1]]), [target]).item())
        return sum(found)

    assert loss("with") < 0.8 * loss("without")


def _last_loss(folder: Path) -> float:
    lines = (folder / METRICS_FILE).read_text(encoding="utf-8").splitlines()
    return float(json.loads(lines[-1])["loss"])


def test_spans_are_hushed_and_the_rest_is_noisy():
    x = torch.ones(2, 50, 4)
    chance = torch.Generator().manual_seed(0)
    out = disturbed(x, torch.tensor([50, 30]), config(1), chance)
    hushed = (out == 0).all(dim=-1)
    assert hushed.any(dim=1).all()
    assert hushed.float().mean() < 0.5
    assert not torch.equal(out[~hushed], x[~hushed])
