"""The flow of nano, at a tiny size, on made-up clips whose codes say what their mels are."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor, nn

from idiolect.audio.fbank import speaker_fbank
from idiolect.base.errors import TrainingError
from idiolect.base.files import copy_file
from idiolect.base.units import SAMPLE_RATE, code_frames_to_mel_frames
from idiolect.models.checkpoint import load_tensors
from idiolect.models.config import S2MelDims, SpeakerDims
from idiolect.models.loading import load_s2mel
from idiolect.models.nano_config import CONFIG
from idiolect.models.published import BaseFiles
from idiolect.models.s2mel import FlowDraw, S2Mel
from idiolect.models.speaker import CampPlus
from idiolect.nano.clips import open_clips
from idiolect.nano.flow import (
    FLOW_FILE,
    FlowConfig,
    earlier,
    flow_batch,
    load_flow,
    mean_mel,
    new_flow,
    regulate_rows,
    train_flow,
)
from idiolect.nano.flow_data import (
    FlowData,
    FlowRows,
    FlowSampler,
    Ragged,
    clip_styles,
    flow_data,
)
from idiolect.nano.flow_report import copy_mel, prompt_for
from idiolect.nano.flow_swift import run_transformer
from idiolect.nano.frames import Frames, clip_16k
from idiolect.nano.stage import Pace

NUM_CODES = 3
DIMS = replace(
    S2MelDims.of(CONFIG["s2mel"]),
    dim=32,
    num_heads=2,
    num_layers=4,
    class_dropout=0.0,
    wavenet_dim=16,
    content_dim=32,
    style_dim=4,
    wavenet_dropout=0.0,
    regulator=replace(S2MelDims.of(CONFIG["s2mel"]).regulator, dim=32, feature_dim=6),
    gpt_layer_dims=(8, 7, 7, 6),
)
FRAMES = 400
SPEAKER_DIMS = SpeakerDims(
    embedding_dim=4, head_channels=4, growth=4, init_channels=16, block_layers=(1, 1, 1)
)


def ragged(pieces: list[np.ndarray]) -> Ragged:
    return Ragged(np.concatenate(pieces), np.cumsum([len(piece) for piece in pieces]))


def made_up(count: int = 12, *, with_latents: bool = False) -> FlowData:
    """Clips of two speakers; a code is a shape of the spectrum, a speaker its level."""
    numbers = np.random.default_rng(0)
    shapes = numbers.normal(size=(NUM_CODES, 80)) * 2
    codes = [numbers.integers(NUM_CODES, size=n) for n in numbers.integers(20, 50, size=count)]
    mels = [
        shapes[row[(np.arange(int(len(row) * 1.72)) / 1.72).astype(int)]] - 4 + index % 2
        for index, row in enumerate(codes)
    ]
    latents = [numbers.normal(size=(len(row) if i % 3 else 0, 8)) for i, row in enumerate(codes)]
    return FlowData(
        mels=ragged([mel.astype(np.float16) for mel in mels]),
        codes=ragged([row.astype(np.int16) for row in codes]),
        styles=torch.randn(count, 4, generator=torch.Generator().manual_seed(0)),
        speakers=[f"speaker-{index % 2}" for index in range(count)],
        latents=ragged([row.astype(np.float16) for row in latents]) if with_latents else None,
    )


def embeddings() -> Tensor:
    return torch.randn(NUM_CODES, 6, generator=torch.Generator().manual_seed(1))


def config(steps: int) -> FlowConfig:
    pace = Pace(total_steps=steps, learning_rate=3e-3, warmup_steps=3, save_every_sec=0.0)
    return FlowConfig(pace=pace, frames=FRAMES, average_decay=0.8)


def drawn(data: FlowData) -> FlowRows:
    return FlowSampler(data, FRAMES).draw(torch.Generator().manual_seed(5))


def loss_without_sound(network: S2Mel, data: FlowData) -> float:
    """Return the loss where flows begin: only codes and prompts say what the mel is."""
    rows = drawn(data)
    draw = FlowDraw.of(rows.mel, 0.0, torch.Generator().manual_seed(9))
    draw = replace(draw, time=torch.zeros_like(draw.time))
    with torch.no_grad():
        return float(network.flow_loss(flow_batch(network, embeddings(), rows), draw)[0])


def test_the_loss_falls_and_the_code_says_what_the_mel_is(tmp_path: Path):
    data = made_up()
    torch.manual_seed(0)
    before = loss_without_sound(new_flow(DIMS, mean_mel(data)), data)
    trained = train_flow(data, embeddings(), DIMS, tmp_path, config(30))
    after = loss_without_sound(trained, data)
    assert after < 0.9 * before
    last = NUM_CODES - 1
    lies = Ragged((last - data.codes.rows).astype(np.int16), data.codes.ends)
    assert loss_without_sound(trained, replace(data, codes=lies)) > 1.2 * after


def test_a_run_that_stopped_goes_on_as_if_it_had_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    data = made_up(with_latents=True)
    whole = train_flow(data, embeddings(), DIMS, tmp_path / "whole", config(6))
    draw, drawn = FlowSampler.draw, []

    def draw_three(sampler: FlowSampler, generator: torch.Generator) -> FlowRows:
        drawn.append(sampler)
        if len(drawn) > 3:
            raise KeyboardInterrupt
        return draw(sampler, generator)

    with monkeypatch.context() as patch:
        patch.setattr(FlowSampler, "draw", draw_three)
        with pytest.raises(KeyboardInterrupt):
            train_flow(data, embeddings(), DIMS, tmp_path / "halves", config(6))
    assert not (tmp_path / "halves" / FLOW_FILE).exists()
    resumed = train_flow(data, embeddings(), DIMS, tmp_path / "halves", config(6))
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_what_is_written_is_read_as_a_published_file(tmp_path: Path):
    trained = train_flow(made_up(), embeddings(), DIMS, tmp_path, config(2))
    content = load_tensors(tmp_path / FLOW_FILE)
    assert sorted(content["net"]) == ["cfm", "gpt_layer", "length_regulator"]
    base_config = SimpleNamespace(s2mel=DIMS)
    base = SimpleNamespace(s2mel=tmp_path / FLOW_FILE, config=base_config)
    for read in (load_s2mel(cast(BaseFiles, base)), load_flow(tmp_path, DIMS)):
        for name, tensor in trained.state_dict().items():
            assert torch.equal(tensor, read.state_dict()[name]), name


def test_only_targets_are_learnt():
    data = made_up()
    network = new_flow(DIMS, mean_mel(data))
    torch.nn.init.normal_(network.cfm.estimator.conv2.weight)
    rows = drawn(data)
    draw = FlowDraw.of(rows.mel, 0.0, torch.Generator().manual_seed(3))
    batch = flow_batch(network, embeddings(), rows)
    is_prompt = (torch.arange(rows.mel.shape[-1]) < rows.prompt_lens[:, None])[:, None]
    assert is_prompt.any()
    assert not is_prompt.all()

    _, estimate = network.flow_loss(batch, draw)
    loss = partial(network.flow_loss, draw=draw)
    # What the prompts hold is heard, but being wrong about it costs nothing.
    wrong_there = draw.noise.masked_fill(is_prompt, 100.0)
    assert loss(batch)[0] == loss(batch, draw=replace(draw, noise=wrong_there))[0]
    wrong_behind = draw.noise.masked_fill(~is_prompt, 100.0)
    assert loss(batch)[0] < loss(batch, draw=replace(draw, noise=wrong_behind))[0]
    assert estimate.shape == rows.mel.shape


def test_a_prompt_is_of_the_speaker_of_its_target_and_another_clip():
    data = made_up()
    sampler, generator = FlowSampler(data, FRAMES), torch.Generator().manual_seed(0)
    numbers = np.random.default_rng(0)
    for target in range(len(data.codes)):
        prompts = {sampler._prompt_of(target, numbers) for _ in range(60)}
        assert prompts == {i for i in range(12) if i % 2 == target % 2} - {target}
    rows = sampler.draw(generator)
    ratio = rows.prompt_lens / rows.prompt_code_lens
    assert ((ratio > 1.4) & (ratio < 2.1)).all()


def test_the_only_clip_of_a_speaker_is_its_own_prompt():
    data = replace(made_up(3), speakers=["one", "two", "one"])
    sampler = FlowSampler(data, FRAMES)
    assert sampler._prompt_of(1, np.random.default_rng(0)) == 1


def test_every_clip_is_as_likely_as_any_other():
    data = made_up(40)
    sampler = FlowSampler(data, FRAMES)
    lens = data.mels.lens
    expected = [
        weight * (FRAMES // lens[bucket].max()) / len(bucket)
        for weight, bucket in zip(sampler._weights, sampler._buckets, strict=True)
    ]
    assert max(expected) < 1.5 * min(expected)


def test_nothing_to_learn_from_is_said():
    data = made_up(3)
    empty = replace(data, codes=Ragged(data.codes.rows[:0], np.zeros(3, dtype=np.int64)))
    with pytest.raises(TrainingError, match="no clip to train on"):
        FlowSampler(empty, FRAMES)


def test_a_padded_batch_is_regulated_as_each_row_alone():
    torch.manual_seed(0)
    regulator = S2Mel(DIMS).length_regulator
    x, lens, target_lens = torch.randn(3, 20, 6), [20, 7, 13], [31, 12, 25]
    together = regulate_rows(regulator, x, torch.tensor(lens), torch.tensor(target_lens))
    for row, (n, t) in enumerate(zip(lens, target_lens, strict=True)):
        alone = regulator(x[row : row + 1, :n], t)[0]
        torch.testing.assert_close(together[row, :t], alone, rtol=1e-4, atol=1e-5)
        assert not together[row, t:].any()


def test_without_states_of_the_gpt_nothing_is_added_at_first():
    network = new_flow(DIMS, torch.zeros(80))
    assert not network.gpt_layer(torch.randn(2, 8)).any()


def test_states_of_the_gpt_are_learnt_from_where_there_are_any(tmp_path: Path):
    data = made_up(with_latents=True)
    assert drawn(data).latents is not None
    trained = train_flow(data, embeddings(), DIMS, tmp_path / "with", config(8))
    assert trained.gpt_layer(torch.randn(2, 8)).any()
    plain = train_flow(made_up(), embeddings(), DIMS, tmp_path / "without", config(8))
    assert not plain.gpt_layer(torch.randn(2, 8)).any()


def test_the_swift_transformer_is_the_transformer():
    torch.manual_seed(0)
    transformer = S2Mel(DIMS).cfm.estimator.transformer
    x = torch.randn(3, 20, 32, requires_grad=True)
    time = torch.randn(3, 32, requires_grad=True)
    mask = (torch.arange(20) < torch.tensor([20, 9, 15])[:, None])[:, None]
    slow, swift = (
        _with_gradients(run, transformer, x, time, mask)
        for run in (type(transformer).forward, run_transformer)
    )
    assert len(slow) == len(swift) > 20
    for expected, found in zip(slow, swift, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def _with_gradients(
    run: Callable[..., Tensor], transformer: nn.Module, x: Tensor, time: Tensor, mask: Tensor
) -> list[Tensor]:
    """Return what ``run`` puts out in valid frames, and the gradients of all that led to it."""
    y = run(transformer, x, time, mask) * mask.mT
    weighed = (y * torch.linspace(-1, 1, 32)).sum()
    learnt = [x, time, *transformer.parameters()]
    found = torch.autograd.grad(weighed, learnt, allow_unused=True)
    return [y.detach(), *(gradient for gradient in found if gradient is not None)]


def test_a_stage_may_begin_from_what_another_learnt(tmp_path: Path):
    first = train_flow(made_up(), embeddings(), DIMS, tmp_path / "first", config(3))
    (tmp_path / "again").mkdir()
    copy_file(tmp_path / "first" / FLOW_FILE, tmp_path / "again" / FLOW_FILE)
    again = train_flow(made_up(), embeddings(), DIMS, tmp_path / "again", config(0))
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_mels_and_styles_are_computed_once_and_again_for_others(tmp_path: Path):
    manifest = tmp_path / "train.jsonl"
    corpus(manifest)
    clips = open_clips(manifest, tmp_path / "clips")
    frames = Frames(np.zeros((0, 6)), np.zeros(5, dtype=np.int16), [2, 5])
    torch.manual_seed(0)
    speaker = CampPlus(SPEAKER_DIMS).eval()
    styles = clip_styles(speaker, clips, tmp_path / "flow", "train")
    data = flow_data(clips, manifest, frames, styles, tmp_path / "flow")
    assert [mel.shape for mel in map(data.mels.__getitem__, range(2))] == [(86, 80), (172, 80)]
    assert [len(data.codes[i]) for i in range(2)] == [2, 3]
    alone = speaker(speaker_fbank(clip_16k(clips, 1))[None])[0]
    torch.testing.assert_close(styles[1], alone)

    kept = tmp_path / "flow" / "train.mels"
    written = kept.stat().st_mtime_ns
    flow_data(clips, manifest, frames, styles, tmp_path / "flow")
    assert kept.stat().st_mtime_ns == written
    torch.nn.init.ones_(next(speaker.parameters()))
    assert not torch.equal(clip_styles(speaker, clips, tmp_path / "flow", "train"), styles)


def corpus(manifest: Path) -> None:
    """Write a manifest of two clips of noise, of one and of two seconds."""
    numbers = np.random.default_rng(0)
    lines = []
    for seconds in (1, 2):
        wave = 0.1 * numbers.standard_normal(seconds * SAMPLE_RATE)
        soundfile.write(manifest.parent / f"{seconds}.flac", wave, SAMPLE_RATE)
        line = {"id": str(seconds), "audio": f"{seconds}.flac", "text": "a", "duration": seconds}
        lines.append(json.dumps(line | {"speaker": "one", "language": "en"}))
    manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_a_copy_is_as_long_as_its_codes_and_hears_another_clip():
    data = made_up()
    torch.manual_seed(0)
    flow = new_flow(DIMS, mean_mel(data)).eval()
    assert [prompt_for(data, index) for index in (0, 1, 10, 11)] == [2, 3, 0, 1]
    mel = copy_mel(flow, embeddings(), data, 2, 0)
    assert mel.shape == (80, code_frames_to_mel_frames(len(data.codes[0])))
    assert torch.equal(mel, copy_mel(flow, embeddings(), data, 2, 0))


def test_who_has_one_clip_only_is_copied_after_itself():
    assert prompt_for(replace(made_up(3), speakers=["one", "two", "one"]), 1) == 1


def test_early_times_are_drawn_as_often_as_their_noise_asks_for():
    time = torch.linspace(0, 1, 11)
    found = earlier(time, 4.0)
    assert (float(found[0]), float(found[-1])) == (0.0, 1.0)
    inner = slice(1, -1)
    ratio = (found / (1 - found))[inner] / (time / (1 - time))[inner]
    torch.testing.assert_close(ratio, torch.full((9,), 0.25))
