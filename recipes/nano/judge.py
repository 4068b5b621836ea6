"""Judge a nano base, finished demos, or the voices of a corpus; see JUDGES.md beside this file.

python recipes/nano/judge.py base --base BASE --corpus CORPUS --output judged --judges JUDGES
python recipes/nano/judge.py demos --demos demo1 demo2 demo3 --output judged --judges JUDGES
python recipes/nano/judge.py voices --corpus CORPUS/train.jsonl --judges JUDGES
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from idiolect.base.errors import ConfigError
from idiolect.cli.surface import run_command
from idiolect.data.manifest import read_manifest
from idiolect.listening.listeners import Listener, RealSpeakerEncoder, listeners_in
from idiolect.nano.judge import VERDICT_FILE, JudgeConfig, judge_base
from idiolect.nano.judge_demos import judge_demos
from idiolect.nano.survey import survey_voices
from idiolect.nano.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeCommand:
    """What to judge, and by whom."""

    what: tyro.conf.Positional[Literal["base", "demos", "voices"]]
    """base: copy, speech and voice of a base; demos: what they taught; voices: of a corpus."""
    base: Path | None = None
    """Folder of the base."""
    corpus: Path | None = None
    """Folder of the corpus; of voices, a manifest."""
    demos: tuple[Path, ...] = ()
    """Folders of finished demos, one a seed."""
    output: Path = Path("judged")
    """Folder for the sounds that are judged, and for verdict.json."""
    judges: Path | None = None
    """Folder of recognisers of other authors; only nano's own judges when left out."""
    listeners: tuple[str, ...] = ()
    """Those of them that listen (whisper-base whisper-small moonshine); all that are there."""
    clips: int = 6
    """Of voices: how many clips of each are heard."""
    config: Annotated[JudgeConfig, tyro.conf.arg(name="")] = JudgeConfig()  # noqa: RUF009 -- frozen


def _judge(command: JudgeCommand) -> int:
    listeners = [] if command.judges is None else listeners_in(command.judges, command.listeners)
    if command.what == "voices":
        return _survey(command, listeners)
    if command.what == "demos":
        verdict = judge_demos(command.demos, listeners)
        verdict.write(command.output / VERDICT_FILE)
    else:
        verdict = _judge_base(command, listeners)
    for found in verdict.findings:
        print(found.line())
    return 0 if all(found.passed for found in verdict.findings) else 1


def _judge_base(command: JudgeCommand, listeners: list[Listener]) -> Verdict:
    if command.base is None or command.corpus is None:
        raise ConfigError("name a base and a corpus", where="--base, --corpus")
    judges = command.judges
    has_real = judges is not None and (judges / RealSpeakerEncoder.name).is_dir()
    return judge_base(
        command.base,
        command.corpus,
        command.output,
        listeners=listeners,
        real_voices=RealSpeakerEncoder(judges) if judges is not None and has_real else None,
        config=command.config,
    )


def _survey(command: JudgeCommand, listeners: list[Listener]) -> int:
    if command.corpus is None:
        raise ConfigError("name a manifest", where="--corpus")
    clips = list(read_manifest(command.corpus))
    for score in survey_voices(clips, listeners, per_voice=command.clips):
        heard = f"{score.errors.rate:6.1%} of {score.errors.letters} letters wrong"
        print(f"{score.language} {score.speaker:20} {heard}  by {score.listener}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(run_command(JudgeCommand, _judge, None, prog="judge.py", description=__doc__))
