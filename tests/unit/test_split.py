from pathlib import Path

import pytest

from idiolect.data.split import Speakers, plan_split, validation_path


def speakers(clips):
    told = Speakers()
    for speaker, text in clips:
        told.add(speaker, text)
    return told


def held_out(clips, share=0.05):
    split = plan_split(speakers(clips), share)
    return split, [clip for clip in clips if split.holds_out(*clip)]


def corpus(num_speakers, num_clips):
    return [(f"s{s}", f"sentence {s} {n}") for s in range(num_speakers) for n in range(num_clips)]


def test_eight_clips_of_one_speaker_leave_two_for_validation():
    split, chosen = held_out(corpus(1, 8))

    assert split.by == "sentence"
    assert len(chosen) == 2


@pytest.mark.parametrize("num_clips", [1, 2, 3])
def test_too_few_clips_are_all_for_training(num_clips):
    split, chosen = held_out(corpus(1, num_clips))

    assert (split.by, chosen) == ("nothing", [])


def test_with_many_speakers_whole_speakers_are_held_out():
    split, chosen = held_out(corpus(200, 10))

    held = {speaker for speaker, _ in chosen}
    assert split.by == "speaker"
    assert 4 <= len(held) <= 20
    assert len(chosen) == 10 * len(held)


def test_with_few_speakers_each_held_out_clip_has_a_prompt():
    split, chosen = held_out(corpus(10, 40))

    counts = {s: sum(speaker == s for speaker, _ in chosen) for s, _ in chosen}
    assert split.by == "sentence"
    assert min(counts.values()) >= 2
    assert 10 <= len(chosen) <= 40


def test_a_speaker_with_one_clip_is_never_held_out():
    clips = corpus(30, 4) + [(f"once{n}", f"only {n}") for n in range(300)]

    assert not [speaker for speaker, _ in held_out(clips)[1] if speaker.startswith("once")]


def test_a_speaker_who_has_most_of_the_data_is_never_held_out_whole():
    clips = [("narrator", f"line {n}") for n in range(5000)] + corpus(25, 2)
    split, _ = held_out(clips, share=0.2)

    assert split.by == "speaker"
    assert "narrator" not in split.limits


def test_the_same_sentence_goes_to_one_side_whoever_says_it():
    clips = [(s, f"sentence {n}") for s in ("a", "b", "c") for n in range(400)]
    _, chosen = held_out(clips)

    by_speaker = [{text for s, text in chosen if s == name} for name in ("a", "b", "c")]
    assert by_speaker[0] == by_speaker[1] == by_speaker[2]
    assert 8 <= len(by_speaker[0]) <= 35


def test_a_share_of_zero_holds_out_nothing():
    assert held_out(corpus(50, 10), share=0.0)[1] == []


@pytest.mark.parametrize(
    ("train", "validation"),
    [("train.jsonl", "val.jsonl"), ("train_a.jsonl", "val_a.jsonl"), ("ca.jsonl", "val_ca.jsonl")],
)
def test_the_validation_manifest_is_named_after_the_training_manifest(train, validation):
    assert validation_path(Path("data") / train) == Path("data") / validation
