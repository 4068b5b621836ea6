"""What holds for every sequence that the GPT is given."""

from __future__ import annotations

import copy

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.models.gpt import KeyValueCache, decode_positions
from idiolect.synthesis.sampling import GREEDY, SamplingSettings, generate
from tiny_gpt import random_prefix, tiny_gpt

MODEL = tiny_gpt().requires_grad_(False)
FEW = settings(max_examples=25, deadline=None)
CODES = st.lists(st.integers(0, 11), min_size=1, max_size=12)
TEXT = st.lists(st.integers(2, 20), min_size=1, max_size=10)


@FEW
@given(changed=st.integers(0, 11))
def test_a_row_never_sees_what_comes_later(changed):
    rows = torch.randn(1, 12, 16, generator=torch.Generator().manual_seed(changed))
    other = rows.clone()
    other[:, changed, 0] += 1.0

    before, after = MODEL.transform(rows), MODEL.transform(other)

    torch.testing.assert_close(before[:, :changed], after[:, :changed], rtol=0, atol=0)
    assert not torch.allclose(before[:, changed:], after[:, changed:])


@FEW
@given(cuts=st.sets(st.integers(1, 11)))
def test_a_sequence_in_pieces_with_a_cache_equals_the_whole(cuts):
    rows = torch.randn(2, 12, 16, generator=torch.Generator().manual_seed(len(cuts)))
    cache = KeyValueCache(num_layers=2, max_len=12)
    pieces = rows.tensor_split(sorted(cuts), dim=1)

    got = torch.cat([MODEL.transform(piece, cache=cache) for piece in pieces], dim=1)

    torch.testing.assert_close(got, MODEL.transform(rows), rtol=1e-5, atol=1e-5)


@FEW
@given(text=TEXT, codes=CODES)
def test_training_logits_equal_the_logits_of_decoding_step_by_step(text, codes):
    """Train what you infer: same rows, same positions, no padding in between."""
    prefix, dims = random_prefix(MODEL), MODEL.dims
    text_inputs, _ = MODEL.frame_text(torch.tensor([text]))
    code_inputs = torch.tensor([[dims.start_code, *codes]])
    embeds = MODEL.embed_codes(code_inputs, decode_positions(code_inputs.shape[1]))
    prompt = torch.cat([prefix, MODEL.embed_text(text_inputs)], dim=1)

    states = MODEL.transform(torch.cat([prompt, embeds], dim=1))[:, prompt.shape[1] :]
    cache = KeyValueCache(num_layers=2, max_len=prompt.shape[1] + embeds.shape[1])
    MODEL.transform(prompt, cache=cache)
    steps = [MODEL.transform(embed, cache=cache) for embed in embeds.split(1, dim=1)]

    torch.testing.assert_close(
        MODEL.mel_head(torch.cat(steps, dim=1)), MODEL.mel_head(states), rtol=1e-5, atol=1e-5
    )


@FEW
@given(text=TEXT)
def test_greedy_codes_are_the_likeliest_of_teacher_forcing(text):
    """A decoder with a wrong position, mask or shift would say something else."""
    prefix, ids = random_prefix(MODEL), torch.tensor([text])
    codes = generate(MODEL, prefix, ids, GREEDY).codes
    inputs = torch.cat([torch.tensor([[MODEL.dims.start_code]]), codes[:, :-1]], dim=1)
    prompt = torch.cat([prefix, MODEL.embed_text(MODEL.frame_text(ids)[0])], dim=1)
    embeds = MODEL.embed_codes(inputs, decode_positions(inputs.shape[1]))

    states = MODEL.transform(torch.cat([prompt, embeds], dim=1))[:, prompt.shape[1] :]

    assert torch.equal(MODEL.mel_head(states).argmax(-1), codes)


@FEW
@given(texts=st.lists(TEXT, min_size=2, max_size=4))
def test_a_text_decodes_alone_as_it_does_beside_longer_ones(texts):
    chosen = SamplingSettings(do_sample=False, num_beams=1, max_codes=10)
    prefix = random_prefix(MODEL, len(texts))
    longest = max(len(text) for text in texts)
    padded = torch.tensor([[*text, *[1] * (longest - len(text))] for text in texts])

    together = generate(MODEL, prefix, padded, chosen)

    for row, text in enumerate(texts):
        alone = generate(MODEL, prefix[row : row + 1], torch.tensor([text]), chosen)
        count = int(together.code_lens[row])
        assert count == int(alone.code_lens[0])
        assert torch.equal(together.codes[row, :count], alone.codes[0, :count])


@FEW
@given(rows=st.integers(2, 8), padding=st.integers(1, 5))
def test_zeros_at_the_left_change_nothing_when_masked(rows, padding):
    embeds = torch.randn(1, rows, 16, generator=torch.Generator().manual_seed(rows))
    padded = torch.cat([torch.zeros(1, padding, 16), embeds], dim=1)
    mask = torch.arange(rows + padding)[None] >= padding

    got = MODEL.transform(padded, mask=mask)

    assert got.isfinite().all()
    torch.testing.assert_close(got[:, padding:], MODEL.transform(embeds), rtol=1e-5, atol=1e-5)


@FEW
@given(frames=st.integers(3, 12), padding=st.integers(1, 6))
def test_frames_beyond_the_length_change_no_condition(frames, padding):
    # In float64: a random perceiver, which has no norms, makes much of float32's rounding.
    model, numbers = copy.deepcopy(MODEL).double(), torch.Generator().manual_seed(frames)
    features = torch.randn(1, frames, 10, generator=numbers, dtype=torch.double)
    noise = 9 * torch.randn(1, padding, 10, generator=numbers, dtype=torch.double)
    padded, lens = torch.cat([features, noise], dim=1), torch.tensor([frames])

    torch.testing.assert_close(model.speaker_latents(padded, lens), model.speaker_latents(features))
    torch.testing.assert_close(model.emotion_vector(padded, lens), model.emotion_vector(features))
