import pytest

from idiolect.base.units import (
    Seconds,
    code_frames_to_mel_frames,
    format_bytes,
    format_duration,
    samples_to_seconds,
    seconds_to_samples,
)


@pytest.mark.parametrize("num_codes", [1, 7, 50, 749, 1999])
def test_mel_frames_are_1_72_a_code_cut_down_as_in_exact_arithmetic(num_codes):
    assert code_frames_to_mel_frames(num_codes) == num_codes * 172 // 100


def test_fifteen_seconds_of_prompt_are_330750_samples():
    assert seconds_to_samples(Seconds(15.0)) == 330_750
    assert samples_to_seconds(330_750) == 15.0


@pytest.mark.parametrize(
    ("duration_sec", "text"),
    [(3.24, "3.2 s"), (245, "4 min 05 s"), (3599.6, "1 h 00 min"), (7980, "2 h 13 min")],
)
def test_durations_are_told_as_people_say_them(duration_sec, text):
    assert format_duration(duration_sec) == text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(12, "12B"), (476 * 1024, "476.0KB"), (3_484_000_000, "3.2GB"), (2**20, "1.0MB")],
)
def test_sizes_are_written_as_the_guide_writes_them(size_bytes, text):
    assert format_bytes(size_bytes) == text
