"""What holds for the share of each language in an epoch."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.base.shares import apportion
from idiolect.data.balance import balanced_sizes
from idiolect.data.manifest import SourceSpec
from idiolect.data.samples import SampleSource, Source, epoch_order, languages_of_ref
from training_kit import Shelf, features, utterance

FEW = settings(max_examples=25, deadline=None)
SIZES = st.dictionaries(
    st.tuples(st.integers(0, 3), st.sampled_from(["ca", "en", "zh"])),
    st.floats(0.1, 1000.0),
    min_size=1,
)
TEMPERATURES = st.floats(0, 1)


def raw_source(language: str, num_clips: int, weight: float = 1.0) -> SampleSource:
    clips = {f"{language}{i}": utterance(f"{language}{i}") for i in range(num_clips)}
    clips = {i: replace(clip, language=language) for i, clip in clips.items()}
    source = Source(
        spec=SourceSpec(path=Path("train.jsonl"), weight=weight),
        manifest=Path("train.jsonl"),
        utterances=clips,
        pairs=None,
        targets=frozenset(clips),
    )
    return SampleSource(
        source=source,
        text_ids={i: np.array([3, 4], dtype=np.int32) for i in clips},
        left_out={},
        unknown_tokens=0,
        store=Shelf({i: features() for i in clips}),
    )


SOURCES = st.lists(
    st.builds(
        raw_source,
        st.sampled_from(["ca", "en", "zh"]),
        st.integers(2, 12),
        st.sampled_from([0.2, 0.5, 1.0, 1.5, 2.0]),
    ),
    min_size=1,
    max_size=3,
)


def seen_languages(sources, temperature, **given_):
    refs = epoch_order(sources, seed=1, epoch=0, language_temperature=temperature, **given_)
    return Counter(languages_of_ref(sources, ref) for ref in refs)


@FEW
@given(SIZES, st.integers(1, 5000), TEMPERATURES)
def test_parts_add_up_and_are_their_exact_part_rounded(sizes, total, temperature):
    parts = balanced_sizes(sizes, total, temperature)

    assert sum(parts.values()) == total
    by_language = Counter()
    for (_, language), size in sizes.items():
        by_language[language] += size
    whole = sum(size**temperature for size in by_language.values())
    for (source, language), size in sizes.items():
        share = by_language[language] ** temperature / whole * size / by_language[language]
        assert abs(parts[source, language] - share * total) < 1 + 1e-6


def test_parts_that_lose_most_by_rounding_get_what_is_left():
    assert apportion({"a": 1.0, "b": 1.9, "c": 3.1}, 6) == {"a": 1, "b": 2, "c": 3}


@FEW
@given(SOURCES, TEMPERATURES, st.integers(0, 3))
def test_an_epoch_is_as_long_at_any_temperature(sources, temperature, epoch):
    lens = {
        len(epoch_order(sources, seed=1, epoch=epoch, language_temperature=warmth))
        for warmth in (temperature, 1.0)
    }

    assert len(lens) == 1


@FEW
@given(SOURCES)
def test_at_zero_languages_are_seen_alike(sources):
    seen = seen_languages(sources, 0.0, count=60)

    assert max(seen.values()) - min(seen.values()) <= len(sources)


@FEW
@given(SOURCES, st.floats(0, 0.99))
def test_within_a_source_each_target_is_seen_as_often_or_once_more(sources, temperature):
    refs = epoch_order(sources, seed=1, epoch=0, language_temperature=temperature)

    for index, source in enumerate(sources):
        times = Counter(dict.fromkeys(source.text_ids, 0))
        times.update(ref.target for ref in refs if ref.source == index)
        assert max(times.values()) - min(times.values()) <= 1


@FEW
@given(SOURCES, TEMPERATURES)
def test_a_balanced_epoch_depends_on_seed_and_epoch_only(sources, temperature):
    def drawn(seed, epoch):
        return epoch_order(
            sources, seed=seed, epoch=epoch, count=40, language_temperature=temperature
        )

    assert drawn(1, 0) == drawn(1, 0)
    assert drawn(1, 0) != drawn(1, 1)
    assert drawn(1, 0) != drawn(2, 0)


@pytest.mark.parametrize(
    ("temperature", "seen"),
    [(1.0, {"ca": 4, "en": 64}), (0.5, {"ca": 14, "en": 54}), (0.0, {"ca": 34, "en": 34})],
    ids=str,
)
def test_a_small_language_is_seen_more_often_the_lower_the_temperature(temperature, seen):
    sources = [raw_source("ca", 4), raw_source("en", 64)]

    assert seen_languages(sources, temperature) == seen


def test_repeats_of_a_small_language_are_spoken_after_other_prompts():
    sources = [raw_source("ca", 4), raw_source("en", 64)]
    refs = epoch_order(sources, seed=1, epoch=0, language_temperature=0.0)

    prompts = {(ref.target, ref.prompt) for ref in refs if ref.source == 0}

    assert len(prompts) > 4
