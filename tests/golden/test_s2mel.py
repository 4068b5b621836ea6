"""Length regulator, flow matching and the map from GPT states, against the published numbers."""

from __future__ import annotations

import pytest
import torch

from golden.fixtures import Fixture, load_fixture
from idiolect.models.config import S2MelDims
from idiolect.models.s2mel import FlowBatch, FlowDraw, S2Mel
from idiolect.models.weight_norm import fold_weight_norm

SAMPLINGS = {
    "cfm_steps3_cfg00": (3, 0.0, 1.0),
    "cfm_steps3_cfg07": (3, 0.7, 1.0),
    "cfm_steps25_cfg00": (25, 0.0, 1.0),
    "cfm_steps25_cfg07": (25, 0.7, 1.0),
    "cfm_steps3_cfg07_temp05": (3, 0.7, 0.5),
}
"""Steps, guidance and temperature of each sampled output."""


@pytest.fixture(scope="module")
def fixture() -> Fixture:
    return load_fixture("s2mel")


def build(fixture: Fixture) -> S2Mel:
    latent, semantic = fixture.ins["latent"], fixture.outs["gpt_layer"]
    inner = [w.shape[0] for k, w in fixture.state_of("gpt_layer/").items() if k.endswith("weight")]
    assert inner[-1] == semantic.shape[-1]
    section = {**fixture.config["s2mel"], "gpt_layer_dims": (latent.shape[-1], *inner)}
    network = S2Mel(S2MelDims.of(section))
    state = {k.replace("/", ".", 1): v for k, v in fixture.state.items()}
    computed = {k for k in network.state_dict() if k not in state}
    assert computed <= {"cfm.estimator.input_pos"}
    network.load_state_dict(state, strict=False)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def network(fixture) -> S2Mel:
    return build(fixture)


def test_gpt_states_become_the_features_of_the_published_code(fixture, network):
    fixture.check("gpt_layer", network.gpt_layer(fixture.ins["latent"]))


@pytest.mark.parametrize("direction", ["up", "down"])
def test_features_are_stretched_and_shrunk_as_in_the_published_code(fixture, network, direction):
    target_len = int(fixture.ins[f"lr_ylens_b1_{direction}"])
    fixture.check(f"lr_b1_{direction}", network.regulate(fixture.ins["lr_x_b1"], target_len))


def test_a_batch_is_stretched_to_its_longest_and_cut(fixture, network):
    lens = fixture.ins["lr_ylens_b2"]
    got = network.length_regulator(fixture.ins["lr_x_b2"], int(lens.max()), lens)
    fixture.check("lr_b2", got)


def est_inputs(fixture: Fixture) -> dict[str, torch.Tensor]:
    names = {"prompt": "prompt", "time": "t", "style": "style", "condition": "cond", "x": "x"}
    return {ours: fixture.ins[f"est_{theirs}_b2"] for ours, theirs in names.items()}


@pytest.mark.parametrize(("name", "is_unconditional"), [("est_b2", False), ("est_masked_b2", True)])
def test_the_estimator_is_that_of_the_published_code(fixture, network, name, is_unconditional):
    lens = fixture.ins["est_x_lens_b2"]
    got = network.cfm.estimator(**est_inputs(fixture), lens=lens, is_unconditional=is_unconditional)
    fixture.check(name, got)


def test_the_inner_activations_are_those_of_the_published_code(fixture, network):
    seen = {}
    estimator = network.cfm.estimator
    parts = {
        "est_time_emb_b2": estimator.t_embedder,
        "est_merged_b2": estimator.cond_x_merge_linear,
        "est_transformer_b2": estimator.transformer,
        "est_wavenet_b2": estimator.wavenet,
    }
    hooks = [
        part.register_forward_hook(lambda _, __, out, name=name: seen.update({name: out}))
        for name, part in parts.items()
    ]
    estimator(**est_inputs(fixture), lens=fixture.ins["est_x_lens_b2"])
    for hook in hooks:
        hook.remove()
    for name in parts:
        fixture.check(name, seen[name])


@pytest.mark.parametrize("name", SAMPLINGS)
def test_sampling_gives_the_mel_of_the_published_code(fixture, network, name):
    num_steps, guidance, temperature = SAMPLINGS[name]
    mel = network.sample(
        fixture.ins["cfm_mu"],
        fixture.ins["cfm_prompt"],
        fixture.ins["cfm_style"],
        noise=temperature * fixture.ins["cfm_noise"],
        num_steps=num_steps,
        guidance=guidance,
    )
    fixture.check(name, mel)


def flow_batch(fixture: Fixture) -> FlowBatch:
    return FlowBatch(
        mel=fixture.ins["loss_x1"],
        mel_lens=fixture.ins["loss_x_lens"],
        prompt_lens=fixture.ins["loss_prompt_lens"],
        condition=fixture.ins["loss_mu"],
        style=fixture.ins["loss_style"],
    )


@pytest.mark.parametrize(("name", "is_unconditional"), [("keep", False), ("drop", True)])
def test_the_training_loss_is_that_of_the_published_code(fixture, network, name, is_unconditional):
    draw = FlowDraw(
        time=fixture.ins["loss_t"],
        noise=fixture.ins["loss_noise"],
        is_unconditional=is_unconditional,
    )
    loss, estimate = network.flow_loss(flow_batch(fixture), draw)
    fixture.check(f"loss_{name}", loss[None])
    fixture.check(f"loss_estimate_{name}", estimate)


def test_the_same_seed_draws_the_same_loss(fixture, network):
    batch = flow_batch(fixture)
    losses = [
        network.flow_loss(batch, generator=torch.Generator().manual_seed(5))[0] for _ in range(2)
    ]
    assert losses[0] == losses[1]


def test_the_same_seed_samples_the_same_mel(fixture, network):
    def sample(seed: int) -> torch.Tensor:
        return network.sample(
            fixture.ins["cfm_mu"],
            fixture.ins["cfm_prompt"],
            fixture.ins["cfm_style"],
            generator=torch.Generator().manual_seed(seed),
            num_steps=2,
        )

    assert torch.equal(sample(1), sample(1))
    assert not torch.equal(sample(1), sample(2))


def test_folding_the_weight_norm_changes_no_flow(fixture):
    network = build(fixture)
    fold_weight_norm(network)
    lens = fixture.ins["est_x_lens_b2"]
    fixture.check("est_b2", network.cfm.estimator(**est_inputs(fixture), lens=lens))


@pytest.mark.parametrize("num_frames", [1, 2, 3])
def test_a_mel_shorter_than_a_kernel_can_be_estimated(fixture, network, num_frames):
    inputs = est_inputs(fixture)
    for name in ("x", "prompt"):
        inputs[name] = inputs[name][..., :num_frames]
    inputs["condition"] = inputs["condition"][:, :num_frames]
    assert network.cfm.estimator(**inputs).shape[-1] == num_frames
