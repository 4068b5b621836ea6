"""Samples, sources and batches so small that a test makes them in milliseconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from idiolect.data.batches import GptBatch, GptSample, make_batch
from idiolect.data.features import Features
from idiolect.data.manifest import SourceSpec, Utterance
from idiolect.data.samples import Source, add_features, encode_source
from idiolect.training.config import TrainConfig
from idiolect.training.feed import Feed, Share
from tiny_gpt import tiny_dims

DIM = tiny_dims().dim


def sample(text: list[int], codes: list[int], *, seed: int = 0) -> GptSample:
    numbers = np.random.default_rng(seed)
    return GptSample(
        text_ids=np.array(text, dtype=np.int64),
        codes=np.array(codes, dtype=np.int64),
        latents=numbers.normal(size=(32, DIM)).astype(np.float32),
        emotion=numbers.normal(size=DIM).astype(np.float32),
    )


SAMPLES = st.lists(
    st.builds(
        sample,
        st.lists(st.integers(2, 19), min_size=1, max_size=8),
        st.lists(st.integers(0, 11), min_size=1, max_size=12),
        seed=st.integers(0, 9),
    ),
    min_size=2,
    max_size=6,
)


def batch(*samples: GptSample, **given: Any) -> GptBatch:
    return make_batch(samples, tiny_dims(), **given)


def utterance(utterance_id: str, text: str = "", *, speaker: str = "anna", **given) -> Utterance:
    plain = {"audio": f"{utterance_id}.wav", "root": Path(), "language": "ca", "duration_sec": 2.0}
    text = text or f"Frase {utterance_id}."
    return Utterance(id=utterance_id, text=text, speaker=speaker, **(plain | given))


class Shelf(dict[str, Features]):
    """A feature store in memory."""

    def num_codes(self, utterance_id: str) -> int:
        return len(self[utterance_id].codes)


def features(num_codes: int = 3, *, seed: int = 0) -> Features:
    numbers = np.random.default_rng(seed)
    return Features(
        codes=numbers.integers(0, 12, num_codes).astype(np.uint16),
        latents=numbers.normal(size=(32, DIM)).astype(np.float16),
        emotion=numbers.normal(size=DIM).astype(np.float16),
    )


class Letters:
    """A tokenizer whose ids are the places of letters in the alphabet, from 3 on."""

    path = Path("letters.model")
    unk_id = 2

    def encode(self, text, language):
        return [ord(letter) - ord("a") + 3 for letter in text]


def source(*utterances, pairs=None, weight=1.0):
    return Source(
        spec=SourceSpec(path=Path("train.jsonl"), weight=weight),
        manifest=Path("train.jsonl"),
        utterances={u.id: u for u in utterances},
        pairs=pairs,
        targets=frozenset(u.id for u in utterances),
    )


def samples_of(raw, shelf=None):
    shelf = shelf if shelf is not None else Shelf({i: features() for i in raw.utterances})
    return add_features(encode_source(raw, Letters(), tiny_dims()), shelf, tiny_dims())


CLIPS = {letter: 2 + number for number, letter in enumerate("abcdefgh")}


def small_feed(*, share=None, tokens_per_pass=10_000, **given):
    raw = source(*(utterance(name, name * 2) for name in CLIPS))
    shelf = Shelf({name: features(count) for name, count in CLIPS.items()})
    train = [samples_of(raw, shelf)]
    config = TrainConfig(**({"num_workers": 0, "epochs": 3} | given))
    return Feed.of(
        config, train, train, tiny_dims(), tokens_per_pass=tokens_per_pass, share=share or Share()
    )
