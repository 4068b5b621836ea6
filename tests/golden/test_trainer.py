"""Training: losses, gradients and optimizer steps of the published layout, and asked durations.

The layout pads the texts of a batch, as the fixture's trainer did; ours does not
(:mod:`idiolect.data.batches`). The networks are the same, and that is what is compared here.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from golden.fixtures import Fixture, load_fixture, read_json
from idiolect.models.config import GptDims
from idiolect.models.gpt import UnifiedVoice
from idiolect.synthesis.sampling import SamplingSettings, generate

Results = dict[str, Tensor]


@pytest.fixture(scope="module")
def fixture() -> Fixture:
    return load_fixture("trainer")


@pytest.fixture(scope="module")
def results(fixture) -> Results:
    return {**losses(fixture), **optimizer_steps(fixture), **durations(fixture)}


@pytest.mark.parametrize("name", sorted(read_json("trainer.json")["outputs"]))
def test_the_published_output_is_reproduced(name, fixture, results):
    fixture.check(name, results[name])


def losses(fixture: Fixture) -> Results:
    ins, trainer = fixture.ins, fixture.config["trainer"]
    kept = torch.zeros(len(ins["codes"]), dtype=torch.bool)
    dropped = ins["dropout_draws"] < trainer["duration_dropout"]
    model, found = build(fixture), {}
    for run, drops in (("plain", None), ("duration", kept), ("duration_dropout", dropped)):
        asked = None if drops is None else model.duration_rows(ins["code_lengths"], drops)
        text, codes, top1 = forward(model, ins, asked)
        model.zero_grad()
        weighted(text, codes, trainer).backward()
        grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        found |= {
            f"{run}_text_loss": text[None],
            f"{run}_mel_loss": codes[None],
            f"{run}_mel_top1": top1[None],
            f"{run}_grad_norms": named_norms(fixture, f"{run}_grad_norms", grads),
            f"{run}_grad_mel_pos_rows": grads["mel_pos_embedding.emb.weight"].norm(dim=1),
            f"{run}_grad_speed_emb": grads["speed_emb.weight"],
            f"{run}_grad_total_norm": total_norm(grads)[None],
        }
    return {name: value.detach() for name, value in found.items()}


def optimizer_steps(fixture: Fixture) -> Results:
    trainer, model, rows = fixture.config["trainer"], build(fixture), []
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=trainer["learning_rate"], weight_decay=trainer["weight_decay"]
    )
    for _ in range(len(fixture.outs["three_steps"])):
        text, codes, _ = forward(model, fixture.ins, None)
        optimizer.zero_grad()
        weighted(text, codes, trainer).backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), trainer["grad_clip"])
        optimizer.step()
        rows.append(torch.stack([text, codes, norm]).detach())
    return {"three_steps": torch.stack(rows)}


@torch.no_grad()
def durations(fixture: Fixture) -> Results:
    model, ins = build(fixture), fixture.ins
    latents = model.speaker_latents(ins["gen_feat"])
    emotion = model.emotion_vector(ins["gen_feat"])
    found = {
        "duration_embeddings": model.duration_rows(ins["duration_lengths"]),
        "gen_conditioning": latents,
        "gen_emovec": emotion,
    }
    for name in fixture.outs:
        if match := re.fullmatch(r"(gen_duration_(none|\d+))_codes", name):
            run, asked = match.groups()
            row = None if asked == "none" else model.requested_duration(int(asked))
            chosen = generation(fixture.meta["outputs"][name]["meaning"])
            prefix = model.prefix(latents, emotion, row)
            codes, logits = decode(model, prefix, ins["gen_text"], chosen)
            found |= {f"{run}_codes": codes, f"{run}_first_logits": logits}
    return found


def generation(described: str) -> SamplingSettings:
    penalty, limit = re.search(r"repetition penalty ([\d.]+), at most (\d+)", described).groups()
    return SamplingSettings(
        do_sample=False, num_beams=1, repetition_penalty=float(penalty), max_codes=int(limit)
    )


def build(fixture: Fixture) -> UnifiedVoice:
    model = UnifiedVoice(GptDims.of(fixture.config["gpt"])).eval()
    _, unexpected = model.load_state_dict(fixture.state, strict=False)
    assert not unexpected
    return model


def forward(
    model: UnifiedVoice, ins: Results, asked: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the text loss, the code loss and the share of codes that are likeliest."""
    text_lens, code_lens = ins["text_lengths"], ins["code_lengths"]
    _, text_targets = model.frame_text(ins["text_ids"], text_lens)
    _, code_targets = model.frame_codes(ins["codes"], code_lens)
    text, codes = model.teacher_forced(
        model.prefix(ins["condition"], ins["emo_vec"], asked),
        ins["text_ids"],
        ins["codes"],
        text_lens=text_lens,
        code_lens=code_lens,
    )
    text_logits, text_labels = valid(model.text_head(text), text_targets, text_lens)
    code_logits, code_labels = valid(model.mel_head(codes), code_targets, code_lens)
    top1 = (code_logits.argmax(-1) == code_labels).float().mean()
    return (
        F.cross_entropy(text_logits, text_labels),
        F.cross_entropy(code_logits, code_labels),
        top1,
    )


def valid(logits: Tensor, targets: Tensor, lens: Tensor) -> tuple[Tensor, Tensor]:
    """Keep what predicts the ids and one stop."""
    keep = torch.arange(targets.shape[1]) < lens[:, None] + 1
    return logits[keep], targets[keep]


def weighted(text: Tensor, codes: Tensor, trainer: dict[str, Any]) -> Tensor:
    return trainer["text_loss_weight"] * text + trainer["mel_loss_weight"] * codes


def named_norms(fixture: Fixture, output: str, grads: Results) -> Tensor:
    listed = fixture.meta["outputs"][output]["meaning"].partition(" for: ")[2]
    return torch.stack([grads[name].norm() for name in listed.split(", ")])


def total_norm(grads: Results) -> Tensor:
    return torch.stack([grad.norm() for grad in grads.values()]).norm()


def decode(
    model: UnifiedVoice, prefix: Tensor, text_ids: Tensor, chosen: SamplingSettings
) -> tuple[Tensor, Tensor]:
    """Return the codes and the raw logits of the first step."""
    steps: list[Tensor] = []
    hook = model.mel_head.register_forward_hook(lambda _, __, logits: steps.append(logits))
    found = generate(model, prefix, text_ids, chosen)
    hook.remove()
    return found.codes, steps[0]
