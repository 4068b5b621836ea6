"""The card of nano: what it is, of what and how it was made, what it can do, and what not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from idiolect.base.files import read_json
from idiolect.base.units import format_bytes
from idiolect.data.manifest import Utterance, read_manifest
from idiolect.models.terms import NANO_LICENCE, NANO_NAME, NANO_NOTICE
from idiolect.nano.emotions import MANNERS, Manner
from idiolect.nano.engines import ENGINE_LICENCES
from idiolect.nano.folders import CORPUS_DIR, JUDGE_DIR, SPEAKER_DIR, TRAIN_MANIFEST
from idiolect.nano.judge import VERDICT_FILE
from idiolect.nano.sizes import LANGUAGES
from idiolect.nano.speaker import LIKENESS_FILE

LANGUAGE_NAMES = {"en": "English", "es": "Spanish", "ca": "Catalan"}

WHAT_IT_IS = """\
A whole IndexTTS-2 base at small width: the published networks and file layout, with weights of
idiolect's own, trained from zero by `idiolect nano train` on the speech of free speech engines.
It comes with the package, so that every command works at once, offline and without a GPU. It is
for trying, teaching and testing; how far it can be understood stands below."""

LIMITS = """\
- It has heard speech engines only: no living person, no acted emotion, no recording in a room. How
  it imitates a person was not measured.
- It speaks {languages}, and learned from plain sentences of up to fourteen words. There is no
  Chinese, and no reader of emotions in text.
- Its emotions are changes of a clip that stand for moods, and nothing else (table below).
- It is more than a hundred times smaller than the published base, and sounds like it."""


def base_card(run: Path, sizes: Mapping[str, int]) -> str:
    """Return the card in Markdown.

    Args:
        run: Folder of the run: its corpus, and what the judges said, where they were asked.
        sizes: Bytes of the files of weights, by name.
    """
    sections = [
        f"# {NANO_NAME}",
        WHAT_IT_IS,
        f"## Files\n\n{_table(('File', 'Size'), _sizes(sizes))}",
        f"## What it heard\n\n{_heard(run)}",
        f"## How good it is\n\n{_scores(run)}",
        "## What it cannot do\n\n" + LIMITS.format(languages=_names(LANGUAGES)),
        f"## What stands for its emotions\n\n{_manners()}",
        f"## Licence\n\n{NANO_LICENCE}. {NANO_NOTICE} A model that is tuned on it carries this "
        "sentence on.",
    ]
    return "\n\n".join(sections) + "\n"


def _sizes(sizes: Mapping[str, int]) -> Iterable[tuple[str, ...]]:
    rows = [(f"`{name}`", format_bytes(size)) for name, size in sorted(sizes.items())]
    return [*rows, ("together", format_bytes(sum(sizes.values())))]


def _heard(run: Path) -> str:
    """Return which engines spoke the corpus, for how long, under which licences."""
    manifest = run / CORPUS_DIR / TRAIN_MANIFEST
    if not manifest.is_file():
        return "The corpus of this run is not recorded."
    clips = list(read_manifest(manifest))
    minutes: defaultdict[tuple[str, str], float] = defaultdict(float)
    speakers: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for clip in clips:
        key = (_engine_of(clip), clip.language)
        minutes[key] += clip.duration_sec / 60
        speakers[key].add(clip.speaker)
    rows = [
        (*_licence_of(engine), _names([language]), str(len(speakers[key])), f"{minutes[key]:.0f}")
        for key in sorted(minutes)
        for engine, language in [key]
    ]
    columns = ("Engine", "Its licence", "Language", "Speakers", "Minutes")
    learnt = (
        "Sentences are of the project's own grammar; some clips are words in no order, of the word "
        "lists of SCOWL, of the grammar or invented. An engine's voice played faster or slower "
        "is another speaker. The licences are those of the engines; no code or voice data of an "
        f"engine is in these files. The GPT learned to speak {_names(LANGUAGES)} only; the other "
        "networks heard Catalan as well."
    )
    return "\n\n".join([_table(columns, rows), learnt, *_teacher(run)])


def _engine_of(clip: Utterance) -> str:
    return str((clip.extra or {}).get("engine", "not recorded"))


def _licence_of(engine: str) -> tuple[str, str]:
    known = {str(name): row for name, row in ENGINE_LICENCES.items()}.get(engine)
    return (known.name, known.licence) if known else (engine, "not recorded")


def _teacher(run: Path) -> list[str]:
    """Return the sentence about the teacher of the speaker encoder, if it had one."""
    if not (run / SPEAKER_DIR / LIKENESS_FILE).is_file():
        return []
    return [
        "The speaker encoder learned how near two voices are from a published CAM++ (Apache-2.0), "
        "none of whose weights are here. A CAM++ that judges voices is therefore no stranger to it."
    ]


def _scores(run: Path) -> str:
    verdict = run / JUDGE_DIR / VERDICT_FILE
    if not verdict.is_file():
        return "The judges have not heard it yet."
    rows = [
        (
            f"{found['test']}: {found['measure']}",
            f"{found['value']:.1%}",
            f"{'at least' if found['at_least'] else 'at most'} {found['limit']:.0%}",
            "yes" if found["passed"] else "no",
            found["judge"],
        )
        for found in read_json(verdict)["findings"]
    ]
    heard = (
        "Of voices and sentences that no training heard. nano's recogniser expects the words of "
        "the language, as others do: it knows how often the grammar has each."
    )
    return f"{heard}\n\n{_table(('Measure', 'Value', 'Asked', 'Reached', 'Judge'), rows)}"


def _manners() -> str:
    rows = [(emotion, _manner(manner)) for emotion, manner in MANNERS.items()]
    return _table(("Emotion", "A clip"), rows)


def _manner(manner: Manner) -> str:
    speed = f"played at {manner.speed:.0%} speed"
    tremor = f", trembling by {manner.tremor:.0%}" if manner.tremor else ""
    return speed + tremor + (", loud and soft pressed together" if manner.strain else "")


def _names(languages: Iterable[str]) -> str:
    return " and ".join(LANGUAGE_NAMES.get(language, language) for language in languages)


def _table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [columns, ("---",) * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
