"""The published call on a nano base: what one request hears, says, refuses and shares."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields
from inspect import signature
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from clips import write_clip
from idiolect.base.errors import (
    CheckpointError,
    DataError,
    GuardError,
    RegistryError,
    SynthesisError,
)
from idiolect.base.units import SAMPLE_RATE
from idiolect.cli.sampling import SamplingFlags
from idiolect.cli.synth import SynthConfig
from idiolect.synthesis.devices import choose_device
from idiolect.synthesis.model import LoadedModel
from idiolect.synthesis.pipeline import IndexTTS2
from idiolect.synthesis.request import sampling_settings
from idiolect.synthesis.sampling import SamplingSettings
from registry_kit import make_tokenizer, trained_checkpoint

TEXT = "The baker opens the door."
LONG_TEXT = "The baker opens the door. Nobody knew why the bell rang at noon."
SHORT = {"seed": 1, "max_mel_tokens": 8, "num_beams": 1}
"""About 0.16 s of sound: the networks are the same, whatever the length."""
PAUSE_SAMPLES = 4410
"""200 ms."""


def load(base: Path, models_dir: Path, **options) -> IndexTTS2:
    return IndexTTS2(base / "config.yaml", base, device="cpu", models_dir=models_dir, **options)


@pytest.fixture(scope="module")
def tts(nano_base) -> IndexTTS2:
    return load(nano_base, nano_base / "no-models")


@pytest.fixture
def prompt(tmp_path) -> Path:
    return write_clip(tmp_path / "voice.wav", seconds=0.4, seed=1)


def samples_of(tts: IndexTTS2, prompt: Path, text: str = TEXT, **settings) -> np.ndarray:
    return tts.infer(prompt, text, **{**SHORT, **settings})[1]


def install(folder: Path, base: Path, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    tokenizer = make_tokenizer(folder / f"{name}_bpe.model")
    return trained_checkpoint(folder / f"gpt_{name}.pth", base, tokenizer)


# --- sound ----------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_samples(tts, prompt):
    first, second = samples_of(tts, prompt), samples_of(tts, prompt)

    np.testing.assert_array_equal(first, second)
    assert np.abs(first).max() > 100


def test_another_seed_gives_other_samples(tts, prompt):
    assert not np.array_equal(samples_of(tts, prompt), samples_of(tts, prompt, seed=2))


def test_a_request_without_a_seed_draws_one_of_its_own(tts, prompt):
    first, second = (samples_of(tts, prompt, seed=None) for _ in range(2))

    assert not np.array_equal(first, second)


def test_samples_without_a_path_are_those_of_the_file(tts, prompt, tmp_path):
    rate, samples = tts.infer(prompt, TEXT, **SHORT)

    written = tts.infer(prompt, TEXT, tmp_path / "out.wav", **SHORT)

    stored, stored_rate = soundfile.read(written, dtype="int16")
    assert rate == stored_rate == SAMPLE_RATE
    assert samples.dtype == np.int16
    assert samples.shape == (len(stored), 1)
    # The file is rounded; the samples are cut, as the published code cuts them.
    assert np.abs(samples[:, 0].astype(int) - stored).max() <= 1


def test_speed_two_takes_half_the_time(tts, prompt):
    usual, fast = samples_of(tts, prompt), samples_of(tts, prompt, speed=2)

    assert len(fast) == pytest.approx(len(usual) / 2, rel=0.05, abs=256)


def test_another_voice_gives_another_sound(tts, prompt, tmp_path):
    other = write_clip(tmp_path / "other.wav", seconds=0.4, seed=9)

    assert not np.array_equal(samples_of(tts, prompt), samples_of(tts, other))


def test_requests_side_by_side_sound_as_they_do_alone(tts, tmp_path):
    prompts = [write_clip(tmp_path / f"{n}.wav", seconds=0.4, seed=n) for n in range(4)]
    alone = [samples_of(tts, path, seed=n) for n, path in enumerate(prompts)]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda n: samples_of(tts, prompts[n], seed=n), range(4)))

    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


# --- prompts --------------------------------------------------------------------------------------


def test_a_prompt_that_changed_under_its_path_is_heard_anew(tts, prompt, tmp_path):
    first = samples_of(tts, prompt)
    write_clip(prompt, seconds=0.4, seed=5)
    other_name = shutil.copy(prompt, tmp_path / "copy.wav")

    changed = samples_of(tts, prompt)

    assert not np.array_equal(changed, first)
    np.testing.assert_array_equal(changed, samples_of(tts, other_name))


def test_of_a_prompt_only_fifteen_seconds_are_heard(tts, tmp_path):
    long = write_clip(tmp_path / "long.wav", seconds=16, rate=SAMPLE_RATE)
    audio, rate = soundfile.read(long)
    soundfile.write(tmp_path / "cut.wav", audio[: 15 * rate], rate)

    features = tts.stack.prompt(long)

    cut = tts.stack.prompt(tmp_path / "cut.wav")
    assert torch.equal(features.features, cut.features)
    assert torch.equal(features.mel, cut.mel)
    assert features.mel.shape[-1] == 15 * SAMPLE_RATE // 256


def test_a_prompt_that_is_not_there_is_named(tts, tmp_path):
    with pytest.raises(DataError, match=r"no such audio file: .*nobody\.wav"):
        tts.infer(tmp_path / "nobody.wav", TEXT)


def test_a_prompt_that_is_no_sound_is_refused(tts, tmp_path):
    path = tmp_path / "voice.wav"
    path.write_text("not a sound")

    with pytest.raises(DataError, match="not audio"):
        tts.infer(path, TEXT)


def test_a_prompt_that_is_too_short_is_named(tts, tmp_path):
    path = write_clip(tmp_path / "blip.wav", seconds=0.02)

    with pytest.raises(DataError, match="too short") as caught:
        tts.infer(path, TEXT)

    assert caught.value.where == str(path)


def test_only_the_last_prompts_stay_computed(tts, tmp_path, monkeypatch):
    monkeypatch.setattr("idiolect.synthesis.stack.PROMPTS_KEPT", 2)
    paths = [write_clip(tmp_path / f"{n}.wav", seconds=0.3, seed=20 + n) for n in range(3)]
    first, _, third = (tts.stack.prompt(path) for path in paths)

    assert tts.stack.prompt(paths[2]) is third
    assert tts.stack.prompt(paths[0]) is not first


# --- emotion --------------------------------------------------------------------------------------


def test_an_emotion_prompt_changes_the_sound_and_alpha_says_how_much(tts, prompt, tmp_path):
    angry = write_clip(tmp_path / "angry.wav", seconds=0.4, seed=9, level=0.9)

    sounds = [
        samples_of(tts, prompt, emo_audio_prompt=angry, emo_alpha=alpha) for alpha in (0.5, 1.0)
    ]

    assert not np.array_equal(*sounds)


def test_without_an_emotion_prompt_alpha_means_nothing(tts, prompt):
    usual, half = samples_of(tts, prompt), samples_of(tts, prompt, emo_alpha=0.5)

    np.testing.assert_array_equal(usual, half)


def test_weights_of_emotions_discard_the_emotion_prompt(tts, prompt, tmp_path):
    weights = [0.5, 0, 0, 0, 0, 0, 0, 0.2]

    alone = samples_of(tts, prompt, emo_vector=weights)
    beside = samples_of(tts, prompt, emo_vector=weights, emo_audio_prompt=tmp_path / "none.wav")

    np.testing.assert_array_equal(alone, beside)
    assert not np.array_equal(alone, samples_of(tts, prompt))


def test_alpha_scales_the_weights_of_emotions(tts, prompt):
    scaled = samples_of(tts, prompt, emo_vector=[0.8] + [0.0] * 7, emo_alpha=0.5)

    given = samples_of(tts, prompt, emo_vector=[0.4] + [0.0] * 7)

    np.testing.assert_array_equal(scaled, given)


def test_random_rows_of_emotion_follow_the_seed(tts, prompt):
    settings = {"emo_vector": [0.0] * 7 + [0.9], "use_random": True}

    first, again = (samples_of(tts, prompt, **settings) for _ in range(2))

    np.testing.assert_array_equal(first, again)


def test_a_wrong_number_of_weights_names_the_emotions(tts, prompt):
    with pytest.raises(SynthesisError, match="emo_vector has 3 weights, not 8") as caught:
        tts.infer(prompt, TEXT, emo_vector=[0.1, 0.2, 0.3])

    assert "happy, angry, sad" in caught.value.fix


def test_a_weight_that_is_no_number_is_refused(tts, prompt):
    with pytest.raises(SynthesisError, match="holds what is no number"):
        tts.infer(prompt, TEXT, emo_vector=[float("nan")] + [0.0] * 7)


def test_emotion_from_text_asks_for_the_reader_that_is_missing(tts, prompt):
    with pytest.raises(CheckpointError, match="the reader of emotions in text is not there"):
        tts.infer(prompt, TEXT, use_emo_text=True)


# --- segments -------------------------------------------------------------------------------------


def test_segments_are_joined_with_silence_between_them(tts, prompt):
    cut = {"max_text_tokens_per_segment": 12}
    waves = list(tts.infer(prompt, LONG_TEXT, stream_return=True, **SHORT, **cut))[::2]

    samples = samples_of(tts, prompt, LONG_TEXT, **cut)
    close = samples_of(tts, prompt, LONG_TEXT, interval_silence=0, **cut)

    assert len(waves) > 1
    speech = sum(wave.shape[1] for wave in waves)
    assert len(close) == speech
    assert len(samples) == speech + (len(waves) - 1) * PAUSE_SAMPLES
    first = waves[0].shape[1]
    assert not samples[first : first + PAUSE_SAMPLES].any()


def test_a_stream_yields_each_segment_and_its_silence(tts, prompt):
    parts = list(
        tts.infer(prompt, LONG_TEXT, stream_return=True, max_text_tokens_per_segment=12, **SHORT)
    )

    assert len(parts) >= 4
    assert all(part.dtype == torch.float32 and part.shape[0] == 1 for part in parts)
    assert [part.shape[1] for part in parts[1::2]] == [PAUSE_SAMPLES] * (len(parts) // 2)
    assert all(100 < part.abs().max() <= 32767 for part in parts[::2])
    assert not any(part.any() for part in parts[1::2])


def test_a_stream_with_a_path_writes_the_whole_at_its_end(tts, prompt, tmp_path):
    output = tmp_path / "out.wav"
    stream = tts.infer(prompt, TEXT, output, stream_return=True, **SHORT)

    first = next(stream)
    assert not output.exists()
    list(stream)

    assert soundfile.info(output).frames == first.shape[1]


def test_text_that_leaves_nothing_to_say_is_refused(tts, prompt):
    with pytest.raises(SynthesisError, match="nothing to say in '  '"):
        tts.infer(prompt, "  ")


def test_a_model_that_says_nothing_is_an_error_with_its_seed(tts, prompt, monkeypatch):
    monkeypatch.setattr(
        "idiolect.synthesis.speaking.generate_codes",
        lambda *_, **__: torch.zeros(1, 0, dtype=torch.int64),
    )

    with pytest.raises(SynthesisError, match="the model spoke nothing") as caught:
        tts.infer(prompt, TEXT, seed=7)

    assert "seed 7" in caught.value.where


# --- settings -------------------------------------------------------------------------------------


def test_an_unknown_setting_names_the_nearest(tts, prompt):
    with pytest.raises(SynthesisError, match="unknown setting 'temprature'") as caught:
        tts.infer(prompt, TEXT, temprature=0.5)

    assert "did you mean 'temperature'?" in caught.value.fix


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("speed", 3, id="speed"),
        pytest.param("speed", float("nan"), id="not a number"),
        pytest.param("seed", -1, id="seed"),
        pytest.param("max_text_tokens_per_segment", 0, id="segment"),
    ],
)
def test_a_setting_out_of_range_is_refused_before_anything_is_heard(tts, tmp_path, name, value):
    with pytest.raises(SynthesisError, match=f"{name} {value} is out of range"):
        tts.infer(tmp_path / "nobody.wav", TEXT, **{name: value})


def test_published_keywords_have_their_published_meaning():
    settings = sampling_settings({"max_mel_tokens": 600, "top_k": None, "typical_sampling": True})

    assert (settings.max_codes, settings.top_k, settings.typical_mass) == (600, 0, 0.9)


def test_the_command_and_the_call_have_the_same_defaults():
    call = {name: p.default for name, p in signature(IndexTTS2.infer).parameters.items()}
    call |= asdict(SamplingSettings())
    call["max_text_tokens"] = call["max_text_tokens_per_segment"]
    call["max_mel_tokens"] = call["max_codes"]

    command = {field.name: field.default for field in fields(SynthConfig)}

    shared = command.keys() & call.keys() - {"text"}
    assert {"speed", "max_text_tokens", "interval_silence"} <= shared
    assert {name: command[name] for name in shared} == {name: call[name] for name in shared}


def test_the_flags_of_sampling_are_settings_of_the_call_and_leave_them_to_the_base():
    flags = {field.name: field.default for field in fields(SamplingFlags)}

    sampling_settings(dict.fromkeys(flags, 1))
    assert set(flags.values()) == {None}


def test_a_base_may_say_how_its_codes_are_chosen(nano_base, tts, prompt, tmp_path):
    config = tmp_path / "config.yaml"
    brief = "\ngeneration: {max_mel_tokens: 5, num_beams: 1}\n"
    config.write_text((nano_base / "config.yaml").read_text("utf-8") + brief, "utf-8")
    terse = IndexTTS2(config, nano_base, device="cpu")

    said = terse.infer(prompt, TEXT, seed=1)[1]
    asked_for_more = terse.infer(prompt, TEXT, **SHORT)[1]

    assert len(said) < len(asked_for_more)
    np.testing.assert_array_equal(asked_for_more, samples_of(tts, prompt))


def test_a_typical_mass_counts_only_while_typical_sampling_is_on():
    off = sampling_settings({"typical_sampling": False, "typical_mass": 0.8})
    on = sampling_settings({"typical_sampling": True, "typical_mass": 0.8})

    assert (off.typical_mass, on.typical_mass) == (None, 0.8)


def test_a_device_that_is_not_there_is_a_setting_to_mend():
    with pytest.raises(SynthesisError, match="the device tpu9 cannot be used"):
        choose_device("tpu9")


def test_nothing_is_said_into_the_base(tts, prompt, nano_base):
    with pytest.raises(GuardError, match="would write into the base folder"):
        tts.infer(prompt, TEXT, nano_base / "out.wav")


# --- models ---------------------------------------------------------------------------------------


def test_a_model_swap_changes_the_gpt_and_its_tokenizer_only(nano_base, prompt, tmp_path):
    install(tmp_path / "models", nano_base, "catalan")
    tts = IndexTTS2(
        nano_base / "config.yaml", nano_base, device="cpu", models_dir=tmp_path / "models"
    )
    stack, base = tts.stack, samples_of(tts, prompt)

    model = tts.use_model("catalan")

    assert (model.name, model.language_of(None), model.tokenizer.path.name) == (
        "catalan",
        "ca",
        "catalan_bpe.model",
    )
    assert tts.stack is stack
    assert tts.use_model("gpt_catalan.pth") is model
    assert samples_of(tts, prompt, "Bon dia.").any()
    tts.use_model("base")
    np.testing.assert_array_equal(samples_of(tts, prompt), base)


def test_a_stream_ends_with_the_model_that_it_began_with(nano_base, prompt, tmp_path):
    install(tmp_path / "models", nano_base, "catalan")
    tts = load(nano_base, tmp_path / "models")
    cut = {"max_text_tokens_per_segment": 12, "stream_return": True, **SHORT}
    alone = list(tts.infer(prompt, LONG_TEXT, **cut))
    stream = tts.infer(prompt, LONG_TEXT, **cut)

    begun = [next(stream)]
    tts.use_model("catalan")
    swapped = [*begun, *stream]

    assert all(map(torch.equal, swapped, alone))
    assert len(swapped) == len(alone)


def test_a_damaged_model_leaves_the_former_one_speaking(nano_base, prompt, tmp_path):
    path = install(tmp_path / "models", nano_base, "catalan")
    path.write_bytes(path.read_bytes()[:-100_000])
    tts = IndexTTS2(
        nano_base / "config.yaml", nano_base, device="cpu", models_dir=tmp_path / "models"
    )
    before = samples_of(tts, prompt)

    with pytest.raises(CheckpointError, match="only half of one"):
        tts.use_model("catalan")

    assert tts.model.name == "base"
    np.testing.assert_array_equal(samples_of(tts, prompt), before)


def test_a_model_that_was_installed_anew_is_loaded_anew(nano_base, tmp_path):
    path = install(tmp_path / "models", nano_base, "catalan")
    tts = load(nano_base, tmp_path / "models", model="catalan")
    first = tts.model
    shutil.copyfile(path, tmp_path / "copy.pth")
    (tmp_path / "copy.pth").replace(path)

    assert tts.use_model("catalan") is not first


def test_an_unknown_model_names_the_installed_ones(tts):
    with pytest.raises(RegistryError, match="'catalan' is not installed"):
        tts.use_model("catalan")


def model_that_speaks(*languages: str) -> LoadedModel:
    return LoadedModel(name="romance", version=(), gpt=None, tokenizer=None, languages=languages)


@pytest.mark.parametrize(
    ("languages", "asked", "found"),
    [
        (("ca",), None, "ca"),
        (("ca",), "es", "es"),
        (("zh", "en"), None, None),
        ((), None, None),
        (("ca", "es"), "es", "es"),
    ],
)
def test_the_language_is_the_one_asked_for_or_the_models_own(languages, asked, found):
    assert model_that_speaks(*languages).language_of(asked) == found


def test_a_model_of_several_languages_is_never_read_by_the_rules_of_another():
    with pytest.raises(SynthesisError, match="romance speaks ca, es, fr") as error:
        model_that_speaks("ca", "es", "fr").language_of(None)

    assert error.value.fix == "say which language it is, such as ca"
