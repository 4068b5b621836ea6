"""What holds for the loss of a step, however it is cut into batches."""

from __future__ import annotations

import copy

import torch
from accelerate import Accelerator
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.data.batches import PREFIX_ROWS
from idiolect.models.gpt import KeyValueCache
from idiolect.training.loss import (
    LossWeights,
    TrainableGpt,
    count_labels,
    embed_rows,
    loss_sums,
    mean_loss,
    token_logits,
    with_noisy_codes,
)
from idiolect.training.step import StepBatches, train_step
from tiny_gpt import tiny_gpt
from training_kit import SAMPLES, batch, sample

GPT = tiny_gpt(conditioners=False)
WEIGHTS = LossWeights(text=0.2, codes=0.8)
FEW = settings(max_examples=15, deadline=None)


def gradient_of(micro_batches):
    """Loss and gradient of one step that is cut into ``micro_batches``."""
    model = copy.deepcopy(GPT)
    batches = [batch(*samples) for samples in micro_batches]
    counts = count_labels(batches)
    total = 0.0
    for made in batches:
        sums = loss_sums(model, made)
        loss = mean_loss(sums.text, sums.codes, counts, WEIGHTS)
        loss.backward()
        total += loss.item()
    return total, torch.cat([p.grad.flatten() for p in model.parameters()])


@FEW
@given(SAMPLES, st.data())
def test_cutting_a_step_into_micro_batches_changes_nothing(samples, data):
    cut = data.draw(st.integers(1, len(samples) - 1))
    whole_loss, whole = gradient_of([samples])

    for micro_batches in ([[s] for s in samples], [samples[:cut], samples[cut:]]):
        loss, gradient = gradient_of(micro_batches)

        assert abs(loss - whole_loss) < 1e-5
        torch.testing.assert_close(gradient, whole, rtol=1e-4, atol=1e-6)


@FEW
@given(SAMPLES)
def test_what_a_sample_is_batched_with_changes_no_logit(samples):
    with torch.no_grad():
        together = token_logits(GPT, batch(*samples))
        alone = [token_logits(GPT, batch(one)) for one in samples]

    for kind in (0, 1):
        apart = torch.cat([logits[kind] for logits in alone])
        torch.testing.assert_close(together[kind], apart, rtol=1e-4, atol=1e-4)


@FEW
@given(SAMPLES)
@torch.no_grad()
def test_the_logits_of_training_are_those_of_decoding_step_by_step(samples):
    made = batch(samples[0])
    _, trained = token_logits(GPT, made)
    rows = embed_rows(GPT, made)
    prompt_len = PREFIX_ROWS + len(made.text.inputs)
    cache = KeyValueCache(GPT.dims.num_layers, made.row_len)

    GPT.transform(rows[:, :prompt_len], cache=cache)
    decoded = [
        GPT.mel_head(GPT.transform(GPT.embed_codes(code.view(1, 1), place.view(1, 1)), cache=cache))
        for code, place in zip(made.codes.inputs, made.codes.positions, strict=True)
    ]

    torch.testing.assert_close(torch.cat(decoded, dim=1)[0], trained, rtol=1e-4, atol=1e-4)


@FEW
@given(SAMPLES, st.integers(0, 5))
def test_a_step_depends_on_seed_and_number_and_on_nothing_before_it(samples, noise):
    def weights_after(draws: int):
        gpt = tiny_gpt(conditioners=False, dropout=0.5)
        model = TrainableGpt(gpt, code_noise=0.3).train()
        torch.rand(draws)
        optimizer = torch.optim.AdamW(model.parameters())
        made = batch(*samples)
        counts = count_labels([made])
        data = StepBatches(step=7, epoch=1, batches=[made], numbers=[0], counts=counts)
        accelerator = Accelerator(cpu=True)
        train_step(
            model,
            accelerator.prepare_optimizer(optimizer),
            data,
            accelerator,
            learning_rate=1e-3,
            weights=WEIGHTS,
            grad_clip=1.0,
            seed=3,
        )
        return model.gpt.mel_head.weight

    assert torch.equal(weights_after(0), weights_after(noise))


@FEW
@given(SAMPLES, st.floats(0, 1))
def test_noise_replaces_codes_that_are_read_and_nothing_else(samples, share):
    made, num_codes = batch(*samples), GPT.dims.start_code

    noisy = with_noisy_codes(made, share, num_codes)

    is_start = made.codes.inputs >= num_codes
    assert torch.equal(noisy.codes.inputs[is_start], made.codes.inputs[is_start])
    assert 0 <= int(noisy.codes.inputs[~is_start].min()) <= int(noisy.codes.inputs.max())
    assert int(noisy.codes.inputs[~is_start].max()) < num_codes
    assert torch.equal(noisy.codes.labels, made.codes.labels)
    assert noisy.text is made.text
    if share == 0:
        assert torch.equal(noisy.codes.inputs, made.codes.inputs)


def test_about_the_asked_share_is_replaced():
    made = batch(*[sample([2, 3], [index % 12] * 400, seed=index) for index in range(6)])
    torch.manual_seed(0)

    noisy = with_noisy_codes(made, 0.25, 12)

    changed = (noisy.codes.inputs != made.codes.inputs).float().mean().item()
    assert 0.25 * 11 / 12 - 0.04 < changed < 0.25 * 11 / 12 + 0.04  # one in 12 draws is no change


@torch.no_grad()
def test_noise_is_for_training_alone():
    made = batch(sample([2, 3, 4], [5, 6, 7] * 9, seed=1))
    noisy, plain = (TrainableGpt(GPT, code_noise=share) for share in (0.9, 0.0))
    assert noisy.eval()(made).codes == plain.eval()(made).codes
    assert noisy.train()(made).codes != plain.train()(made).codes
