"""Text and a prompt to speech, with the published call.

Per-request state only: what one request needs travels in its arguments, so that concurrent
requests never mix and a model that is swapped out finishes what it began.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idiolect.audio.io import write_wav
from idiolect.base.errors import SynthesisError, did_you_mean
from idiolect.base.guard import check_output
from idiolect.base.log import get_logger
from idiolect.base.progress import track
from idiolect.base.units import SAMPLE_RATE
from idiolect.models.emotion import EMOTIONS, EmotionReader, scale_weights
from idiolect.models.gpt import UnifiedVoice
from idiolect.models.published import BaseFiles, load_gpt, locate_base
from idiolect.registry.store import BASE_NAME, ModelFiles, find_model
from idiolect.synthesis.sampling import SamplingSettings, generate_codes
from idiolect.synthesis.stack import FrozenStack, PromptFeatures
from idiolect.text.segments import split_segments
from idiolect.text.tokenizer import Tokenizer

FULL_SCALE = 32767.0
"""The published code speaks in 16-bit units, as floats."""
SPEED_RANGE = (0.5, 2.0)
"""How many times as fast: the length of the mel is divided by it."""
SEED_RANGE = (0, 2**63 - 1)
SEGMENT_TOKENS_RANGE = (1, 10_000)
PUBLISHED_NAMES = {"max_mel_tokens": "max_codes"}
"""Keywords of the published call that have another name here."""
TYPICAL_MASS = 0.9
"""What the published call takes when typical sampling is asked for without a mass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A GPT and the tokenizer it was trained with."""

    name: str
    version: tuple[Path, int]
    """File of the weights and when it was written, in ns: an installation may replace it."""
    gpt: UnifiedVoice
    tokenizer: Tokenizer
    languages: tuple[str, ...]

    @property
    def language(self) -> str | None:
        """The language to assume when a request names none; None is the published choice."""
        return self.languages[0] if len(self.languages) == 1 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What one call of :meth:`IndexTTS2.infer` asks for, checked."""

    prompt: Path
    text: str
    language: str | None
    emotion_prompt: Path | None
    emotion_alpha: float
    emotion_weights: tuple[float, ...] | None
    random_emotion: bool
    max_segment_tokens: int
    quick_tokens: int
    seed: int
    speed: float
    sampling: SamplingSettings


