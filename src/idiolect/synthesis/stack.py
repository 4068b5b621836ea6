"""The frozen half of synthesis: what a prompt sounds like, and codes to sound.

Loaded once and shared by every model: a swap replaces the GPT and its tokenizer only.

Shapes: T code frames of a prompt, F feature width, M mel frames, n codes.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import torch
from torch import Tensor

from idiolect.audio.fbank import speaker_fbank
from idiolect.audio.io import probe_audio, read_audio
from idiolect.audio.mel import LogMel
from idiolect.audio.resample import resample_22k_to_16k
from idiolect.base.errors import DataError
from idiolect.base.hashes import sha256_file
from idiolect.base.units import (
    MAX_PROMPT_SEC,
    SAMPLE_RATE,
    SEMANTIC_SAMPLE_RATE,
    code_frames_to_mel_frames,
    seconds_to_samples,
)
from idiolect.models.codec import SemanticCodec
from idiolect.models.emotion import EmotionMatrices, EmotionReader
from idiolect.models.loading import (
    load_codec,
    load_emotion_matrices,
    load_s2mel,
    load_semantic_encoder,
    load_speaker_encoder,
    load_vocoder,
)
from idiolect.models.published import BaseFiles
from idiolect.models.s2mel import S2Mel
from idiolect.models.semantic import SemanticEncoder
from idiolect.models.speaker import CampPlus
from idiolect.models.vocoder import BigVgan
from idiolect.models.weight_norm import fold_weight_norm
from idiolect.synthesis.devices import tensor_bytes
from idiolect.synthesis.turns import Turns

PROMPTS_KEPT = 16
"""How many prompts stay computed; one of 15 s is about 5 MB."""
READING = Lock()
"""The reader of emotions seeds torch's own generators, which are those of the whole process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptFeatures:
    """Everything that is read from the clip of a voice."""

    features: Tensor  # [1, T, F] for the speaker conditioner
    emotion_features: Tensor  # [1, T, F] of the same clip by the emotion route
    mel: Tensor  # [1, n_mels, M]
    style: Tensor  # [1, style_dim]
    condition: Tensor  # [1, M, content_dim]


