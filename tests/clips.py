"""Clips for tests: bursts of tone with pauses, as loud and as long as speech."""

import numpy as np
import soundfile

RATE = 16_000
TEXTS = (
    "La barca torna al port quan cau la tarda.",
    "Demà comprarem pa i formatge al mercat.",
    "El gat dorm damunt la cadira de la cuina.",
    "Avui fa vent i les fulles corren pel carrer.",
    "La meva àvia canta cançons molt antigues.",
    "Han pintat la porta de color verd clar.",
    "Pugem a la muntanya abans que surti el sol.",
    "El tren de les vuit sempre arriba tard.",
    "Vine a sopar a casa nostra dissabte.",
    "Ningú no recorda qui va plantar l'olivera.",
)


def sound(seconds=2.5, seed=0, level=0.3, rate=RATE):
    """Return a clip [T] that differs for each seed."""
    time = np.arange(int(seconds * rate)) / rate
    pitch = 110 + 7 * seed
    bursts = 0.55 + 0.45 * np.sin(2 * np.pi * 3 * time)
    return (level * bursts * np.sin(2 * np.pi * pitch * time)).astype(np.float32)


def warble(duration_sec, seed=0):
    """Return a clip [T] whose pitch and noise never stay the same, so its codes differ too."""
    numbers = np.random.default_rng(seed)
    time_sec = np.arange(int(duration_sec * RATE)) / RATE
    pitch_hz = 120 + 60 * np.sin(2 * np.pi * numbers.uniform(0.5, 3) * time_sec)
    tone = np.sin(2 * np.pi * np.cumsum(pitch_hz) / RATE)
    return (0.3 * tone + 0.05 * numbers.normal(size=len(time_sec))).astype(np.float32)


def write_clip(path, seconds=2.5, seed=0, **options):
    """Write one clip; the format is that of the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rate = options.get("rate", RATE)
    soundfile.write(path, sound(seconds, seed, **options), rate)
    return path


def write_corpus(folder, names):
    """Write one clip for each of ``names`` below ``folder``."""
    for seed, name in enumerate(names):
        write_clip(folder / name, seed=seed)
    return folder
