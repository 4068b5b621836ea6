"""Audio files are read whole or refused with a reason, and written whole or not at all."""

import shutil
import subprocess

import numpy as np
import pytest
import soundfile

from idiolect.audio.io import probe_audio, read_audio, write_flac, write_wav
from idiolect.base.errors import DataError

RATE = 16_000
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg not installed")


def tone(duration_sec=0.5, rate=RATE, frequency_hz=440.0):
    time = np.arange(int(duration_sec * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * frequency_hz * time)).astype(np.float32)


def noise(duration_sec=1.0):
    return np.random.default_rng(0).normal(0, 0.1, int(duration_sec * RATE)).astype(np.float32)


def channels_of(num_channels):
    """One second in which channel k is the constant k / 10."""
    return np.tile(np.arange(num_channels, dtype=np.float32) / 10, (RATE, 1))


def cut_in_half(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".aiff"])
def test_common_formats_are_probed_and_read(tmp_path, suffix):
    path = tmp_path / f"clip{suffix}"
    soundfile.write(path, tone(), RATE)

    info = probe_audio(path)
    audio, rate = read_audio(path)

    assert (info.sample_rate, info.num_channels, rate) == (RATE, 1, RATE)
    assert info.duration_sec == pytest.approx(0.5, abs=0.05)
    assert audio.dtype == np.float32
    assert len(audio) == round(info.duration_sec * RATE)


@pytest.mark.parametrize("write", [write_wav, write_flac])
def test_what_is_written_is_read_back_to_within_half_a_step(tmp_path, write):
    path = tmp_path / "deep" / "clip.bin"
    write(path, tone(), RATE)

    audio, rate = read_audio(path)

    assert rate == RATE
    # PCM16 is written over 32767 and read over 32768.
    np.testing.assert_allclose(audio, tone() * 32767 / 32768, atol=0.5 / 32767)


def test_samples_beyond_full_scale_are_clipped_and_do_not_wrap(tmp_path):
    write_wav(tmp_path / "loud.wav", np.array([2.0, -2.0], np.float32), RATE)
    audio, _ = read_audio(tmp_path / "loud.wav")
    np.testing.assert_allclose(audio, [32767 / 32768, -32767 / 32768])