class FrozenStack:
    """The networks that no fine-tuning touches, on one device, in float32.

    Requests on one device compute one after the other, a segment at a time: side by side on two
    cores, or on one GPU, they would only take each other's caches and memory. Whoever computes
    takes one of :attr:`turns`.
    """

    def __init__(
        self,
        *,
        semantic: SemanticEncoder,
        codec: SemanticCodec,
        s2mel: S2Mel,
        vocoder: BigVgan,
        speaker: CampPlus,
        log_mel: LogMel,
        emotion: EmotionMatrices,
        device: torch.device,
        reader_dir: Path | None = None,
    ) -> None:
        self.semantic = semantic
        self.codec = codec
        self.s2mel = s2mel
        self.vocoder = vocoder
        self.speaker = speaker
        self.log_mel = log_mel
        self.emotion = emotion
        self.device = device
        self.turns = Turns()
        self._reader_dir = reader_dir
        self._reader: EmotionReader | None = None
        self._prompts: OrderedDict[str, PromptFeatures] = OrderedDict()
        self._lock = Lock()

    @classmethod
    def load(cls, files: BaseFiles, device: torch.device) -> FrozenStack:
        """Read every frozen network of the base onto ``device``."""
        s2mel, vocoder = load_s2mel(files), load_vocoder(files)
        fold_weight_norm(s2mel)
        fold_weight_norm(vocoder)
        return cls(
            semantic=load_semantic_encoder(files).to(device).eval(),
            codec=load_codec(files).to(device).eval(),
            s2mel=s2mel.to(device).eval(),
            vocoder=vocoder.to(device).eval(),
            speaker=load_speaker_encoder(files).to(device).eval(),
            log_mel=LogMel(files.config.mel).to(device),
            emotion=load_emotion_matrices(files).to(device),
            device=device,
            reader_dir=files.qwen_dir,
        )

    @property
    def num_bytes(self) -> int:
        """Bytes of the weights, as they are in memory; prompts and the reader not counted."""
        networks = (self.semantic, self.codec, self.s2mel, self.vocoder, self.speaker)
        matrices = self.emotion.speaker.nbytes + self.emotion.emotion.nbytes
        return tensor_bytes([*networks, self.log_mel]) + matrices

    @property
    def num_prompts(self) -> int:
        """How many prompts are kept computed."""
        return len(self._prompts)

    def emotion_of_text(self, text: str) -> tuple[float, ...]:
        """Return the weights of the emotions that the base's reader finds in ``text``.

        Raises:
            CheckpointError: The base comes without a reader.
            SynthesisError: Its answer is no list of emotions.
        """
        with READING:
            if self._reader is None:
                self._reader = EmotionReader.load(self._reader_dir, self.device)
            return self._reader.weights(text)

    def prompt(self, path: Path) -> PromptFeatures:
        """Return the features of the clip in ``path``; kept by content, so a changed file counts.

        Raises:
            DataError: The clip cannot be read, or is too short.
        """
        probe_audio(path)
        key = sha256_file(path)
        with self._lock:
            if key in self._prompts:
                self._prompts.move_to_end(key)
                return self._prompts[key]
        prompt = self._read_prompt(path)
        with self._lock:
            self._prompts[key] = prompt
            while len(self._prompts) > PROMPTS_KEPT:
                self._prompts.popitem(last=False)
        return prompt

    @torch.inference_mode()
    def _read_prompt(self, path: Path) -> PromptFeatures:
        audio = self._read(path, SAMPLE_RATE)  # [1, N]
        # The published code takes the speaker's 16 kHz signal from the 22.05 kHz one, and the
        # emotion's straight from the file.
        audio_16k = resample_22k_to_16k(audio)
        features = self._features(audio_16k, path)
        _, quantized = self.codec.quantize(features)
        mel = self.log_mel(audio)
        return PromptFeatures(
            features=features,
            emotion_features=self.emotion_features(path),
            mel=mel,
            style=self.speaker(speaker_fbank(audio_16k[0])[None]),
            condition=self.s2mel.regulate(quantized, mel.shape[-1]),
        )

    @torch.inference_mode()
    def emotion_features(self, path: Path) -> Tensor:
        """Return the features [1, T, F] of the clip in ``path`` by the emotion route.

        Raises:
            DataError: The clip cannot be read, or is too short.
        """
        return self._features(self._read(path, SEMANTIC_SAMPLE_RATE), path)

    def _features(self, audio: Tensor, path: Path) -> Tensor:
        """Return the features [1, T, F] of ``audio`` [1, N] at 16 kHz, read from ``path``."""
        try:
            features: Tensor = self.semantic([audio[0]])[0]
        except DataError as error:
            error.where = str(path)
            raise
        return features

    def _read(self, path: Path, sample_rate: int) -> Tensor:
        """Return what is heard of the clip in ``path``, [1, N] at ``sample_rate`` Hz."""
        audio, _ = read_audio(path, sample_rate)
        limit = seconds_to_samples(MAX_PROMPT_SEC, sample_rate)
        return torch.from_numpy(audio[:limit]).to(self.device)[None]

    @torch.inference_mode()
    def render(
        self,
        codes: Tensor,
        latents: Tensor,
        prompt: PromptFeatures,
        *,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
        speed: float = 1.0,
    ) -> Tensor:
        """Return the sound of ``codes`` in the voice of ``prompt``.

        Args:
            codes: ``[1, n]`` int64, without stop.
            latents: ``[1, n, D]`` float32, the GPT states that predict them.
            prompt: The voice.
            noise: ``[1, n_mels, M + M_target]``; drawn from ``generator`` when None.
            generator: Source of the noise; torch's own when None.
            speed: 2 is twice as fast; the mel is asked to be that much shorter.

        Returns:
            ``[1, samples]`` float32 in −1…1 at 22 050 Hz.
        """
        condition = self.target_condition(codes, latents, speed=speed)
        mel = self.s2mel.sample(
            torch.cat([prompt.condition, condition], dim=1),
            prompt.mel,
            prompt.style,
            noise=noise,
            generator=generator,
        )
        wave: Tensor = self.vocoder(mel[..., prompt.mel.shape[-1] :])
        return wave[:, 0]

    def target_condition(self, codes: Tensor, latents: Tensor, *, speed: float = 1.0) -> Tensor:
        """Return the condition [1, M_target, content_dim] of the mel frames to be made."""
        semantic = self.codec.embed(codes) + self.s2mel.gpt_layer(latents.float())
        length = max(1, int(code_frames_to_mel_frames(codes.shape[1]) / speed))
        return self.s2mel.regulate(semantic, length)
