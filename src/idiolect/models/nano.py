"""A base of pocket size: the published file layout and networks, narrow, with random weights.

Every command runs on it for real in seconds, so that nothing needs the published weights to be
tried or tested. It does not speak. Random weights need three settings to behave like trained
ones: the statistics and the codebook are taken from synthetic sound, so that different sounds get
different codes; the stop code grows likelier with time, so that decoding ends after about two
seconds; and the vocoder's last layer is scaled to be heard.

``N`` is samples at 16 000 Hz, ``T`` code frames, ``F`` the feature width, ``K`` codes.
"""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

from idiolect.base.config import write_yaml
from idiolect.base.errors import CheckpointError
from idiolect.base.files import atomic_path, copy_file, write_json, write_text
from idiolect.base.guard import check_output, making_base
from idiolect.base.units import CODE_RATE_HZ, SEMANTIC_SAMPLE_RATE
from idiolect.models.checkpoint import Weights, save_checkpoint, save_tensors
from idiolect.models.codec import SemanticCodec
from idiolect.models.config import BaseConfig, GptDims, VocoderDims, read_base_config
from idiolect.models.gpt import UnifiedVoice
from idiolect.models.nano_config import (
    CONFIG,
    PREPROCESSOR_CONFIG,
    SEMANTIC_CONFIG,
    SENTENCES,
    VOCODER_CONFIG,
)
from idiolect.models.published import (
    BASE_ROLES,
    CACHE_DIR,
    CODEC_FILE,
    CONFIG_FILE,
    SEMANTIC_DIR,
    SPEAKER_FILE,
    VOCODER_DIR,
    VOCODER_FILE,
)
from idiolect.models.s2mel import S2Mel
from idiolect.models.semantic import SemanticEncoder
from idiolect.models.speaker import CampPlus
from idiolect.models.vocoder import BigVgan
from idiolect.text.train_bpe import TokenizerConfig, train_tokenizer

VOCAB_SIZE = 400
CALIBRATION_CLIPS = 16
CALIBRATION_SEC = 4.0
SYLLABLE_SEC = 0.15
EMOTION_STD = 0.3
SPOKEN_SEC = 2.0
"""About how long a random GPT speaks, whatever the text."""
STOP_RISE = 0.2
"""How far position rows move towards "stop" in that time; what else is in a row measures 0.3."""
STOP_GAIN, STOP_BIAS = 1.5, -6.0
"""The logit of stop is about -6 at first and +3 after that time; other logits stay below 2."""
MEL_STD = 0.7
"""Of the mel that a random flow returns; its mean is 0."""
AUDIBLE_RMS = 0.05

NOTICE = """\
A base of pocket size with random weights, in the layout of IndexTTS-2, made by `idiolect nano new`.
It holds nothing of the published weights and does not speak. Use it to try and to test.
"""


def write_nano(folder: Path, *, seed: int = 0) -> None:
    """Write a nano base to ``folder``; equal seeds give equal weights.

    Raises:
        CheckpointError: The folder is not empty.
        GuardError: It lies in another base.
    """
    if folder.exists() and any(folder.iterdir()):
        raise CheckpointError(
            f"{folder} is not empty, and no base is ever overwritten", fix="choose a new folder"
        )
    with making_base(folder):
        check_output(folder)
    with making_base(folder), torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        _write_networks(folder, _write_config(folder, _write_tokenizer(folder)), seed)
        write_text(folder / "README.md", NOTICE)


def synthetic_clips(seed: int, count: int = CALIBRATION_CLIPS) -> list[Tensor]:
    """Return sounds ``[N]`` that change as speech does: pitch, timbre, noise and pauses."""
    numbers = np.random.default_rng(seed)
    return [torch.from_numpy(_synthetic_clip(numbers)) for _ in range(count)]


