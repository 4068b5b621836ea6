"""Recognisers and a speaker encoder, to judge by; those of other authors are optional.

Nothing installs them. They are looked for in one folder, each below its own name::

    whisper-base/     model.bin, config.json, tokenizer.json, vocabulary.txt   (CTranslate2)
    whisper-small/    onnx/*_quantized.onnx, tokenizer.json                    (ONNX, int8)
    moonshine/        base/quantized/*.onnx, base-es-non-commercial/...,
                      tokenizer.json                                           (ONNX, en and es)
    campplus/         campplus_cn_en_common.pt                                 (PyTorch weights)

``N`` is samples at 16 000 Hz.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idiolect.audio.fbank import speaker_fbank
from idiolect.audio.io import read_audio
from idiolect.base.errors import DataError, UserError
from idiolect.base.hashes import sha256_file
from idiolect.base.units import SEMANTIC_SAMPLE_RATE
from idiolect.data.manifest import Utterance
from idiolect.listening.scores import LetterErrors, letter_errors
from idiolect.models.checkpoint import load_tensors, load_weights
from idiolect.models.config import SpeakerDims
from idiolect.models.speaker import CampPlus

Samples = NDArray[np.float32]

SHA256_PREFIXES = {
    "whisper-base/model.bin": "d01c3014881c9c6f",
    "whisper-small/onnx/encoder_model_quantized.onnx": "969f5ac129743403",
    "whisper-small/onnx/decoder_model_merged_quantized.onnx": "fcfc6100dc7339e7",
    "moonshine/base/quantized/encoder_model.onnx": "1dd9ab0a7f987113",
    "moonshine/base/quantized/decoder_model_merged.onnx": "cc9f3cd6698a369c",
    "moonshine/base-es-non-commercial/quantized/encoder_model.onnx": "636be20754df4c06",
    "moonshine/base-es-non-commercial/quantized/decoder_model_merged.onnx": "eaa6338d691f7183",
    "campplus/campplus_cn_en_common.pt": "92f29b94e6948786",
}
"""The files that were measured with: another file under the same name is refused."""

LETTERS_PER_SEC = 30
"""Nobody speaks as many tokens in a second: a recogniser that goes on is going round."""
MIN_TOKENS = 16
OWN_LANGUAGES = ("en", "es", "ca")
MOONSHINE_MODELS = {"en": "base", "es": "base-es-non-commercial"}
MOONSHINE_START, MOONSHINE_END = 1, 2


class Listener(Protocol):
    """Writes down what it hears."""

    name: str

    def speaks(self, language: str) -> bool:
        """Return whether it knows ``language``."""

    def hear(self, audio: Samples, language: str) -> str:
        """Return what is said in ``audio`` ``[N]``, as ``language``."""


class OwnListener:
    """nano's own recogniser: it heard the same kind of speech as nano, and knows the same words."""

    name = "nano's recogniser"

    def __init__(self, folder: Path) -> None:
        from idiolect.listening.recogniser import Recogniser

        self._recogniser = Recogniser(folder)

    def speaks(self, language: str) -> bool:
        """Return whether it was taught ``language``."""
        return language in OWN_LANGUAGES

    def hear(self, audio: Samples, language: str) -> str:
        """Return what is said in ``audio`` ``[N]``, as ``language``."""
        return self._recogniser.transcribe([torch.from_numpy(audio)], language)[0]


class FasterWhisper:
    """A Whisper by faster-whisper, greedy, on the processor.

    There, because a recogniser beside a training run must not take the memory of its GPU.

    Args:
        model: A folder in CTranslate2's form, or a name that the library knows or can fetch.
        threads: Of the processor; 0 leaves it to the library.

    Raises:
        DataError: There is no such model, or it cannot be read.
        UserError: faster-whisper is not installed.
    """

    def __init__(self, model: str, *, threads: int = 0) -> None:
        whisper = _imported("faster_whisper", "faster-whisper ctranslate2 av")
        self.name = f"faster-whisper:{model}"
        try:
            self._model = whisper.WhisperModel(
                model, device="cpu", compute_type="int8", cpu_threads=threads
            )
        except (ValueError, RuntimeError, OSError) as error:
            raise DataError(
                f"faster-whisper cannot read {model!r}: {str(error).strip().splitlines()[0]}",
                fix="name a folder with model.bin, config.json and tokenizer.json, or a model that "
                "the library knows: tiny, base, small, medium, large-v3",
            ) from error

    def speaks(self, language: str) -> bool:
        """Return whether it has a token for ``language``."""
        return language in self._model.supported_languages

    def hear(self, audio: Samples, language: str) -> str:
        """Return what is said in ``audio`` ``[N]``, as ``language``."""
        segments, _ = self._model.transcribe(
            audio,
            language=language,
            beam_size=1,
            temperature=0.0,
            without_timestamps=True,
            condition_on_previous_text=False,
            max_new_tokens=_most_tokens(audio),
        )
        return " ".join(segment.text.strip() for segment in segments)


