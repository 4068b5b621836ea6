"""The GPT of nano: what a batch is made of, that it learns, that it goes on where it stopped."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from idiolect.base.errors import DataError
from idiolect.base.files import copy_file
from idiolect.data.manifest import Utterance
from idiolect.models.gpt import PREFIX_ROWS
from idiolect.models.loading import load_gpt
from idiolect.nano import voice
from idiolect.nano.frames import Frames
from idiolect.nano.stage import METRICS_FILE, Pace
from idiolect.nano.voice import GPT_FILE, Lessons, VoiceConfig, _Schedule, learn, train_voice
from tiny_gpt import tiny_dims

NUM_CLIPS = 40
TINY_GPT = tiny_dims(max_code_len=60)
CONFIG = VoiceConfig(
    pace=Pace(total_steps=30, learning_rate=5e-3, warmup_steps=3),
    batch_rows=1200,
    first_clip_sec=0.4,
    short_steps=10,
)


@pytest.fixture
def lessons() -> Lessons:
    """Clips of two speakers in which each letter is one code, four frames long."""
    rng = np.random.default_rng(0)
    texts = {place: rng.integers(2, 8, int(rng.integers(2, 12))) for place in range(NUM_CLIPS)}
    codes = [np.repeat(ids, 4).astype(np.int16) for ids in texts.values()]
    ends = np.cumsum([len(c) for c in codes]).tolist()
    features = rng.standard_normal((ends[-1], TINY_GPT.feature_dim)).astype(np.float16)
    speakers = [f"speaker {place % 2}" for place in range(NUM_CLIPS)]
    clips_of = {name: list(range(first, NUM_CLIPS, 2)) for first, name in enumerate(speakers[:2])}
    return Lessons(
        utterances=[
            Utterance(
                id=str(place),
                audio="none.wav",
                root=Path(),
                text="x",
                speaker=speaker,
                language="en",
                duration_sec=1.0,
            )
            for place, speaker in enumerate(speakers)
        ],
        frames=Frames(features, np.concatenate(codes), ends),
        text_ids={place: ids.astype(np.int64) for place, ids in texts.items()},
        by_speaker=clips_of,
    )


def test_it_learns_which_sounds_letters_have(lessons: Lessons, tmp_path: Path):
    longer = replace(CONFIG, pace=Pace(total_steps=150, learning_rate=5e-3, warmup_steps=3))
    train_voice(lessons, TINY_GPT, tmp_path / "few", CONFIG)
    train_voice(lessons, TINY_GPT, tmp_path / "many", longer)
    assert _last_loss(tmp_path / "many") < 0.8 * _last_loss(tmp_path / "few")
    assert load_gpt(tmp_path / "many" / GPT_FILE, TINY_GPT).dims == TINY_GPT


def test_stopping_and_going_on_ends_where_not_stopping_ends(
    lessons: Lessons, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    train_voice(lessons, TINY_GPT, tmp_path / "straight", CONFIG)
    calls = 0

    def learn_until_stopped(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 8:
            raise KeyboardInterrupt
        return learn(*args)

    monkeypatch.setattr(voice, "learn", learn_until_stopped)
    with pytest.raises(KeyboardInterrupt):
        train_voice(lessons, TINY_GPT, tmp_path / "stopped", CONFIG)
    train_voice(lessons, TINY_GPT, tmp_path / "stopped", CONFIG)
    straight = _weights(tmp_path / "straight")
    for name, tensor in _weights(tmp_path / "stopped").items():
        torch.testing.assert_close(tensor, straight[name], rtol=0, atol=0)


def test_it_begins_with_the_weights_that_lie_in_its_folder(lessons: Lessons, tmp_path: Path):
    train_voice(lessons, TINY_GPT, tmp_path / "first", CONFIG)
    (tmp_path / "second").mkdir()
    copy_file(tmp_path / "first" / GPT_FILE, tmp_path / "second" / GPT_FILE)
    barely = replace(CONFIG, pace=Pace(total_steps=1, learning_rate=1e-9, warmup_steps=1))
    train_voice(lessons, TINY_GPT, tmp_path / "second", barely)
    first = _weights(tmp_path / "first")
    for name, tensor in _weights(tmp_path / "second").items():
        torch.testing.assert_close(tensor, first[name], rtol=0, atol=1e-6)


def test_short_clips_come_first_and_all_clips_in_the_end(lessons: Lessons):
    batches = list(islice(_Schedule(lessons, CONFIG)._all(), 40))
    lengths = [[lessons.frames.num_frames(lesson.target) for lesson in batch] for batch in batches]
    assert max(lengths[0]) <= 0.4 * 50
    assert {target for batch in batches[12:] for target, _ in batch} == set(lessons.text_ids)


def test_a_batch_has_no_more_rows_than_there_is_room_for(lessons: Lessons):
    for batch in islice(_Schedule(lessons, CONFIG)._all(), 40):
        rows = [
            PREFIX_ROWS + len(lessons.text_ids[target]) + lessons.frames.num_frames(target)
            for target, _ in batch
        ]
        assert len(batch) * max(rows) <= CONFIG.batch_rows


def test_a_prompt_is_another_clip_of_the_same_speaker(lessons: Lessons):
    for batch in islice(_Schedule(lessons, CONFIG)._all(), 20):
        for target, prompt in batch:
            assert prompt != target
            assert prompt % 2 == target % 2


def test_the_batch_of_a_step_does_not_depend_on_where_the_run_began(lessons: Lessons):
    straight = _Schedule(lessons, CONFIG)
    batches = [straight.batch_of(step) for step in range(1, 15)]
    assert _Schedule(lessons, CONFIG).batch_of(14) == batches[-1]


def test_a_corpus_without_the_languages_is_refused(lessons: Lessons):
    class Mute:
        def encode(self, text: str, language: str) -> list[int]:
            return [2]

    with pytest.raises(DataError, match="ca"):
        Lessons.of(lessons.utterances, lessons.frames, Mute(), TINY_GPT, ("ca",))


def _last_loss(folder: Path) -> float:
    lines = (folder / METRICS_FILE).read_text(encoding="utf-8").splitlines()
    return float(json.loads(lines[-1])["codes"])


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_gpt(folder / GPT_FILE, TINY_GPT).state_dict())
