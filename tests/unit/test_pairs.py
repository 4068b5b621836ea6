import json
from dataclasses import replace
from pathlib import Path

import pytest

from idiolect.base.errors import ConfigError, DataError
from idiolect.cli.pairs import main
from idiolect.data import pairs
from idiolect.data.manifest import Utterance, write_manifest
from idiolect.data.pairs import (
    MAX_LOOKS,
    NO_PROMPT_LENGTH,
    ONLY_CLIP,
    OUTSIDE_LIMITS,
    SAME_RECORDING,
    SHARED_TEXT,
    Pair,
    PairBook,
    PairConfig,
    is_paired,
    no_pairs_error,
    plan_pairs,
    read_pairs,
    write_pairs,
)


def clip(utterance_id, speaker="marta", *, text=None, duration_sec=3.0, source=None):
    return Utterance(
        id=utterance_id,
        audio=f"{utterance_id}.wav",
        root=Path(),
        text=text or f"La frase {utterance_id}.",
        speaker=speaker,
        language="ca",
        duration_sec=duration_sec,
        source=source,
    )


def prompts_of(plan, target):
    return {pair.prompt for pair in plan.pairs if pair.target == target}


def test_each_clip_gets_different_prompts_of_its_speaker():
    clips = [clip(f"m{i}") for i in range(5)] + [clip(f"b{i}", "biel") for i in range(5)]

    plan = plan_pairs(clips, PairConfig(pairs_per_target=3))

    assert len(plan.pairs) == 30
    assert {p[0] for p in prompts_of(plan, "m2")} == {"m"}
    assert len(prompts_of(plan, "m2")) == 3
    assert "m2" not in prompts_of(plan, "m2")


def test_fewer_prompts_than_asked_for_are_all_taken():
    plan = plan_pairs([clip("a"), clip("b"), clip("c")], PairConfig(pairs_per_target=10))

    assert prompts_of(plan, "a") == {"b", "c"}


def test_a_prompt_never_repeats_or_contains_the_words_of_its_target():
    clips = [
        clip("target", text="Bon dia a tothom"),
        clip("same", text="bon dia, a tothom!"),
        clip("longer", text="I doncs: bon dia a tothom, amics."),
        clip("part", text="Bon dia."),
        clip("other", text="Bona nit."),
    ]

    plan = plan_pairs(clips, PairConfig(pairs_per_target=10))

    assert prompts_of(plan, "target") == {"other"}


def test_a_word_inside_another_word_is_no_shared_text():
    plan = plan_pairs([clip("a", text="Mar"), clip("b", text="Marta")], PairConfig())

    assert prompts_of(plan, "a") == {"b"}


def test_prompts_come_from_another_recording_where_it_is_known():
    clips = [
        clip("a1", source="tape a"),
        clip("a2", source="tape a"),
        clip("b1", source="tape b"),
        clip("unknown"),
    ]

    plan = plan_pairs(clips, PairConfig(pairs_per_target=10))

    assert prompts_of(plan, "a1") == {"b1", "unknown"}
    assert prompts_of(plan, "b1") == {"a1", "a2", "unknown"}
    assert prompts_of(plan, "unknown") == {"a1", "a2", "b1"}


def test_one_recording_can_be_paired_with_itself_when_that_is_asked_for():
    clips = [clip("a", source="tape"), clip("b", source="tape")]

    assert plan_pairs(clips, PairConfig()).skipped == {SAME_RECORDING: 2}
    assert prompts_of(plan_pairs(clips, PairConfig(same_recording=True)), "a") == {"b"}


@pytest.mark.parametrize(
    ("clips", "reason"),
    [
        pytest.param([clip("a")], ONLY_CLIP, id="only-clip"),
        pytest.param([clip("a"), clip("b", duration_sec=0.5)], NO_PROMPT_LENGTH, id="too-short"),
        pytest.param([clip("a"), clip("b", duration_sec=20.0)], NO_PROMPT_LENGTH, id="too-long"),
        pytest.param([clip("a", text="Sí"), clip("b", text="sí!")], SHARED_TEXT, id="text"),
        pytest.param([clip("a", duration_sec=50.0), clip("b")], OUTSIDE_LIMITS, id="target"),
    ],
)
def test_what_cannot_be_paired_is_counted_by_reason(clips, reason):
    plan = plan_pairs(clips, PairConfig())

    assert "a" in plan.unpaired[reason]


