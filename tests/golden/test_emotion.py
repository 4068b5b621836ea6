"""Emotions: rows chosen and mixed, slider weights, strength, and the reader's answers."""

from __future__ import annotations

import builtins

import pytest
import torch

from golden.fixtures import load_fixture, read_json
from idiolect.models.emotion import (
    EMOTIONS,
    EmotionMatrices,
    answer_start,
    normalize_weights,
    scale_weights,
    weights_of_answer,
    weights_of_content,
)

CASES = read_json("emotion_cases.json")
COMPARED = {"normalize", "scale", "convert", "text_to_emotion", "emotion_order"}
ABSOLUTE = 1e-6


@pytest.fixture(scope="module")
def fixture():
    return load_fixture("emotion")


@pytest.mark.parametrize("name", sorted(read_json("emotion.json")["outputs"]))
def test_the_published_mix_is_reproduced(name, fixture):
    ins = fixture.ins
    matrices = EmotionMatrices(
        speaker=ins["spk_matrix"],
        emotion=ins["emo_matrix"],
        groups=tuple(fixture.config["emo_num"]),
    )
    weights = ins["weights"].tolist()
    rows = matrices.select(ins["style"])

    results = {
        "selected_index": torch.tensor(rows),
        "emovec_mat": matrices.blend(rows, weights),
        "emovec": matrices.mix(ins["base_emovec"], ins["style"], weights),
    }

    fixture.check(name, results[name])


def test_the_order_of_the_emotions_is_the_published_one():
    assert list(EMOTIONS) == CASES["emotion_order"]


@pytest.mark.parametrize("case", CASES["normalize"])
def test_slider_weights_are_normalised(case):
    got = normalize_weights(case["vector"], apply_bias=case["apply_bias"])

    assert got == pytest.approx(tuple(case["result"]), abs=ABSOLUTE)


@pytest.mark.parametrize("case", CASES["scale"])
def test_weights_are_scaled_and_cut(case):
    got = scale_weights(case["vector"], case["alpha"])

    assert got == pytest.approx(tuple(case["result"]), abs=ABSOLUTE)


@pytest.mark.parametrize("case", [case for case in CASES["convert"] if "result" in case])
def test_what_the_reader_found_becomes_weights(case):
    got = weights_of_content(case["content"])

    assert list(got) == CASES["emotion_order"]
    assert got == pytest.approx(case["result"], abs=ABSOLUTE)


@pytest.mark.parametrize("case", [case for case in CASES["convert"] if "error" in case])
def test_a_weight_that_is_no_number_is_refused(case):
    with pytest.raises(getattr(builtins, case["error"])):
        weights_of_content(case["content"])


@pytest.mark.parametrize("case", CASES["text_to_emotion"])
def test_an_answer_of_the_reader_becomes_weights(case):
    got = weights_of_answer(case["decoded_output"], case["user_text"])

    assert got == pytest.approx(case["result"], abs=ABSOLUTE)
    assert answer_start(case["generated_ids"]) == case["decode_from"]


def test_every_table_of_the_fixture_is_compared():
    tables = {name for name, value in CASES.items() if isinstance(value, list)}

    assert tables - {"notes"} == COMPARED
