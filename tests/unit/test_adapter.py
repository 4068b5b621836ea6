import sys

import pytest
import torch
from peft.tuners.lora import LoraLayer

from idiolect.base.errors import CheckpointError, ConfigError
from idiolect.base.hashes import sha256_file
from idiolect.models.adapter import (
    adapter_weights,
    add_adapters,
    average_adapters,
    is_adapted,
    load_adapters,
    merge_adapters,
    open_weights,
    read_outline,
)
from idiolect.models.checkpoint import (
    AdapterRecord,
    CheckpointHeader,
    load_checkpoint,
    read_header,
    save_checkpoint,
)
from tiny_gpt import random_prefix, tiny_gpt

RANK, ALPHA = 4, 8.0
TEXT = torch.tensor([[3, 5, 7]])
CODES = torch.tensor([[1, 0, 4, 4]])


def adapted(*, seed=0, freeze=(), rank=RANK, conditioners=False):
    gpt = tiny_gpt(conditioners=conditioners)
    for name, parameter in gpt.named_parameters():
        parameter.requires_grad_(not name.startswith(tuple(freeze)) if freeze else True)
    add_adapters(gpt, rank=rank, alpha=ALPHA, seed=seed)
    return gpt


def logits(gpt):
    text, codes = gpt.teacher_forced(random_prefix(gpt), TEXT, CODES)
    return torch.cat([gpt.text_head(text).flatten(), gpt.mel_head(codes).flatten()])


def learn(gpt, *, steps=3, seed=0):
    """Take real steps, with a loss that asks for something else than the base says."""
    trained = [p for p in gpt.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.05)
    goal = torch.randn(logits(gpt).shape, generator=torch.Generator().manual_seed(seed))
    for _ in range(steps):
        (logits(gpt) - goal).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return gpt


def record(base, **given):
    return AdapterRecord(
        rank=RANK, alpha=ALPHA, base_sha256=sha256_file(base), base_path=str(base), **given
    )


@pytest.fixture
def files(tmp_path):
    """A base, and adapters that were trained beside it, as a run leaves them."""
    base, tuned = tmp_path / "gpt.pth", tmp_path / "best.pth"
    save_checkpoint(base, tiny_gpt().state_dict())
    weights = adapter_weights(learn(adapted()).state_dict())
    save_checkpoint(tuned, weights, CheckpointHeader(step=3, adapter=record(base)))
    return base, tuned


def test_adapters_begin_as_the_base():
    torch.testing.assert_close(logits(adapted()), logits(tiny_gpt(conditioners=False)))


def test_only_adapters_text_rows_and_last_norms_learn():
    gpt = adapted()

    logits(gpt).sum().backward()

    with_gradient = {n for n, p in gpt.named_parameters() if p.grad is not None}
    assert with_gradient == {n for n, p in gpt.named_parameters() if p.requires_grad}
    whole = {n for n in with_gradient if ".lora_" not in n}
    norms = {f"{norm}.{part}" for norm in ("gpt.ln_f", "final_norm") for part in ("weight", "bias")}
    assert whole == norms | {"text_embedding.weight", "text_head.weight", "text_head.bias"}
    assert len(with_gradient - whole) == 2 * 4 * gpt.dims.num_layers  # A and B of four maps


def test_what_does_not_learn_stays_bit_for_bit():
    before = tiny_gpt(conditioners=False).state_dict()

    after = learn(adapted()).state_dict()

    kept = {n.replace(".base_layer.", "."): t for n, t in after.items() if ".lora_" not in n}
    changed = {n for n, tensor in before.items() if not torch.equal(kept[n], tensor)}
    assert kept.keys() == before.keys()
    assert {name.split(".")[0] for name in changed} == {
        *("gpt", "final_norm", "text_embedding", "text_head"),
    }
    assert {name for name in changed if name.startswith("gpt.")} == {
        *("gpt.ln_f.weight", "gpt.ln_f.bias"),
    }


def test_conditioners_are_untouched():
    gpt = adapted(conditioners=True)

    assert not any(p.requires_grad for p in gpt.conditioning_encoder.parameters())
    assert not any(isinstance(m, LoraLayer) for m in gpt.conditioning_encoder.modules())


def test_merged_weights_say_what_base_and_adapters_say_together():
    gpt = learn(adapted())
    base = tiny_gpt(conditioners=False).state_dict()

    merged = merge_adapters(base, adapter_weights(gpt.state_dict()), RECORD)

    whole = tiny_gpt(conditioners=False, seed=5)
    whole.load_state_dict(merged)
    torch.testing.assert_close(logits(whole), logits(gpt), rtol=0, atol=1e-5)
    assert (logits(whole) - logits(tiny_gpt(conditioners=False))).abs().max() > 0.1


RECORD = AdapterRecord(rank=RANK, alpha=ALPHA, base_sha256="")


def test_merging_is_what_peft_merges():
    gpt = learn(adapted())
    base = tiny_gpt(conditioners=False).state_dict()
    merged = merge_adapters(base, adapter_weights(gpt.state_dict()), RECORD)

    for module in gpt.modules():
        if isinstance(module, LoraLayer):
            module.merge()

    by_peft = {n.replace(".base_layer.", "."): t for n, t in gpt.state_dict().items()}
    for name, tensor in merged.items():
        torch.testing.assert_close(tensor, by_peft[name], rtol=0, atol=1e-6)


