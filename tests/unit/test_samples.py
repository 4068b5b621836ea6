from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from idiolect.base.errors import DataError, TokenizerError
from idiolect.data.batches import make_batch
from idiolect.data.durations import DurationDraw
from idiolect.data.manifest import SourceSpec, parse_source, write_manifest
from idiolect.data.pairs import ONLY_CLIP, Pair, PairConfig, plan_pairs, write_pairs
from idiolect.data.samples import (
    NO_FEATURES,
    NO_PROMPT_FEATURES,
    TEXT_TOO_LONG,
    TOO_MANY_CODES,
    EncodedSource,
    check_left_out,
    encode_source,
    epoch_order,
    fixed_order,
    hold_out,
    languages_of_ref,
    load_sample,
    read_source,
    sample_len,
    sibling_of,
)
from tiny_gpt import tiny_dims
from training_kit import Letters, Shelf, features, samples_of, source, utterance

DIMS = tiny_dims()


def three(**given):
    return source(utterance("a", "abc"), utterance("b", "bcd"), utterance("c", "cde"), **given)


@pytest.mark.parametrize(
    ("text", "path", "language", "weight"),
    [
        ("data/ca/train.jsonl", "data/ca/train.jsonl", None, 1.0),
        ("data/ca/train.jsonl::ca", "data/ca/train.jsonl", "ca", 1.0),
        ("data/ca/train.jsonl@0.2", "data/ca/train.jsonl", None, 0.2),
        ("data/ca/train.jsonl::ca@.5", "data/ca/train.jsonl", "ca", 0.5),
        ("data/ca/train.jsonl::pt-BR@3", "data/ca/train.jsonl", "pt-BR", 3.0),
        ("data/lr=2/train.jsonl", "data/lr=2/train.jsonl", None, 1.0),
        ("/mnt/me@host/train.jsonl", "/mnt/me@host/train.jsonl", None, 1.0),
        ("a::b/train.jsonl::ca", "a::b/train.jsonl", "ca", 1.0),
    ],
)
def test_only_the_last_suffixes_are_split_from_a_path(text, path, language, weight):
    assert parse_source(text) == SourceSpec(path=Path(path), language=language, weight=weight)


def test_a_file_whose_name_ends_like_a_weight_stays_a_path(tmp_path):
    path = tmp_path / "train@2"
    path.touch()

    assert parse_source(str(path)) == SourceSpec(path=path)


def test_a_weight_of_nothing_is_refused():
    with pytest.raises(DataError, match="leaves nothing"):
        parse_source("train.jsonl@0")


def test_a_paired_manifest_is_read_with_the_manifest_that_it_names(tmp_path):
    clips = [utterance("a"), utterance("b")]
    write_manifest(tmp_path / "train.jsonl", clips)
    write_pairs(
        tmp_path / "train_paired.jsonl", plan_pairs(clips, PairConfig()), tmp_path / "train.jsonl"
    )

    read = read_source(SourceSpec(path=tmp_path / "train_paired.jsonl"))

    assert read.manifest == tmp_path / "train.jsonl"
    assert {(p.target, p.prompt) for p in read.pairs} == {("a", "b"), ("b", "a")}


def test_pairs_of_clips_that_are_gone_are_refused_by_name(tmp_path):
    clips = [utterance("a"), utterance("b")]
    pairs = tmp_path / "train_paired.jsonl"
    write_manifest(tmp_path / "train.jsonl", clips)
    write_pairs(pairs, plan_pairs(clips, PairConfig()), tmp_path / "train.jsonl")
    write_manifest(tmp_path / "train.jsonl", [utterance("a")])

    with pytest.raises(DataError, match="1 clips of the pairs are not in"):
        read_source(SourceSpec(path=pairs))


def test_a_language_suffix_goes_before_what_the_manifest_says(tmp_path):
    write_manifest(tmp_path / "train.jsonl", [utterance("a", language="es")])

    read = read_source(SourceSpec(path=tmp_path / "train.jsonl", language="ca"))

    assert read.utterances["a"].language == "ca"


