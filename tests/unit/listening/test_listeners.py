"""Judges of other authors: found or refused by name, and the loop that decodes them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from idiolect.base.errors import CheckpointError, DataError
from idiolect.listening.listeners import (
    GreedyDecoder,
    OwnListener,
    RealSpeakerEncoder,
    hear_file,
    listeners_in,
)

END = 9


class Session:
    """A decoder that says 5, 6, 7 and the end, and notes what it was given."""

    said = (5, 6, 7, END)

    def __init__(self) -> None:
        self.given: list[dict[str, np.ndarray]] = []

    def get_inputs(self):
        names = ("past_key_values.0.decoder.key", "past_key_values.0.encoder.key")
        return [SimpleNamespace(name=name, shape=["B", 2, "T", 4]) for name in names]

    def get_outputs(self):
        names = ("logits", "present.0.decoder.key", "present.0.encoder.key")
        return [SimpleNamespace(name=name) for name in names]

    def run(self, _, given):
        self.given.append(given)
        turn = len(self.given)
        logits = np.zeros((1, given["input_ids"].shape[1], 10), np.float32)
        logits[0, -1, self.said[turn - 1]] = 1
        return [logits, np.full((1, 2, turn, 4), turn), np.full((1, 2, 3, 4), turn)]


def decode(most: int = 20) -> tuple[list[int], list[dict[str, np.ndarray]]]:
    session = Session()
    found = GreedyDecoder(session).run(np.zeros((1, 3, 8), np.float32), [1, 2], END, most)
    return found, session.given


def test_the_likeliest_tokens_up_to_the_end():
    found, given = decode()

    assert found == [5, 6, 7]
    assert [step["input_ids"].tolist() for step in given] == [[[1, 2]], [[5]], [[6]], [[7]]]


def test_what_the_encoder_gave_stays_and_what_was_said_grows():
    _, given = decode()

    encoder, decoder = (f"past_key_values.0.{part}.key" for part in ("encoder", "decoder"))
    assert [step["use_cache_branch"].tolist() for step in given] == [
        [False],
        [True],
        [True],
        [True],
    ]
    assert [step[encoder].max(initial=0) for step in given] == [0, 1, 1, 1]
    assert [step[decoder].shape[2] for step in given] == [0, 1, 2, 3]


def test_a_decoder_that_goes_round_is_stopped():
    assert decode(most=2)[0] == [5, 6]


def test_an_empty_folder_has_no_judges(tmp_path):
    assert listeners_in(tmp_path) == []


@pytest.mark.parametrize("name", ["whisper-base", "whisper-small", "moonshine"])
def test_a_judge_that_is_asked_for_and_not_there_is_an_error(tmp_path, name):
    with pytest.raises(DataError, match="no such file"):
        listeners_in(tmp_path, [name])


def test_another_file_under_a_known_name_is_refused(tmp_path):
    path = tmp_path / "campplus" / "campplus_cn_en_common.pt"
    path.parent.mkdir()
    path.write_bytes(b"something else")

    with pytest.raises(DataError, match=r"its SHA-256 begins [0-9a-f]{16}, not 92f29b94e6948786"):
        RealSpeakerEncoder(tmp_path)


def test_an_encoder_that_was_never_taught_to_spell_cannot_listen(nano_base):
    with pytest.raises(CheckpointError, match="it has no head"):
        OwnListener(nano_base / "hf_cache" / "w2v-bert-2.0")


def test_a_sound_that_is_not_there_is_all_wrong(tmp_path):
    listener = SimpleNamespace(name="nobody", speaks=bool, hear=lambda *_: "hello")

    errors = hear_file(listener, tmp_path / "missing.wav", "Hello.", "en")

    assert (errors.edits, errors.letters) == (5, 5)