def test_a_speaker_who_always_says_the_same_costs_a_bounded_search(monkeypatch):
    looks = 0

    def counted(_one, _other):
        nonlocal looks
        looks += 1
        return True

    monkeypatch.setattr(pairs._Clip, "shares_text", counted)
    clips = [clip(f"c{i:04d}", text="Hola") for i in range(500)]

    plan = plan_pairs(clips, PairConfig())

    assert plan.skipped == {SHARED_TEXT: 500}
    assert looks == MAX_LOOKS * 500


def test_self_pairs_serve_only_clips_that_have_no_other_prompt():
    clips = [clip("alone", "pau"), clip("short", "iu", duration_sec=0.5), clip("a"), clip("b")]

    plan = plan_pairs(clips, PairConfig(self_pairs=True))

    assert prompts_of(plan, "alone") == {"alone"}
    assert prompts_of(plan, "a") == {"b"}
    assert plan.num_self_pairs == 1
    assert plan.skipped == {ONLY_CLIP: 1}


def test_a_limit_is_spread_over_all_targets_and_all_speakers():
    speakers = [f"s{i}" for i in range(20)]
    clips = [clip(f"{s}-{i}", s) for s in speakers for i in range(10)]

    plan = plan_pairs(clips, PairConfig(pairs_per_target=2, max_pairs=100))

    assert len(plan.pairs) == 100
    assert len({pair.target for pair in plan.pairs}) == 100
    assert len({pair.speaker for pair in plan.pairs}) == 20


def test_another_seed_draws_other_pairs():
    clips = [clip(f"c{i}") for i in range(30)]

    assert plan_pairs(clips, PairConfig(seed=1)).pairs != plan_pairs(clips, PairConfig()).pairs


def test_pairs_come_back_with_the_manifest_they_belong_to(tmp_path):
    manifest = tmp_path / "data" / "train.jsonl"
    clips = [clip("a"), clip("b"), clip("ü", "pau")]
    write_manifest(manifest, clips)
    plan = plan_pairs(clips, PairConfig(self_pairs=True))

    count = write_pairs(tmp_path / "pairs" / "out.jsonl", plan, manifest)

    assert count == 3
    found, read = read_pairs(tmp_path / "pairs" / "out.jsonl")
    assert found == manifest
    assert read == plan.pairs
    assert Pair("ü", "ü", "pau", "ca") in read
    header = json.loads((tmp_path / "pairs" / "out.jsonl").read_text("utf-8").splitlines()[0])
    assert header["manifest"] == "../data/train.jsonl"


def test_a_moved_folder_keeps_its_pairs(tmp_path):
    write_manifest(tmp_path / "here" / "train.jsonl", [clip("a"), clip("b")])
    plan = plan_pairs([clip("a"), clip("b")], PairConfig())
    write_pairs(tmp_path / "here" / "p.jsonl", plan, tmp_path / "here" / "train.jsonl")

    (tmp_path / "here").rename(tmp_path / "there")

    assert read_pairs(tmp_path / "there" / "p.jsonl")[0] == tmp_path / "there" / "train.jsonl"


def test_a_manifest_is_told_from_pairs(tmp_path):
    write_manifest(tmp_path / "train.jsonl", [clip("a"), clip("b")])
    write_pairs(
        tmp_path / "p.jsonl",
        plan_pairs([clip("a"), clip("b")], PairConfig()),
        tmp_path / "train.jsonl",
    )

    assert is_paired(tmp_path / "p.jsonl")
    assert not is_paired(tmp_path / "train.jsonl")
    with pytest.raises(DataError, match="not a file of pairs"):
        read_pairs(tmp_path / "train.jsonl")


