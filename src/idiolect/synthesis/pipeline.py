"""Text and a prompt to speech, with the published call.

Per-request state only: what one request needs travels in its arguments, so that concurrent
requests never mix and a model that is swapped out finishes what it began.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idiolect.base.errors import SynthesisError
from idiolect.base.guard import check_output
from idiolect.base.log import get_logger
from idiolect.base.progress import track
from idiolect.models.emotion import EmotionReader, scale_weights
from idiolect.models.gpt import UnifiedVoice
from idiolect.models.loading import load_gpt
from idiolect.models.published import BaseFiles, locate_base
from idiolect.registry.store import BASE_NAME, ModelFiles, find_model
from idiolect.synthesis.output import finished, full_scale, streamed
from idiolect.synthesis.request import (
    SEED_RANGE,
    SEGMENT_TOKENS_RANGE,
    SPEED_RANGE,
    LoadedModel,
    Request,
    asked_codes,
    checked,
    checked_weights,
    sampling_settings,
    segments_of,
)
from idiolect.synthesis.sampling import generate_codes
from idiolect.synthesis.stack import FrozenStack, PromptFeatures
from idiolect.text.tokenizer import Tokenizer


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
        gpt = load_gpt(found.gpt, found.config.gpt, bases=[found.base.gpt])
        gpt = gpt.to(self.device).eval()
        return LoadedModel(
            name=found.name,
            version=version,
            gpt=gpt.half() if self.half else gpt,
            tokenizer=Tokenizer.load(found.tokenizer),
            languages=found.languages,
            knows_durations=_learnt_durations(found),
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
        target_duration: float | None = None,
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
            language: Code of the language of ``text``; when None, that of the model if it has one.
            seed: Same seed, same sound; drawn when None.
            speed: 0.5…2; the sound is asked to be so much shorter.
            target_duration: Seconds that the whole should last, silences included; the model is
                asked for, and comes near to it. Only for models that learnt durations. At another
                speed it still is how long one listens: at 2 twice as many codes are asked for.
            **generation: Fields of :class:`~idiolect.synthesis.sampling.SamplingSettings`; and as
                the published call has them ``max_mel_tokens`` for ``max_codes``, and
                ``typical_sampling``. What is not given is as the base says, or as published.

        Returns:
            ``output_path``, or (22050, int16 [n, 1]) without one, or an iterator of float waves
            [1, n] in ±32767, each followed by its silence, when streaming.

        Raises:
            SynthesisError: A setting is out of range or unknown, the model spoke nothing, or did
                not learn durations and was asked for one.
            ConfigError: A setting of the sampling is out of range.
            DataError: A clip cannot be read.
            GuardError: ``output_path`` lies in a base folder.
        """
        model = self._model
        if output_path is not None:
            check_output(Path(output_path))
        duration = model.duration_of(target_duration, interval_silence, speed)
        weights = self._weights(emo_vector, emo_text or text, use_emo_text=use_emo_text)
        request = Request(
            prompt=Path(spk_audio_prompt),
            text=text,
            language=model.language_of(language),
            emotion_prompt=(
                Path(emo_audio_prompt) if emo_audio_prompt and weights is None else None
            ),
            emotion_alpha=emo_alpha,
            emotion_weights=None if weights is None else scale_weights(weights, emo_alpha),
            random_emotion=use_random,
            max_segment_tokens=int(
                checked(
                    "max_text_tokens_per_segment", max_text_tokens_per_segment, SEGMENT_TOKENS_RANGE
                )
            ),
            quick_tokens=more_segment_before,
            seed=secrets.randbits(31) if seed is None else int(checked("seed", seed, SEED_RANGE)),
            speed=checked("speed", speed, SPEED_RANGE),
            duration=duration,
            sampling=sampling_settings({**self.files.config.generation, **generation}),
        )
        if verbose:
            get_logger().info("seed %d, language %s", request.seed, request.language)
        waves = self._waves(model, request)
        if stream_return:
            return streamed(waves, interval_silence, output_path)
        return finished(list(waves), interval_silence, output_path)

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
        return checked_weights(emo_vector)

    def _waves(self, model: LoadedModel, request: Request) -> Iterator[Tensor]:
        """Yield the wave [1, n] in ±32767 of each segment that has sound."""
        segments = segments_of(model, request)
        asked = asked_codes(model, request, segments)
        prompt = self.stack.prompt(request.prompt)
        generator = torch.Generator(self.device).manual_seed(request.seed)
        conditions = self._conditions(model, prompt, request, generator)
        heard = False
        todo = list(zip(segments, asked, strict=True))
        for text_ids, num_codes in track(todo, "speaking", unit="segments"):
            prefix = model.prefix(*conditions, num_codes)
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
    def _conditions(
        self,
        model: LoadedModel,
        prompt: PromptFeatures,
        request: Request,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Return the latents [1, 32, D] and the emotion [1, D], the same for every segment."""
        latents = model.gpt.speaker_latents(prompt.features.to(_dtype(model.gpt)))
        return latents, self._emotion(model, prompt, request, generator)

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


def _version_of(found: ModelFiles) -> tuple[Path, int]:
    return found.gpt, found.gpt.stat().st_mtime_ns


def _learnt_durations(found: ModelFiles) -> bool:
    return found.header is not None and bool(found.header.settings.get("duration_control"))


def _dtype(gpt: UnifiedVoice) -> torch.dtype:
    return gpt.mel_head.weight.dtype