def test_the_validation_file_beside_a_train_file_is_found(tmp_path):
    spec = SourceSpec(path=tmp_path / "train_paired.jsonl", language="ca", weight=3.0)
    assert sibling_of(spec) is None

    (tmp_path / "val_paired.jsonl").touch()

    assert sibling_of(spec) == SourceSpec(path=tmp_path / "val_paired.jsonl", language="ca")


def test_what_is_held_out_is_not_learnt_and_stays_the_same_when_clips_are_added():
    raw = source(*(utterance(f"clip{i}") for i in range(100)))

    left, held_out = hold_out(raw)

    assert left.targets | held_out.targets == raw.targets
    assert not left.targets & held_out.targets
    assert len(held_out.targets) == 2
    more = source(*raw.utterances.values(), *(utterance(f"new{i}") for i in range(2)))
    assert len(hold_out(more)[1].targets & held_out.targets) >= 1


def test_a_single_clip_is_told_that_no_pair_can_be_made():
    with pytest.raises(DataError, match="no pair can be made of 1 clips"):
        hold_out(source(utterance("a")))


def test_a_single_target_is_not_held_out():
    raw = replace(three(), targets=frozenset("a"))

    with pytest.raises(DataError, match="too few to hold any out"):
        hold_out(raw)


def test_what_cannot_be_learnt_is_left_out_by_reason():
    raw = source(
        utterance("long", "a" * 13),
        utterance("slow", "abc"),
        utterance("mute", "bcd"),
        utterance("fine", "cde"),
        utterance("alone", "def", speaker="biel"),
    )
    shelf = Shelf(long=features(), slow=features(31), fine=features(30))

    made = samples_of(raw, shelf)

    assert made.left_out == {
        "long": TEXT_TOO_LONG,
        "slow": TOO_MANY_CODES,
        "mute": NO_FEATURES,
        "alone": ONLY_CLIP,
    } | ({} if "fine" in made.text_ids else {"fine": NO_PROMPT_FEATURES})


def test_a_target_whose_prompts_have_no_features_is_left_out():
    raw = three(pairs=[Pair("a", "b", "anna", "ca"), Pair("c", "a", "anna", "ca")])

    made = samples_of(raw, Shelf(a=features(), c=features()))

    assert made.left_out == {"a": NO_PROMPT_FEATURES}
    assert [ref.target for ref in fixed_order([made])] == ["c"]


def test_a_token_that_the_model_has_no_row_for_is_refused():
    with pytest.raises(TokenizerError, match="token 28 of clip 'b', but the model has 20 rows"):
        encode_source(source(utterance("a", "abc"), utterance("b", "z")), Letters(), DIMS)


def left_out(count, of):
    return EncodedSource(
        source=three(),
        text_ids={str(i): [] for i in range(of - count)},
        left_out={f"bad{i}": TEXT_TOO_LONG for i in range(count)},
        unknown_tokens=0,
    )


def test_a_tenth_may_be_left_out_and_is_counted():
    assert check_left_out([left_out(1, 10)], allow_skips=False) == Counter({TEXT_TOO_LONG: 1})


def test_more_than_a_tenth_left_out_is_refused_unless_allowed():
    with pytest.raises(
        DataError, match=r"2 of 10 targets would be left out, more than 10%:\n2: its text"
    ) as e:
        check_left_out([left_out(2, 10)], allow_skips=False)

    assert "--allow-skips" in e.value.fix
    assert check_left_out([left_out(2, 10)], allow_skips=True) == Counter({TEXT_TOO_LONG: 2})


def test_nothing_left_is_refused_even_when_skips_are_allowed():
    with pytest.raises(DataError, match="3 of 3") as e:
        check_left_out([left_out(3, 3)], allow_skips=True)

    assert "--allow-skips" not in e.value.fix


def test_the_order_of_an_epoch_depends_on_seed_and_epoch_only():
    made = [samples_of(source(*(utterance(f"clip{i}", "abc" + "defghi"[i]) for i in range(6))))]

    first = epoch_order(made, seed=1, epoch=0)

    assert first == epoch_order(made, seed=1, epoch=0)
    assert first != epoch_order(made, seed=1, epoch=1)
    assert first != epoch_order(made, seed=2, epoch=0)
    assert Counter(ref.target for ref in first) == Counter(made[0].text_ids.keys())


