from __future__ import annotations

import logging
import math
from dataclasses import replace

import pytest
import torch

from idiolect.base.errors import ConfigError, SynthesisError
from idiolect.base.log import LOGGER_NAME
from idiolect.models.gpt import decode_positions
from idiolect.synthesis.sampling import (
    GREEDY,
    SamplingSettings,
    generate,
    generate_codes,
    keep_top_k,
    keep_top_p,
    keep_typical,
    penalize,
    process_scores,
    prompt_rows,
)
from tiny_gpt import random_prefix, tiny_dims, tiny_gpt

STOP = tiny_dims().stop_code
NEVER_STOP = {STOP: -1e4}
TEXT = torch.tensor([[5, 9, 4]])
NOTHING_SEEN = torch.zeros(1, 4, dtype=torch.bool)


@pytest.fixture
def model():
    return tiny_gpt()


def biased(model, logits: dict[int, float]):
    """Let the model score some codes so high or low that nothing else counts."""
    with torch.no_grad():
        for code, value in logits.items():
            model.mel_head.bias[code] = value
    return model


def scores(*values: float) -> torch.Tensor:
    return torch.tensor([values])


def test_the_defaults_are_the_published_ones():
    assert SamplingSettings() == SamplingSettings(
        do_sample=True,
        temperature=0.8,
        top_k=30,
        top_p=0.8,
        num_beams=3,
        repetition_penalty=10.0,
        length_penalty=0.0,
        max_codes=1500,
        typical_mass=None,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 0.0),
        ("top_k", -1),
        ("top_p", 0.0),
        ("top_p", 1.5),
        ("num_beams", 0),
        ("repetition_penalty", 0.0),
        ("max_codes", 0),
        ("typical_mass", 1.0),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(name, value):
    with pytest.raises(ConfigError, match=f"{name} {value} is out of range"):
        SamplingSettings(**{name: value})


def test_a_penalty_lowers_what_was_seen_once_whatever_its_sign():
    seen = torch.tensor([[True, True, False, False]])

    got = penalize(scores(-1.0, 2.0, -1.0, 2.0), seen, 10.0)

    assert got.tolist() == [pytest.approx([-10.0, 0.2, -1.0, 2.0])]


def test_top_k_keeps_the_highest_and_their_equals():
    got = keep_top_k(scores(1.0, 3.0, 2.0, 2.0), 2)

    assert got.tolist() == [[-math.inf, 3.0, 2.0, 2.0]]


def test_a_top_k_beyond_the_codes_keeps_all():
    assert keep_top_k(scores(1.0, 2.0), 30).tolist() == [[1.0, 2.0]]


def test_top_p_keeps_the_smallest_set_that_holds_the_share():
    shares = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()

    got = keep_top_p(shares, 0.7, 1)

    assert got.isfinite().tolist() == [[True, True, False, False]]


def test_top_p_keeps_the_best_two_for_beams():
    shares = torch.tensor([[0.96, 0.02, 0.01, 0.01]]).log()

    assert keep_top_p(shares, 0.5, 2).isfinite().tolist() == [[True, True, False, False]]


def test_typical_keeps_what_is_as_surprising_as_expected():
    # Expected surprise is near that of the middle code: the likeliest is too plain.
    shares = torch.tensor([[0.5, 0.24, 0.24, 0.02]]).log()

    got = keep_typical(shares, 0.4, 1)

    assert got.isfinite().tolist() == [[False, True, True, False]]


