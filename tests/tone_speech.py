"""Speech of tones: every letter is a pitch, so that a tiny recogniser can learn to spell it."""

from pathlib import Path
from typing import Any

import numpy as np

from idiolect.audio.io import write_wav
from idiolect.data.manifest import Utterance, write_manifest
from idiolect.models.config import CodecDims
from idiolect.nano.encoder import EncoderConfig
from idiolect.nano.sizes import SEMANTIC_CONFIG
from idiolect.nano.stage import Pace

RATE = 22_050
PITCH_HZ = {"a": 300.0, "b": 900.0, "c": 2500.0, " ": 0.0}
LETTER_SEC = 0.2
TEXTS = ("abc", "cab", "bca", "acb a", "ba cab", "cc b a")

TINY_SEMANTIC: dict[str, Any] = {
    **SEMANTIC_CONFIG,
    "hidden_size": 32,
    "output_hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_depthwise_kernel_size": 5,
    "left_max_position_embeddings": 8,
    "right_max_position_embeddings": 4,
}
TINY_READ_LAYER = 2
TINY_CODEC = CodecDims(
    codebook_size=16, feature_dim=32, code_dim=4, dim=16, ff_dim=32, num_layers=1
)


def tiny_encoder_config(steps: int, **changes: Any) -> EncoderConfig:
    """Return an encoder that is trained in a moment."""
    pace = Pace(total_steps=steps, learning_rate=5e-3, warmup_steps=5)
    values = {"batch_sec": 4.0, "semantic": TINY_SEMANTIC, "read_layer": TINY_READ_LAYER}
    return EncoderConfig(pace=pace, **{**values, **changes})


def write_tone_corpus(folder: Path, texts: tuple[str, ...] = TEXTS) -> Path:
    """Write clips that say ``texts`` in tones; return their manifest."""
    utterances = []
    for number, text in enumerate(texts):
        wave = tone_speech(text)
        write_wav(folder / f"{number}.wav", wave, RATE)
        utterances.append(
            Utterance(
                id=f"tone-{number}",
                audio=f"{number}.wav",
                root=folder,
                text=text,
                speaker="tone",
                language="es",
                duration_sec=len(wave) / RATE,
            )
        )
    write_manifest(folder / "tones.jsonl", utterances)
    return folder / "tones.jsonl"


def tone_speech(text: str) -> np.ndarray:
    """Return ``text`` in tones."""
    t = np.arange(round(LETTER_SEC * RATE)) / RATE
    fade = np.sin(np.pi * t / LETTER_SEC)
    rest = 1e-3 * np.random.default_rng(0).standard_normal(len(t))
    letters = [0.3 * fade * np.sin(2 * np.pi * PITCH_HZ[letter] * t) + rest for letter in text]
    return np.concatenate(letters).astype(np.float32)