def _synthetic_clip(numbers: np.random.Generator) -> NDArray[np.float32]:
    pitch_hz = numbers.uniform(80, 260)
    syllables = [_syllable(numbers, pitch_hz) for _ in range(int(CALIBRATION_SEC / SYLLABLE_SEC))]
    return np.concatenate(syllables).astype(np.float32)


def _syllable(numbers: np.random.Generator, pitch_hz: float) -> NDArray[np.float64]:
    """Return harmonics or noise through two resonances; one in eight is silence."""
    num_samples = int(SYLLABLE_SEC * SEMANTIC_SAMPLE_RATE)
    kind = numbers.integers(8)
    if kind == 0:
        return 1e-4 * numbers.standard_normal(num_samples)
    if kind < 3:
        source = numbers.standard_normal(num_samples)
    else:
        time_sec = np.arange(num_samples) / SEMANTIC_SAMPLE_RATE
        bent_hz = pitch_hz * numbers.uniform(0.9, 1.1) * (1 + numbers.uniform(-0.5, 0.5) * time_sec)
        source = 2 * ((bent_hz * time_sec) % 1) - 1
    bins_hz = np.fft.rfftfreq(num_samples, 1 / SEMANTIC_SAMPLE_RATE)
    resonances_hz = numbers.uniform((250, 800), (900, 5000))
    gains = sum(1 / (1 + ((bins_hz - hz) / 120) ** 2) for hz in resonances_hz)
    shaped = np.fft.irfft(np.fft.rfft(source) * gains, num_samples)
    wave: NDArray[np.float64] = 0.3 * shaped / (np.abs(shaped).max() + 1e-9)
    return wave


def _write_tokenizer(folder: Path) -> int:
    """Train the tokenizer; return how many pieces it has."""
    texts = [(text, language) for language, lines in SENTENCES.items() for text in lines]
    with tempfile.TemporaryDirectory() as scratch:
        prefix = Path(scratch) / "bpe"
        config = TokenizerConfig(output_prefix=prefix, vocab_size=VOCAB_SIZE, model_type="unigram")
        report = train_tokenizer(texts, config)
        copy_file(report.path, folder / BASE_ROLES["tokenizer"])
    return report.vocab_size


def _write_config(folder: Path, vocab_size: int) -> BaseConfig:
    values = copy.deepcopy(CONFIG)
    values["gpt"]["number_text_tokens"] = vocab_size
    write_yaml(folder / CONFIG_FILE, values)
    return read_base_config(folder / CONFIG_FILE)


def _write_networks(folder: Path, config: BaseConfig, seed: int) -> None:
    cache = folder / CACHE_DIR
    clips = synthetic_clips(seed)
    encoder = SemanticEncoder(SEMANTIC_CONFIG, SEMANTIC_CONFIG["num_hidden_layers"])
    features, stats = _normalized_features(encoder, config.semantic_layer, clips)
    save_tensors(folder / config.stats_file, stats)
    _write_semantic(cache / SEMANTIC_DIR, encoder)
    _write_safetensors(cache / CODEC_FILE, _codec(config, features).state_dict())
    save_tensors(cache / SPEAKER_FILE, CampPlus(config.speaker).state_dict())
    _write_vocoder(cache / VOCODER_DIR)
    save_checkpoint(folder / config.gpt_file, _gpt(config.gpt).state_dict())
    save_tensors(folder / config.s2mel_file, {"net": _nested(S2Mel(config.s2mel).state_dict())})
    _write_emotions(folder, config)


def _normalized_features(
    encoder: SemanticEncoder, layer: int, clips: list[Tensor]
) -> tuple[Tensor, Weights]:
    """Return the features ``[B, T, F]`` of clips of one length, and what normalises them."""
    cut = SemanticEncoder(SEMANTIC_CONFIG, layer).eval()
    cut.load_state_dict(
        {name: tensor for name, tensor in encoder.state_dict().items() if name in cut.state_dict()}
    )
    states, _ = cut(clips)  # mean 0 and variance 1 until they are known
    stats = {"mean": states.mean((0, 1)), "var": states.var((0, 1))}
    return (states - stats["mean"]) / stats["var"].sqrt(), stats


