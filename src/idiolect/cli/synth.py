"""``idiolect synth``: a text, a voice, a model; sound."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from idiolect.audio.io import probe_audio
from idiolect.base.errors import ConfigError, DataError, summarize
from idiolect.base.guard import check_output
from idiolect.base.places import ModelPlace
from idiolect.cli.surface import run_command
from idiolect.data.lines import ASK_FOR_UTF8, read_lines

SAMPLING = (
    *("temperature", "top_p", "top_k", "num_beams"),
    *("repetition_penalty", "length_penalty", "max_mel_tokens"),
)
"""Settings that go to the sampling as they are, by the same name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthConfig:
    """What to say, in whose voice, by which model."""

    voice: Path
    """A clip of the voice to imitate; its first 15 s are heard."""
    text: str | None = None
    """What to say."""
    text_file: Path | None = None
    """A UTF-8 file with what to say, instead of --text."""
    output: Path = Path("output.wav")
    """The WAV to write: 22 050 Hz, mono, 16 bit."""
    model: str | None = None
    """An installed model's name, such as catalan; the base when left out."""
    language: str | None = None
    """Language of the text (ca, es, fr ...); when left out, that of the model if it has one."""
    seed: int | None = None
    """Same seed, same sound; drawn and printed when left out."""
    speed: float = 1.0
    """0.5 to 2; the sound is asked to be so much shorter."""
    emo_audio: Path | None = None
    """A clip whose emotion is taken."""
    emo_alpha: float = 1.0
    """How much of the emotion, 0 to 1."""
    emo_vector: tuple[float, ...] | None = None
    """Eight weights: happy angry sad afraid disgusted melancholic surprised calm."""
    emo_text: str | None = None
    """A description of the emotion, read by the Qwen reader of the base."""
    interval_silence: int = 200
    """Silence between segments, in milliseconds."""
    max_text_tokens: int = 120
    """Longer texts are cut into segments of at most so many tokens."""
    temperature: float = 0.8
    """Lower is more regular."""
    top_p: float = 0.8
    """Keep the most probable codes up to this share."""
    top_k: int = 30
    """Keep so many codes at each step; 0 keeps all."""
    num_beams: int = 3
    """How many hypotheses are followed."""
    repetition_penalty: float = 10.0
    """How much less probable a code gets once it was said."""
    length_penalty: float = 0.0
    """Above 0 favours longer speech."""
    max_mel_tokens: int = 1500
    """Most codes in a segment; 50 are one second."""
    device: str | None = None
    """cpu, cuda:0 ...; the first GPU when there is one."""
    fp16: bool = False
    """Run the GPT in half precision on a GPU."""
    place: Annotated[ModelPlace, tyro.conf.arg(name="")]


def main(argv: Sequence[str] | None = None, prog: str = "idiolect synth") -> int:
    """Run the command; return its exit code."""
    return run_command(
        SynthConfig, _synth, argv, prog=prog, description="Speak a text with a voice."
    )


def _synth(config: SynthConfig) -> None:
    text = _text_of(config)
    check_output(config.output)
    if config.output.is_dir():
        raise ConfigError(
            f"{config.output} is a folder", where="--output", fix="name a file, such as output.wav"
        )
    probe_audio(config.voice)
    from idiolect.synthesis.pipeline import IndexTTS2

    tts = IndexTTS2(
        config.place.base / "config.yaml",
        config.place.base,
        use_fp16=config.fp16,
        device=config.device,
        model=config.model,
        models_dir=config.place.model_dir,
        aux_dir=config.place.aux_dir,
    )
    started = time.monotonic()
    tts.infer(
        config.voice,
        text,
        config.output,
        emo_audio_prompt=config.emo_audio,
        emo_alpha=config.emo_alpha,
        emo_vector=config.emo_vector,
        use_emo_text=config.emo_text is not None,
        emo_text=config.emo_text,
        interval_silence=config.interval_silence,
        verbose=True,
        max_text_tokens_per_segment=config.max_text_tokens,
        language=config.language,
        seed=config.seed,
        speed=config.speed,
        **{name: getattr(config, name) for name in SAMPLING},
    )
    elapsed_sec = time.monotonic() - started
    duration_sec = probe_audio(config.output).duration_sec
    print(f"wrote {config.output}: {duration_sec:.1f} s, made in {elapsed_sec:.1f} s")


def _text_of(config: SynthConfig) -> str:
    if (config.text is None) == (config.text_file is None):
        raise ConfigError("give --text or --text-file, one of them", where="--text")
    if config.text_file is None:
        return config.text or ""
    lines = list(read_lines(config.text_file, keep_blank=True))
    if damages := [f"{number}: {damage}" for number, _, damage in lines if damage]:
        raise DataError(
            f"the text is {summarize(damages)}", where=str(config.text_file), fix=ASK_FOR_UTF8
        )
    return "\n".join(line for _, line, _ in lines)
