"""The distance to the base: what it is, what it teaches, and on which samples."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from idiolect.base.errors import DataError, TokenizerError
from idiolect.data.base_texts import check_judged, with_base_texts
from idiolect.data.batches import make_batch
from idiolect.data.manifest import SourceSpec
from idiolect.data.samples import (
    EncodedSource,
    Source,
    add_features,
    epoch_order,
    load_sample,
)
from idiolect.models.published import locate_base
from idiolect.training import base_kl
from idiolect.training.base_kl import BaseTeacher, base_languages, kl_sum
from idiolect.training.config import TrainConfig
from idiolect.training.loss import token_states, with_noisy_codes
from registry_kit import make_tokenizer, trained_checkpoint
from tiny_gpt import tiny_dims, tiny_gpt
from training_kit import Shelf, features, sample, utterance


def heads(*, count=7, seed=0, dim=6, classes=11):
    numbers = torch.Generator().manual_seed(seed)
    head = torch.nn.Linear(dim, classes)
    torch.nn.init.normal_(head.weight, generator=numbers)
    torch.nn.init.normal_(head.bias, generator=numbers)
    states = torch.randn(count, dim, generator=numbers).requires_grad_()
    return states, head


def plain_kl(states, head, base_states, base_head):
    said = base_head(base_states).log_softmax(-1).detach()
    return F.kl_div(head(states).log_softmax(-1), said, reduction="sum", log_target=True)


@pytest.mark.parametrize("chunk", [512, 3], ids=["in one", "in chunks"])
def test_value_and_gradients_are_those_of_the_plain_formula(monkeypatch, chunk):
    monkeypatch.setattr(base_kl, "CHUNK_TOKENS", chunk)
    states, head = heads()
    base = heads(seed=1, dim=4)
    learnt = [states, *head.parameters()]

    found = kl_sum(states, head, *base)
    plain = plain_kl(states, head, *base)

    torch.testing.assert_close(found, plain)
    # Scaled, as the mean over a step scales it.
    for got, wanted in zip(
        torch.autograd.grad(found / 3, learnt), torch.autograd.grad(plain / 3, learnt), strict=True
    ):
        torch.testing.assert_close(got, wanted)


def test_the_base_itself_gets_no_gradient():
    states, head = heads()
    base_states, base_head = heads(seed=1)

    kl_sum(states, head, base_states, base_head).backward()

    assert base_states.grad is None
    assert base_head.weight.grad is None


def test_equal_networks_are_at_no_distance_and_feel_no_pull():
    states, head = heads()

    found = kl_sum(states, head, states.detach().clone(), copy.deepcopy(head))
    found.backward()

    assert found.item() == pytest.approx(0, abs=1e-5)
    assert states.grad.abs().max() < 1e-6


def test_of_no_codes_the_distance_is_zero():
    states, head = heads(count=0)

    assert kl_sum(states, head, *heads(count=0)).item() == 0


# --- samples --------------------------------------------------------------------------------------

GPT = tiny_gpt(conditioners=False)
TEACHER = BaseTeacher(gpt=GPT, half=False)


def judged(text, codes, base_text, *, seed=0):
    given = sample(text, codes, seed=seed)
    return replace(given, base_text_ids=np.array(base_text, dtype=np.int64))


def distance(model, batch, teacher=TEACHER):
    _, states = token_states(model, batch)
    with teacher.reading():
        _, taught = token_states(teacher.gpt, batch.read_by_base())
    return kl_sum(states[batch.base_codes], model.mel_head, taught, teacher.gpt.mel_head)


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "rows"])
def test_an_untouched_network_is_at_no_distance_among_samples_of_any_language(packed):
    samples = [
        sample([5, 6, 7], [1, 2, 3], seed=1),
        judged([5, 6], [3, 4, 7], [5, 6], seed=2),
        sample([8], [9], seed=3),
        judged([9], [2], [9], seed=4),
    ]
    made = make_batch(samples, tiny_dims(), packed=packed)

    assert made.base_codes.tolist() == [4, 5, 6, 7, 10, 11]
    assert (made.base.packed_lens or (42, 39))[:2] == (42, 39)
    assert distance(GPT, made).item() == pytest.approx(0, abs=1e-4)


def test_the_base_reads_a_text_in_its_own_pieces():
    other = tiny_gpt(conditioners=False, seed=3)
    same = make_batch([judged([5, 6], [3, 4], [5, 6])], tiny_dims())
    spelt = make_batch([judged([5, 6], [3, 4], [7, 8, 9])], tiny_dims())

    plain = make_batch([sample([7, 8, 9], [3, 4])], tiny_dims())
    _, taught = token_states(GPT, plain)
    _, states = token_states(other, spelt)

    wanted = plain_kl(states, other.mel_head, taught, GPT.mel_head)
    torch.testing.assert_close(distance(other, spelt), wanted)
    assert distance(other, spelt) != distance(other, same)


def test_samples_of_other_languages_feel_no_pull():
    other = tiny_gpt(conditioners=False, seed=3)
    mine = judged([5, 6], [3, 4], [5, 6])
    made = make_batch([sample([5], [8, 9], seed=1), mine], tiny_dims())
    alone = make_batch([mine], tiny_dims())

    assert make_batch([sample([5], [8, 9])], tiny_dims()).base is None
    torch.testing.assert_close(distance(other, made), distance(other, alone))


def test_the_base_is_not_asked_for_a_duration():
    mine = replace(judged([5, 6], [3, 4], [5, 6]), asked_codes=2)

    made = make_batch([mine], tiny_dims())

    assert made.asked_codes.tolist() == [2]
    assert made.base.asked_codes is None


def test_the_base_reads_the_codes_that_the_network_reads():
    made = make_batch([judged([5, 6], [3, 4] * 9, [5, 6])], tiny_dims())
    torch.manual_seed(0)

    noisy = with_noisy_codes(made, 0.5, 12)

    assert not torch.equal(noisy.codes.inputs, made.codes.inputs)
    assert torch.equal(noisy.read_by_base().codes.inputs, noisy.codes.inputs)
    assert distance(GPT, noisy).item() == pytest.approx(0, abs=1e-4)


def test_in_bfloat16_an_untouched_network_is_nearly_at_no_distance():
    model = tiny_gpt(conditioners=False)
    frozen = copy.deepcopy(model)
    for weight in frozen.parameters():
        weight.data = base_kl._held(weight.data, half=True)
    half = BaseTeacher(gpt=frozen, half=True)
    made = make_batch([judged([5, 6], [3, 4] * 10, [5, 6])], tiny_dims())

    with torch.autocast("cpu", torch.bfloat16):
        own = distance(model, made, half)
        other = distance(tiny_gpt(conditioners=False, seed=3), made, half)

    assert 0 <= own.item() < 0.01 * other.item()


# --- data -----------------------------------------------------------------------------------------


class Letters:
    """A tokenizer whose ids are the places of letters in the alphabet, from ``first`` on."""

    def __init__(self, first):
        self.first = first

    def encode(self, text, language):
        return [ord(letter) - ord("a") + self.first for letter in text]


def source(**languages):
    clips = {i: utterance(i, "abc", language=language) for i, language in languages.items()}
    raw = Source(
        spec=SourceSpec(path=Path("train.jsonl")),
        manifest=Path("train.jsonl"),
        utterances=clips,
        pairs=None,
        targets=frozenset(clips),
        self_pairs=True,
    )
    ids = {i: np.array([3, 4, 5], dtype=np.int32) for i in clips}
    return EncodedSource(source=raw, text_ids=ids, left_out={}, unknown_tokens=0)


def test_texts_in_languages_of_the_base_are_encoded_again_by_its_tokenizer():
    encoded = with_base_texts(source(a="en", b="ca"), Letters(10), {"en", "zh"}, tiny_dims())
    made = [add_features(encoded, Shelf(a=features(), b=features()), tiny_dims())]

    loaded = {ref.target: load_sample(made, ref) for ref in epoch_order(made, seed=1, epoch=0)}

    assert loaded["a"].base_text_ids.tolist() == [10, 11, 12]
    assert loaded["a"].text_ids.tolist() == [3, 4, 5]
    assert loaded["b"].base_text_ids is None


def test_a_text_that_is_too_long_for_the_base_is_not_judged():
    encoded = with_base_texts(source(a="en"), Letters(10), {"en"}, tiny_dims(max_text_len=2))

    assert encoded.base_text_ids == {}
    assert encoded.text_ids.keys() == {"a"}


def test_data_without_a_language_of_the_base_is_refused():
    encoded = with_base_texts(source(a="ca"), Letters(10), {"en", "zh"}, tiny_dims())

    with pytest.raises(DataError, match=r"no clip is in a language of the base \(en, zh\)") as e:
        check_judged([encoded], {"en", "zh"})

    assert e.value.where == "--base-kl"


# --- the base's files -----------------------------------------------------------------------------


def test_the_teacher_is_the_base_also_where_a_run_starts_from_another_checkpoint(
    nano_base, tmp_path
):
    tuned = trained_checkpoint(
        tmp_path / "tuned.pth", nano_base, make_tokenizer(tmp_path / "ca_bpe.model")
    )
    cpu = torch.device("cpu")

    teacher = BaseTeacher.load(locate_base(nano_base, gpt=tuned), cpu, half=False)

    plain = BaseTeacher.load(locate_base(nano_base), cpu, half=True)
    assert teacher.gpt.dims == plain.gpt.dims
    assert plain.gpt.mel_head.weight.dtype == torch.bfloat16
    assert plain.gpt.final_norm.weight.dtype == torch.float32
    assert not any(p.requires_grad for p in teacher.gpt.parameters())


def test_a_tuned_checkpoint_does_not_stand_in_for_a_base_that_is_gone(nano_base, tmp_path):
    tuned = trained_checkpoint(
        tmp_path / "tuned.pth", nano_base, make_tokenizer(tmp_path / "ca_bpe.model")
    )
    files = replace(locate_base(nano_base), folder=tmp_path, gpt=tuned)

    with pytest.raises(TokenizerError, match="has a tokenizer of its own"):
        BaseTeacher.load(files, torch.device("cpu"), half=False)


def test_the_languages_of_the_base_are_its_own_unless_some_are_named(nano_base):
    files = locate_base(nano_base)

    assert base_languages(TrainConfig(base_languages=("en",)), files) == ("en",)
    assert set(base_languages(TrainConfig(), files)) >= {"en"}


def test_a_pull_to_the_base_keeps_its_language_while_another_is_learnt():
    foreign = sample([9, 10, 11], [1, 8, 1, 8, 1, 8], seed=1)
    mine = judged([5, 6, 7], [3, 4, 7, 2], [5, 6, 7])
    made = make_batch([foreign, mine], tiny_dims())
    alone = make_batch([mine], tiny_dims())

    def distance_after_learning(weight):
        model = tiny_gpt(conditioners=False)
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
        is_foreign = torch.ones(len(made.codes.labels), dtype=torch.bool)
        is_foreign[made.base_codes] = False
        for _ in range(25):
            _, states = token_states(model, made)
            loss = F.cross_entropy(
                model.mel_head(states[is_foreign]), made.codes.labels[is_foreign]
            )
            (loss + weight * distance(model, made) / len(made.base_codes)).backward()
            optimizer.step()
            optimizer.zero_grad()
        return loss.item(), distance(model, alone).item()

    (free_loss, free), (held_loss, held) = map(distance_after_learning, (0.0, 2.0))

    assert max(free_loss, held_loss) < 0.5
    assert held < 0.2 * free
