"""Prompt and text ids to sound: every intermediate of the published inference."""

from __future__ import annotations

from dataclasses import replace

import pytest
import soundfile
import torch
from torch import Tensor, nn

from golden.fixtures import Fixture, load_fixture
from idiolect.audio.dims import MelDims
from idiolect.audio.fbank import semantic_input, speaker_fbank
from idiolect.audio.io import read_audio
from idiolect.audio.mel import LogMel
from idiolect.audio.resample import resample_22k_to_16k
from idiolect.base.units import code_frames_to_mel_frames
from idiolect.models.codec import SemanticCodec
from idiolect.models.config import CodecDims, GptDims, S2MelDims, SpeakerDims, VocoderDims
from idiolect.models.emotion import EmotionMatrices, scale_weights
from idiolect.models.gpt import UnifiedVoice, decode_positions
from idiolect.models.s2mel import S2Mel
from idiolect.models.semantic import SemanticEncoder, semantic_state
from idiolect.models.speaker import CampPlus
from idiolect.models.vocoder import BigVgan
from idiolect.models.weight_norm import fold_weight_norm
from idiolect.synthesis.output import full_scale, join_segments
from idiolect.synthesis.sampling import SamplingSettings, generate
from idiolect.synthesis.stack import FrozenStack, PromptFeatures

FIXTURE = load_fixture("e2e")
PCM_SCALE = 32768
"""The clips hold values of this grid: they go through a 16-bit file without a change."""


COMPUTED = ("pos_enc.pe", "filter", "input_pos", "freqs")
"""Constant buffers that the networks compute themselves."""


def loaded(network: nn.Module, state: dict[str, Tensor]) -> nn.Module:
    missing, unexpected = network.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(key.endswith(COMPUTED) for key in missing), missing
    return network.eval()


def build_stack(fixture: Fixture) -> FrozenStack:
    config = fixture.config
    gpt_dim = config["gpt"]["model_dim"]
    layer = config["hidden_state_index"]
    stats = fixture.state_of("wav2vec2bert_stats/")
    s2mel_state = {
        f"{part}.{key}": tensor
        for part in ("cfm", "length_regulator", "gpt_layer")
        for key, tensor in fixture.state_of(f"s2mel/{part}/").items()
    }
    vocoder = loaded(BigVgan(VocoderDims.of(config["bigvgan"])), fixture.state_of("bigvgan/"))
    fold_weight_norm(vocoder)
    speaker = CampPlus(replace(SpeakerDims(), embedding_dim=config["campplus"]["embedding_size"]))
    return FrozenStack(
        semantic=loaded(
            SemanticEncoder(config["w2v_bert"], layer),
            semantic_state(fixture.state_of("w2v_bert/"), stats, layer),
        ),
        codec=loaded(
            SemanticCodec(CodecDims.of(config["semantic_codec"])),
            fixture.state_of("semantic_codec/"),
        ),
        s2mel=loaded(S2Mel(S2MelDims.of(config["s2mel"], gpt_dim=gpt_dim)), s2mel_state),
        vocoder=vocoder,
        speaker=loaded(speaker, fixture.state_of("campplus/")),
        log_mel=LogMel(MelDims.of(config["s2mel"]["preprocess_params"])),
        emotion=EmotionMatrices(
            speaker=fixture.state["spk_matrix"],
            emotion=fixture.state["emo_matrix"],
            groups=tuple(config["emo_num"]),
        ),
        device=torch.device("cpu"),
    )


def prompt_outputs(path, stack: FrozenStack, rates: dict[str, int]) -> dict[str, Tensor]:
    audio = torch.from_numpy(read_audio(path, rates["spk"])[0])[None]
    audio_16k = resample_22k_to_16k(audio)
    inputs, mask, _ = semantic_input([audio_16k[0]])
    own = torch.from_numpy(read_audio(path, 16_000)[0])[None]
    own_inputs, own_mask, _ = semantic_input([own[0]])
    prompt = stack.prompt(path)
    return {
        "audio_loaded": audio,
        "audio_16k": audio_16k,
        "spk_input_features": inputs,
        "spk_attention_mask": mask,
        "spk_cond_emb": prompt.features,
        "ref_codes": stack.codec.quantize(prompt.features)[0],
        "ref_mel": prompt.mel,
        "fbank_centered": speaker_fbank(audio_16k[0])[None],
        "style": prompt.style,
        "prompt_condition": prompt.condition,
        "self_emo_audio_16k": own,
        "self_emo_input_features": own_inputs,
        "self_emo_attention_mask": own_mask,
    }


def emotion_outputs(path, stack: FrozenStack, run: str) -> dict[str, Tensor]:
    audio = torch.from_numpy(read_audio(path, 16_000)[0])[None]
    inputs, mask, _ = semantic_input([audio[0]])
    return {
        f"{run}_emo_audio_16k": audio,
        f"{run}_emo_input_features": inputs,
        f"{run}_emo_attention_mask": mask,
        f"{run}_emo_cond_emb": stack.emotion_features(path),
    }


