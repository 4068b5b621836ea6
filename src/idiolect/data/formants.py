"""A very small formant synthesiser: sound that follows its text, for the demo and the tests.

Every letter is a pair of resonances over a pulse train (voiced) or noise (unvoiced), so that the
same text always gives the same sound, different texts differ, and two speakers differ in pitch
and vocal tract. It is not speech that anybody would listen to, and it is called synthetic
wherever it is written.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from idiolect.audio.io import write_wav
from idiolect.base.files import write_text
from idiolect.base.units import SAMPLE_RATE

LETTER_SEC = 0.075
PAUSE_SEC = 0.12
FADE_SEC = 0.012
PEAK = 0.4

# First and second resonance in Hz. The vowels are where phonetics puts them; the consonants are
# spread so that no two letters sound alike.
VOWELS_HZ = {
    "a": (750, 1300),
    "e": (500, 1900),
    "i": (320, 2300),
    "o": (500, 900),
    "u": (340, 750),
}
VOICED_HZ = {
    letter: (220 + 35 * place, 950 + 170 * place) for place, letter in enumerate("bdglmnrvzj")
}
UNVOICED_HZ = {
    letter: (1400 + 420 * place, 3000 + 380 * place) for place, letter in enumerate("pktcfshqx")
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """One synthetic speaker."""

    name: str
    pitch_hz: float = 120.0
    tract: float = 1.0
    """Every resonance is multiplied by it: below 1 a longer vocal tract."""


VOICES = (
    Voice(name="biel", pitch_hz=115, tract=0.95),
    Voice(name="clara", pitch_hz=205, tract=1.12),
)

CATALAN_SENTENCES = (
    "Bon dia a tothom.",
    "La lluna surt darrere la muntanya.",
    "Avui plou a la plaça del poble.",
    "El gat dorm sobre la taula.",
    "Demà anirem a veure el mar.",
    "La meva germana canta molt bé.",
    "L'home del forn ven pa calent.",
    "Els nens juguen al pati.",
    "Aquesta novel·la és molt bonica.",
    "El tren surt a dos quarts de nou.",
    "Tinc set i vull aigua fresca.",
    "La col·lecció és al museu.",
    "Obre la finestra, si us plau.",
    "Qui ha trucat a la porta?",
    "El vent mou les fulles dels arbres.",
    "Ahir vam menjar arròs amb verdures.",
)
"""Sentences of the project's own writing."""


def speak_formants(text: str, voice: Voice) -> NDArray[np.float32]:
    """Return the sound of ``text`` in ``voice``: float32 [T] at :data:`SAMPLE_RATE`, mono.

    Letters lose their accents; anything that is not a letter is a short pause.
    """
    plain = unicodedata.normalize("NFD", text.casefold())
    letters = [c for c in plain if not unicodedata.combining(c)]
    parts = [_letter(letter, place, voice) for place, letter in enumerate(letters)]
    audio = np.concatenate(parts) if parts else np.zeros(0)
    peak = np.abs(audio).max(initial=1e-9)
    scaled: NDArray[np.float32] = (audio * (PEAK / peak)).astype(np.float32)
    return scaled


def _letter(letter: str, place: int, voice: Voice) -> NDArray[np.float64]:
    if letter in VOWELS_HZ:
        return _tone(VOWELS_HZ[letter], place, voice, loudness=1.0)
    if letter in VOICED_HZ:
        return _tone(VOICED_HZ[letter], place, voice, loudness=0.5)
    if letter in UNVOICED_HZ:
        return _hiss(UNVOICED_HZ[letter], place, voice)
    return np.zeros(int(PAUSE_SEC * SAMPLE_RATE))


def _tone(
    resonances_hz: tuple[int, int], place: int, voice: Voice, *, loudness: float
) -> NDArray[np.float64]:
    """Return harmonics of the pitch, each as loud as the resonances let it through."""
    time_sec = np.arange(int(LETTER_SEC * SAMPLE_RATE)) / SAMPLE_RATE
    pitch_hz = voice.pitch_hz * (1 + 0.06 * np.sin(place / 3))
    harmonics_hz = pitch_hz * np.arange(1, int(5000 / pitch_hz))
    gains = sum(1 / (1 + ((harmonics_hz - f * voice.tract) / 90) ** 2) for f in resonances_hz)
    waves = np.sin(2 * np.pi * harmonics_hz[:, None] * time_sec)
    tone: NDArray[np.float64] = loudness * (np.asarray(gains) @ waves) * _fade(len(time_sec))
    return tone


def _hiss(resonances_hz: tuple[int, int], place: int, voice: Voice) -> NDArray[np.float64]:
    """Return noise around the resonances; the same place in a text has the same noise."""
    num_samples = int(LETTER_SEC * SAMPLE_RATE)
    spectrum = np.fft.rfft(np.random.default_rng(place).standard_normal(num_samples))
    bins_hz = np.fft.rfftfreq(num_samples, 1 / SAMPLE_RATE)
    gains = sum(1 / (1 + ((bins_hz - f * voice.tract) / 400) ** 2) for f in resonances_hz)
    return 0.6 * np.fft.irfft(spectrum * gains, num_samples) * _fade(num_samples)


def _fade(num_samples: int) -> NDArray[np.float64]:
    ramp = np.minimum(1.0, np.arange(num_samples) / (FADE_SEC * SAMPLE_RATE))
    return ramp * ramp[::-1]


def write_corpus(
    audio_dir: Path,
    transcript: Path,
    *,
    sentences: Sequence[str] = CATALAN_SENTENCES,
    voices: Sequence[Voice] = VOICES,
) -> int:
    """Write every sentence in every voice, and a ``file|speaker|text`` transcript.

    Returns:
        How many clips there are.
    """
    lines = []
    for voice in voices:
        for number, sentence in enumerate(sentences, start=1):
            name = f"{voice.name}_{number:02d}.wav"
            write_wav(audio_dir / name, speak_formants(sentence, voice), SAMPLE_RATE)
            lines.append(f"{name}|{voice.name}|{sentence}")
    write_text(transcript, "\n".join(lines) + "\n")
    return len(lines)
