"""Frozen dimensions of every network, read from the published ``config.yaml``.

The field names of the published file stop here; inside, the project's own names are used. Every
width that the published file fixes may be smaller. Keys that the published file does not have,
because its code fixes their value, are optional and default to that value: ``gpt.feature_dim``,
``gpt.emotion_dim``, ``s2mel.gpt_layer_dims``, ``s2mel.guidance``, ``s2mel.temperature``,
``semantic_encoder.layer``, ``speaker_encoder`` and ``generation``. The key ``idiolect`` marks a
base that is not the published one. Unknown keys are passed over, as the
published loader must: revisions of the file differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from idiolect.audio.dims import MelDims
from idiolect.base.config import from_mapping, read_yaml
from idiolect.base.errors import ConfigError

PUBLISHED_FEATURE_DIM = 1024
PUBLISHED_HIDDEN_LAYER = 17
GPT_LAYER_INNER = (256, 128)
"""Inner widths of ``gpt_layer``, the three linear maps from GPT states to features."""
PERCEIVER_HEAD_DIM = 64
PUBLISHED_GUIDANCE = 0.7
NUM_LATENTS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ConformerDims:
    """A conditioning conformer, and the heads of the perceiver behind it."""

    dim: int = 512
    ff_dim: int = 2048
    num_heads: int = 8
    num_blocks: int = 6
    perceiver_mult: int = 2

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> ConformerDims:
        """Read ``condition_module`` or ``emo_condition_module``."""
        if (layer := section.get("input_layer", "conv2d2")) != "conv2d2":
            raise ConfigError(f"input_layer {layer!r} is not one that this model family has")
        return cls(
            dim=section["output_size"],
            ff_dim=section["linear_units"],
            num_heads=section["attention_heads"],
            num_blocks=section["num_blocks"],
            perceiver_mult=section["perceiver_mult"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GptDims:
    """The GPT: text and prompt in, semantic codes out."""

    dim: int = 1280
    num_layers: int = 24
    num_heads: int = 20
    vocab_size: int = 12000
    """Pieces of the tokenizer; the text tables have one row more."""
    num_codes: int = 8194
    """Semantic codes with start and stop."""
    max_text_len: int = 600
    max_code_len: int = 1815
    start_text: int = 0
    stop_text: int = 1
    start_code: int = 8192
    stop_code: int = 8193
    feature_dim: int = PUBLISHED_FEATURE_DIM
    emotion_dim: int = PUBLISHED_FEATURE_DIM
    speaker: ConformerDims = field(default_factory=ConformerDims)
    emotion: ConformerDims = field(
        default_factory=lambda: ConformerDims(ff_dim=1024, num_heads=4, num_blocks=4)
    )

    @property
    def text_rows(self) -> int:
        """Rows of the text embedding and head."""
        return self.vocab_size + 1

    @property
    def text_positions(self) -> int:
        """Rows of the text position table: the ids, start and stop."""
        return self.max_text_len + 2

    @property
    def code_positions(self) -> int:
        """Rows of the code position table."""
        return self.max_code_len + 3

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> GptDims:
        """Read the ``gpt`` section."""
        if (kind := section.get("condition_type", "conformer_perceiver")) != "conformer_perceiver":
            raise ConfigError(f"condition_type {kind!r} is not one that IndexTTS-2 has")
        return cls(
            dim=section["model_dim"],
            num_layers=section["layers"],
            num_heads=section["heads"],
            vocab_size=section["number_text_tokens"],
            num_codes=section["number_mel_codes"],
            max_text_len=section["max_text_tokens"],
            max_code_len=section["max_mel_tokens"],
            start_text=section["start_text_token"],
            stop_text=section["stop_text_token"],
            start_code=section["start_mel_token"],
            stop_code=section["stop_mel_token"],
            feature_dim=section.get("feature_dim", PUBLISHED_FEATURE_DIM),
            emotion_dim=section.get("emotion_dim", PUBLISHED_FEATURE_DIM),
            speaker=ConformerDims.of(section["condition_module"]),
            emotion=ConformerDims.of(section["emo_condition_module"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecDims:
    """The semantic codec: features to codes and back."""

    codebook_size: int = 8192
    feature_dim: int = PUBLISHED_FEATURE_DIM
    code_dim: int = 8
    dim: int = 384
    ff_dim: int = 2048
    num_layers: int = 12

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> CodecDims:
        """Read the ``semantic_codec`` section."""
        return cls(
            codebook_size=section["codebook_size"],
            feature_dim=section["hidden_size"],
            code_dim=section["codebook_dim"],
            dim=section["vocos_dim"],
            ff_dim=section["vocos_intermediate_dim"],
            num_layers=section["vocos_num_layers"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RegulatorDims:
    """The length regulator: features at one rate to conditions at another."""

    feature_dim: int = PUBLISHED_FEATURE_DIM
    dim: int = 512
    num_convs: int = 4
    codebook_size: int = 2048
    """Rows of an embedding that the published file carries and nothing reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class S2MelDims:
    """The flow-matching network: regulator, DiT, WaveNet and ``gpt_layer``."""

    dim: int = 512
    num_heads: int = 8
    num_layers: int = 13
    n_mels: int = 80
    content_dim: int = 512
    content_codebook_size: int = 1024
    style_dim: int = 192
    wavenet_dim: int = 512
    wavenet_layers: int = 8
    wavenet_kernel: int = 5
    wavenet_dropout: float = 0.2
    class_dropout: float = 0.1
    regression_loss: str = "l1"
    regulator: RegulatorDims = field(default_factory=RegulatorDims)
    gpt_layer_dims: tuple[int, ...] = (1280, *GPT_LAYER_INNER, PUBLISHED_FEATURE_DIM)
    guidance: float = PUBLISHED_GUIDANCE
    """How far synthesis goes beyond what the condition asks for; 0 is not at all."""
    temperature: float = 1.0
    """What the noise is multiplied by that synthesis begins with."""

    @classmethod
    def of(cls, section: Mapping[str, Any], *, gpt_dim: int = 1280) -> S2MelDims:
        """Read the ``s2mel`` section; ``gpt_dim`` is the width of the GPT states it is given."""
        dit, wavenet, regulator = section["DiT"], section["wavenet"], section["length_regulator"]
        default_dims = (gpt_dim, *GPT_LAYER_INNER, PUBLISHED_FEATURE_DIM)
        return cls(
            dim=dit["hidden_dim"],
            num_heads=dit["num_heads"],
            num_layers=dit["depth"],
            n_mels=dit["in_channels"],
            content_dim=dit["content_dim"],
            content_codebook_size=dit["content_codebook_size"],
            style_dim=section["style_encoder"]["dim"],
            wavenet_dim=wavenet["hidden_dim"],
            wavenet_layers=wavenet["num_layers"],
            wavenet_kernel=wavenet["kernel_size"],
            wavenet_dropout=wavenet["p_dropout"],
            class_dropout=dit["class_dropout_prob"],
            regression_loss=section["reg_loss_type"],
            regulator=RegulatorDims(
                feature_dim=regulator["in_channels"],
                dim=regulator["channels"],
                num_convs=len(regulator["sampling_ratios"]),
                codebook_size=regulator["content_codebook_size"],
            ),
            gpt_layer_dims=tuple(section.get("gpt_layer_dims", default_dims)),
            guidance=section.get("guidance", PUBLISHED_GUIDANCE),
            temperature=section.get("temperature", 1.0),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerDims:
    """CAMPPlus: filter banks to one style vector."""

    n_mels: int = 80
    embedding_dim: int = 192
    head_channels: int = 32
    growth: int = 32
    bottleneck: int = 4
    """The inner width of a dense layer, in growths."""
    init_channels: int = 128
    block_layers: tuple[int, int, int] = (12, 24, 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class VocoderDims:
    """BigVGAN: mel to waveform; read from its own ``config.json``."""

    n_mels: int = 80
    initial_channels: int = 1536
    upsample_rates: tuple[int, ...] = (4, 4, 2, 2, 2, 2)
    upsample_kernels: tuple[int, ...] = (8, 8, 4, 4, 4, 4)
    block_kernels: tuple[int, ...] = (3, 7, 11)
    block_dilations: tuple[tuple[int, ...], ...] = ((1, 3, 5), (1, 3, 5), (1, 3, 5))

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> VocoderDims:
        """Read the published ``config.json`` of the vocoder."""
        return cls(
            n_mels=section["num_mels"],
            initial_channels=section["upsample_initial_channel"],
            upsample_rates=tuple(section["upsample_rates"]),
            upsample_kernels=tuple(section["upsample_kernel_sizes"]),
            block_kernels=tuple(section["resblock_kernel_sizes"]),
            block_dilations=tuple(tuple(row) for row in section["resblock_dilation_sizes"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseMark:
    """What a base that is not the published one says of itself."""

    name: str
    licence: str
    languages: tuple[str, ...] = ()
    """What it speaks; none when it speaks nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseConfig:
    """Everything that a published ``config.yaml`` says, and the names of the files beside it."""

    gpt: GptDims
    codec: CodecDims
    s2mel: S2MelDims
    mel: MelDims
    speaker: SpeakerDims
    semantic_layer: int
    """Hidden state of w2v-bert that is read; 0 is the input of the first layer."""
    emotion_groups: tuple[int, ...]
    """Rows of the emotion matrix for each of the eight emotions."""
    version: str
    gpt_file: str
    s2mel_file: str
    tokenizer_file: str
    stats_file: str
    emotion_matrix_file: str
    speaker_matrix_file: str
    qwen_dir: str
    vocoder_name: str
    generation: Mapping[str, Any] = field(default_factory=dict)
    """How codes are chosen, where the published way does not suit this base; by the names of the
    published call."""
    mark: BaseMark | None = None
    """None for the published base."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> BaseConfig:
        """Read a whole published configuration."""
        gpt = GptDims.of(values["gpt"])
        speaker = from_mapping(
            SpeakerDims, values.get("speaker_encoder", {}), where="speaker_encoder"
        )
        return cls(
            gpt=gpt,
            codec=CodecDims.of(values["semantic_codec"]),
            s2mel=S2MelDims.of(values["s2mel"], gpt_dim=gpt.dim),
            mel=MelDims.of(values["s2mel"]["preprocess_params"]),
            speaker=speaker,
            semantic_layer=values.get("semantic_encoder", {}).get("layer", PUBLISHED_HIDDEN_LAYER),
            emotion_groups=tuple(values["emo_num"]),
            version=str(values.get("version", "2.0")),
            gpt_file=values["gpt_checkpoint"],
            s2mel_file=values["s2mel_checkpoint"],
            tokenizer_file=values["dataset"]["bpe_model"],
            stats_file=values["w2v_stat"],
            emotion_matrix_file=values["emo_matrix"],
            speaker_matrix_file=values["spk_matrix"],
            qwen_dir=values["qwen_emo_path"],
            vocoder_name=values["vocoder"]["name"],
            generation=dict(values.get("generation", {})),
            mark=_mark(values.get("idiolect")),
        )


def _mark(section: dict[str, Any] | None) -> BaseMark | None:
    return None if section is None else from_mapping(BaseMark, section, where="idiolect")


def read_base_config(path: Path) -> BaseConfig:
    """Return the configuration in ``path``.

    Raises:
        ConfigError: The file is missing, or a key that the networks need is not in it.
    """
    values = read_yaml(path)
    try:
        return BaseConfig.of(values)
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"not a configuration of IndexTTS-2: {error!r}",
            where=str(path),
            fix="use the config.yaml that came with the base",
        ) from error
