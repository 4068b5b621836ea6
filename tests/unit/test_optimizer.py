import sys

import pytest
import torch
from torch import nn

from idiolect.base.errors import ConfigError
from idiolect.models.checkpoint import load_tensors, save_tensors
from idiolect.training.optimizer import make_optimizer, set_weight_decay, state_bytes
from tiny_gpt import tiny_gpt

CPU = torch.device("cpu")
STEPS = 12


def small_net(seed=0):
    """Wide enough that its matrices are kept in 8 bits: more than 4096 numbers each."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(96, 128), nn.GELU(), nn.LayerNorm(128), nn.Linear(128, 96))


def optimizer_of(net, kind):
    return make_optimizer(net, weight_decay=0.01, device=CPU, kind=kind)


def take_steps(net, optimizer, count, *, seed=0):
    """Return the loss before each of ``count`` real steps."""
    numbers = torch.Generator().manual_seed(seed)
    x, goal = (torch.randn(32, 96, generator=numbers) for _ in range(2))
    losses = []
    for _ in range(count):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3
        loss = (net(x) - goal).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def weights_of(net):
    return torch.cat([p.detach().flatten() for p in net.parameters()])


@pytest.mark.parametrize("kind", ["adamw", "adamw8bit"])
def test_only_matrices_decay(kind):
    gpt = tiny_gpt(conditioners=False)

    decayed, others = optimizer_of(gpt, kind).param_groups

    names = {id(p): name for name, p in gpt.named_parameters()}
    kept = {names[id(p)] for p in others["params"]}
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.01, 0.0)
    assert {"mel_head.bias", "final_norm.weight", "text_embedding.weight"} <= kept
    assert "mel_head.weight" in {names[id(p)] for p in decayed["params"]}
    assert len(decayed["params"]) + len(others["params"]) == len(names)


def test_what_is_frozen_gets_no_state():
    net = small_net()
    net[0].requires_grad_(requires_grad=False)
    optimizer = optimizer_of(net, "adamw")

    take_steps(net, optimizer, 1)

    assert not any(p is net[0].weight for p in optimizer.state)


def test_eight_bits_learn_nearly_what_thirty_two_learn():
    start, nets, losses = weights_of(small_net()), {}, {}

    for kind in ("adamw", "adamw8bit"):
        nets[kind] = small_net()
        losses[kind] = take_steps(nets[kind], optimizer_of(nets[kind], kind), STEPS)

    assert losses["adamw"][-1] < 0.7 * losses["adamw"][0]
    for wide, narrow in zip(*losses.values(), strict=True):
        assert narrow == pytest.approx(wide, rel=0.01)
    wide, narrow = (weights_of(nets[kind]) - start for kind in ("adamw", "adamw8bit"))
    assert (wide - narrow).norm() < 0.1 * wide.norm()
    assert not torch.equal(wide, narrow)  # else nothing was quantised


def test_eight_bits_take_a_quarter_of_the_memory():
    sizes = {}

    for kind in ("adamw", "adamw8bit"):
        net = small_net()
        optimizer = optimizer_of(net, kind)
        take_steps(net, optimizer, 1)
        sizes[kind] = state_bytes(optimizer)

    numbers = sum(p.numel() for p in small_net().parameters())
    assert sizes["adamw"] == pytest.approx(2 * 4 * numbers, rel=0.01)
    assert sizes["adamw8bit"] < 0.33 * sizes["adamw"]


@pytest.mark.parametrize("kind", ["adamw", "adamw8bit"])
def test_a_run_goes_on_from_a_file_bit_for_bit(kind, tmp_path):
    straight, stopped = small_net(), small_net()
    expected = take_steps(straight, optimizer_of(straight, kind), 5)
    first = optimizer_of(stopped, kind)
    begun = take_steps(stopped, first, 2)
    save_tensors(tmp_path / "state.pth", first.state_dict())

    second = optimizer_of(stopped, kind)
    second.load_state_dict(load_tensors(tmp_path / "state.pth", mmap=False))

    assert begun + take_steps(stopped, second, 3) == expected
    assert torch.equal(weights_of(stopped), weights_of(straight))


def flat(state, path=()):
    """Return the numbers in nested mappings as tensors, by the keys that lead to them."""
    if not isinstance(state, dict):
        return {path: torch.as_tensor(state)}
    return {k: v for key, part in state.items() for k, v in flat(part, (*path, key)).items()}


@pytest.mark.parametrize("kind", ["adamw", "adamw8bit"])
def test_the_state_is_in_its_file_bit_for_bit(kind, tmp_path):
    net = small_net()
    optimizer = optimizer_of(net, kind)
    take_steps(net, optimizer, 2)
    save_tensors(tmp_path / "state.pth", optimizer.state_dict())

    again = optimizer_of(net, kind)
    again.load_state_dict(load_tensors(tmp_path / "state.pth", mmap=False))

    before, after = optimizer.state_dict(), again.state_dict()
    assert before["param_groups"] == after["param_groups"]
    kept, found = flat(before["state"]), flat(after["state"])
    assert kept.keys() == found.keys()
    for name, tensor in kept.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_the_decay_of_matrices_may_change():
    optimizer = optimizer_of(small_net(), "adamw8bit")

    set_weight_decay(optimizer, 0.5)

    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5, 0.0]


def test_without_bitsandbytes_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)

    with pytest.raises(ConfigError, match="needs bitsandbytes") as caught:
        optimizer_of(small_net(), "adamw8bit")

    assert caught.value.fix == "pip install 'idiolect[gpu]', or leave --optimizer out"
