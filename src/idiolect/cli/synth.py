"""``idiolect synth``: a text, a voice, a model; sound."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from idiolect.audio.io import probe_audio
from idiolect.base.errors import ConfigError, DataError, SynthesisError, summarize
from idiolect.base.guard import check_output
from idiolect.base.places import ModelPlace
from idiolect.cli.sampling import DeviceFlags, SamplingFlags
from idiolect.cli.surface import run_command
from idiolect.data.lines import ASK_FOR_UTF8, read_lines

if TYPE_CHECKING:
    from idiolect.synthesis.pipeline import IndexTTS2


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
    output_dir: Path | None = None
    """With --text-file: speak each line on its own, to 001.wav, 002.wav ... in this folder."""
    model: str | None = None
    """An installed model's name, such as catalan; the base when left out."""
    language: str | None = None
    """Language of the text (ca, es, fr ...); when left out, that of the model if it has one."""
    seed: int | None = None
    """Same seed, same sound; drawn and printed when left out."""
    speed: float = 1.0
    """0.5 to 2; the sound is asked to be so much shorter."""
    target_duration: float | None = None
    """Seconds that the sound should last, about; for models trained with --duration-control. With
    --output-dir, each line. --speed then changes how fast it is said, not how long it lasts."""
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
    sampling: Annotated[SamplingFlags, tyro.conf.arg(name="")]
    where: Annotated[DeviceFlags, tyro.conf.arg(name="")]
    place: Annotated[ModelPlace, tyro.conf.arg(name="")]


def main(argv: Sequence[str] | None = None, prog: str = "idiolect synth") -> int:
    """Run the command; return its exit code."""
    return run_command(
        SynthConfig, _synth, argv, prog=prog, description="Speak a text with a voice."
    )


def _synth(config: SynthConfig) -> None:
    texts = _texts_by_output(config)
    probe_audio(config.voice)
    from idiolect.synthesis.pipeline import IndexTTS2

    tts = IndexTTS2(
        config.place.base / "config.yaml",
        config.place.base,
        use_fp16=config.where.fp16,
        device=config.where.device,
        model=config.model,
        models_dir=config.place.model_dir,
        aux_dir=config.place.aux_dir,
    )
    if config.output_dir is None:
        print(_speak(tts, config, config.output, texts[config.output]))
    else:
        _speak_lines(tts, config, texts)


def _speak_lines(tts: IndexTTS2, config: SynthConfig, texts: dict[Path, str]) -> None:
    """Speak each text to its file; a line that cannot be spoken does not stop the others.

    Raises:
        SynthesisError: None could be spoken.
    """
    left_out = []
    for number, (output, text) in enumerate(texts.items(), start=1):
        try:
            told = _speak(tts, config, output, text)
        except SynthesisError as error:
            output.unlink(missing_ok=True)
            left_out.append(f"{output.name}: {error.problem}")
            told = f"left out {left_out[-1]}"
        print(f"{number}/{len(texts)}  {told}", flush=True)
    if len(left_out) == len(texts):
        raise SynthesisError(
            f"none of the lines could be spoken\n{summarize(left_out)}",
            where=str(config.text_file),
            fix="check that the model was trained on the language of the lines",
        )


def _speak(tts: IndexTTS2, config: SynthConfig, output: Path, text: str) -> str:
    """Write ``text`` to ``output``; return what the user is told."""
    started = time.monotonic()
    tts.infer(
        config.voice,
        text,
        output,
        emo_audio_prompt=config.emo_audio,
        emo_alpha=config.emo_alpha,
        emo_vector=config.emo_vector,
        use_emo_text=config.emo_text is not None,
        emo_text=config.emo_text,
        interval_silence=config.interval_silence,
        verbose=config.output_dir is None,
        max_text_tokens_per_segment=config.max_text_tokens,
        language=config.language,
        seed=config.seed,
        speed=config.speed,
        target_duration=config.target_duration,
        **config.sampling.given(),
    )
    elapsed_sec = time.monotonic() - started
    duration_sec = probe_audio(output).duration_sec
    return f"wrote {output}: {duration_sec:.1f} s, made in {elapsed_sec:.1f} s"


def _texts_by_output(config: SynthConfig) -> dict[Path, str]:
    """Return what to say by the file that it goes to; each of them may be written.

    Raises:
        ConfigError: The flags do not say one thing.
        DataError: The text is not UTF-8, or there is none.
        GuardError: It would be written into a base.
    """
    if config.output_dir is None:
        text = _text_of(config)
        check_output(config.output)
        if config.output.is_dir():
            raise ConfigError(
                f"{config.output} is a folder",
                where="--output",
                fix="name a file, such as output.wav; or give --text-file and --output-dir",
            )
        return {config.output: text}
    if config.text_file is None:
        raise ConfigError(
            "--output-dir takes the lines of a file", where="--output-dir", fix="give --text-file"
        )
    lines = [line for line in _text_of(config).splitlines() if line.strip()]
    if not lines:
        raise DataError("there is no line to speak", where=str(config.text_file))
    check_output(config.output_dir)
    return {config.output_dir / f"{n:03d}.wav": line for n, line in enumerate(lines, start=1)}


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
