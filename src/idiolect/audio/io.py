"""Audio files to waveforms and back: float32, one channel, in -1 ... 1.

``T`` is samples, ``C`` channels. libsndfile reads the common formats; where it cannot, the ffmpeg
program does, if it is installed. A file that cannot be used whole is refused, never patched up.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from idiolect.base.errors import DataError
from idiolect.base.files import atomic_path

Waveform = NDArray[np.float32]

PCM16_PEAK = 32767
G722_SUFFIX = ".g722"
"""Raw ITU-T G.722, 64 kbit/s: no header, so only the name says what it is."""
G722_SAMPLE_RATE = 16_000
G722_SAMPLES_PER_BYTE = 2
CHUNK_FORMS: dict[bytes, tuple[Literal["little", "big"], bytes]] = {
    b"RIFF": ("little", b"data"),
    b"FORM": ("big", b"SSND"),
}
"""First bytes of WAV and AIFF: the byte order of their sizes, and the name of the sound chunk."""
OGG_PAGE = b"OggS"
OGG_HEADER_BYTES = 27
"""Of a page; the last of them counts the segments whose sizes follow."""
OGG_MAX_PAGE_BYTES = OGG_HEADER_BYTES + 255 + 255 * 255
UNKNOWN_SIZES = (0, 0x7FFFFFFF, 0xFFFFFFFF)
"""What a writer that cannot seek back puts where the size of the data belongs."""
NOT_AUDIO_FIX = "convert it to WAV or FLAC"


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioInfo:
    """What the header of an audio file says."""

    duration_sec: float
    sample_rate: int
    num_channels: int


def probe_audio(path: Path | str) -> AudioInfo:
    """Return duration, rate and channels of the file at ``path`` without decoding it.

    Raises:
        DataError: The file is missing, empty, cut short, or not audio.
    """
    path = _checked(path)
    if path.suffix.lower() == G722_SUFFIX:
        num_samples = path.stat().st_size * G722_SAMPLES_PER_BYTE
        return AudioInfo(
            duration_sec=num_samples / G722_SAMPLE_RATE,
            sample_rate=G722_SAMPLE_RATE,
            num_channels=1,
        )
    try:
        header = soundfile.info(str(path))
    except soundfile.LibsndfileError as error:
        return _probe_with_ffprobe(path, error)
    _check_frames(header.frames, path)
    return AudioInfo(
        duration_sec=header.frames / header.samplerate,
        sample_rate=header.samplerate,
        num_channels=header.channels,
    )


def read_audio(
    path: Path | str,
    sample_rate: int | None = None,
    *,
    start_sec: float = 0.0,
    end_sec: float | None = None,
) -> tuple[Waveform, int]:
    """Return the waveform at ``path`` and its rate, in Hz.

    Several channels become their mean. Another rate is reached with soxr at its high quality.

    Args:
        path: A file in any format that libsndfile or, if installed, ffmpeg reads.
        sample_rate: Hz wanted; None keeps the rate of the file.
        start_sec: Where to begin; what lies before is not decoded.
        end_sec: Where to stop; None, or anything past the end, is the end of the file.

    Returns:
        The samples ``[T]`` float32, and their rate in Hz.

    Raises:
        DataError: The file is missing, empty, cut short, not audio, holds samples that are not
            numbers, or has nothing between ``start_sec`` and ``end_sec``.
    """
    path = _checked(path)
    samples, file_rate = _read_samples(path, start_sec, end_sec)  # [T, C]
    if not len(samples):
        raise _nothing_between(path, start_sec, end_sec)
    if not np.isfinite(samples).all():
        raise DataError(
            "the audio holds samples that are not numbers (NaN or infinite)",
            where=str(path),
            fix="export it again, as 16-bit PCM",
        )
    audio = samples.mean(axis=1)  # [T]
    if sample_rate is None or sample_rate == file_rate:
        return audio, file_rate
    return _resample(audio, file_rate, sample_rate), sample_rate


def write_wav(path: Path | str, audio: Waveform, sample_rate: int) -> None:
    """Write ``audio`` ``[T]`` as 16-bit PCM WAV, whole or not at all; beyond +-1 is clipped."""
    _write_pcm16(Path(path), audio, sample_rate, container="WAV")


def write_flac(path: Path | str, audio: Waveform, sample_rate: int) -> None:
    """Write ``audio`` ``[T]`` as 16-bit FLAC, whole or not at all; beyond +-1 is clipped."""
    _write_pcm16(Path(path), audio, sample_rate, container="FLAC")


def _write_pcm16(path: Path, audio: Waveform, sample_rate: int, *, container: str) -> None:
    if audio.ndim != 1 or not np.isfinite(audio).all():
        raise ValueError(f"not a waveform of finite samples [T]: shape {audio.shape}")
    pcm = np.rint(np.clip(audio, -1.0, 1.0) * PCM16_PEAK).astype(np.int16)
    with atomic_path(path) as partial:
        soundfile.write(str(partial), pcm, sample_rate, subtype="PCM_16", format=container)


def _resample(audio: Waveform, from_hz: int, to_hz: int) -> Waveform:
    """Return ``audio`` at ``to_hz``, cut or zero-filled to exactly the length that it should have.

    The length and the quality are those of librosa's ``soxr_hq``, with which the published
    inference loads its prompts.
    """
    num_samples = ceil(len(audio) * to_hz / from_hz)
    resampled: Waveform = soxr.resample(audio, from_hz, to_hz, quality="HQ")[:num_samples]
    return np.pad(resampled, (0, num_samples - len(resampled)))


def _read_samples(path: Path, start_sec: float, end_sec: float | None) -> tuple[Waveform, int]:
    """Return the samples ``[T, C]`` between two times, and their rate."""
    if path.suffix.lower() == G722_SUFFIX:
        return _read_with_ffmpeg(path, start_sec, end_sec, "raw G.722 has no header")
    try:
        file = soundfile.SoundFile(str(path))
    except soundfile.LibsndfileError as error:
        return _read_with_ffmpeg(path, start_sec, end_sec, error)
    with file:
        _check_frames(file.frames, path)
        start = round(start_sec * file.samplerate)
        end = file.frames if end_sec is None else round(end_sec * file.samplerate)
        end = min(end, file.frames)
        if not 0 <= start < end:
            raise _nothing_between(path, start_sec, end_sec)
        return _decode(file, start, end, path), file.samplerate


def _decode(file: soundfile.SoundFile, start: int, end: int, path: Path) -> Waveform:
    """Return the samples ``[T, C]`` from ``start`` to ``end``, all of which must be there."""
    try:
        if start:
            file.seek(start)
        samples: Waveform = file.read(end - start, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise _cut_short(path, str(error)) from error
    if len(samples) < end - start:
        raise _cut_short(path, f"{len(samples)} of {end - start} samples are there")
    return samples


def _checked(path: Path | str) -> Path:
    path = Path(path)
    if not path.is_file():
        raise DataError(f"no such audio file: {path}")
    if not path.stat().st_size:
        raise DataError("the audio file is empty", where=str(path), fix="record or copy it again")
    if (missing_bytes := _missing_bytes(path)) > 0:
        raise _cut_short(path, f"{missing_bytes} bytes are missing at its end")
    return path


def _check_frames(num_frames: int, path: Path) -> None:
    if not num_frames:
        raise DataError(
            "the audio file holds no samples, or is cut short",
            where=str(path),
            fix="copy or download it again, or leave it out",
        )


def _missing_bytes(path: Path) -> int:
    """Return how many bytes a WAV, AIFF or Ogg file promises that are not there.

    libsndfile reads such a file without a word, up to where it breaks off.
    """
    with path.open("rb") as file:
        form = file.read(12)[:4]
        if form == OGG_PAGE:
            return _missing_ogg_bytes(file)
        order, data_id = CHUNK_FORMS.get(form, ("little", b""))
        while data_id and len(header := file.read(8)) == 8:
            size = int.from_bytes(header[4:], order)
            if header[:4] == data_id:
                return 0 if size in UNKNOWN_SIZES else file.tell() + size - path.stat().st_size
            file.seek(size + size % 2, io.SEEK_CUR)
    return 0


def _missing_ogg_bytes(file: BinaryIO) -> int:
    """Return how many bytes of its last page an Ogg file lacks."""
    file.seek(max(0, file.seek(0, io.SEEK_END) - OGG_MAX_PAGE_BYTES))
    tail = file.read()
    page = tail[max(0, tail.rfind(OGG_PAGE)) :]
    if len(page) < OGG_HEADER_BYTES:
        return OGG_HEADER_BYTES - len(page)
    num_segments = page[OGG_HEADER_BYTES - 1]
    segment_sizes = page[OGG_HEADER_BYTES : OGG_HEADER_BYTES + num_segments]
    return OGG_HEADER_BYTES + num_segments + sum(segment_sizes) - len(page)


def _read_with_ffmpeg(
    path: Path, start_sec: float, end_sec: float | None, reason: object
) -> tuple[Waveform, int]:
    """Return the samples ``[T, C]`` and the rate that ffmpeg decodes.

    ``reason`` is why libsndfile could not, for the message where ffmpeg is not installed.
    """
    ffmpeg = _program("ffmpeg", path, reason)
    window = ["-ss", str(start_sec)]
    if end_sec is not None:
        if end_sec <= start_sec:
            raise _nothing_between(path, start_sec, end_sec)
        window += ["-t", str(end_sec - start_sec)]
    output = ["-map", "0:a:0", "-c:a", "pcm_f32be", "-f", "au", "-"]
    sound = _run(
        [ffmpeg, "-v", "error", "-xerror", "-nostdin", *window, *_input(path), *output], path
    )
    samples, sample_rate = soundfile.read(io.BytesIO(sound), dtype="float32", always_2d=True)
    return samples, sample_rate


def _probe_with_ffprobe(path: Path, reason: object) -> AudioInfo:
    ffprobe = _program("ffprobe", path, reason)
    wanted = "stream=sample_rate,channels:format=duration"
    options = ["-v", "error", "-select_streams", "a:0", "-show_entries", wanted, "-of", "json"]
    answer = json.loads(_run([ffprobe, *options, *_input(path)], path))
    if not answer.get("streams") or "duration" not in answer.get("format", {}):
        raise _not_audio(path, reason)
    stream = answer["streams"][0]
    return AudioInfo(
        duration_sec=float(answer["format"]["duration"]),
        sample_rate=int(stream["sample_rate"]),
        num_channels=int(stream["channels"]),
    )


def _input(path: Path) -> list[str]:
    """Return the arguments that make ``path`` the input, and no file or address named in it."""
    demuxer = ["-f", "g722"] if path.suffix.lower() == G722_SUFFIX else []
    return ["-protocol_whitelist", "file,pipe", *demuxer, "-i", f"file:{path}"]


def _program(name: str, path: Path, reason: object) -> str:
    if (program := shutil.which(name)) is None:
        raise DataError(
            f"not audio that can be read here: {reason}",
            where=str(path),
            fix=f"{NOT_AUDIO_FIX}, or install ffmpeg, which reads more formats",
        )
    return program


def _run(command: list[str], path: Path) -> bytes:
    done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 -- no shell; the path is one argument
    # Some damage is only spoken of: a stream that ends too soon is still a success to ffmpeg.
    if done.returncode or done.stderr:
        message = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise _not_audio(path, message[0])
    return done.stdout


def _not_audio(path: Path, reason: object) -> DataError:
    return DataError(f"not audio, or damaged: {reason}", where=str(path), fix=NOT_AUDIO_FIX)


def _cut_short(path: Path, detail: str) -> DataError:
    return DataError(
        f"the audio file is cut short: {detail}", where=str(path), fix="copy or download it again"
    )


def _nothing_between(path: Path, start_sec: float, end_sec: float | None) -> DataError:
    end = "the end" if end_sec is None else f"{end_sec:g} s"
    return DataError(
        f"no audio from {start_sec:g} s to {end}",
        where=str(path),
        fix="check the times of the segment against the length of the file",
    )
