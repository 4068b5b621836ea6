"""A run of the recipe of nano as its stages leave it, with networks that nothing taught."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from idiolect.audio.io import write_wav
from idiolect.base.files import write_json
from idiolect.base.units import SAMPLE_RATE
from idiolect.data.formants import CATALAN_SENTENCES, Voice, speak_formants
from idiolect.data.manifest import Utterance, write_manifest
from idiolect.listening.recogniser import ALPHABET_FILE, HEAD_FILE, WEIGHTS_FILE
from idiolect.models.checkpoint import save_checkpoint, save_tensors
from idiolect.models.codec import SemanticCodec
from idiolect.models.config import VocoderDims
from idiolect.models.gpt import UnifiedVoice
from idiolect.models.nano_config import SENTENCES
from idiolect.models.s2mel import S2Mel
from idiolect.models.semantic import SemanticEncoder
from idiolect.models.speaker import CampPlus
from idiolect.models.vocoder import BigVgan
from idiolect.nano.clips import PCM_SCALE, Clips
from idiolect.nano.encoder import write_safetensors
from idiolect.nano.sizes import (
    FEATURE_DIM,
    PREPROCESSOR_CONFIG,
    SEMANTIC_CONFIG,
    VOCODER_CONFIG,
    base_config,
)
from registry_kit import make_tokenizer

VOICES = (
    Voice(name="low", pitch_hz=95, tract=0.85),
    Voice(name="middle", pitch_hz=150, tract=1.0),
    Voice(name="high", pitch_hz=230, tract=1.2),
)


def utterance_of(voice: Voice, text: str, duration_sec: float, root: Path) -> Utterance:
    name = f"{voice.name}-{CATALAN_SENTENCES.index(text):02d}"
    return Utterance(
        id=name,
        audio=f"{name}.wav",
        root=root,
        text=text,
        speaker=voice.name,
        language="ca",
        duration_sec=duration_sec,
        extra={"engine": "espeak"},
    )


def formant_clips(
    texts: Sequence[str] = CATALAN_SENTENCES, voices: Sequence[Voice] = VOICES
) -> Clips:
    """Clips of every voice in memory."""
    pcm, ends, utterances = [], [], []
    for voice in voices:
        for text in texts:
            wave = speak_formants(text, voice)
            pcm.append((wave * (PCM_SCALE - 1)).astype(np.int16))
            ends.append(sum(map(len, pcm)))
            utterances.append(utterance_of(voice, text, len(wave) / SAMPLE_RATE, Path()))
    return Clips(utterances, np.concatenate(pcm), ends)


def random_run(folder: Path) -> Path:
    """Write what the stages leave, as far as the base is made of it."""
    torch.manual_seed(0)
    config = base_config()
    _write_corpus(folder / "corpus")
    texts = [text for lines in SENTENCES.values() for text in lines]
    (folder / "voice").mkdir()
    tokenizer = make_tokenizer(folder / "voice" / "bpe.model", texts, vocab_size=140)
    dims = replace(config.gpt, vocab_size=tokenizer.vocab_size)
    save_checkpoint(folder / "voice" / "gpt.pth", UnifiedVoice(dims).state_dict())
    for stage in ("encoder", "hearing"):
        _write_encoder(folder / stage / "w2v-bert-2.0")
    write_safetensors(
        folder / "codec" / "semantic_codec_model.safetensors",
        SemanticCodec(config.codec).state_dict(),
    )
    stats = {"mean": torch.randn(FEATURE_DIM), "var": torch.rand(FEATURE_DIM) + 0.5}
    save_tensors(folder / "codec" / "wav2vec2bert_stats.pt", stats)
    speaker = CampPlus(config.speaker).state_dict()
    save_tensors(folder / "speaker" / "campplus_cn_common.bin", speaker)
    save_tensors(folder / "flow" / "s2mel.pth", {"net": _by_part(S2Mel(config.s2mel))})
    vocoder = BigVgan(VocoderDims.of(VOCODER_CONFIG)).state_dict()
    save_tensors(folder / "vocoder" / "generator.pth", {"generator": vocoder})
    return folder


def _by_part(network: S2Mel) -> dict[str, dict[str, torch.Tensor]]:
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in network.state_dict().items():
        part, _, rest = name.partition(".")
        parts.setdefault(part, {})[rest] = tensor
    return parts


def _write_corpus(folder: Path) -> None:
    clips = []
    for voice in VOICES[:2]:
        for text in CATALAN_SENTENCES[:2]:
            wave = speak_formants(text, voice)
            clip = utterance_of(voice, text, len(wave) / SAMPLE_RATE, folder)
            write_wav(folder / clip.audio, wave, SAMPLE_RATE)
            clips.append(clip)
    write_manifest(folder / "train.jsonl", clips)


def _write_encoder(folder: Path) -> None:
    network = SemanticEncoder(SEMANTIC_CONFIG, SEMANTIC_CONFIG["num_hidden_layers"]).network
    folder.mkdir(parents=True)
    write_json(folder / "config.json", SEMANTIC_CONFIG)
    write_json(folder / "preprocessor_config.json", PREPROCESSOR_CONFIG)
    write_safetensors(folder / WEIGHTS_FILE, network.state_dict())
    write_safetensors(folder / HEAD_FILE, torch.nn.Linear(FEATURE_DIM, 30).state_dict())
    write_json(folder / ALPHABET_FILE, list("abc"))