def _codec(config: BaseConfig, features: Tensor) -> SemanticCodec:
    """Return a codec whose codebook is spread over the directions that ``features`` take."""
    codec = SemanticCodec(config.codec).eval()
    quantizer = codec.quantizer.only
    projected = quantizer.project(codec.encode(features))  # [B, code_dim, T]
    mean, std = projected.mean((0, 2)), projected.std((0, 2))
    assert quantizer.in_project.bias is not None
    quantizer.in_project.bias.sub_(mean).div_(std)
    quantizer.in_project.weight_g.div_(std[:, None, None])
    points = quantizer.project(codec.encode(features)).mT.flatten(0, 1)  # [B * T, code_dim]
    directions = F.normalize(points, dim=-1)
    quantizer.codebook.weight.copy_(_spread(directions, config.codec.codebook_size))
    return codec


def _spread(directions: Tensor, count: int) -> Tensor:
    """Return ``count`` of ``directions`` ``[n, code_dim]``, each as far as can be from the rest."""
    chosen = [0]
    nearest = directions @ directions[0]  # cosine to the nearest that is chosen
    for _ in range(count - 1):
        chosen.append(int(nearest.argmin()))
        nearest = torch.maximum(nearest, directions @ directions[chosen[-1]])
    return directions[chosen]


def _gpt(dims: GptDims) -> UnifiedVoice:
    """Return a GPT that stops: its position rows lean ever more towards the stop code."""
    gpt = UnifiedVoice(dims)
    stop = F.normalize(torch.randn(dims.dim), dim=0)
    positions = gpt.mel_pos_embedding.emb.weight
    progress = torch.arange(len(positions)) / (SPOKEN_SEC * CODE_RATE_HZ)
    positions += STOP_RISE * progress.clamp(max=2.0)[:, None] * stop
    gpt.mel_head.weight[dims.stop_code] = STOP_GAIN * stop
    gpt.mel_head.bias[dims.stop_code] = STOP_BIAS
    return gpt


def _write_semantic(folder: Path, encoder: SemanticEncoder) -> None:
    write_json(folder / "config.json", SEMANTIC_CONFIG)
    write_json(folder / "preprocessor_config.json", PREPROCESSOR_CONFIG)
    _write_safetensors(folder / "model.safetensors", encoder.network.state_dict())


def _write_vocoder(folder: Path) -> None:
    """Write a vocoder that turns a mel as loud as speech into a wave that can be heard."""
    vocoder = BigVgan(VocoderDims.of(VOCODER_CONFIG)).eval()
    mel = MEL_STD * torch.randn(1, VOCODER_CONFIG["num_mels"], 50)
    vocoder.conv_post.weight_g *= AUDIBLE_RMS / vocoder.unclamped(mel).square().mean().sqrt()
    write_json(folder / "config.json", VOCODER_CONFIG)
    save_tensors(folder / VOCODER_FILE, {"generator": vocoder.state_dict()})


def _write_emotions(folder: Path, config: BaseConfig) -> None:
    rows = sum(config.emotion_groups)
    styles = torch.randn(rows, config.speaker.embedding_dim)
    save_tensors(folder / config.speaker_matrix_file, styles)
    save_tensors(
        folder / config.emotion_matrix_file, EMOTION_STD * torch.randn(rows, config.gpt.dim)
    )


def _write_safetensors(path: Path, weights: Weights) -> None:
    with atomic_path(path) as partial:
        partial.write_bytes(save({name: tensor.contiguous() for name, tensor in weights.items()}))


def _nested(weights: Weights) -> dict[str, Weights]:
    """Return ``weights`` as the published s2mel keeps them: by network, then by name."""
    nested: dict[str, Weights] = {}
    for name, tensor in weights.items():
        part, _, rest = name.partition(".")
        nested.setdefault(part, {})[rest] = tensor
    return nested
