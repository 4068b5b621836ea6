"""A duration that is asked for: how it is shared out, who may be asked, and what the GPT reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clips import write_clip
from idiolect.base.errors import SynthesisError
from idiolect.models.checkpoint import load_checkpoint, save_checkpoint
from idiolect.models.gpt import FREE_ROW
from idiolect.synthesis import speaking
from idiolect.synthesis.durations import TargetDuration
from idiolect.synthesis.pipeline import IndexTTS2
from registry_kit import make_tokenizer, trained_checkpoint

TEXT = "Bon dia. Bona nit."
CUT = {"max_text_tokens_per_segment": 6, "num_beams": 1, "seed": 1}
DURATION_SLOT = 32
MOST = 200


def target(total_sec, *, pause_sec=0.2, speed=1.0):
    return TargetDuration(total_sec=total_sec, pause_sec=pause_sec, speed=speed)


def segments(*lens):
    return [[5] * count for count in lens]


@given(
    st.floats(2.0, 10.0),
    st.lists(st.integers(1, 40), min_size=1, max_size=6),
    st.floats(0, 0.2),
    st.floats(0.5, 2.0),
)
def test_speech_and_silence_last_as_long_as_asked_together(total_sec, lens, pause_sec, speed):
    asked = target(total_sec, pause_sec=pause_sec, speed=speed).asked_codes(
        segments(*lens), most=10_000
    )

    lasts_sec = sum(asked) / 50 / speed + pause_sec * (len(lens) - 1)
    rounding_sec = 0.02 * len(lens) / speed
    assert lasts_sec == pytest.approx(total_sec, abs=rounding_sec)
    assert min(asked) >= 1


def test_a_longer_segment_gets_more_of_the_time():
    assert target(2.2).asked_codes(segments(30, 10), most=MOST) == [75, 25]


def test_one_segment_is_asked_for_fifty_codes_a_second():
    assert target(1.611).asked_codes(segments(7), most=MOST) == [81]


def test_at_another_speed_the_sound_still_lasts_as_long():
    assert target(2.0, speed=1.25).asked_codes(segments(7), most=MOST) == [125]


def test_silence_that_takes_all_the_time_is_refused():
    with pytest.raises(SynthesisError, match=r"0.4 s leaves no time to speak: 3 segments have 0.4"):
        target(0.4).asked_codes(segments(3, 3, 3), most=MOST)


def test_a_segment_that_would_be_too_long_says_how_long_it_may_be():
    with pytest.raises(SynthesisError, match=r"would last 6 s, and the model says at most 4 s"):
        target(6).asked_codes(segments(9), most=MOST)


@pytest.mark.parametrize("total_sec", [0, -1.0, float("nan"), float("inf")], ids=str)
def test_a_duration_that_is_none_is_refused(total_sec):
    with pytest.raises(SynthesisError, match=r"target_duration .* is out of range"):
        target(total_sec)


# --- a model --------------------------------------------------------------------------------------


def install(folder: Path, base: Path, name: str, *, duration_control: bool) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / f"gpt_{name}.pth"
    trained_checkpoint(path, base, make_tokenizer(folder / f"{name}_bpe.model"))
    weights, header = load_checkpoint(path)
    settings = {"duration_control": duration_control}
    save_checkpoint(path, weights, replace(header, settings=settings))


@pytest.fixture(scope="module")
def tts(nano_base, tmp_path_factory) -> IndexTTS2:
    models = tmp_path_factory.mktemp("models")
    install(models, nano_base, "timed", duration_control=True)
    install(models, nano_base, "untimed", duration_control=False)
    return IndexTTS2(
        nano_base / "config.yaml", nano_base, device="cpu", model="timed", models_dir=models
    )


@pytest.fixture
def prompt(tmp_path) -> Path:
    return write_clip(tmp_path / "voice.wav", seconds=0.4, seed=1)


@pytest.fixture
def rows_read(monkeypatch) -> list[torch.Tensor]:
    """The duration row that the GPT read before each segment."""
    read = []
    generate_codes = speaking.generate_codes

    def listen(model, prefix, *given_, **named):
        read.append(prefix[0, DURATION_SLOT].clone())
        return generate_codes(model, prefix, *given_, **named)

    monkeypatch.setattr(speaking, "generate_codes", listen)
    return read


def test_each_segment_is_asked_for_its_share(tts, prompt, rows_read):
    tts.use_model("timed")
    few = {**CUT, "max_mel_tokens": 40}

    tts.infer(prompt, TEXT, target_duration=0.76, interval_silence=100, **few)

    table = tts.model.gpt.mel_pos_embedding.emb.weight
    asked = [int((table == row).all(dim=1).nonzero()[0]) for row in rows_read]
    assert len(asked) > 1
    assert sum(asked) == round((0.76 - 0.1 * (len(asked) - 1)) * 50)


def test_without_a_duration_a_timed_model_reads_what_it_saw_when_left_free(tts, prompt, rows_read):
    tts.use_model("timed")

    tts.infer(prompt, "Bon dia.", **CUT, max_mel_tokens=4)

    assert torch.equal(rows_read[0], tts.model.gpt.speed_emb.weight[FREE_ROW])


@pytest.mark.parametrize("name", ["untimed", "base"])
def test_a_model_that_did_not_learn_durations_says_what_changes_its_length(tts, prompt, name):
    tts.use_model(name)

    with pytest.raises(SynthesisError, match=f"{name} did not learn to keep") as caught:
        tts.infer(prompt, "Bon dia.", target_duration=1.0)

    assert caught.value.fix.startswith("--speed changes the length of any model")


def test_a_duration_that_is_asked_for_changes_what_is_said(tts, prompt):
    tts.use_model("timed")
    few = {**CUT, "max_mel_tokens": 30}

    free, asked = (
        tts.infer(prompt, "Bon dia.", target_duration=sec, **few)[1] for sec in (None, 0.3)
    )

    assert not np.array_equal(free, asked)
