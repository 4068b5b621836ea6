"""Human recordings that judge the pocket base; nothing is trained on them or shipped with it.

They are the phone prompts that ``idiolect corpus debian`` fetches, under a share-alike licence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from idiolect.audio.io import probe_audio, read_audio, write_flac
from idiolect.base.errors import DataError
from idiolect.base.units import SAMPLE_RATE
from idiolect.data.corpora import AUDIO_DIR, TRANSCRIPT_FILE
from idiolect.data.manifest import Utterance
from idiolect.nano.corpus import tidy

MIN_SEC = 1.5
MAX_SEC = 6.0
NOT_SPOKEN_SO = re.compile(r"[\d\[\]<>()&/#]|\.\.|\b[A-Z] [A-Z]\b")
"""In a text: digits can be read in two ways, and the rest is not read."""
ACCENT_IS_MISSING = re.compile(
    r"[cs]ion\b|\b(?:numeros?|ultim[oa]|unic[oa]|lider|invalid[oa]|contrasenas?|codigo|tambien|"
    r"(?:comenz|termin|inici|ser|est|un)[ai]ra?n?|sera|esta|estan|habilito|tecleo|telefon\w+|"
    r"buzon|ningun|mas|dias?|aqui|pagina|credito|maximo|minimo|linea|estandar|decimo|quien|"
    r"en que|que carpeta|\w+esimo|presion[oe]\b(?= la tecla de numero)|transfirio|sabado|"
    r"miercoles|usted se|asi|despues|dejo|guardo|espanol)\b",
    re.IGNORECASE,
)
"""Spanish prompts that were written without their accents."""


def take_recordings(source: Path, language: str, folder: Path, num_clips: int) -> list[Utterance]:
    """Copy ``num_clips`` recordings of ``source`` to ``folder``, at the level of the corpus.

    Args:
        source: What ``idiolect corpus debian`` wrote: ``audio/`` and ``transcripts.txt``.
        language: Of the recordings.
        folder: Of the corpus; gains ``audio/human-<language>/`` (22 050 Hz FLAC).
        num_clips: How many; they are taken evenly from those that can be used.

    Raises:
        DataError: ``source`` has fewer that can be used.
    """
    usable = list(_usable(source))
    if len(usable) < num_clips:
        raise DataError(
            f"{len(usable)} recordings can be used, and not {num_clips}",
            where=str(source),
            fix="fetch asterisk-core-sounds-en or -es with idiolect corpus debian",
        )
    step = len(usable) / num_clips
    chosen = [usable[int(index * step)] for index in range(num_clips)]
    return [_take(row, source, language, folder) for row in chosen]


def _usable(source: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (file, speaker, text) of clips of a fit length whose text is what is heard."""
    listing = source / TRANSCRIPT_FILE
    if not listing.is_file():
        raise DataError(f"no such file: {listing}")
    seen = set[str]()
    for line in listing.read_text(encoding="utf-8").splitlines():
        name, speaker, text = line.split("|", 2)
        key = " ".join(re.findall(r"\w+", text.lower()))
        if key in seen or NOT_SPOKEN_SO.search(text) or ACCENT_IS_MISSING.search(text):
            continue
        seen.add(key)
        if MIN_SEC <= probe_audio(source / AUDIO_DIR / name).duration_sec <= MAX_SEC:
            yield name, speaker, text


def _take(row: tuple[str, str, str], source: Path, language: str, folder: Path) -> Utterance:
    name, speaker, text = row
    audio, _ = read_audio(source / AUDIO_DIR / name, SAMPLE_RATE)
    audio = tidy(audio)
    clip_id = f"human-{language}-{Path(name).stem}"
    file = Path(AUDIO_DIR, f"human-{language}", f"{clip_id}.flac")
    write_flac(folder / file, audio, SAMPLE_RATE)
    return Utterance(
        id=clip_id,
        audio=str(file),
        root=folder,
        text=text,
        speaker=speaker,
        language=language,
        duration_sec=round(len(audio) / SAMPLE_RATE, 4),
        extra={"engine": "human"},
    )