def segment_outputs(
    segment: str,
    gpt: UnifiedVoice,
    stack: FrozenStack,
    prompt: PromptFeatures,
    merged: Tensor,
    emotion: Tensor,
) -> dict[str, Tensor]:
    settings = FIXTURE.config["generation"]
    text_ids = FIXTURE.ins[f"{segment}_text_ids"]
    noise = FIXTURE.ins[f"{segment}_noise"]
    latents = gpt.speaker_latents(prompt.features)
    prefix = gpt.prefix(latents, emotion)
    found = generate(
        gpt,
        prefix,
        text_ids,
        SamplingSettings(
            do_sample=settings["do_sample"],
            num_beams=settings["num_beams"],
            repetition_penalty=settings["repetition_penalty"],
            length_penalty=settings["length_penalty"],
            max_codes=settings["max_mel_tokens"],
        ),
    )
    codes = found.codes[:, : int(found.code_lens[0])]
    states = gpt.code_latents(prefix, text_ids, codes)
    condition = stack.target_condition(codes, states)
    mel = stack.s2mel.sample(
        torch.cat([prompt.condition, condition], dim=1), prompt.mel, prompt.style, noise=noise
    )
    projected = stack.s2mel.gpt_layer(states)
    values = {
        "emovec_merged": merged,
        "emovec": emotion,
        "conditioning": latents,
        "step_logits": step_logits(gpt, prefix, text_ids, found.codes),
        "codes": found.codes,
        "codes_trimmed": codes,
        "latent": states,
        "latent_projected": projected,
        "S_infer": projected + stack.codec.embed(codes),
        "target_lengths": torch.tensor([code_frames_to_mel_frames(codes.shape[1])]),
        "cond": condition,
        "cfm_output": mel,
        "mel_target": mel[..., prompt.mel.shape[-1] :],
        "wav": stack.render(codes, states, prompt, noise=noise)[:, None],
    }
    return {f"{segment}_{name}": value for name, value in values.items()}


def step_logits(gpt: UnifiedVoice, prefix: Tensor, text_ids: Tensor, codes: Tensor) -> Tensor:
    """The logits before each of ``codes``, all at once at the positions of decoding."""
    text, _ = gpt.frame_text(text_ids)
    inputs = gpt.frame_codes(codes)[0][:, : codes.shape[1]]
    rows = [
        prefix,
        gpt.embed_text(text),
        gpt.embed_codes(inputs, decode_positions(inputs.shape[1])),
    ]
    return gpt.mel_head(gpt.transform(torch.cat(rows, dim=1))[0, -inputs.shape[1] :])


@pytest.fixture(scope="module")
def values(tmp_path_factory) -> dict[str, Tensor]:
    folder = tmp_path_factory.mktemp("e2e")
    rates = FIXTURE.config["sample_rates"]
    for name in ("spk", "emo"):
        samples = (FIXTURE.ins[f"{name}_wav"][0] * PCM_SCALE).round().short().numpy()
        soundfile.write(folder / f"{name}.wav", samples, rates[name])
    gpt = loaded(UnifiedVoice(GptDims.of(FIXTURE.config["gpt"])), FIXTURE.state_of("gpt/"))
    stack = build_stack(FIXTURE)
    with torch.inference_mode():
        return run_all(folder, gpt, stack, rates)


def run_all(folder, gpt: UnifiedVoice, stack: FrozenStack, rates) -> dict[str, Tensor]:
    found = prompt_outputs(folder / "spk.wav", stack, rates)
    prompt = stack.prompt(folder / "spk.wav")
    for run in FIXTURE.config["runs"]:
        name, alpha, features = run["name"], 1.0, prompt.emotion_features
        if run["emo_audio"]:
            found |= emotion_outputs(folder / "emo.wav", stack, name)
            features, alpha = found[f"{name}_emo_cond_emb"], run["emo_alpha"]
        merged = emotion = gpt.merge_emotion(prompt.features, features, alpha)
        if "emo_vector" in run:
            weights = scale_weights(run["emo_vector"], run["emo_alpha"])
            emotion = stack.emotion.mix(merged, prompt.style, weights)
        segments = [f"{name}{number}" for number in range(run["segments"])]
        for segment in segments:
            found |= segment_outputs(segment, gpt, stack, prompt, merged, emotion)
        waves = [full_scale(found[f"{segment}_wav"][:, 0]) for segment in segments]
        found[f"{name}_final_float"] = join_segments(waves, FIXTURE.config["interval_silence_ms"])
    return found


@pytest.mark.parametrize("name", FIXTURE.outs)
def test_each_intermediate_is_that_of_the_published_inference(name: str, values):
    FIXTURE.check(name, values[name])