class IndexTTS2:
    """A base, the model that speaks at present, and the published call.

    Args:
        cfg_path: The base's ``config.yaml``.
        model_dir: The base's folder.
        use_fp16: Run the GPT in half precision; passed over on the CPU.
        device: ``cpu``, ``cuda:0`` ...; the first GPU, or the CPU, when None.
        model: An installed model's name; the base itself when None.
        models_dir: Where installed models are.
        aux_dir: Where w2v-bert and the like are, when not beside the base.

    Raises:
        CheckpointError: A file of the base is missing or damaged.
        RegistryError: ``model`` is not installed.
    """

    def __init__(
        self,
        cfg_path: str | Path = "checkpoints/config.yaml",
        model_dir: str | Path = "checkpoints",
        *,
        use_fp16: bool = False,
        device: str | torch.device | None = None,
        model: str | None = None,
        models_dir: str | Path = "models",
        aux_dir: str | Path | None = None,
    ) -> None:
        self.files: BaseFiles = locate_base(
            Path(model_dir),
            config_path=Path(cfg_path),
            aux_dir=None if aux_dir is None else Path(aux_dir),
        )
        self.models_dir = Path(models_dir)
        self.device = choose_device(device)
        self.half = use_fp16 and self.device.type == "cuda"
        self.stack = FrozenStack.load(self.files, self.device)
        self._reader: EmotionReader | None = None
        self._loading = Lock()
        self._model = self._load(self._find(model or BASE_NAME))

    @property
    def model(self) -> LoadedModel:
        """The model that the next request will use."""
        return self._model

    def use_model(self, name: str) -> LoadedModel:
        """Make ``name`` the model that speaks; the former one stays if loading fails.

        Raises:
            RegistryError: ``name`` is not installed.
            CheckpointError: Its files are damaged or do not belong together.
        """
        with self._loading:
            found = self._find(name)
            if _version_of(found) != self._model.version:
                self._model = self._load(found)
            return self._model

    def _find(self, name: str) -> ModelFiles:
        return find_model(name, self.models_dir, self.files)

    def _load(self, found: ModelFiles) -> LoadedModel:
        version = _version_of(found)
        gpt = load_gpt(found.gpt, found.config.gpt).to(self.device).eval()
        return LoadedModel(
            name=found.name,
            version=version,
            gpt=gpt.half() if self.half else gpt,
            tokenizer=Tokenizer.load(found.tokenizer),
            languages=found.languages,
        )

    def infer(  # noqa: PLR0913, PLR0917 -- the published signature
        self,
        spk_audio_prompt: str | Path,
        text: str,
        output_path: str | Path | None = None,
        emo_audio_prompt: str | Path | None = None,
        emo_alpha: float = 1.0,
        emo_vector: Sequence[float] | None = None,
        use_emo_text: bool = False,  # noqa: FBT001, FBT002 -- the published signature
        emo_text: str | None = None,
        use_random: bool = False,  # noqa: FBT001, FBT002 -- the published signature
        interval_silence: int = 200,
        verbose: bool = False,  # noqa: FBT001, FBT002 -- the published signature
        max_text_tokens_per_segment: int = 120,
        stream_return: bool = False,  # noqa: FBT001, FBT002 -- the published signature
        more_segment_before: int = 0,
        *,
        language: str | None = None,
        seed: int | None = None,
        speed: float = 1.0,
        **generation: float | bool | None,
    ) -> Path | tuple[int, NDArray[np.int16]] | Iterator[Tensor]:
        """Speak ``text`` in the voice of ``spk_audio_prompt``.

        Args:
            spk_audio_prompt: A clip of the voice; its first 15 s are heard.
            text: What to say.
            output_path: A 16-bit WAV at 22 050 Hz is written there; when streaming, at the end.
            emo_audio_prompt: A clip whose emotion is taken instead of the voice's own.
            emo_alpha: How much of that emotion, 0…1.
            emo_vector: Eight weights in the order of :data:`~idiolect.models.emotion.EMOTIONS`.
            use_emo_text: Take the weights from ``emo_text`` by the Qwen reader.
            emo_text: The text that the reader reads; ``text`` when None.
            use_random: Choose the rows of the emotion matrix at random.
            interval_silence: Silence between segments, in milliseconds.
            verbose: Log the seed and the language.
            max_text_tokens_per_segment: Longer texts are cut into segments of at most so many.
            stream_return: Return an iterator of segments as they are made.
            more_segment_before: Keep the first segments short until so many tokens, for streaming.
            language: Code of the language of ``text``; that of the model when None.
            seed: Same seed, same sound; drawn when None.
            speed: 0.5…2; the sound is asked to be so much shorter.
            **generation: Fields of :class:`SamplingSettings`; and as the published call has them
                ``max_mel_tokens`` for ``max_codes``, and ``typical_sampling``.

        Returns:
            ``output_path``, or (22050, int16 [n, 1]) without one, or an iterator of float waves
            [1, n] in ±32767, each followed by its silence, when streaming.

        Raises:
            SynthesisError: A setting is out of range or unknown, or the model spoke nothing.
            ConfigError: A setting of the sampling is out of range.
            DataError: A clip cannot be read.
            GuardError: ``output_path`` lies in a base folder.
        """
        model = self._model
        if output_path is not None:
            check_output(Path(output_path))
        weights = self._weights(emo_vector, emo_text or text, use_emo_text=use_emo_text)
        request = Request(
            prompt=Path(spk_audio_prompt),
            text=text,
            language=language or model.language,
            emotion_prompt=(
                Path(emo_audio_prompt) if emo_audio_prompt and weights is None else None
            ),
            emotion_alpha=emo_alpha,
            emotion_weights=None if weights is None else scale_weights(weights, emo_alpha),
            random_emotion=use_random,
            max_segment_tokens=int(
                _checked(
                    "max_text_tokens_per_segment", max_text_tokens_per_segment, SEGMENT_TOKENS_RANGE
                )
            ),
            quick_tokens=more_segment_before,
            seed=secrets.randbits(31) if seed is None else int(_checked("seed", seed, SEED_RANGE)),
            speed=_checked("speed", speed, SPEED_RANGE),
            sampling=sampling_settings(generation),
        )
        if verbose:
            get_logger().info("seed %d, language %s", request.seed, request.language)
        waves = self._waves(model, request)
        if stream_return:
            return _streamed(waves, interval_silence, output_path)
        return _finished(list(waves), interval_silence, output_path)

    def _weights(
        self, emo_vector: Sequence[float] | None, emo_text: str, *, use_emo_text: bool
    ) -> tuple[float, ...] | None:
        if use_emo_text:
            with self._loading:
                if self._reader is None:
                    self._reader = EmotionReader.load(self.files.qwen_dir, self.device)
            return self._reader.weights(emo_text)
        if emo_vector is None:
            return None
        if len(emo_vector) != len(EMOTIONS):
            raise SynthesisError(
                f"emo_vector has {len(emo_vector)} weights, not {len(EMOTIONS)}",
                fix=f"give one for each of {', '.join(EMOTIONS)}",
            )
        if not all(map(math.isfinite, emo_vector)):
            raise SynthesisError(
                f"emo_vector holds what is no number: {list(emo_vector)}",
                fix="give weights of 0 to 1",
            )
        return tuple(emo_vector)

    def _waves(self, model: LoadedModel, request: Request) -> Iterator[Tensor]:
        """Yield the wave [1, n] in ±32767 of each segment that has sound."""
        segments = segments_of(model, request)
        prompt = self.stack.prompt(request.prompt)
        generator = torch.Generator(self.device).manual_seed(request.seed)
        prefix = self._prefix(model, prompt, request, generator)
        heard = False
        for text_ids in track(segments, "speaking", unit="segments"):
            wave = self._segment(model, prompt, prefix, text_ids, request, generator)
            if wave is None:
                get_logger().warning("one segment came out empty and was left out")
                continue
            heard = True
            yield wave
        if not heard:
            raise SynthesisError(
                "the model spoke nothing",
                where=f"text {request.text[:60]!r}, seed {request.seed}",
                fix="try another seed, or check that the model was trained on this language",
            )

    @torch.inference_mode()
    def _prefix(
        self,
        model: LoadedModel,
        prompt: PromptFeatures,
        request: Request,
        generator: torch.Generator,
    ) -> Tensor:
        """Return the rows [1, 34, D] that stand before the text of every segment."""
        latents = model.gpt.speaker_latents(prompt.features.to(_dtype(model.gpt)))
        return model.gpt.prefix(latents, self._emotion(model, prompt, request, generator))

    def _emotion(
        self,
        model: LoadedModel,
        prompt: PromptFeatures,
        request: Request,
        generator: torch.Generator,
    ) -> Tensor:
        """Return the emotion vector [1, D]."""
        if request.emotion_prompt is None:
            features, alpha = prompt.emotion_features, 1.0
        else:
            features = self.stack.emotion_features(request.emotion_prompt)
            alpha = request.emotion_alpha
        dtype = _dtype(model.gpt)
        merged = model.gpt.merge_emotion(prompt.features.to(dtype), features.to(dtype), alpha)
        if request.emotion_weights is None:
            return merged
        return self.stack.emotion.mix(
            merged.float(),
            prompt.style,
            request.emotion_weights,
            generator=generator if request.random_emotion else None,
        ).to(dtype)

    @torch.inference_mode()
    def _segment(
        self,
        model: LoadedModel,
        prompt: PromptFeatures,
        prefix: Tensor,
        text_ids: list[int],
        request: Request,
        generator: torch.Generator,
    ) -> Tensor | None:
        """Return the wave [1, n] of one segment, or None when the model stops at once."""
        ids = torch.tensor([text_ids], device=self.device)
        codes = generate_codes(model.gpt, prefix, ids, request.sampling, generator=generator)
        if codes.numel() == 0:
            return None
        states = model.gpt.code_latents(prefix, ids, codes)
        wave = self.stack.render(codes, states, prompt, generator=generator, speed=request.speed)
        return full_scale(wave).cpu()


