from __future__ import annotations

import pytest
import torch

from idiolect.base.errors import CheckpointError, SynthesisError
from idiolect.models.emotion import (
    EMOTIONS,
    EmotionMatrices,
    EmotionReader,
    parse_answer,
    scale_weights,
    weights_of_answer,
    weights_of_content,
)

GROUPS = (1, 2, 1, 3, 1, 1, 2, 4)


def matrices(**given) -> EmotionMatrices:
    numbers = torch.Generator().manual_seed(0)
    plain = {
        "speaker": torch.randn(sum(GROUPS), 6, generator=numbers),
        "emotion": torch.randn(sum(GROUPS), 4, generator=numbers),
        "groups": GROUPS,
    }
    return EmotionMatrices(**{**plain, **given})


def test_matrices_that_do_not_fit_the_groups_are_refused():
    with pytest.raises(CheckpointError, match="15 and 14 rows do not fit"):
        matrices(emotion=torch.zeros(14, 4))


def test_the_row_of_the_nearest_speaker_is_taken():
    rows = matrices()
    style = 3 * rows.speaker[2:3]  # the second row of the second group, louder

    assert rows.select(style)[1] == 1


def test_rows_by_chance_are_the_same_for_the_same_seed():
    style = torch.zeros(1, 6)

    def rows(seed: int) -> list[int]:
        return matrices().select(style, torch.Generator().manual_seed(seed))

    assert rows(3) == rows(3)
    assert len({tuple(rows(seed)) for seed in range(10)}) > 1
    assert all(row < size for row, size in zip(rows(3), GROUPS, strict=True))


def test_weights_of_zero_leave_the_emotion_of_the_voice():
    base = torch.randn(1, 4)

    mixed = matrices().mix(base, torch.randn(1, 6), [0.0] * 8)

    torch.testing.assert_close(mixed, base)


def test_scaled_weights_are_cut_and_not_rounded():
    assert scale_weights([0.99999], 0.5) == (0.4999,)


def test_an_answer_in_loose_words_is_still_read():
    assert parse_answer("'高兴': 0.25, '自然' : 0.5") == {"高兴": 0.25, "自然": 0.5}


def test_a_label_swap_needs_a_label_to_swap():
    assert weights_of_answer('{"emotion": "happy"}', "a gloomy day")["happy"] == 1.0


def test_weights_come_in_the_order_of_the_emotions():
    assert tuple(weights_of_content({"自然": 0.1, "高兴": 0.2})) == EMOTIONS


def test_a_missing_reader_says_how_to_get_it(tmp_path):
    with pytest.raises(CheckpointError, match="not there") as caught:
        EmotionReader.load(tmp_path)

    assert "idiolect download" in caught.value.fix


@pytest.fixture(scope="module")
def reader_folder(tmp_path_factory):
    """A Qwen3 of a few hundred weights, saved as the published folder is."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    folder = tmp_path_factory.mktemp("qwen")
    words = ["<unk>", "<eos>", "user", "glad", "day", *"{}:0123456789"]
    model = WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = Whitespace()
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<eos>"
    )
    wrapped.chat_template = "{% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}"
    wrapped.save_pretrained(folder)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        eos_token_id=1,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    return folder


def test_the_reader_answers_the_same_for_the_same_seed_and_leaves_chance_alone(reader_folder):
    reader = EmotionReader.load(reader_folder)
    reader._model.generation_config.do_sample = True
    before = torch.get_rng_state()

    answers = [reader.answer("a glad day", seed=seed) for seed in (1, 1, 2)]

    assert answers[0] == answers[1] != answers[2]
    assert torch.equal(torch.get_rng_state(), before)


def test_an_answer_that_is_no_list_of_emotions_is_an_error_of_the_user(reader_folder, monkeypatch):
    reader = EmotionReader.load(reader_folder)
    monkeypatch.setattr(reader, "answer", lambda text, seed: '{"悲伤": "very"}')

    with pytest.raises(SynthesisError, match="very"):
        reader.weights("a sad day")