@pytest.mark.parametrize("min_kept", [1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_the_filters_agree_with_those_of_transformers(seed, min_kept):
    from transformers.generation import logits_process as theirs

    logits = 3 * torch.randn(5, 40, generator=torch.Generator().manual_seed(seed))
    ids = torch.zeros(5, 1, dtype=torch.long)

    for ours, other in (
        (keep_top_k(logits, 7), theirs.TopKLogitsWarper(7)),
        (keep_top_p(logits, 0.6, min_kept), theirs.TopPLogitsWarper(0.6, -math.inf, min_kept)),
        (keep_typical(logits, 0.3, min_kept), theirs.TypicalLogitsWarper(0.3, -math.inf, min_kept)),
    ):
        assert torch.equal(ours, other(ids, logits))


def test_temperature_and_filters_count_only_when_codes_are_drawn():
    given = scores(1.0, 2.0, 3.0, 4.0)
    greedy = replace(GREEDY, temperature=0.1, top_k=1)

    assert torch.equal(process_scores(given, NOTHING_SEEN, greedy), given)
    drawn = process_scores(given, NOTHING_SEEN, replace(greedy, do_sample=True))
    assert drawn.isfinite().sum() == 1


def test_start_and_stop_ids_in_a_text_are_left_out(model):
    plain, _ = prompt_rows(model, random_prefix(model), torch.tensor([[5, 9]]))

    framed, mask = prompt_rows(model, random_prefix(model), torch.tensor([[0, 5, 1, 9, 1]]))

    assert mask is None
    torch.testing.assert_close(plain, framed)


def test_shorter_texts_are_padded_with_masked_zeros_at_the_left(model):
    rows, mask = prompt_rows(model, random_prefix(model, 2), torch.tensor([[5, 9, 4], [5, 1, 1]]))

    assert rows.shape == (2, 34 + 5, 16)
    assert mask.sum(dim=1).tolist() == [39, 37]
    assert rows[1, :2].abs().max() == 0
    torch.testing.assert_close(rows[1, 2:36], random_prefix(model, 2)[1])


def test_a_text_longer_than_the_position_table_is_refused(model):
    too_long = torch.full((1, model.dims.max_text_len + 1), 5)

    with pytest.raises(SynthesisError, match="a segment of 13 tokens"):
        generate(model, random_prefix(model), too_long, GREEDY)


@pytest.mark.parametrize("num_beams", [1, 3])
def test_the_same_seed_gives_the_same_codes(model, num_beams):
    chosen = SamplingSettings(num_beams=num_beams, max_codes=20, repetition_penalty=1.0)

    def codes(seed: int) -> list[int]:
        numbers = torch.Generator().manual_seed(seed)
        return generate_codes(model, random_prefix(model), TEXT, chosen, numbers)[0].tolist()

    assert codes(1) == codes(1)
    assert len({tuple(codes(seed)) for seed in range(8)}) > 1


@pytest.mark.parametrize("num_beams", [1, 3])
def test_a_model_that_stops_at_once_says_nothing(model, num_beams):
    chosen = SamplingSettings(num_beams=num_beams, do_sample=False)

    found = generate(biased(model, {STOP: 100.0}), random_prefix(model), TEXT, chosen)

    assert found.codes.tolist() == [[STOP]]
    assert found.code_lens.tolist() == [0]
    assert generate_codes(model, random_prefix(model), TEXT, chosen).shape == (1, 0)


@pytest.mark.parametrize("num_beams", [1, 2])
def test_speech_without_end_is_cut_where_the_positions_end_and_says_so(model, num_beams, caplog):
    endless = biased(model, NEVER_STOP)
    chosen = replace(GREEDY, num_beams=num_beams)

    with caplog.at_level(logging.WARNING, logger=LOGGER_NAME):
        codes = generate_codes(endless, random_prefix(model), TEXT, chosen)

    assert codes.shape == (1, model.dims.code_positions - 2)
    assert "cut after 31 codes" in caplog.text
    assert model.code_latents(random_prefix(model), TEXT, codes).shape[1] == 31


def test_the_limit_counts_the_stop_code(model):
    found = generate(
        biased(model, NEVER_STOP), random_prefix(model), TEXT, replace(GREEDY, max_codes=4)
    )

    assert found.codes.shape == (1, 4)
    assert not found.is_finished.any()


def test_the_penalty_hits_code_one_before_it_was_ever_said(model):
    penalised = biased(model, {1: 20.0, 2: 19.0} | NEVER_STOP)

    def first(penalty: float) -> int:
        chosen = replace(GREEDY, repetition_penalty=penalty, max_codes=1)
        return int(generate(penalised, random_prefix(model), TEXT, chosen).codes[0, 0])

    assert first(1.0) == 1
    assert first(2.0) == 2


def test_beams_find_what_greedy_decoding_misses():
    """Over all seeds the best beam is never worse than the greedy path, and sometimes better."""
    better = 0
    for seed in range(6):
        model = biased(tiny_gpt(seed=seed), NEVER_STOP)
        chosen = replace(GREEDY, max_codes=5)
        greedy = generate(model, random_prefix(model), TEXT, chosen).codes
        found = generate(model, random_prefix(model), TEXT, replace(chosen, num_beams=14))
        assert found.score == pytest.approx(path_score(model, found.codes), abs=1e-4)
        assert found.score >= path_score(model, greedy) - 1e-4
        better += found.score > path_score(model, greedy) + 1e-4
    assert better


@torch.no_grad()
def path_score(model, codes: torch.Tensor) -> float:
    """The summed log-probability of ``codes``, each step computed anew without a cache."""
    prompt, _ = prompt_rows(model, random_prefix(model), TEXT)
    inputs = torch.cat([torch.tensor([[model.dims.start_code]]), codes[:, :-1]], dim=1)
    embeds = model.embed_codes(inputs, decode_positions(inputs.shape[1]))
    states = model.transform(torch.cat([prompt, embeds], dim=1))[:, prompt.shape[1] :]
    return model.mel_head(states).log_softmax(-1).gather(-1, codes[..., None]).sum().item()


def test_a_finished_row_of_a_batch_is_filled_with_stops(model):
    texts = torch.tensor([[5, 9, 4], [7, 2, 1]])
    chosen = SamplingSettings(do_sample=False, num_beams=1, max_codes=25)

    found = generate(model, random_prefix(model, 2), texts, chosen)

    for row, count in zip(found.codes.tolist(), found.code_lens.tolist(), strict=True):
        assert set(row[count:]) <= {STOP}


@pytest.mark.parametrize("num_beams", [1, 3])
@pytest.mark.parametrize("do_sample", [False, True])
def test_the_start_code_is_never_said_however_likely(model, num_beams, do_sample):
    model = biased(model, {**NEVER_STOP, model.dims.start_code: 50.0})
    chosen = SamplingSettings(
        do_sample=do_sample, num_beams=num_beams, repetition_penalty=1.0, max_codes=6
    )

    found = generate(model, random_prefix(model), TEXT, chosen, torch.Generator().manual_seed(0))

    assert model.dims.start_code not in found.codes


def test_a_model_in_training_mode_does_not_decode(model):
    with pytest.raises(ValueError, match="training mode"):
        generate(model.train(), random_prefix(model), TEXT, GREEDY)


def test_beams_follow_one_sequence_only(model):
    with pytest.raises(ValueError, match="one sequence, not 2"):
        generate(model, random_prefix(model, 2), TEXT.repeat(2, 1), SamplingSettings())