def choose_device(device: str | torch.device | None) -> torch.device:
    """Return ``device``, or the first GPU, or the CPU.

    Raises:
        SynthesisError: There is no such device here.
    """
    if device is None:
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise SynthesisError(
            f"the device {device} cannot be used: {str(error).splitlines()[0]}",
            fix="give cpu, or cuda:0 where there is a GPU",
        ) from error


def segments_of(model: LoadedModel, request: Request) -> list[list[int]]:
    """Return the token ids of each segment of the request's text.

    Raises:
        SynthesisError: Nothing of the text is left to say, or a segment does not fit the model.
    """
    pieces = model.tokenizer.split(request.text, request.language)
    limit = min(request.max_segment_tokens, model.gpt.dims.max_text_len)
    segments = [
        model.tokenizer.ids_of(segment)
        for segment in split_segments(pieces, limit, request.quick_tokens)
    ]
    segments = [ids for ids in segments if ids]
    if not segments:
        raise SynthesisError(f"nothing to say in {request.text!r}", fix="give a text with words")
    unknown = sum(ids.count(model.tokenizer.unk_id) for ids in segments)
    if unknown:
        get_logger().warning(
            "%d tokens of the text are unknown to the tokenizer and will not be spoken well",
            unknown,
        )
    return segments


