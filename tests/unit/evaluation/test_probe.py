"""The base of the package speaks two of its own sentences, and is measured."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from idiolect.audio.io import probe_audio
from idiolect.base.errors import ConfigError, DataError, GuardError
from idiolect.base.places import SHIPPED_DIR
from idiolect.base.units import SAMPLE_RATE
from idiolect.data.manifest import SourceSpec, read_manifest, write_manifest
from idiolect.data.samples import read_source
from idiolect.evaluation.probe import SpokenProbe, decode, make_probe
from idiolect.models.gpt import UnifiedVoice
from idiolect.models.loading import load_gpt
from idiolect.models.published import BaseFiles, locate_base
from idiolect.text.tokenizer import Tokenizer
from idiolect.training.config import TrainConfig
from idiolect.training.probing import ProbeScores

CLIPS = SHIPPED_DIR.parent / "catalan" / "base_languages"
SHORT = ("us3_030", "us3_033", "us3_036")
"""Of one second each."""
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def files() -> BaseFiles:
    return locate_base(SHIPPED_DIR)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    """A manifest of three short clips in English."""
    path = tmp_path_factory.mktemp("clips") / "val.jsonl"
    write_manifest(path, [c for c in read_manifest(CLIPS / "train.jsonl") if c.id in SHORT])
    return path


def make(files: BaseFiles, manifest: Path, **given):
    config = TrainConfig(probe_manifest=(str(manifest),), probe_sentences=2)
    return make_probe(replace(config, **given), files, Tokenizer.load(files.tokenizer), [], CPU)


def trained(files: BaseFiles) -> UnifiedVoice:
    """Return the GPT as training has it: without conditioners, dropping activations."""
    gpt = load_gpt(files.gpt, files.config.gpt, conditioners=False, dropout=0.5)
    return gpt.train()


@pytest.fixture(scope="module")
def probe(files, manifest) -> SpokenProbe:
    return make(files, manifest, asr="nano")


@pytest.fixture(scope="module")
def run(probe, files, tmp_path_factory) -> tuple[Path, ProbeScores]:
    """Where the base spoke, and how it was measured."""
    folder = tmp_path_factory.mktemp("run")
    return folder, probe.measure(trained(files), 7, folder)


def test_the_base_is_understood_in_its_language_and_sounds_like_its_prompt(run):
    scores = run[1].languages["en"]

    assert scores.sentences == 2
    assert scores.cer < 0.25
    assert scores.similarity > 0.4
    assert (scores.leak_rate, scores.missing_end_rate) == (0.0, 0.0)
    assert 0.7 < scores.rate_ratio < 2.0


def test_sounds_and_what_was_heard_in_them_are_kept(run):
    folder, scores = run
    own = folder / "samples" / "step7"
    lines = [json.loads(line) for line in (own / "spoken.jsonl").read_text("utf-8").splitlines()]
    lengths = [probe_audio(own / line["sound"]).duration_sec for line in lines]

    assert [line["sound"] for line in lines] == ["en/001.wav", "en/002.wav"]
    assert sum(lengths) / 2 == pytest.approx(scores.languages["en"].duration_sec)
    assert {line["prompt"] for line in lines} <= set(SHORT)


def test_measuring_again_gives_the_same_and_leaves_training_as_it_was(probe, files, run, tmp_path):
    gpt = trained(files)
    gpt.text_head.eval()
    modes = [part.training for part in gpt.modules()]
    torch.manual_seed(3)
    chance = torch.get_rng_state()

    scores = probe.measure(gpt, 7, tmp_path)

    assert scores == run[1]
    assert torch.equal(torch.get_rng_state(), chance)
    assert [part.training for part in gpt.modules()] == modes
    assert all(p.grad is None and p.requires_grad for p in gpt.parameters())


def test_a_model_that_mixes_up_its_pieces_is_not_understood(probe, files, tmp_path):
    gpt = trained(files)
    with torch.no_grad():
        gpt.text_embedding.weight.copy_(gpt.text_embedding.weight.roll(7, dims=0))

    assert probe.measure(gpt, 0, tmp_path).languages["en"].cer > 0.5


def test_a_model_that_never_stops_is_cut(probe, files):
    gpt = trained(files).eval()
    with torch.no_grad():
        gpt.mel_head.bias[gpt.dims.stop_code] = -1e4
    sentence = probe.set.sentences[0]
    prompt = probe._prompts[sentence.key]

    (spoken,) = decode(gpt, [sentence], [prompt], probe._sampling)

    assert spoken.codes.shape == (1, sentence.most_codes)
    assert not spoken.is_ended


def test_the_end_of_the_positions_is_no_end_either(probe, files):
    gpt = trained(files).eval()
    with torch.no_grad():
        gpt.mel_head.bias[gpt.dims.stop_code] = -1e4
    sentence = probe.set.sentences[0]
    prompt = probe._prompts[sentence.key]
    short = replace(probe._sampling, max_codes=20)

    (spoken,) = decode(gpt, [sentence], [prompt], short)

    assert (spoken.codes.shape[1], spoken.is_ended) == (20, False)


def test_a_model_that_says_nothing_has_all_letters_wrong_and_no_sound(probe, files, tmp_path):
    gpt = trained(files)
    with torch.no_grad():
        gpt.mel_head.bias[gpt.dims.stop_code] = 1e4

    scores = probe.measure(gpt, 0, tmp_path).languages["en"]

    assert (scores.cer, scores.similarity, scores.duration_sec) == (1.0, None, 0.0)
    assert not list(tmp_path.rglob("*.wav"))


def test_a_sentence_is_spoken_alike_whoever_is_spoken_beside_it(probe, files):
    gpt = load_gpt(files.gpt, files.config.gpt)
    sentences = probe.set.sentences
    prompts = [probe._prompts[sentence.key] for sentence in sentences]

    together = decode(gpt, sentences, prompts, probe._sampling)
    alone = decode(gpt, sentences[1:], prompts[1:], probe._sampling)

    assert torch.equal(together[1].codes, alone[0].codes)


def test_without_a_listener_voice_pace_and_ends_are_measured(probe, files, tmp_path, run):
    silent = SpokenProbe(
        probe.set, list(probe._prompts.values()), probe._stack, probe._sampling, None
    )

    scores = silent.measure(trained(files), 0, tmp_path).languages["en"]

    unheard = {"cer": None, "wer": None, "leak_rate": None, "lost_end_rate": None}
    assert scores == replace(run[1].languages["en"], **unheard)


def test_sentences_come_from_the_validation_without_a_probe_manifest(files, manifest):
    config = TrainConfig(probe_sentences=1)
    source = read_source(SourceSpec(path=manifest))
    found = make_probe(config, files, Tokenizer.load(files.tokenizer), [source], CPU)

    assert [sentence.language for sentence in found.set.sentences] == ["en"]


def test_a_prompt_may_be_a_part_of_a_recording(files, manifest, tmp_path):
    parts = [replace(clip, start_sec=0.2, end_sec=0.7) for clip in read_manifest(manifest)]
    write_manifest(tmp_path / "val.jsonl", parts)

    probe = make(files, tmp_path / "val.jsonl")

    frames = {prompt.voice.mel.shape[-1] for prompt in probe._prompts.values()}
    assert frames == {int(0.5 * SAMPLE_RATE) // 256}


def test_clips_of_two_languages_may_have_one_id(files, tmp_path):
    for language in ("en", "es"):
        own = [c for c in read_manifest(CLIPS / "train.jsonl") if c.language == language][:3]
        (tmp_path / language).mkdir()
        same = [replace(clip, id=f"clip{number}") for number, clip in enumerate(own)]
        write_manifest(tmp_path / language / "val.jsonl", same)
    both = tuple(str(tmp_path / language / "val.jsonl") for language in ("en", "es"))

    probe = make(files, tmp_path, probe_manifest=both, probe_sentences=1)

    first, second = probe._prompts.values()
    assert not torch.equal(first.latents, second.latents)


def test_a_language_that_the_listener_does_not_know_is_named(files, manifest, caplog):
    with caplog.at_level(logging.WARNING, "idiolect"):
        make(files, manifest, asr="nano", probe_manifest=(f"{manifest}::eu",))

    assert "nano's recogniser does not know eu" in caplog.text


def test_no_sentence_asked_for_is_no_probe(files, manifest):
    assert make(files, manifest, probe_sentences=0) is None


def test_a_listener_with_nothing_to_listen_to_is_refused(files, manifest):
    with pytest.raises(ConfigError, match="nano would have nothing to listen to"):
        make(files, manifest, probe_sentences=0, asr="nano")


def test_a_probe_of_one_clip_has_no_prompt(files, manifest, tmp_path):
    write_manifest(tmp_path / "one.jsonl", list(read_manifest(manifest))[:1])

    with pytest.raises(DataError, match="no sentence can be spoken"):
        make(files, tmp_path / "one.jsonl")


def test_nothing_is_spoken_into_a_base(probe, files):
    with pytest.raises(GuardError):
        probe.measure(trained(files), 0, SHIPPED_DIR)
