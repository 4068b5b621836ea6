from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from idiolect.data.manifest import Utterance
from idiolect.data.pairs import PairBook, PairConfig, plan_pairs


@st.composite
def corpora(draw):
    rows = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["anna", "biel", "clara"]),
                st.sampled_from(["sí", "no", "bon dia", "bon dia a tothom", "fins demà", "què?"]),
                st.sampled_from([0.2, 0.5, 2.0, 8.0, 16.0, 50.0]),
                st.sampled_from([None, "tape 1", "tape 2"]),
            ),
            max_size=40,
        )
    )
    return [
        Utterance(
            id=f"c{index}",
            audio="a.wav",
            root=Path(),
            text=text,
            speaker=speaker,
            language="ca",
            duration_sec=duration_sec,
            source=source,
        )
        for index, (speaker, text, duration_sec, source) in enumerate(rows)
    ]


configs = st.builds(
    PairConfig,
    pairs_per_target=st.integers(1, 4),
    max_pairs=st.sampled_from([0, 1, 5]),
    self_pairs=st.booleans(),
    same_recording=st.booleans(),
    seed=st.integers(0, 5),
)


@given(corpora(), configs)
def test_every_pair_keeps_every_rule(clips, config):
    by_id = {clip.id: clip for clip in clips}

    for pair in plan_pairs(clips, config).pairs:
        target, prompt = by_id[pair.target], by_id[pair.prompt]
        assert target.speaker == prompt.speaker == pair.speaker
        assert prompt.duration_sec >= config.min_prompt_sec
        if pair.is_self:
            assert config.self_pairs
        else:
            assert prompt.duration_sec <= config.max_prompt_sec
            assert target.text != prompt.text
            assert target.text not in prompt.text.split()
            if target.source and not config.same_recording:
                assert target.source != prompt.source


@given(corpora(), configs)
def test_every_target_is_paired_or_counted(clips, config):
    plan = plan_pairs(clips, config)

    paired = {pair.target for pair in plan.pairs}
    unpaired = {target for targets in plan.unpaired.values() for target in targets}
    assert not paired & unpaired
    if config.max_pairs:
        assert len(plan.pairs) <= config.max_pairs
    else:
        assert paired | unpaired == {clip.id for clip in clips}
    assert len({(pair.target, pair.prompt) for pair in plan.pairs}) == len(plan.pairs)


@given(corpora(), configs, st.randoms(use_true_random=False))
def test_the_order_of_the_manifest_changes_nothing(clips, config, random):
    shuffled = random.sample(clips, len(clips))

    assert plan_pairs(shuffled, config) == plan_pairs(clips, config)


@given(corpora(), st.builds(PairConfig, seed=st.integers(0, 5)))
def test_one_speakers_pairs_do_not_depend_on_the_others(clips, config):
    alone = [clip for clip in clips if clip.speaker == "biel"]

    together = [pair for pair in plan_pairs(clips, config).pairs if pair.speaker == "biel"]

    assert together == plan_pairs(alone, config).pairs


@given(corpora())
def test_a_prompt_is_found_whenever_there_is_one(clips):
    plan = plan_pairs(clips, PairConfig())

    paired = {pair.target for pair in plan.pairs}
    for target in clips:
        may = 0.4 <= target.duration_sec <= 36 and any(
            other.speaker == target.speaker
            and other.id != target.id
            and 1 <= other.duration_sec <= 15
            and (target.source is None or other.source != target.source)
            and f" {other.text.strip('?')} " not in f" {target.text.strip('?')} "
            and f" {target.text.strip('?')} " not in f" {other.text.strip('?')} "
            for other in clips
        )
        assert (target.id in paired) == may


@given(corpora(), configs, st.integers(0, 5))
def test_clips_that_are_got_ready_once_give_the_pairs_of_any_seed(clips, config, other_seed):
    book = PairBook(clips, config)

    book.plan(replace(config, seed=other_seed))
    again = book.plan(config)

    assert again == plan_pairs(clips, config)