class WhisperBase(FasterWhisper):
    """Whisper base, the known file of it."""

    name = "whisper-base"

    def __init__(self, folder: Path) -> None:
        check_file(folder / WhisperBase.name / "model.bin", folder)
        super().__init__(str(folder / WhisperBase.name), threads=1)
        self.name = WhisperBase.name

    def speaks(self, language: str) -> bool:
        """Return True: what it does not know it still writes down."""
        return bool(language)


class WhisperSmall:
    """Whisper small by ONNX Runtime, greedy; slower than base and better."""

    name = "whisper-small"

    def __init__(self, folder: Path) -> None:
        from transformers import WhisperFeatureExtractor

        own = folder / self.name
        self._features: Any = WhisperFeatureExtractor()  # type: ignore[no-untyped-call]
        self._encoder = _session(own / "onnx/encoder_model_quantized.onnx", folder)
        self._decoder = GreedyDecoder(
            _session(own / "onnx/decoder_model_merged_quantized.onnx", folder)
        )
        self._tokenizer = _tokenizer(own / "tokenizer.json")

    def speaks(self, language: str) -> bool:
        """Return whether it has a token for ``language``."""
        return self._tokenizer.token_to_id(f"<|{language}|>") is not None

    def hear(self, audio: Samples, language: str) -> str:
        """Return what is said in ``audio`` ``[N]``, as ``language``."""
        features = self._features(
            audio, sampling_rate=SEMANTIC_SAMPLE_RATE, return_tensors="np"
        ).input_features
        states = self._encoder.run(["last_hidden_state"], {"input_features": features})[0]
        marks = ("startoftranscript", language, "transcribe", "notimestamps")
        start = [self._tokenizer.token_to_id(f"<|{mark}|>") for mark in marks]
        end = self._tokenizer.token_to_id("<|endoftext|>")
        ids = self._decoder.run(states, start, end, _most_tokens(audio))
        return str(self._tokenizer.decode(ids, skip_special_tokens=True)).strip()


class Moonshine:
    """Moonshine base by ONNX Runtime, one network a language: English and Spanish."""

    name = "moonshine"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tokenizer = _tokenizer(folder / self.name / "tokenizer.json")
        self._networks: dict[str, tuple[Any, GreedyDecoder]] = {}

    def speaks(self, language: str) -> bool:
        """Return whether there is a network for ``language``."""
        return language in MOONSHINE_MODELS

    def hear(self, audio: Samples, language: str) -> str:
        """Return what is said in ``audio`` ``[N]``, as ``language``."""
        encoder, decoder = self._network(language)
        states = encoder.run(None, {"input_values": audio[None]})[0]
        ids = decoder.run(states, [MOONSHINE_START], MOONSHINE_END, _most_tokens(audio))
        return str(self._tokenizer.decode(ids, skip_special_tokens=True)).strip()

    def _network(self, language: str) -> tuple[Any, GreedyDecoder]:
        if language not in self._networks:
            own = self._folder / self.name / MOONSHINE_MODELS[language] / "quantized"
            self._networks[language] = (
                _session(own / "encoder_model.onnx", self._folder),
                GreedyDecoder(_session(own / "decoder_model_merged.onnx", self._folder)),
            )
        return self._networks[language]


