"""Clips that the shipped nano makes again: what they say, and which are made."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from idiolect.base.places import SHIPPED_DIR
from idiolect.data.manifest import read_manifest, write_manifest
from idiolect.listening.recogniser import Recogniser, heard_errors
from idiolect.listening.scores import LetterErrors
from idiolect.models.published import locate_base
from idiolect.nano import copies
from idiolect.nano.clips import Clips, open_clips
from idiolect.nano.codec import Ear
from idiolect.nano.copies import Copier, copied_features
from idiolect.nano.demo_corpus import CORPUS_DIR
from idiolect.nano.flow_data import FlowData, clip_styles, flow_data
from idiolect.nano.frames import open_frames
from idiolect.nano.sizes import READ_LAYER
from idiolect.nano.sounds import open_sounds
from idiolect.synthesis.stack import FrozenStack

LANGUAGE = "es"
NUM_CLIPS = 5


@pytest.fixture(scope="module")
def stack() -> FrozenStack:
    return FrozenStack.load(locate_base(SHIPPED_DIR), torch.device("cpu"))


@pytest.fixture(scope="module")
def copier(stack: FrozenStack) -> Copier:
    return Copier(
        codec=stack.codec, s2mel=stack.s2mel, vocoder=stack.vocoder, encoder=stack.semantic
    )


@pytest.fixture(scope="module")
def corpus(stack: FrozenStack, tmp_path_factory: pytest.TempPathFactory) -> tuple[Clips, FlowData]:
    folder = tmp_path_factory.mktemp("corpus")
    manifest = folder / "clips.jsonl"
    found = read_manifest(CORPUS_DIR / "base_languages/train.jsonl")
    write_manifest(manifest, [clip for clip in found if clip.language == LANGUAGE][:NUM_CLIPS])
    clips, sounds = open_clips(manifest, folder), open_sounds(manifest, folder)
    frames = open_frames(sounds, manifest, stack.semantic, stack.codec, folder)
    styles = clip_styles(stack.speaker, clips, folder, manifest.stem)
    return clips, flow_data(clips, manifest, frames, styles, folder)


def test_a_copy_says_what_the_clip_says(stack: FrozenStack, copier: Copier, corpus):
    clips, data = corpus
    recogniser = Recogniser(locate_base(SHIPPED_DIR).semantic_dir)
    stats = {"mean": stack.semantic.mean, "var": stack.semantic.var}
    ear = Ear(locate_base(SHIPPED_DIR).semantic_dir, READ_LAYER, stats)
    own, others = [], []
    for index in range(NUM_CLIPS):
        features = copier.copy(data, index, prompt=(index + 1) % NUM_CLIPS)[None]
        logits = ear(features, torch.ones(features.shape[:2], dtype=torch.bool))
        [heard] = recogniser.spell(logits, torch.tensor([features.shape[1]]))
        texts = [clips.utterances[(index + turn) % NUM_CLIPS].text for turn in (0, 2)]
        for text, errors in zip(texts, (own, others), strict=True):
            errors.append(heard_errors(text, heard, LANGUAGE))
    assert LetterErrors.total(own).rate < 0.5 * LetterErrors.total(others).rate


def test_one_clip_in_some_is_copied_and_only_once(
    copier: Copier, corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    _, data = corpus
    monkeypatch.setattr(copies, "COPIED_ONE_IN", 3)
    asked = []

    def copy(_: Copier, __: FlowData, target: int, prompt: int) -> Tensor:
        asked.append((target, prompt))
        return torch.full((4, copier.encoder.mean.shape[-1]), float(target))

    monkeypatch.setattr(Copier, "copy", copy)
    found = [copied_features(copier, data, tmp_path, "clips") for _ in range(2)]
    assert [target for target, _ in asked] == [0, 3]
    for kept in found:
        assert kept.lens.tolist() == [4, 0, 0, 4, 0]
        assert (kept[3] == 3).all()


def test_other_weights_make_other_copies(copier: Copier):
    before = copier.digest
    assert copier.digest == before
    weight = copier.vocoder.conv_post.weight
    with torch.no_grad():
        weight.neg_()
        changed = copier.digest
        weight.neg_()
    assert changed != before == copier.digest
