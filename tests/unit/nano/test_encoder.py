"""The encoder of nano: fast layers that equal the published ones, spelling, training, files."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import Wav2Vec2BertConfig, Wav2Vec2BertModel

from idiolect.audio.resample import resample_22k_to_16k
from idiolect.base.errors import CheckpointError
from idiolect.listening.recogniser import HEAD_FILE, WEIGHTS_FILE, Recogniser, cer
from idiolect.listening.spelling import ALPHABET, from_rows, spelling, to_rows
from idiolect.listening.swift import hidden_states
from idiolect.models.checkpoint import load_tensors
from idiolect.models.semantic import SemanticEncoder, semantic_state
from idiolect.nano.encoder import (
    SKETCH_BANDS,
    Speller,
    Variation,
    ctc_loss,
    disturbed,
    in_another_voice,
    sketch,
    train_encoder,
)
from idiolect.nano.sounds import Batches, open_sounds
from idiolect.nano.stage import Pace
from tone_speech import (
    LETTER_SEC,
    TEXTS,
    TINY_READ_LAYER,
    TINY_SEMANTIC,
    tiny_encoder_config,
    tone_speech,
    write_tone_corpus,
)

SHORTER_THAN_TABLE, LONGER_THAN_TABLE = 3, 40


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tone_corpus(tmp_path_factory.mktemp("tones"))


@pytest.mark.parametrize("T", [SHORTER_THAN_TABLE, 9, 12, 13, LONGER_THAN_TABLE])
def test_swift_layers_give_the_states_and_gradients_of_the_published_ones(T: int) -> None:
    torch.manual_seed(T)
    no_chance = {"attention_dropout": 0.0, "conformer_conv_dropout": 0.0}
    config = {**TINY_SEMANTIC, **no_chance, "apply_spec_augment": False}
    network = Wav2Vec2BertModel(Wav2Vec2BertConfig(**config)).double().train()
    inputs = torch.randn(2, T, 160, dtype=torch.double)
    mask = torch.ones(2, T, dtype=torch.bool)
    mask[1, T - 1 :] = False
    weight = torch.randn(2, T, 32, dtype=torch.double) * mask[..., None]

    wanted = network(inputs, attention_mask=mask).last_hidden_state
    (wanted * weight).sum().backward()
    gradients = {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
    network.zero_grad()
    found = hidden_states(network, inputs, mask)
    (found[-1] * weight).sum().backward()

    assert len(found) == TINY_SEMANTIC["num_hidden_layers"] + 1
    torch.testing.assert_close(found[-1][mask], wanted[mask], rtol=1e-9, atol=1e-9)
    for name, parameter in network.named_parameters():
        if name in gradients:
            torch.testing.assert_close(
                parameter.grad, gradients[name], rtol=1e-6, atol=1e-8, msg=lambda m, n=name: n + m
            )


@pytest.mark.parametrize(
    ("text", "language", "letters"),
    [
        ("L'any 2, col·legi!", "ca", "l'any dos col·legi"),
        ("¿Qué hora es? — Las 3.", "es", "qué hora es las tres"),
        ("Rock-'n'-roll, 'quoted' text…", "en", "rock-'n'-roll quoted text"),
    ],
)
def test_spelling_reads_numbers_and_leaves_out_punctuation(
    text: str, language: str, letters: str
) -> None:
    assert spelling(text, language) == letters
    assert spelling(letters, language) == letters


def test_every_letter_survives_the_way_to_rows_and_back() -> None:
    text = f"a{ALPHABET}z".replace(" ", "")
    frames = [row for row in to_rows(text) for _ in range(2)]
    assert from_rows(frames) == text
    assert from_rows([0, 3, 3, 0, 3, 0]) == ALPHABET[2] * 2


def test_cer_counts_letters_of_the_spelled_texts() -> None:
    assert cer("¡Casa 2!", "casa dos", "es") == 0.0
    assert cer("casa", "caza", "es") == pytest.approx(0.25)
    assert cer("casa", "", "es") == 1.0


def test_batches_hold_every_clip_once_an_epoch_in_another_order_each_time() -> None:
    lengths = [50 + 7 * number % 90 for number in range(60)]
    batches = Batches(lengths, batch_sec=10.0, seed=1)
    epochs = [
        [batches.of_step(epoch * batches.per_epoch + step + 1) for step in range(batches.per_epoch)]
        for epoch in range(2)
    ]
    for epoch in epochs:
        assert sorted(index for batch in epoch for index in batch) == list(range(60))
    assert epochs[0] != epochs[1]
    assert Batches(lengths, batch_sec=10.0, seed=1).of_step(3) == epochs[0][2]


def test_variation_keeps_the_shape_and_is_decided_by_chance_alone() -> None:
    inputs, lens = torch.randn(3, 40, 160), torch.tensor([40, 30, 20])
    first, new_lens = in_another_voice(inputs, lens, torch.Generator().manual_seed(1))
    again, _ = in_another_voice(inputs, lens, torch.Generator().manual_seed(1))
    assert torch.equal(first, again)
    holed = [disturbed(first, new_lens, torch.Generator().manual_seed(1)) for _ in range(2)]
    assert torch.equal(*holed)
    assert holed[0].shape == first.shape
    assert first.shape == (3, int(new_lens.max()), 160)
    assert (new_lens.double() / lens).max() <= 1 + Variation().pace


def test_no_variation_changes_nothing() -> None:
    inputs, lens = torch.randn(2, 20, 160), torch.tensor([20, 20])
    nothing = Variation(
        warp=0, shift_bands=0, pace=0, noise=0, masks=0, masked_frames=0, masked_bands=0
    )
    varied, new_lens = in_another_voice(inputs, lens, torch.Generator(), nothing)
    torch.testing.assert_close(varied, inputs)
    assert torch.equal(new_lens, lens)
    assert torch.equal(disturbed(inputs, lens, torch.Generator(), nothing), inputs)


def test_a_sketch_says_how_loud_each_part_of_the_bands_is_in_each_code_frame() -> None:
    inputs = torch.zeros(1, 3, 2, 80)
    inputs[0, 1, :, 5:10] = 1.0
    wanted = torch.zeros(1, 3, SKETCH_BANDS)
    wanted[0, 1, 1] = 1.0
    torch.testing.assert_close(sketch(inputs.view(1, 3, 160)), wanted)


def test_a_clip_too_short_for_its_text_costs_nothing() -> None:
    logits = torch.randn(1, 2, len(ALPHABET) + 1, requires_grad=True)
    loss = ctc_loss(logits, torch.tensor([2]), [torch.tensor([1, 2, 3])])
    assert loss.item() == 0.0


def test_the_filter_banks_are_computed_again_when_the_manifest_changes(tmp_path: Path) -> None:
    manifest = write_tone_corpus(tmp_path, TEXTS[:2])
    first = open_sounds(manifest, tmp_path / "cache")
    again = open_sounds(write_tone_corpus(tmp_path), tmp_path / "cache")
    assert (len(first), len(again)) == (2, len(TEXTS))
    assert again.num_frames(0) == pytest.approx(len("abc") * LETTER_SEC * 50, abs=2)
    torch.testing.assert_close(again.clip(0), first.clip(0))


def test_a_stopped_training_goes_on_to_the_same_weights(manifest: Path, tmp_path: Path) -> None:
    whole = train_encoder(manifest, tmp_path / "whole", tiny_encoder_config(6))
    config = tiny_encoder_config(6)
    # The rate of a step depends on the length, so the stop is one that leaves the length alone.
    stopping = replace(config, pace=replace(config.pace, save_every_sec=0.0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("idiolect.nano.encoder.in_another_voice", _fails_at(4))
        with pytest.raises(KeyboardInterrupt):
            train_encoder(manifest, tmp_path / "stopped", stopping)
    resumed = train_encoder(manifest, tmp_path / "stopped", config)
    for file in (WEIGHTS_FILE, HEAD_FILE):
        assert (whole / file).read_bytes() == (resumed / file).read_bytes()


def _fails_at(call: int):
    calls = []

    def failing(*arguments):
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return in_another_voice(*arguments)

    return failing


@pytest.mark.slow
def test_a_trained_recogniser_spells_tones_and_its_files_are_the_published_ones(
    manifest: Path, tmp_path: Path
) -> None:
    train_encoder(manifest, tmp_path, tiny_encoder_config(240))
    folder = train_encoder(manifest, tmp_path, tiny_encoder_config(250))  # a line of its own
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["loss"] < 0.7
    audios = [resample_22k_to_16k(torch.from_numpy(tone_speech(text))[None])[0] for text in TEXTS]
    heard = Recogniser(folder).transcribe(audios)
    assert sum(cer(text, found, "es") for text, found in zip(TEXTS, heard, strict=True)) < 0.6

    weights = load_tensors(folder / WEIGHTS_FILE)
    stats = {"mean": torch.zeros(32), "var": torch.ones(32)}
    encoder = SemanticEncoder(json.loads((folder / "config.json").read_text()), TINY_READ_LAYER)
    encoder.load_state_dict(semantic_state(weights, stats, TINY_READ_LAYER))
    features, lens = encoder.eval()(audios[:2])
    states, _ = Recogniser(folder).states(audios[:2])
    rows = slice(0, int(lens.min()) - 1)
    torch.testing.assert_close(
        features[:, rows], states[TINY_READ_LAYER][:, rows], rtol=1e-4, atol=1e-4
    )


def test_a_semantic_encoder_without_head_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no head"):
        Recogniser(tmp_path)


@pytest.mark.parametrize("output", [1, 2])
def test_the_side_head_and_the_sketch_hear_the_layer_that_is_read(output: int) -> None:
    speller = Speller(TINY_SEMANTIC, TINY_READ_LAYER)
    outputs = speller(torch.randn(1, 10, 160), torch.ones(1, 10, dtype=torch.bool))
    outputs[output].sum().backward()
    touched = [
        all(p.grad is not None for p in layer.parameters())
        for layer in speller.network.encoder.layers
    ]
    assert touched == [True, True, False]


def test_an_encoder_begins_with_the_weights_that_lie_in_its_folder(
    manifest: Path, tmp_path: Path
) -> None:
    first = train_encoder(manifest, tmp_path / "first", tiny_encoder_config(10))
    shutil.copytree(first, tmp_path / "second" / first.name)
    barely = Pace(total_steps=1, learning_rate=1e-9, warmup_steps=1)
    second = train_encoder(
        manifest, tmp_path / "second", replace(tiny_encoder_config(10), pace=barely)
    )
    for name in (WEIGHTS_FILE, HEAD_FILE):
        before, after = (load_tensors(folder / name) for folder in (first, second))
        for key, tensor in before.items():
            torch.testing.assert_close(after[key], tensor, rtol=0, atol=1e-6)
