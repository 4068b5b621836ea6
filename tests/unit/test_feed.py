import pytest
import torch

from idiolect.data.samples import sample_len
from idiolect.training.feed import Share, ahead
from idiolect.training.loss import count_labels, loss_sums
from tiny_gpt import tiny_gpt
from training_kit import CLIPS, small_feed


def targets(step):
    return [ref.target for ref in step.refs]


@pytest.mark.parametrize("given", [{"batch_size": 3}, {"tokens_per_step": 130}])
def test_a_run_can_be_entered_at_any_step(given):
    made = small_feed(**given)
    last = 3 * made.steps_per_epoch
    whole = [targets(step) for step in made.steps(1, last)]

    for first in range(1, last + 1):
        assert [targets(step) for step in made.steps(first, last)] == whole[first - 1 :]


@pytest.mark.parametrize("given", [{"batch_size": 3}, {"tokens_per_step": 130}])
def test_an_epoch_has_every_clip_once(given):
    made = small_feed(**given)

    for epoch in range(3):
        first = epoch * made.steps_per_epoch + 1
        steps = list(made.steps(first, first + made.steps_per_epoch - 1))
        assert sorted(t for step in steps for t in targets(step)) == sorted(CLIPS)
        assert {step.epoch for step in steps} == {epoch + 1}


def test_steps_have_about_as_many_tokens_as_were_asked_for():
    made = small_feed(tokens_per_step=130)
    steps = made.steps(1, made.steps_per_epoch)
    rows = [sum(sample_len(made.train, ref) for ref in step.refs) for step in steps]

    assert made.tokens_per_step == 130
    assert all(abs(count - 130) < 60 for count in rows)


def test_auto_leaves_a_small_corpus_one_clip_a_step_at_least():
    made = small_feed(tokens_per_step="auto")

    assert made.steps_per_epoch == len(CLIPS)


@pytest.mark.parametrize("count", [2, 3, 10])
def test_processes_share_out_the_passes_and_lose_none(count):
    alone = next(small_feed(batch_size=8).steps(1, 1))
    parts = [
        next(small_feed(batch_size=8, share=Share(index=i, count=count)).steps(1, 1))
        for i in range(count)
    ]

    numbers = [number for part in parts for number in part.numbers]
    learnt = [count_labels(part.batches) for part in parts]
    assert sorted(numbers) == list(range(len(numbers)))
    assert len({len(part.batches) for part in parts}) == 1
    assert all(part.counts == alone.counts for part in parts)
    assert sum(each.text for each in learnt) == alone.counts.text
    assert sum(each.codes for each in learnt) == alone.counts.codes


def test_a_pass_without_a_clip_learns_nothing():
    made = small_feed(batch_size=1, share=Share(index=1, count=2))
    (step,) = made.steps(1, 1)
    gpt = tiny_gpt(conditioners=False)

    sums = loss_sums(gpt, step.batches[0])
    (sums.text + sums.codes).backward()

    assert sums.text == sums.codes == 0
    assert all(torch.count_nonzero(p.grad) == 0 for p in gpt.parameters() if p.grad is not None)


def test_a_step_cut_anew_has_smaller_passes_and_the_same_clips():
    made = small_feed(batch_size=8)
    (step,) = made.steps(1, 1)

    smaller = made.recut(step, 100)

    assert len(smaller.batches) > len(step.batches)
    assert smaller.counts == step.counts == count_labels(smaller.batches)
    assert targets(smaller) == targets(step)


def test_a_validation_goes_language_by_language_and_is_always_the_same():
    made = small_feed()
    first, second = (list(made.validation()) for _ in range(2))

    assert [language for language, _, _ in first] == ["ca"]
    assert count_labels(first[0][1]) == first[0][2]
    assert torch.equal(first[0][1][0].codes.inputs, second[0][1][0].codes.inputs)


@pytest.mark.parametrize("num_threads", [0, 1, 3])
def test_what_is_made_ahead_comes_in_order(num_threads):
    made = list(ahead(lambda n: n * n, range(20), num_threads=num_threads))

    assert made == [n * n for n in range(20)]


def test_an_error_ahead_comes_to_who_asked():
    def broken(number):
        return 1 / (3 - number)

    coming = ahead(broken, range(10), num_threads=2)

    assert [next(coming) for _ in range(3)]
    with pytest.raises(ZeroDivisionError):
        next(coming)
