"""The GPT: conditioning, teacher-forced logits, latents, decoding and score processing.

Each part below recomputes some outputs of the fixture, by name; one test compares each.
"""

from __future__ import annotations

import json
import re

import pytest
import torch
from torch import Tensor

from golden.fixtures import Fixture, load_fixture, read_json
from idiolect.models.config import GptDims
from idiolect.models.gpt import UnifiedVoice, decode_positions
from idiolect.synthesis.sampling import Generation, SamplingSettings, generate, process_scores

Results = dict[str, Tensor]


def number(output: str, pattern: str) -> float:
    """Return the number that ``pattern`` finds in what the fixture says of ``output``."""
    return float(re.search(pattern, read_json("gpt.json")["outputs"][output]["meaning"])[1])


MAX_CODES = int(number("greedy_rp1_codes", r"at most (\d+) new codes"))
TYPICAL_MASS = number("greedy_typical_codes", r"mass ([\d.]+)")


@pytest.fixture(scope="module")
def fixture() -> Fixture:
    return load_fixture("gpt")


@pytest.fixture(scope="module")
def results(fixture) -> Results:
    model = UnifiedVoice(GptDims.of(fixture.config["gpt"])).eval().requires_grad_(False)
    missing, unexpected = model.load_state_dict(fixture.state, strict=False)
    assert not unexpected
    assert all(key.endswith(".pos_enc.pe") for key in missing)
    model.conditioning_encoder.padding_leaks = True
    model.emo_conditioning_encoder.padding_leaks = True
    return {
        name: value for part in PARTS for name, value in part(model, fixture.ins, fixture).items()
    }


@pytest.mark.parametrize("name", sorted(read_json("gpt.json")["outputs"]))
def test_the_published_output_is_reproduced(name, fixture, results):
    fixture.check(name, results[name])


def conditioning(model: UnifiedVoice, ins: Results, _: Fixture) -> Results:
    states, mask = model.conditioning_encoder(ins["feat_b2"], ins["feat_b2_len"])
    # The published entry point gives the feature width as the length: nothing is masked.
    features = ins["feat_b2"]
    full_lens = torch.full((len(features),), features.shape[-1])
    return {
        "conformer_b2": states,
        "conformer_mask_b2": mask,
        "conditioning_b2": model.speaker_latents(features, ins["feat_b2_len"]),
        "conditioning_even": model.speaker_latents(ins["feat_even"]),
        "conditioning_short": model.speaker_latents(ins["feat_short"]),
        "conditioning_full_b2": model.speaker_latents(features, full_lens),
    }


def emotion(model: UnifiedVoice, ins: Results, _: Fixture) -> Results:
    states, mask = model.emo_conditioning_encoder(ins["emo_b2"], ins["emo_b2_len"])
    return {
        "emo_conditioning_b2": model.emo_perceiver_encoder(states, mask).squeeze(1),
        "emovec_b2": model.emotion_vector(ins["emo_b2"], ins["emo_b2_len"]),
        "emovec_even": model.emotion_vector(ins["feat_even"]),
        "merge_emovec_a03_b1": first_emotion(model, ins),
        "merge_emovec_a03_b2": model.merge_emotion(
            ins["feat_b2"],
            ins["emo_b2"],
            0.3,
            speaker_lens=ins["feat_b2_len"],
            emotion_lens=ins["emo_b2_len"],
        ),
    }


def first_emotion(model: UnifiedVoice, ins: Results) -> Tensor:
    return model.merge_emotion(ins["feat_b2"][:1], ins["emo_b2"][:1], 0.3)


def teacher_forcing(model: UnifiedVoice, ins: Results, _: Fixture) -> Results:
    text_inputs, text_targets = model.frame_text(ins["tf_text"], ins["tf_text_len"])
    code_inputs, code_targets = model.frame_codes(ins["tf_codes"], ins["tf_codes_len"])
    prefix = model.prefix(
        model.speaker_latents(ins["feat_b2"], ins["feat_b2_len"]),
        model.emotion_vector(ins["emo_b2"], ins["emo_b2_len"]),
    )
    both = (ins["tf_text"], ins["tf_codes"])
    lens = {"text_lens": ins["tf_text_len"], "code_lens": ins["tf_codes_len"]}
    text_states, code_states = model.teacher_forced(prefix, *both, **lens)
    first = [value[:1] for value in (prefix, *both)]
    first_lens = {name: value[:1] for name, value in lens.items()}
    return {
        "text_inputs": text_inputs,
        "text_targets": text_targets,
        "mel_inputs": code_inputs,
        "mel_targets": code_targets,
        "text_logits": model.text_head(text_states).mT,
        "mel_logits": model.mel_head(code_states).mT,
        "latent_b1": model.code_latents(*first, **first_lens),
        "latent_b2": model.code_latents(prefix, *both, **lens),
    }