class GreedyDecoder:
    """The likeliest token at each step of a decoder that keeps keys and values (ONNX, merged)."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._empty = {
            value.name: np.zeros((1, value.shape[1], 0, value.shape[3]), np.float32)
            for value in session.get_inputs()
            if value.name.startswith("past_key_values")
        }
        self._outputs = [value.name for value in session.get_outputs()]

    def run(self, states: Samples, start: Sequence[int], end: int, most: int) -> list[int]:
        """Return the tokens behind ``start``, up to ``end`` or ``most`` of them.

        Args:
            states: ``[1, T, D]``, what the encoder made of the clip.
            start: The tokens to begin with.
            end: The token that ends the text; not returned.
            most: How many tokens at most.
        """
        past, step, found = dict(self._empty), list(start), list[int]()
        while len(found) < most:
            values = self._session.run(
                self._outputs,
                {
                    "input_ids": np.array([step], np.int64),
                    "encoder_hidden_states": states,
                    "use_cache_branch": np.array([bool(found)]),
                    **past,
                },
            )
            token = int(values[0][0, -1].argmax())
            if token == end:
                break
            past = self._kept(dict(zip(self._outputs, values, strict=True)), past, first=not found)
            found.append(token)
            step = [token]
        return found

    def _kept(
        self, values: Mapping[str, Samples], past: dict[str, Samples], *, first: bool
    ) -> dict[str, Samples]:
        """Return the keys and values for the next step: those of the encoder stay as they were."""
        return {
            name: values[name.replace("past_key_values", "present")]
            if first or ".decoder." in name
            else kept
            for name, kept in past.items()
        }


class RealSpeakerEncoder:
    """The published CAM++, Chinese and English, in this project's own class."""

    name = "campplus"

    def __init__(self, folder: Path) -> None:
        path = folder / self.name / "campplus_cn_en_common.pt"
        check_file(path, folder)
        self._network = CampPlus(SpeakerDims())
        load_weights(self._network, load_tensors(path), where=path)
        self._network.eval()

    @torch.inference_mode()
    def embed(self, audio: Tensor) -> Tensor:
        """Return the embedding ``[D]`` of ``audio`` ``[N]``."""
        return self._network(speaker_fbank(audio)[None])[0]  # type: ignore[no-any-return]


LISTENERS = (WhisperBase, WhisperSmall, Moonshine)


def listeners_in(folder: Path, names: Sequence[str] = ()) -> list[Listener]:
    """Return the recognisers in ``folder``: those of ``names``, or all that are there.

    Raises:
        DataError: One of ``names`` is not there, or a file is not the one that is known.
        UserError: A package that one needs is not installed.
    """
    chosen = names or [kind.name for kind in LISTENERS if (folder / kind.name).is_dir()]
    kinds = {kind.name: kind for kind in LISTENERS}
    return [kinds[name](folder) for name in chosen]


def hear_file(listener: Listener, sound: Path | None, text: str, language: str) -> LetterErrors:
    """Return how ``listener`` understands ``text`` in ``sound``; no file is all letters wrong."""
    if sound is None or not sound.is_file():
        return letter_errors(text, "", language)
    return letter_errors(text, listener.hear(read_16k(sound), language), language)


def errors_of(listener: Listener, said: Iterable[tuple[Path, Utterance]]) -> LetterErrors:
    """Return how ``listener`` understands sounds, each with the line that it should say."""
    return LetterErrors.total(
        hear_file(listener, sound, line.text, line.language) for sound, line in said
    )


def knowing(listeners: Iterable[Listener], language: str) -> list[Listener]:
    """Return those of ``listeners`` that know ``language``."""
    return [listener for listener in listeners if listener.speaks(language)]


def read_16k(path: Path) -> Samples:
    """Return the clip in ``path``, ``[N]``."""
    audio, _ = read_audio(path, SEMANTIC_SAMPLE_RATE)
    return audio


def check_file(path: Path, folder: Path) -> None:
    """Make sure that ``path`` is the known file of its name below ``folder``.

    Raises:
        DataError: It is not there, or has another SHA-256.
    """
    if not path.is_file():
        raise DataError(
            f"no such file: {path}", fix="see recipes/nano/JUDGES.md for how to get the judges"
        )
    known = SHA256_PREFIXES[str(path.relative_to(folder))]
    if not (found := sha256_file(path)).startswith(known):
        raise DataError(
            f"this is not the file that is known: its SHA-256 begins {found[:16]}, not {known}",
            where=str(path),
            fix="get it again; scores by another file cannot be compared",
        )


def _session(path: Path, folder: Path) -> Any:
    check_file(path, folder)
    runtime = _imported("onnxruntime", "onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _tokenizer(path: Path) -> Any:
    if not path.is_file():
        raise DataError(f"no such file: {path}", fix="copy the tokenizer beside its networks")
    return _imported("tokenizers", "tokenizers").Tokenizer.from_file(str(path))


def _imported(module: str, packages: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise UserError(
            f"the package {module} is not installed, and this judge needs it",
            fix=f"pip install {packages}; or all that judges need: pip install 'idiolect[asr]'",
        ) from error


def _most_tokens(audio: Samples) -> int:
    return MIN_TOKENS + int(LETTERS_PER_SEC * len(audio) / SEMANTIC_SAMPLE_RATE)
