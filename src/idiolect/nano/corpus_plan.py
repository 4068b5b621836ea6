"""Who says how much in nano's corpus: the voices of its engines, their minutes, and what judges."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from idiolect.nano.engines import Voice

SetName = Literal["train", "heldout_voices", "unseen_texts"]
SETS: tuple[SetName, ...] = ("train", "heldout_voices", "unseen_texts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one voice contributes to one set."""

    voice: Voice
    set_name: SetName = "train"
    minutes: float
    """Of speech, at most; the other speakers in ``also`` come on top."""
    max_clips: int = 1_000_000
    also: tuple[float, ...] = ()
    """Further speakers from the same utterances, by factors: for engines that are slow."""
    scattered: bool = False
    """Whether it says words in no order instead of sentences."""
    min_chars: int = 1
    max_chars: int = 110

    @property
    def key(self) -> str:
        """What is unique to the voice in its language."""
        return f"{self.voice.name}-{self.voice.language}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusPlan:
    """Who says how much."""

    stages: tuple[tuple[Share, ...], ...]
    """Spoken one after the other; the shares of a stage grow together."""
    seed: int = 0

    def shares(self) -> Iterator[Share]:
        """Yield every share, stage by stage."""
        for stage in self.stages:
            yield from stage


# The three numbers of a row: factor, pitch, speed. Pico's and Ona's speakers are women; a low
# factor with a low pitch gives a man.
PICO_ENGLISH = {
    "us1": ("en-US", 0.82, 0.72, 1.20),
    "us2": ("en-US", 0.92, 0.95, 1.00),
    "us3": ("en-US", 1.03, 1.05, 0.95),
    "us4": ("en-US", 1.20, 1.10, 0.90),
    "gb1": ("en-GB", 0.84, 0.78, 1.10),
    "gb2": ("en-GB", 0.95, 0.85, 1.05),
    "gb3": ("en-GB", 1.00, 1.15, 1.00),
    "gb4": ("en-GB", 1.14, 1.00, 0.85),
}
PICO_SPANISH = {
    "es1": ("es-ES", 0.82, 0.75, 1.15),
    "es2": ("es-ES", 0.90, 1.00, 1.10),
    "es3": ("es-ES", 0.95, 0.80, 1.00),
    "es4": ("es-ES", 1.00, 1.00, 1.05),
    "es5": ("es-ES", 1.06, 1.20, 0.95),
    "es6": ("es-ES", 1.12, 0.90, 0.95),
    "es7": ("es-ES", 1.18, 1.10, 0.90),
    "es8": ("es-ES", 1.25, 0.95, 0.85),
}
PICO_HELD_OUT = {"us_out": ("en-US", 0.88, 1.25, 1.05), "es_out": ("es-ES", 0.86, 1.20, 1.10)}
ONA = {
    "ona1": (0.80, 1.15),
    "ona2": (0.88, 1.10),
    "ona3": (1.00, 1.00),
    "ona4": (1.12, 0.95),
    "ona5": (1.24, 0.85),
}
ONA_HELD_OUT = {"ona_out": (1.06, 0.95)}
KOKORO_ENGLISH = (
    "af_heart:en-us",
    "am_michael:en-us",
    "bf_emma:en-gb",
    "bm_george:en-gb",
    "af_bella:en-us",
    "am_fenrir:en-us",
    "bf_isabella:en-gb",
    "am_onyx:en-us",
    "af_sarah:en-us",
    "am_eric:en-us",
    "bf_alice:en-gb",
    "bm_lewis:en-gb",
    "af_nova:en-us",
    "am_liam:en-us",
    "bm_daniel:en-gb",
    "af_kore:en-us",
    "am_adam:en-us",
    "bf_lily:en-gb",
    "af_alloy:en-us",
    "am_echo:en-us",
    "af_sky:en-us",
    "bm_fable:en-gb",
    "af_aoede:en-us",
    "af_river:en-us",
    "af_jessica:en-us",
)
KOKORO_SPANISH = (
    "ef_dora:es",
    "em_alex:es",
    "am_michael:es",
    "ff_siwis:es",
    "if_sara:es",
    "im_nicola:es",
    "bm_george:es",
    "af_heart:es",
    "pf_dora:es",
    "pm_alex:es",
    "bf_emma:es",
)
KOKORO_CATALAN = ("ef_dora:ca", "em_alex:ca", "im_nicola:ca", "if_sara:ca")
"""Voices that speak Spanish too: the encoder hears Catalan in them, the GPT never does."""
KOKORO_HELD_OUT = ("am_puck:en-us", "em_santa:es")
KOKORO_ALSO = (0.89, 1.12)
"""Kokoro is slower than life: each of its utterances gives two more speakers."""
KOKORO_CHARS = (22, 75)
"""Two to five seconds of speech: shorter clips cost it as much work."""