def test_pairs_of_a_raw_manifest_are_drawn_anew_in_each_epoch():
    made = [samples_of(source(*(utterance(f"clip{i}", "abc" + "defghi"[i]) for i in range(6))))]

    prompts = [
        {ref.target: ref.prompt for ref in epoch_order(made, seed=1, epoch=epoch)}
        for epoch in range(4)
    ]

    assert any(prompts[0] != later for later in prompts[1:])


@pytest.mark.parametrize(
    ("weight", "seen"), [(1.0, 6), (2.0, 12), (0.5, 3), (1.5, 9), (0.01, 1)], ids=str
)
def test_a_weight_says_how_often_a_target_is_seen_in_an_epoch(weight, seen):
    clips = [utterance(f"clip{i}", "abc" + "defghi"[i]) for i in range(6)]

    order = epoch_order([samples_of(source(*clips, weight=weight))], seed=1, epoch=0)

    assert len(order) == seen
    assert max(Counter(ref.target for ref in order).values()) <= max(1, -(-seen // 6))


def test_every_epoch_can_be_given_the_same_length():
    made = [samples_of(three())]

    assert len(epoch_order(made, seed=1, epoch=0, count=5)) == 5
    assert len(epoch_order(made, seed=1, epoch=0, count=2)) == 2


def test_a_clip_without_another_prompt_is_measured_with_itself():
    raw = replace(source(utterance("a", "abc")), self_pairs=True)

    assert [(ref.target, ref.prompt) for ref in fixed_order([samples_of(raw)])] == [("a", "a")]


def test_a_sample_has_text_and_codes_of_the_target_and_the_voice_of_the_prompt():
    raw = three(pairs=[Pair("a", "b", "anna", "ca")])
    shelf = Shelf(a=features(4, seed=1), b=features(5, seed=2))
    made = [samples_of(raw, shelf)]

    got = load_sample(made, fixed_order(made)[0])

    assert got.text_ids.tolist() == [3, 4, 5]
    assert got.codes.tolist() == shelf["a"].codes.tolist()
    assert got.latents.tolist() == shelf["b"].latents.tolist()


def test_the_length_of_a_sample_is_known_without_loading_it():
    class Counted(Shelf):
        def get(self, utterance_id):
            raise AssertionError("features were read")

    raw = three(pairs=[Pair("a", "b", "anna", "ca"), Pair("c", "a", "anna", "ca")])
    clips = {"a": features(4), "b": features(5), "c": features(9)}
    made = [samples_of(raw, Shelf(clips))]
    unread = [replace(made[0], store=Counted(clips))]

    for ref in fixed_order(made):
        assert sample_len(unread, ref) == make_batch([load_sample(made, ref)], DIMS).row_len


def test_a_sample_says_the_language_of_its_target():
    raw = source(
        utterance("a", "abc", language="es"),
        utterance("b", "bcd", language="ca"),
        pairs=[Pair("a", "b", "anna", "ca"), Pair("b", "a", "anna", "ca")],
    )
    made = [samples_of(raw)]
    refs = fixed_order(made)

    assert [languages_of_ref(made, ref) for ref in refs] == ["es", "ca"]
    assert make_batch([load_sample(made, ref) for ref in refs], DIMS).languages == ("es", "ca")


def test_a_loaded_sample_is_asked_for_the_codes_of_its_target():
    made = [samples_of(three(), Shelf(a=features(4), b=features(5), c=features(6)))]
    refs = epoch_order(made, seed=1, epoch=0)
    draw = DurationDraw(seed=1, epoch=0)

    asked = {ref.target: load_sample(made, ref, draw).asked_codes for ref in refs}

    assert asked == {i: draw.asked(i, n) for i, n in zip("abc", (4, 5, 6), strict=True)}
    assert load_sample(made, refs[0]).asked_codes is None
