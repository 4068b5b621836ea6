import numpy as np
import pytest
import soundfile

from idiolect.audio.checks import (
    AUDIO_MENDS,
    CLIPPED,
    LOW_RATE,
    MANY_CHANNELS,
    OFFSET,
    SILENT,
    TOO_LONG,
    TOO_QUIET,
    TOO_SHORT,
    AudioLimits,
    faults_of,
    measure_clip,
    measure_file,
)
from idiolect.base.errors import ConfigError, DataError

RATE = 16_000
LIMITS = AudioLimits()


def tone(seconds=2.0, level=0.3, rate=RATE):
    time = np.arange(int(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * 220 * time)).astype(np.float32)


def reasons(audio, rate=RATE, **changes):
    return [reason for reason, _ in faults_of(measure_clip(audio, rate, **changes), LIMITS)]


def test_a_good_clip_has_no_fault():
    assert reasons(tone()) == []


def test_loudness_is_the_root_mean_square_in_dbfs():
    measures = measure_clip(tone(level=0.5), RATE)

    assert measures.loudness_db == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.01)
    assert measures.peak == pytest.approx(0.5, abs=0.001)
    assert measures.duration_sec == 2.0


@pytest.mark.parametrize(
    ("audio", "reason"),
    [
        pytest.param(tone(0.1), TOO_SHORT, id="0.1 s"),
        pytest.param(tone(31), TOO_LONG, id="31 s"),
        pytest.param(np.zeros(RATE, np.float32), TOO_QUIET, id="digital silence"),
        pytest.param(tone(level=0.001), TOO_QUIET, id="a whisper far away"),
        pytest.param(np.concatenate([tone(1), np.zeros(3 * RATE, np.float32)]), SILENT, id="pause"),
        pytest.param(np.clip(tone(level=4.0), -1, 1), CLIPPED, id="clipped"),
        pytest.param(tone() + np.float32(0.3), OFFSET, id="offset"),
    ],
)
def test_a_bad_clip_is_found_out(audio, reason):
    assert reasons(audio)[0] == reason


def test_a_low_rate_and_many_channels_are_found_out():
    assert reasons(tone(rate=8000), 8000) == [LOW_RATE]
    assert reasons(tone(), num_channels=7) == [MANY_CHANNELS]


def test_lone_full_scale_peaks_are_not_clipping():
    audio = tone()
    audio[::100] = 1.0

    assert measure_clip(audio, RATE).clipped_share == 0.0


def test_noise_under_speech_counts_as_silence_only_far_below_it():
    hum = tone(3, level=0.001)
    clip = np.concatenate([tone(1), hum])

    assert measure_clip(clip, RATE).silence_share == pytest.approx(0.75, abs=0.02)


def test_equal_samples_have_equal_hashes_and_others_do_not():
    assert measure_clip(tone(), RATE).sound_hash == measure_clip(tone(), RATE).sound_hash
    assert measure_clip(tone(), RATE).sound_hash != measure_clip(tone(level=0.2), RATE).sound_hash


def test_a_detail_names_the_value_and_the_limit():
    ((_, detail),) = faults_of(measure_clip(tone(0.1), RATE), LIMITS)

    assert detail == "0.10 s, shortest 0.4 s"


def test_each_reason_says_what_to_do():
    clip = measure_clip(tone(0.1, level=0.0, rate=8000) + np.float32(0.3), 8000, num_channels=7)

    assert all(AUDIO_MENDS[reason] for reason, _ in faults_of(clip, LIMITS))


def test_a_part_of_a_file_is_measured_alone(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.concatenate([tone(2), tone(2, level=0.0)]), RATE)

    part = measure_file(tmp_path / "a.wav", LIMITS, 0.5, 1.5)

    assert part.duration_sec == 1.0
    assert part.silence_share == 0.0


def test_two_hours_are_measured_without_being_decoded(tmp_path, monkeypatch):
    path = tmp_path / "long.flac"
    soundfile.write(path, np.zeros(70 * RATE, np.int16), RATE)
    monkeypatch.setattr("idiolect.audio.checks.read_audio", lambda *_, **__: pytest.fail("decoded"))

    measures = measure_file(path, LIMITS, None, None)

    assert faults_of(measures, LIMITS)[0] == (TOO_LONG, "70.0 s, longest 30 s")


def test_a_file_that_is_no_audio_is_an_error_with_its_path(tmp_path):
    (tmp_path / "a.wav").write_text("hello")

    with pytest.raises(DataError) as caught:
        measure_file(tmp_path / "a.wav", LIMITS, None, None)

    assert str(tmp_path / "a.wav") in str(caught.value)


def test_limits_that_no_clip_meets_are_refused():
    with pytest.raises(ConfigError, match="no clip can have 5 to 2 seconds"):
        AudioLimits(min_sec=5, max_sec=2)