def test_a_waveform_with_nan_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="finite"):
        write_wav(tmp_path / "bad.wav", np.array([0.0, np.nan], np.float32), RATE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("num_channels", [1, 2, 7])
def test_channels_become_their_mean(tmp_path, num_channels):
    path = tmp_path / "clip.wav"
    soundfile.write(path, channels_of(num_channels), RATE, subtype="FLOAT")

    audio, _ = read_audio(path)

    assert probe_audio(path).num_channels == num_channels
    np.testing.assert_allclose(audio, (num_channels - 1) / 20, atol=1e-7)


@pytest.mark.parametrize(
    ("from_hz", "to_hz"), [(8_000, 16_000), (44_100, 22_050), (48_000, 16_000)]
)
def test_another_rate_keeps_the_tone_and_the_duration(tmp_path, from_hz, to_hz):
    path = tmp_path / "clip.wav"
    soundfile.write(path, tone(1.0, from_hz), from_hz, subtype="FLOAT")

    audio, rate = read_audio(path, to_hz)

    assert (rate, len(audio)) == (to_hz, to_hz)
    middle = slice(to_hz // 4, 3 * to_hz // 4)
    np.testing.assert_allclose(audio[middle], tone(1.0, to_hz)[middle], atol=1e-3)


def test_a_resampled_clip_has_the_length_rounded_up(tmp_path):
    path = tmp_path / "clip.wav"
    soundfile.write(path, tone()[:1001], RATE)
    assert len(read_audio(path, 22_050)[0]) == 1380  # 1001 * 22050 / 16000 = 1379.5


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
def test_a_segment_is_that_part_of_the_whole(tmp_path, suffix):
    path = tmp_path / f"clip{suffix}"
    soundfile.write(path, tone(1.0), RATE)
    whole, _ = read_audio(path)

    segment, _ = read_audio(path, start_sec=0.25, end_sec=0.5)

    np.testing.assert_allclose(segment, whole[4000:8000], atol=1e-6)


def test_a_segment_past_the_end_stops_at_the_end(tmp_path):
    write_wav(tmp_path / "clip.wav", tone(1.0), RATE)
    assert len(read_audio(tmp_path / "clip.wav", start_sec=0.75, end_sec=9.0)[0]) == RATE // 4


@pytest.mark.parametrize(("start_sec", "end_sec"), [(2.0, None), (0.5, 0.5), (0.5, 0.2), (-1, 0.5)])
def test_a_segment_with_nothing_in_it_is_refused(tmp_path, start_sec, end_sec):
    write_wav(tmp_path / "clip.wav", tone(1.0), RATE)
    with pytest.raises(DataError, match="no audio from"):
        read_audio(tmp_path / "clip.wav", start_sec=start_sec, end_sec=end_sec)


@pytest.mark.parametrize("use", [probe_audio, read_audio])
def test_a_missing_file_is_refused(tmp_path, use):
    with pytest.raises(DataError, match="no such audio file"):
        use(tmp_path / "nowhere.wav")


@pytest.mark.parametrize("use", [probe_audio, read_audio])
def test_an_empty_file_is_refused(tmp_path, use):
    (tmp_path / "empty.wav").touch()
    with pytest.raises(DataError, match="is empty"):
        use(tmp_path / "empty.wav")


@pytest.mark.parametrize("use", [probe_audio, read_audio])
def test_a_file_without_samples_is_refused(tmp_path, use):
    soundfile.write(tmp_path / "none.wav", tone()[:0], RATE)
    with pytest.raises(DataError, match="no samples"):
        use(tmp_path / "none.wav")


@pytest.mark.parametrize("suffix", [".wav", ".aiff", ".ogg"])
@pytest.mark.parametrize("use", [probe_audio, read_audio])
def test_a_truncated_file_is_refused_by_its_header_already(tmp_path, suffix, use):
    path = tmp_path / f"half{suffix}"
    soundfile.write(path, noise(), RATE)
    with pytest.raises(DataError, match="cut short") as caught:
        use(cut_in_half(path))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("missing_bytes", [1, 100, 5000])
def test_an_ogg_file_that_lacks_part_of_its_last_page_is_refused(tmp_path, missing_bytes):
    path = tmp_path / "opus.ogg"
    soundfile.write(path, noise(9.0), RATE, subtype="OPUS")
    read_audio(path)
    path.write_bytes(path.read_bytes()[:-missing_bytes])
    with pytest.raises(DataError, match="cut short"):
        read_audio(path)


@pytest.mark.parametrize("suffix", [".flac", ".mp3"])
def test_a_truncated_stream_is_refused_when_it_is_decoded(tmp_path, suffix):
    path = tmp_path / f"half{suffix}"
    soundfile.write(path, noise(), RATE)
    with pytest.raises(DataError, match="cut short"):
        read_audio(cut_in_half(path))


@needs_ffmpeg
@pytest.mark.parametrize("suffix", [".webm", ".m4a", ".aac"])
def test_a_truncated_file_is_refused_by_ffmpeg_too(tmp_path, suffix):
    source, path = tmp_path / "clip.wav", tmp_path / f"clip{suffix}"
    write_wav(source, noise(5.0), RATE)
    subprocess.run(["ffmpeg", "-v", "error", "-i", str(source), str(path)], check=True)
    assert len(read_audio(path)[0])
    with pytest.raises(DataError, match="not audio, or damaged"):
        read_audio(cut_in_half(path))


def test_a_wav_that_was_streamed_and_knows_no_size_is_read(tmp_path):
    path = tmp_path / "streamed.wav"
    soundfile.write(path, tone(), RATE)
    content = bytearray(path.read_bytes())
    at = content.index(b"data")
    content[at + 4 : at + 8] = b"\xff" * 4
    path.write_bytes(content)

    assert len(read_audio(path)[0]) == len(tone())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_not_numbers_are_refused(tmp_path, bad):
    audio = tone()
    audio[100] = bad
    soundfile.write(tmp_path / "bad.wav", audio, RATE, subtype="FLOAT")
    with pytest.raises(DataError, match="not numbers"):
        read_audio(tmp_path / "bad.wav")


@pytest.mark.parametrize("use", [probe_audio, read_audio])
@pytest.mark.parametrize("has_ffmpeg", [False, pytest.param(True, marks=needs_ffmpeg)])
def test_what_is_not_audio_is_refused(tmp_path, monkeypatch, use, has_ffmpeg):
    if not has_ffmpeg:
        monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "letter.wav"
    path.write_text("Benvolguda Marta, no soc un so.\n" * 50, encoding="utf-8")
    with pytest.raises(DataError, match="not audio") as caught:
        use(path)
    assert str(path) in str(caught.value)
    assert ("install ffmpeg" in caught.value.fix) == (not has_ffmpeg)


@needs_ffmpeg
@pytest.mark.parametrize("suffix", [".g722", ".m4a"])
def test_ffmpeg_reads_what_libsndfile_cannot(tmp_path, suffix):
    source, path = tmp_path / "clip.wav", tmp_path / f"-clip{suffix}"
    write_wav(source, tone(1.0), RATE)
    command = ["ffmpeg", "-v", "error", "-i", str(source), f"file:{path}"]
    subprocess.run(command, check=True)

    info = probe_audio(path)
    whole, rate = read_audio(path)
    segment, _ = read_audio(path, start_sec=0.25, end_sec=0.5)

    assert (info.sample_rate, info.num_channels, rate) == (RATE, 1, RATE)
    assert info.duration_sec == pytest.approx(1.0, abs=0.1)
    assert len(segment) == RATE // 4
    assert np.sqrt(np.mean(whole**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.1)


@needs_ffmpeg
def test_a_playlist_reaches_no_other_file(tmp_path):
    write_wav(tmp_path / "secret.wav", tone(), RATE)
    playlist = tmp_path / "clip.wav"
    playlist.write_text("ffconcat version 1.0\nfile '/etc/hostname'\n", encoding="utf-8")
    with pytest.raises(DataError, match="not audio"):
        read_audio(playlist)
