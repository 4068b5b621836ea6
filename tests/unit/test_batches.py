import torch

from idiolect.data.batches import IGNORE_INDEX, PREFIX_ROWS
from training_kit import batch, sample

START, STOP = 12, 13


def test_a_sample_is_one_contiguous_row_of_prefix_text_and_codes():
    made = batch(sample([5, 6], [3, 4, 7]))

    slots = torch.cat([made.prefix_slots.flatten(), made.text.slots, made.codes.slots])

    assert slots.tolist() == list(range(PREFIX_ROWS + 4 + 4))
    assert made.text.inputs.tolist() == [0, 5, 6, 1]
    assert made.codes.inputs.tolist() == [START, 3, 4, 7]


def test_each_token_predicts_the_next_and_the_last_text_token_nothing():
    made = batch(sample([5, 6], [3, 4]))

    assert made.text.labels.tolist() == [5, 6, 1, IGNORE_INDEX]
    assert made.codes.labels.tolist() == [3, 4, STOP]
    assert (made.text.num_labels, made.codes.num_labels) == (3, 3)


def test_rows_are_padded_at_their_end_only():
    made = batch(sample([5], [3]), sample([5, 6, 7], [3, 4, 5, 6]))

    short = PREFIX_ROWS + 3 + 2
    assert made.row_len == PREFIX_ROWS + 5 + 5
    in_first_row = [s for s in made.codes.slots.tolist() if s < made.row_len]
    assert max(in_first_row) == short - 1


def test_codes_stand_at_the_positions_of_decoding():
    assert batch(sample([5], [3, 4, 5])).codes.positions.tolist() == [0, 2, 3, 4]


def test_codes_can_stand_at_the_published_positions():
    made = batch(sample([5], [3, 4, 5]), code_positions="published")

    assert made.codes.positions.tolist() == [0, 1, 2, 3]


def test_positions_begin_anew_with_each_sample():
    made = batch(sample([5], [3]), sample([5], [3]))

    assert made.text.positions.tolist() == [0, 1, 2, 0, 1, 2]
    assert made.codes.positions.tolist() == [0, 2, 0, 2]
