from __future__ import annotations

import math

import pytest
import torch

from idiolect.base.errors import DataError
from idiolect.models.gpt import (
    PREFIX_ROWS,
    KeyValueCache,
    UnifiedVoice,
    decode_positions,
)
from tiny_gpt import random_prefix, tiny_dims, tiny_gpt

CONDITIONER_KEYS = (
    "conditioning_encoder.",
    "perceiver_encoder.",
    "emo_conditioning_encoder.",
    "emo_perceiver_encoder.",
    "emovec_layer.",
    "emo_layer.",
)


def test_decoding_skips_the_second_row_of_code_positions():
    assert decode_positions(5).tolist() == [0, 2, 3, 4, 5]


def test_a_model_without_conditioners_has_everything_but_them():
    whole = tiny_gpt().state_dict().keys()

    bare = tiny_gpt(conditioners=False).state_dict().keys()

    assert whole - bare == {key for key in whole if key.startswith(CONDITIONER_KEYS)}


def test_a_model_is_built_on_meta_without_memory():
    with torch.device("meta"):
        model = UnifiedVoice(tiny_dims())

    assert all(tensor.is_meta for tensor in model.state_dict().values())


def test_the_prefix_is_latents_with_emotion_then_speed_then_free():
    model, latents, emotion = tiny_gpt(), torch.randn(2, 32, 16), torch.randn(2, 16)

    prefix = model.prefix(latents, emotion)

    assert prefix.shape == (2, PREFIX_ROWS, 16)
    torch.testing.assert_close(prefix[:, :32], latents + emotion[:, None])
    torch.testing.assert_close(prefix[0, 32], model.speed_emb.weight[1])
    torch.testing.assert_close(prefix[0, 33], model.speed_emb.weight[0])


def test_an_asked_duration_takes_the_place_of_the_speed_row():
    model = tiny_gpt()
    asked = model.duration_rows(torch.tensor([7]))

    prefix = model.prefix(torch.zeros(1, 32, 16), torch.zeros(1, 16), asked)

    torch.testing.assert_close(prefix[0, 32], model.mel_pos_embedding.emb.weight[7])


def test_a_dropped_duration_asks_for_nothing():
    model = tiny_gpt()

    rows = model.duration_rows(torch.tensor([7, 7]), dropped=torch.tensor([True, False]))

    torch.testing.assert_close(rows[0], model.speed_emb.weight[0])
    torch.testing.assert_close(rows[1], model.mel_pos_embedding.emb.weight[7])


@pytest.mark.parametrize(("asked", "row"), [(-3, 1), (5, 5), (10**6, 29)])
def test_a_request_is_kept_within_what_the_model_learnt(asked, row):
    model = tiny_gpt(max_code_len=30)

    got = model.requested_duration(asked)

    torch.testing.assert_close(got[0], model.mel_pos_embedding.emb.weight[row])


def test_text_is_framed_and_what_stands_behind_it_becomes_stop():
    model = tiny_gpt()

    inputs, targets = model.frame_text(torch.tensor([[5, 6, 7], [8, 9, 9]]), torch.tensor([3, 1]))

    assert inputs.tolist() == [[0, 5, 6, 7, 1], [0, 8, 1, 1, 1]]
    assert targets.tolist() == [[5, 6, 7, 1, 1], [8, 1, 1, 1, 1]]


def test_scratch_weights_are_those_of_gpt2():
    model = UnifiedVoice(tiny_dims(dim=128, num_layers=4, num_heads=4, num_codes=400))

    assert model.speed_emb.weight.abs().max() == 0
    assert model.mel_embedding.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert model.gpt.h[0].mlp.c_fc.weight.std().item() == pytest.approx(0.02, rel=0.05)
    shrunk = 0.02 / math.sqrt(2 * 4)
    assert model.gpt.h[0].mlp.c_proj.weight.std().item() == pytest.approx(shrunk, rel=0.05)
    assert model.gpt.h[3].attn.c_proj.weight.std().item() == pytest.approx(shrunk, rel=0.05)


def test_the_second_pass_has_one_state_for_each_code():
    model = tiny_gpt()

    states = model.code_latents(
        random_prefix(model), torch.tensor([[4, 5]]), torch.tensor([[1, 2, 3]])
    )

    assert states.shape == (1, 3, 16)


def test_a_prompt_of_two_code_frames_is_refused():
    with pytest.raises(DataError, match="2 code frames is too short"):
        tiny_gpt().speaker_latents(torch.zeros(1, 2, 10))


def test_a_merge_of_zero_is_the_speaker_and_of_one_the_emotion():
    model, speaker, emotion = tiny_gpt(), torch.randn(1, 9, 10), torch.randn(1, 12, 10)

    none = model.merge_emotion(speaker, emotion, 0.0)
    full = model.merge_emotion(speaker, emotion, 1.0)

    torch.testing.assert_close(none, model.emotion_vector(speaker))
    torch.testing.assert_close(full, model.emotion_vector(emotion))


def test_dropout_is_on_only_while_training():
    model, embeds = tiny_gpt(dropout=0.5), torch.randn(1, 6, 16)

    assert torch.equal(model.transform(embeds), model.transform(embeds))
    model.train()
    assert not torch.equal(model.transform(embeds), model.transform(embeds))


def test_gradient_checkpointing_gives_the_same_gradients():
    embeds, grads = torch.randn(2, 6, 16), []
    for checkpointing in (False, True):
        model = tiny_gpt(dropout=0.0).train()
        model.gradient_checkpointing = checkpointing
        model.transform(embeds).square().sum().backward()
        grads.append(model.gpt.h[0].attn.c_attn.weight.grad)

    torch.testing.assert_close(*grads)


def test_a_full_cache_refuses_another_row():
    model, cache = tiny_gpt(), KeyValueCache(num_layers=2, max_len=3)
    model.transform(torch.randn(1, 3, 16), cache=cache)

    with pytest.raises(ValueError, match="4 rows in a cache for 3"):
        model.transform(torch.randn(1, 1, 16), cache=cache)


@torch.no_grad()
def test_a_reordered_cache_goes_on_from_the_chosen_sequences():
    model, embeds, last = tiny_gpt(), torch.randn(1, 4, 16), torch.randn(3, 1, 16)
    cache = KeyValueCache(num_layers=2, max_len=6)
    model.transform(embeds, cache=cache)
    cache = cache.repeat(3)
    own = torch.randn(3, 1, 16)
    model.transform(own, cache=cache)

    cache.reorder(torch.tensor([2, 2, 0]), start=4)
    got = model.transform(last, cache=cache)

    rows = torch.cat([embeds.expand(3, -1, -1), own[[2, 2, 0]], last], dim=1)
    torch.testing.assert_close(got, model.transform(rows)[:, -1:])


@torch.no_grad()
def test_packed_sequences_do_not_see_each_other():
    model, first, second = tiny_gpt(), torch.randn(1, 3, 16), torch.randn(1, 4, 16)
    owner = torch.tensor([0, 0, 0, 1, 1, 1, 1])

    packed = model.transform(
        torch.cat([first, second], dim=1), mask=(owner[:, None] == owner)[None]
    )

    torch.testing.assert_close(packed[:, :3], model.transform(first))
    torch.testing.assert_close(packed[:, 3:], model.transform(second))
