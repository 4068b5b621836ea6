import shutil
from dataclasses import replace

import pytest
import torch

from idiolect.base.errors import CheckpointError
from idiolect.models.checkpoint import load_checkpoint, load_tensors, save_checkpoint, save_tensors
from idiolect.models.loading import (
    gpt_weights,
    load_codec,
    load_emotion_matrices,
    load_gpt,
    load_s2mel,
    load_semantic_encoder,
    load_speaker_encoder,
    load_vocoder,
)
from idiolect.models.memory import base_bytes, stack_bytes
from idiolect.models.published import locate_base
from idiolect.models.weight_norm import fold_weight_norm


@pytest.fixture
def files(nano_base):
    return locate_base(nano_base)


def test_every_network_loads_and_waits_in_evaluation_mode(files):
    networks = [
        load_gpt(files.gpt, files.config.gpt),
        load_semantic_encoder(files),
        load_codec(files),
        load_s2mel(files),
        load_speaker_encoder(files),
        load_vocoder(files),
    ]

    for network in networks:
        tensors = [*network.parameters(), *network.buffers()]
        assert not any(tensor.is_meta for tensor in tensors)
        assert all(tensor.isfinite().all() for tensor in tensors)
        assert not network.training
    assert len(load_emotion_matrices(files).speaker) == sum(files.config.emotion_groups)


def test_the_rows_of_a_gpt_come_from_its_tensors(files, tmp_path):
    weights, _ = load_checkpoint(files.gpt)
    weights["text_embedding.weight"] = torch.zeros(301, files.config.gpt.dim)
    weights["text_head.weight"] = torch.zeros(301, files.config.gpt.dim)
    weights["text_head.bias"] = torch.zeros(301)
    weights["mel_pos_embedding.emb.weight"] = torch.zeros(2049, files.config.gpt.dim)
    save_checkpoint(tmp_path / "m.pth", weights)

    gpt = load_gpt(tmp_path / "m.pth", files.config.gpt)

    assert gpt.dims.vocab_size == 300
    assert gpt.dims.max_code_len == 2046


def test_aliases_and_left_overs_are_passed_over(files, tmp_path):
    weights, _ = load_checkpoint(files.gpt)
    extra = ("gpt.wte.weight", "gpt.wpe.weight", "inference_model.lm_head.0.weight")
    extra += ("gpt.h.0.attn.bias", "gpt.h.0.attn.masked_bias", "gpt.h.1.attn.c_attn.lora_A")
    renamed = {"gpt.h.0.attn.c_attn.base_layer.weight": weights.pop("gpt.h.0.attn.c_attn.weight")}
    clutter = {name: torch.zeros(1) for name in extra}
    save_checkpoint(tmp_path / "m.pth", weights | renamed | clutter)

    gpt = load_gpt(tmp_path / "m.pth", files.config.gpt)

    assert set(gpt.state_dict()) == set(load_checkpoint(files.gpt)[0])


def test_a_gpt_without_conditioners_has_none(files):
    gpt = load_gpt(files.gpt, files.config.gpt, conditioners=False)

    names = set(gpt.state_dict())
    assert "text_head.weight" in names
    assert not any(name.startswith(("conditioning_", "emo", "perceiver_")) for name in names)


def test_a_gpt_of_other_sizes_is_refused_with_the_first_three_differences(files):
    dims = replace(files.config.gpt, num_layers=files.config.gpt.num_layers + 1)

    with pytest.raises(CheckpointError, match="do not fit UnifiedVoice") as caught:
        load_gpt(files.gpt, dims)

    assert caught.value.problem.count("\n") == 3
    assert "gpt.h.4." in caught.value.problem
    assert caught.value.where == str(files.gpt)


def test_the_file_of_another_network_is_no_gpt(files):
    with pytest.raises(CheckpointError):
        load_gpt(files.s2mel, files.config.gpt)
    with pytest.raises(CheckpointError, match="no 'net'"):
        load_s2mel(replace(files, s2mel=files.gpt))


def test_optimizer_states_beside_s2mel_are_passed_over(files, tmp_path):
    content = load_tensors(files.s2mel)
    cfm = {f"module.{name}": tensor for name, tensor in content["net"]["cfm"].items()}
    published = {"net": {**content["net"], "cfm": cfm}, "optimizer": {"state": {}}, "iters": 7}
    save_tensors(tmp_path / "s2mel.pth", published)

    s2mel = load_s2mel(replace(files, s2mel=tmp_path / "s2mel.pth"))

    assert set(s2mel.state_dict()) == set(load_s2mel(files).state_dict())


def test_a_vocoder_without_weight_norm_sounds_the_same(files, tmp_path):
    vocoder = load_vocoder(files)
    mel = torch.randn(1, 80, 4)
    expected = vocoder(mel)
    fold_weight_norm(vocoder)
    shutil.copytree(files.vocoder_dir, tmp_path / "bigvgan")
    save_tensors(tmp_path / "bigvgan" / "bigvgan_generator.pt", {"generator": vocoder.state_dict()})

    plain = load_vocoder(replace(files, vocoder_dir=tmp_path / "bigvgan"))

    assert torch.allclose(plain(mel), expected, atol=1e-6)


def test_loading_leaves_the_files_as_they_are(nano_base, files):
    before = files.gpt.read_bytes()

    gpt = load_gpt(files.gpt, files.config.gpt)
    with torch.no_grad():
        for parameter in [*gpt.parameters(), *load_s2mel(files).parameters()]:
            parameter.add_(1)

    assert files.gpt.read_bytes() == before


def test_weights_in_memory_do_not_follow_a_file_that_is_written_over(files, tmp_path):
    path = tmp_path / "gpt.pth"
    shutil.copyfile(files.gpt, path)
    gpt = load_gpt(path, files.config.gpt)
    before = gpt.final_norm.weight.clone()

    path.write_bytes(b"")

    assert torch.equal(gpt.final_norm.weight, before)


def test_memory_is_counted_from_the_tensors(files):
    gpt = load_gpt(files.gpt, files.config.gpt)
    gpt_bytes = sum(t.nbytes for t in gpt.state_dict().values())

    assert base_bytes(files) > stack_bytes(files) + gpt_bytes
    s2mel = sum(t.nbytes for t in load_s2mel(files).state_dict().values())
    semantic = sum(t.nbytes for t in load_semantic_encoder(files).network.state_dict().values())
    assert stack_bytes(files) > s2mel + semantic


def test_shapes_are_filtered_like_weights():
    assert gpt_weights({"gpt.wte.weight": (1,), "x.base_layer.weight": (2,)}) == {"x.weight": (2,)}