def sampling_settings(generation: dict[str, float | bool | None]) -> SamplingSettings:
    """Return the settings that the keywords of the published call ask for.

    Raises:
        SynthesisError: A keyword is unknown.
    """
    given = {PUBLISHED_NAMES.get(name, name): value for name, value in generation.items()}
    if "typical_sampling" in given:
        mass = given.pop("typical_mass", None) or TYPICAL_MASS
        given["typical_mass"] = mass if given.pop("typical_sampling") else None
    if given.get("top_k", 0) is None:
        given["top_k"] = 0
    known = {field.name for field in fields(SamplingSettings)}
    for name in given:
        if name not in known:
            names = {*known, *PUBLISHED_NAMES, "typical_sampling"}
            raise SynthesisError(f"unknown setting {name!r}", fix=did_you_mean(name, names))
    return SamplingSettings(**given)  # type: ignore[arg-type]


def _checked(name: str, value: float, limits: tuple[float, float]) -> float:
    low, high = limits
    if not low <= value <= high:
        raise SynthesisError(f"{name} {value} is out of range", fix=f"choose {low} to {high}")
    return value


def _version_of(found: ModelFiles) -> tuple[Path, int]:
    return found.gpt, found.gpt.stat().st_mtime_ns


def _dtype(gpt: UnifiedVoice) -> torch.dtype:
    return gpt.mel_head.weight.dtype


def full_scale(wave: Tensor) -> Tensor:
    """Return ``wave`` in −1…1 as the published code hands it on: floats in ±32767."""
    return (FULL_SCALE * wave).clamp(-FULL_SCALE, FULL_SCALE)


def join_segments(waves: Sequence[Tensor], interval_ms: int) -> Tensor:
    """Return the waves ``[1, n]`` one behind the other, with silence between them."""
    silence = _silence(interval_ms)
    return torch.cat([part for wave in waves for part in (silence, wave)][1:], dim=1)


def _silence(interval_ms: int) -> Tensor:
    return torch.zeros(1, max(0, int(SAMPLE_RATE * interval_ms / 1000)))


def _streamed(
    waves: Iterator[Tensor], interval_ms: int, output_path: str | Path | None
) -> Iterator[Tensor]:
    """Yield each wave and the silence after it; then write all of it, if there is a path."""
    heard = []
    for wave in waves:
        yield wave
        yield _silence(interval_ms)
        if output_path is not None:
            heard.append(wave)
    if output_path is not None:
        _finished(heard, interval_ms, output_path)


def _finished(
    waves: Sequence[Tensor], interval_ms: int, output_path: str | Path | None
) -> Path | tuple[int, NDArray[np.int16]]:
    """Write the waves as one, or return their samples as 16-bit numbers."""
    wave = join_segments(waves, interval_ms)  # [1, n]
    if output_path is None:
        return SAMPLE_RATE, wave.to(torch.int16).T.numpy()
    path = Path(output_path)
    write_wav(path, (wave[0] / FULL_SCALE).clamp(-1, 1).numpy(), SAMPLE_RATE)
    return path