UNSEEN_SPEAKERS = ("us1", "us3", "gb2", "gb4", "es1", "es3", "es4", "es7", "ona2", "ona3")
UNSEEN_KOKORO = ("af_heart:en-us", "bm_george:en-gb", "ef_dora:es", "im_nicola:es")
HELD_OUT_CLIPS = 12
UNSEEN_CLIPS = 10


def pico_voices(rows: Mapping[str, tuple[str, float, float, float]]) -> list[Voice]:
    """Return the voices in some rows of Pico's tables."""
    return [
        Voice(
            name=name,
            language=engine_voice[:2],
            engine="pico",
            engine_voice=engine_voice,
            factor=factor,
            pitch=pitch,
            speed=speed,
        )
        for name, (engine_voice, factor, pitch, speed) in rows.items()
    ]


def _ona(rows: Mapping[str, tuple[float, float]]) -> list[Voice]:
    return [
        Voice(
            name=name,
            language="ca",
            engine="festival",
            engine_voice="ona",
            factor=factor,
            speed=speed,
        )
        for name, (factor, speed) in rows.items()
    ]


def kokoro_voices(engine_voices: Iterable[str]) -> list[Voice]:
    """Return voices of Kokoro, each given as its name there and the language that it speaks."""
    return [
        Voice(
            name=engine_voice.partition(":")[0],
            language=engine_voice.partition(":")[2][:2],
            engine="kokoro",
            engine_voice=engine_voice,
        )
        for engine_voice in engine_voices
    ]


def _train(
    voices: Sequence[Voice], minutes: float, *, scattered: bool = False
) -> tuple[Share, ...]:
    """Return ``minutes`` in equal shares."""
    each = minutes / len(voices)
    return tuple(Share(voice=voice, minutes=each, scattered=scattered) for voice in voices)


def _train_kokoro(
    engine_voices: Sequence[str], minutes: float, *, scattered: bool = False
) -> tuple[Share, ...]:
    shares = _train(kokoro_voices(engine_voices), minutes, scattered=scattered)
    least, most = KOKORO_CHARS
    return tuple(
        replace(share, also=KOKORO_ALSO, min_chars=least, max_chars=most) for share in shares
    )


def _judged(set_name: SetName, voices: Iterable[Voice], num_clips: int) -> tuple[Share, ...]:
    return tuple(
        Share(voice=voice, set_name=set_name, minutes=5.0, max_clips=num_clips, min_chars=12)
        for voice in voices
    )


def _full() -> CorpusPlan:
    english, spanish, ona = pico_voices(PICO_ENGLISH), pico_voices(PICO_SPANISH), _ona(ONA)
    unseen = [v for v in (*english, *spanish, *ona) if v.name in UNSEEN_SPEAKERS]
    out = (*pico_voices(PICO_HELD_OUT), *_ona(ONA_HELD_OUT))
    # What judges comes before the slow part: a corpus that is used too early lacks only training.
    return CorpusPlan(
        stages=(
            (*_train(english, 300), *_train(spanish, 200), *_train(ona, 100)),
            _judged("heldout_voices", out, HELD_OUT_CLIPS)
            + _judged("unseen_texts", unseen, UNSEEN_CLIPS),
            _judged("heldout_voices", kokoro_voices(KOKORO_HELD_OUT), HELD_OUT_CLIPS)
            + _judged("unseen_texts", kokoro_voices(UNSEEN_KOKORO), UNSEEN_CLIPS),
            _train_kokoro(KOKORO_ENGLISH, 100)
            + _train_kokoro(KOKORO_SPANISH, 47)
            + _train_kokoro(KOKORO_CATALAN, 28),
            (
                *_train(english, 300, scattered=True),
                *_train(spanish, 150, scattered=True),
                *_train(ona, 60, scattered=True),
            ),
            _train_kokoro(KOKORO_ENGLISH, 60, scattered=True)
            + _train_kokoro(KOKORO_SPANISH, 20, scattered=True),
        )
    )


def _fast() -> CorpusPlan:
    voices = [
        Voice(name="espeak_en", language="en", engine="espeak", engine_voice="en-us"),
        Voice(
            name="espeak_es",
            language="es",
            engine="espeak",
            engine_voice="es",
            factor=0.9,
            pitch=1.2,
        ),
    ]
    out = replace(voices[0], name="espeak_out", factor=1.15)
    return CorpusPlan(
        stages=(
            _train(voices, 3),
            _judged("heldout_voices", [out], 4) + _judged("unseen_texts", voices, 4),
        )
    )


PRESETS: Mapping[str, Callable[[], CorpusPlan]] = {"full": _full, "fast": _fast}
"""``full``: nineteen hours, in an hour and a half; ``fast``: three minutes of eSpeak NG, in
seconds."""