def test_pairs_without_their_manifest_are_refused(tmp_path):
    write_manifest(tmp_path / "train.jsonl", [clip("a"), clip("b")])
    plan = plan_pairs([clip("a"), clip("b")], PairConfig())
    write_pairs(tmp_path / "p.jsonl", plan, tmp_path / "train.jsonl")
    (tmp_path / "train.jsonl").unlink()

    with pytest.raises(DataError, match=r"manifest of these pairs is gone: .*train\.jsonl"):
        read_pairs(tmp_path / "p.jsonl")


def test_all_bad_lines_are_reported_together(tmp_path):
    (tmp_path / "train.jsonl").touch()
    lines = [
        {"manifest": "train.jsonl", "format": "idiolect-pairs/1"},
        {"target": "a", "prompt": "b", "speaker": "s", "language": "ca"},
        {"target": "a", "speaker": "s", "language": "ca"},
        {"target": 3, "prompt": "b", "speaker": "s", "language": ""},
    ]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    with pytest.raises(DataError) as caught:
        read_pairs(tmp_path / "p.jsonl")

    assert "2 lines are not pairs" in caught.value.problem
    assert "p.jsonl:3: missing or empty: prompt" in caught.value.problem
    assert "p.jsonl:4: missing or empty: language" in caught.value.problem


def test_one_speaker_with_one_clip_says_what_to_do(tmp_path):
    plan = plan_pairs([clip("a")], PairConfig())

    with pytest.raises(DataError, match="no pair can be made of 1 clips") as caught:
        write_pairs(tmp_path / "p.jsonl", plan, tmp_path / "train.jsonl")

    assert ONLY_CLIP in str(caught.value)
    assert "--self-pairs, where the clip's own features are its prompt" in caught.value.fix
    assert not (tmp_path / "p.jsonl").exists()
    assert str(no_pairs_error(plan, tmp_path)).startswith("no pair can be made")


@pytest.mark.parametrize(
    "changes",
    [
        {"pairs_per_target": 0},
        {"max_pairs": -1},
        {"min_prompt_sec": 5.0, "max_prompt_sec": 4.0},
        {"min_target_sec": -1.0},
    ],
)
def test_settings_out_of_range_are_refused(changes):
    with pytest.raises(ConfigError):
        replace(PairConfig(), **changes)


def test_the_command_pairs_the_validation_set_too(tmp_path, capsys):
    write_manifest(tmp_path / "train.jsonl", [clip(f"t{i}") for i in range(6)])
    write_manifest(tmp_path / "val.jsonl", [clip("v0")])

    code = main(
        [
            *("--manifest", str(tmp_path / "train.jsonl")),
            *("--output", str(tmp_path / "train_paired.jsonl")),
        ]
    )

    assert code == 0
    assert len(read_pairs(tmp_path / "train_paired.jsonl")[1]) == 12
    manifest, read = read_pairs(tmp_path / "val_paired.jsonl")
    assert manifest == tmp_path / "val.jsonl"
    assert read == [Pair("v0", "v0", "marta", "ca")]
    assert "1 clips are their own prompt" in capsys.readouterr().out


def test_the_command_refuses_to_leave_out_more_than_a_tenth(tmp_path, capsys):
    clips = [clip(f"t{i}") for i in range(8)] + [clip("x", "pau"), clip("y", "iu")]
    write_manifest(tmp_path / "train.jsonl", clips)
    argv = ["--manifest", str(tmp_path / "train.jsonl")]

    assert main(argv) == 2
    message = capsys.readouterr().err
    assert f"2 of 10 clips cannot be paired, more than 10%; most because {ONLY_CLIP}" in message
    assert "--allow-skips" in message
    assert not (tmp_path / "train_paired.jsonl").exists()

    assert main([*argv, "--allow-skips"]) == 0
    assert f"left out 2 clips: {ONLY_CLIP} (such as y, x)" in capsys.readouterr().out


def test_clips_are_not_planned_with_other_limits_than_they_were_got_ready_for():
    book = PairBook([clip("a"), clip("b")], PairConfig())

    with pytest.raises(ValueError, match="limits"):
        book.plan(PairConfig(min_prompt_sec=5.0))