def test_averaged_adapters_merge_to_the_mean_of_the_merged_weights():
    base = tiny_gpt(conditioners=False).state_dict()
    parts = [adapter_weights(learn(adapted(seed=n), seed=n).state_dict()) for n in range(3)]
    merged = [merge_adapters(base, part, RECORD) for part in parts]

    averaged = merge_adapters(base, *average_adapters(parts, RECORD))

    for name, tensor in averaged.items():
        mean = torch.stack([weights[name] for weights in merged]).mean(0)
        torch.testing.assert_close(tensor, mean, rtol=0, atol=1e-6)


def test_one_seed_gives_one_beginning_whatever_was_drawn_before():
    first = adapter_weights(adapted(seed=1).state_dict())
    torch.manual_seed(99)
    state = torch.get_rng_state()

    again = adapter_weights(adapted(seed=1).state_dict())
    other = adapter_weights(adapted(seed=2).state_dict())

    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_loaded_adapters_go_on_exactly_where_they_were(files):
    straight = learn(learn(adapted()), seed=1)
    stopped = adapted(seed=7)

    load_adapters(stopped, load_checkpoint(files[1])[0], where=files[1])
    learn(stopped, seed=1)

    assert all(torch.equal(a, b) for a, b in zip(*map(_state, (straight, stopped)), strict=True))


def _state(gpt):
    return gpt.state_dict().values()


def test_a_file_of_adapters_holds_what_learnt_alone(files):
    base, tuned = files

    assert is_adapted(load_checkpoint(tuned)[0])
    assert not is_adapted(load_checkpoint(base)[0])
    names = set(read_header(tuned).shapes)
    assert "gpt.h.0.attn.c_attn.lora_A.weight" in names
    assert not any("c_attn.weight" in name or "mel_" in name for name in names)


def test_a_file_of_adapters_is_opened_as_whole_weights(files):
    base, tuned = files

    weights, header = open_weights(tuned, bases=[base])
    outline = read_outline(tuned, bases=[base])

    assert (header.adapter, header.step) == (None, 3)
    assert list(weights) == list(load_checkpoint(base)[0])
    assert outline.header == header
    assert outline.shapes == {name: tuple(t.shape) for name, t in weights.items()}
    assert outline.weight_bytes == sum(tensor.nbytes for tensor in weights.values())


def test_adapters_beside_adapters_are_opened_too(files, tmp_path):
    base, first = files
    merged, _ = open_weights(first, bases=[base])
    second = tmp_path / "second.pth"
    changed = {name: tensor + 1 for name, tensor in load_checkpoint(first)[0].items()}
    save_checkpoint(second, changed, CheckpointHeader(adapter=record(first)))

    weights, _ = open_weights(second, bases=[base])

    expected = merge_adapters(merged, changed, record(first))
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def test_another_base_is_refused_and_both_hashes_shown(files, tmp_path):
    base, tuned = files
    other = tmp_path / "other.pth"
    save_checkpoint(other, tiny_gpt(seed=1).state_dict())
    wanted, found = sha256_file(base), sha256_file(other)
    base.rename(tmp_path / "elsewhere.pth")

    with pytest.raises(CheckpointError) as caught:
        open_weights(tuned, bases=[other])

    assert wanted in caught.value.problem
    assert found in caught.value.problem
    assert "--base" in caught.value.fix


def test_half_precision_bases_are_merged_in_full_precision():
    base = {n: t.half() for n, t in tiny_gpt(conditioners=False).state_dict().items()}
    trained = adapter_weights(learn(adapted()).state_dict())

    merged = merge_adapters(base, trained, RECORD)

    assert merged["gpt.h.0.attn.c_attn.weight"].dtype == torch.float32
    assert torch.equal(merged["mel_head.weight"], base["mel_head.weight"])


def test_a_map_that_is_frozen_gets_no_adapter():
    names = set(adapter_weights(adapted(freeze=("gpt.h.0.attn.", "text_head")).state_dict()))

    assert "gpt.h.0.attn.c_attn.lora_A.weight" not in names
    assert "gpt.h.0.mlp.c_fc.lora_A.weight" in names
    assert "gpt.h.1.attn.c_attn.lora_A.weight" in names
    gpt = adapted(freeze=("gpt.h.0.attn.", "text_head"))
    assert not gpt.text_head.weight.requires_grad


def test_without_maps_the_text_rows_and_last_norms_learn_alone():
    gpt = adapted(freeze=("gpt.h.",))

    learning = {name.split(".")[0] for name, p in gpt.named_parameters() if p.requires_grad}

    assert learning == {"text_embedding", "text_head", "final_norm", "gpt"}
    assert not is_adapted(gpt.state_dict())


def test_freezing_all_that_would_learn_is_an_error():
    with pytest.raises(ConfigError, match="nothing is left to learn"):
        adapted(freeze=("gpt.", "text_", "final_norm"))


def test_adapters_of_another_rank_are_refused():
    weights = adapter_weights(adapted(rank=2).state_dict())

    with pytest.raises(CheckpointError, match=r"lora_A.weight: \[4, 16\] expected, \[2, 16\]"):
        load_adapters(adapted(), weights, where="latest.pth")


def test_an_adapter_without_its_map_is_refused():
    trained = adapter_weights(adapted().state_dict())
    base = tiny_gpt(conditioners=False, num_layers=1).state_dict()

    with pytest.raises(CheckpointError, match=r"no map gpt\.h\.1\.attn\.c_attn"):
        merge_adapters(base, trained, RECORD)


def test_without_peft_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)

    with pytest.raises(ConfigError) as caught:
        adapted()

    assert caught.value.fix == "pip install 'idiolect[lora]', or leave --mode out"