def greedy(model: UnifiedVoice, ins: Results, _: Fixture) -> Results:
    found, logits = decode_first(model, ins, settings())
    typical, _ = decode_first(
        model, ins, settings(repetition_penalty=10.0, typical_mass=TYPICAL_MASS)
    )
    return {
        "greedy_rp1_codes": found.codes,
        "greedy_rp1_step_logits": logits,
        "greedy_rp1_position_index": decode_positions(len(logits)),
        "greedy_typical_codes": typical.codes,
    }


def greedy_with_penalty(model: UnifiedVoice, ins: Results, _: Fixture) -> Results:
    chosen = settings(repetition_penalty=10.0)
    found, logits = decode_first(model, ins, chosen)
    seen = as_mask(torch.tensor([[1, model.dims.start_code]]), model.dims)
    scores = []
    for step_logits, code in zip(logits, found.codes[0], strict=True):
        scores.append(process_scores(step_logits[None], seen, chosen))
        seen[:, code] = True
    latents = model.speaker_latents(ins["feat_b2"])
    prefix = model.prefix(latents, model.emotion_vector(ins["emo_b2"], ins["emo_b2_len"]))
    return {
        "greedy_rp10_codes": found.codes,
        "greedy_rp10_step_scores": torch.cat(scores),
        "greedy_rp10_b2_codes": generate(model, prefix, ins["gen_text_b2"], chosen).codes,
    }


def beam_search(model: UnifiedVoice, ins: Results, fixture: Fixture) -> Results:
    found = {}
    for name in fixture.outs:
        if match := re.fullmatch(r"(beam(\d+)_rp(\d+)_lp(\d+))_codes", name):
            run, beams, penalty, length_penalty = match.groups()
            chosen = settings(
                num_beams=int(beams),
                repetition_penalty=float(penalty),
                length_penalty=float(length_penalty),
            )
            best, _ = decode_first(model, ins, chosen)
            found[f"{run}_codes"] = best.codes
            found[f"{run}_score"] = torch.tensor([best.score])
    return found


def sampling(model: UnifiedVoice, ins: Results, _: Fixture) -> Results:
    """The draws are given, by the stand-ins that the fixture describes."""
    uniforms = iter(ins["uniforms"].tolist())

    def likeliest(probs: Tensor, count: int) -> Tensor:
        return probs.topk(count).indices

    def by_uniform(probs: Tensor, count: int) -> Tensor:
        cumulative = probs.double().cumsum(-1)
        return (cumulative > next(uniforms) * cumulative[:, -1:]).int().argmax(-1, keepdim=True)

    default = SamplingSettings(max_codes=MAX_CODES)
    alone = SamplingSettings(num_beams=1, max_codes=MAX_CODES)
    return {
        "beam3_sample_topn_codes": decode_first(model, ins, default, likeliest)[0].codes,
        "sample_icdf_codes": decode_first(model, ins, alone, by_uniform)[0].codes,
    }


def score_processing(model: UnifiedVoice, ins: Results, fixture: Fixture) -> Results:
    seen, logits = as_mask(ins["proc_history"], model.dims), ins["proc_logits"]
    found = {}
    for name in (name for name in fixture.outs if name.startswith("proc_")):
        described = re.search(r"settings (\{.*?\})", fixture.meta["outputs"][name]["meaning"])
        given = json.loads(described[1])
        chosen = settings(typical_mass=given.pop("typical", None), **given)
        scores = logits.log_softmax(-1) if chosen.num_beams > 1 else logits
        found[name] = process_scores(scores, seen, chosen)
    return found


PARTS = (
    conditioning,
    emotion,
    teacher_forcing,
    greedy,
    greedy_with_penalty,
    beam_search,
    sampling,
    score_processing,
)


def settings(**given) -> SamplingSettings:
    plain = {"do_sample": False, "num_beams": 1, "repetition_penalty": 1.0, "max_codes": MAX_CODES}
    return SamplingSettings(**{**plain, **given})


def decode_first(model, ins, chosen, draw=None) -> tuple[Generation, Tensor]:
    """Decode the first text; return what was found, and the raw logits of every step."""
    steps: list[Tensor] = []
    hook = model.mel_head.register_forward_hook(lambda _, __, logits: steps.append(logits))
    prefix = model.prefix(model.speaker_latents(ins["feat_b2"][:1]), first_emotion(model, ins))
    found = generate(model, prefix, ins["gen_text_b1"], chosen, draw=draw)
    hook.remove()
    return found, torch.cat(steps)


def as_mask(history: Tensor, dims: GptDims) -> Tensor:
    return torch.zeros(len(history), dims.num_codes, dtype=torch.bool).scatter(1, history, True)
