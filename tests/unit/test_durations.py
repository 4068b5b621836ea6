from dataclasses import replace

import numpy as np
import pytest
import torch

from idiolect.data.batches import make_batch
from idiolect.data.durations import FREE, DurationDraw
from idiolect.models.gpt import FREE_ROW, SPEED_ROW
from idiolect.synthesis.sampling import GREEDY, generate
from idiolect.training.free_duration import with_free_speed
from idiolect.training.loss import embed_rows, loss_sums
from tiny_gpt import tiny_dims, tiny_gpt
from training_kit import batch, sample

DURATION_SLOT = 32


def asking(asked, *, seed=0):
    return replace(sample([5, 6], [3, 4, 7], seed=seed), asked_codes=asked)


def test_about_three_in_ten_are_left_free_and_the_others_asked_for_their_length():
    draw = DurationDraw(seed=1, epoch=0)

    asked = [draw.asked(f"clip{i}", 40) for i in range(5000)]

    assert set(asked) == {FREE, 40}
    assert asked.count(FREE) / len(asked) == pytest.approx(0.3, abs=0.02)


def test_who_is_left_free_depends_on_seed_epoch_and_target_only():
    def free(**given):
        draw = DurationDraw(**given)
        return [i for i in range(200) if draw.asked(f"clip{i}", 9) == FREE]

    first = free(seed=1, epoch=0)
    torch.rand(3), np.random.rand(3)  # noqa: NPY002 -- the global state is what must not count

    assert first == free(seed=1, epoch=0)
    assert first != free(seed=1, epoch=1)
    assert first != free(seed=2, epoch=0)


def test_nothing_is_asked_in_a_validation():
    draw = DurationDraw(seed=1, epoch=None)

    assert {draw.asked(f"clip{i}", 9) for i in range(200)} == {FREE}


def test_an_asked_sample_has_the_row_of_its_length_in_place_of_the_speed_row():
    model = tiny_gpt(conditioners=False)
    made = batch(asking(3), asking(FREE, seed=1))

    rows = embed_rows(model, made)[:, DURATION_SLOT]

    assert torch.equal(rows[0], model.mel_pos_embedding.emb.weight[3])
    assert torch.equal(rows[1], model.speed_emb.weight[FREE_ROW])


def test_a_run_without_durations_keeps_the_speed_row():
    model = tiny_gpt(conditioners=False)

    rows = embed_rows(model, batch(asking(None)))[:, DURATION_SLOT]

    assert torch.equal(rows[0], model.speed_emb.weight[SPEED_ROW])


@pytest.mark.parametrize("packed", [True, False])
def test_what_is_asked_reaches_the_loss_of_its_own_sample_only(packed):
    model = tiny_gpt(conditioners=False, dropout=0.0)

    def losses(*asked):
        made = [asking(count, seed=place) for place, count in enumerate(asked)]
        return loss_sums(model, make_batch(made, tiny_dims(), packed=packed)).codes

    alone = losses(3) + losses(FREE, FREE) - losses(FREE)

    torch.testing.assert_close(losses(3, FREE), alone)
    assert losses(3, FREE) != losses(FREE, FREE)


def test_asked_and_plain_samples_do_not_mix():
    with pytest.raises(ValueError, match="some are not"):
        batch(asking(3), asking(None))


def test_the_published_prefix_of_a_saved_model_is_the_one_that_was_learnt_free():
    model = tiny_gpt(conditioners=False)
    learnt = embed_rows(model, batch(asking(FREE)))

    saved = with_free_speed(model.state_dict())
    model.load_state_dict(saved)

    assert torch.equal(embed_rows(model, batch(asking(None))), learnt)


def test_saving_leaves_the_network_that_learns_as_it_is():
    model = tiny_gpt(conditioners=False)
    before = model.speed_emb.weight.clone()

    with_free_speed(model.state_dict())

    assert torch.equal(model.speed_emb.weight, before)


def test_the_speed_row_learns_nothing_where_durations_are_learnt():
    model = tiny_gpt(conditioners=False)

    loss_sums(model, batch(asking(3), asking(FREE, seed=1))).codes.backward()

    assert not model.speed_emb.weight.grad[SPEED_ROW].any()
    assert model.speed_emb.weight.grad[FREE_ROW].any()
    assert model.mel_pos_embedding.emb.weight.grad[3].any()


def test_a_network_learns_to_say_as_many_codes_as_it_is_asked_for():
    model = tiny_gpt(conditioners=False, dropout=0.0).train()
    same = sample([5, 6], [7])
    lens = range(2, 11)
    made = batch(*(replace(same, codes=np.full(n, 7, dtype=np.int64), asked_codes=n) for n in lens))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(250):
        (loss_sums(model, made).codes / made.codes.num_labels).backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()

    def said(asked):
        latents, emotion = (torch.from_numpy(x)[None] for x in (same.latents, same.emotion))
        prefix = model.prefix(latents, emotion, model.requested_duration(asked)).detach()
        return int(generate(model, prefix, torch.tensor([[5, 6]]), GREEDY).code_lens[0])

    assert [said(n) for n in lens] == list(lens)
