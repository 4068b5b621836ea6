"""Installing what a run of ``--mode lora`` left."""

import logging
from dataclasses import replace

import pytest
import torch

from idiolect.base.errors import CheckpointError, ConfigError, RegistryError
from idiolect.base.hashes import sha256_file
from idiolect.base.snapshot import BaseSnapshot
from idiolect.cli.install import main
from idiolect.models.adapter import adapter_weights, add_adapters
from idiolect.models.checkpoint import (
    AdapterRecord,
    CheckpointHeader,
    load_checkpoint,
    save_checkpoint,
    transfer_vocabulary,
)
from idiolect.models.gpt import UnifiedVoice
from idiolect.models.loading import CONDITIONER_KEYS, gpt_dims_of, gpt_weights, load_gpt
from idiolect.models.nano import write_nano
from idiolect.models.published import locate_base
from idiolect.registry.install import InstallConfig, install_model
from idiolect.registry.store import list_models, verify_model
from idiolect.text.tokenizer import Tokenizer
from registry_kit import make_tokenizer
from tiny_gpt import random_prefix

RANK, ALPHA = 4, 8.0
TEXT, CODES = torch.tensor([[5, 9, 30, 7]]), torch.tensor([[1, 0, 4, 4, 2]])
FORGOT = {"probe_cer_base.en": 0.04, "probe_cer.en": 0.12}


def logits(gpt):
    text, codes = gpt.teacher_forced(random_prefix(gpt), TEXT, CODES)
    return torch.cat([gpt.text_head(text).flatten(), gpt.mel_head(codes).flatten()]).detach()


def adapted_gpt(base, tokenizer):
    """A GPT beside the base, with a vocabulary of its own, that learnt for some real steps."""
    weights = gpt_weights(load_checkpoint(base / "gpt.pth")[0], conditioners=False)
    weights, _ = transfer_vocabulary(weights, Tokenizer.load(base / "bpe.model"), tokenizer)
    dims = gpt_dims_of(
        {n: tuple(t.shape) for n, t in weights.items()}, locate_base(base).config.gpt
    )
    gpt = UnifiedVoice(dims, conditioners=False, dropout=0.0)
    gpt.load_state_dict(weights)
    add_adapters(gpt, rank=RANK, alpha=ALPHA, seed=0)
    optimizer = torch.optim.AdamW([p for p in gpt.parameters() if p.requires_grad], lr=0.02)
    for _ in range(3):
        text, codes = gpt.teacher_forced(random_prefix(gpt), TEXT, CODES)
        (gpt.text_head(text)[..., 3].mean() - gpt.mel_head(codes)[..., 2].mean()).backward()
        optimizer.step()
        optimizer.zero_grad()
    return gpt.eval()


@pytest.fixture(scope="module")
def tuned(nano_base, tmp_path_factory):
    """The adapted network, its tokenizer, and the checkpoint that a run would leave of it."""
    folder = tmp_path_factory.mktemp("lora")
    tokenizer = make_tokenizer(folder / "catalan_bpe.model")
    gpt = adapted_gpt(nano_base, tokenizer)
    base_sha256 = sha256_file(nano_base / "gpt.pth")
    header = CheckpointHeader(
        step=3,
        base_sha256=base_sha256,
        tokenizer_sha256=tokenizer.sha256,
        vocab_size=tokenizer.vocab_size,
        languages=("ca",),
        adapter=AdapterRecord(rank=RANK, alpha=ALPHA, base_sha256=base_sha256),
    )
    save_checkpoint(folder / "best.pth", adapter_weights(gpt.state_dict()), header)
    return gpt, tokenizer, folder / "best.pth"


@pytest.fixture
def config(tuned, nano_base, tmp_path):
    return InstallConfig(
        checkpoint=tuned[2],
        tokenizer=tuned[1].path,
        output_name="catalan",
        output_dir=tmp_path / "models",
        base=nano_base,
    )


def installed(config):
    return config.output_dir / "gpt_catalan.pth"


def test_the_installed_model_says_what_base_and_adapters_say(config, tuned, nano_base):
    install_model(config)

    gpt = load_gpt(installed(config), locate_base(nano_base).config.gpt)
    torch.testing.assert_close(logits(gpt), logits(tuned[0]), rtol=0, atol=1e-5)


def test_the_installed_model_is_whole_and_has_the_conditioners_of_the_base(config, nano_base):
    install_model(config)

    weights, header = load_checkpoint(installed(config))
    base, _ = load_checkpoint(nano_base / "gpt.pth")
    assert list(weights) == list(base)
    assert header.adapter is None
    conditioners = [name for name in base if CONDITIONER_KEYS.match(name)]
    assert conditioners
    assert all(torch.equal(weights[name], base[name]) for name in conditioners)
    assert torch.equal(weights["mel_head.weight"], base["mel_head.weight"])


def test_the_entry_speaks_of_the_whole_model(config, tuned):
    report = install_model(config)

    assert report.entry.weight_bytes > 3 * tuned[2].stat().st_size
    assert report.entry.vocab_size == 60
    assert verify_model("catalan", config.output_dir) == []
    assert [entry.problem for entry in list_models(config.output_dir)] == [""]


def test_installing_the_same_again_changes_nothing(config):
    install_model(config)
    before = BaseSnapshot.take(config.output_dir)

    assert install_model(config).files == ()
    assert before.verify()


def test_a_dry_run_writes_nothing(config):
    report = install_model(replace(config, dry_run=True))

    assert report.files
    assert not config.output_dir.exists()


def test_another_base_is_refused_by_its_hash(config, nano_base, tmp_path):
    other = tmp_path / "other"
    write_nano(other, seed=9)

    with pytest.raises(CheckpointError) as caught:
        install_model(replace(config, base=other))

    assert sha256_file(nano_base / "gpt.pth") in caught.value.problem
    assert sha256_file(other / "gpt.pth") in caught.value.problem
    assert not config.output_dir.exists()


def test_adapters_alone_are_no_model(config, tmp_path):
    with pytest.raises(CheckpointError, match="no base"):
        install_model(replace(config, base=tmp_path / "nowhere"))


def test_a_blend_of_adapters_lies_between_the_base_and_the_training(config, nano_base, tmp_path):
    install_model(config)
    whole, _ = load_checkpoint(installed(config))

    half = replace(config, blend=0.5, output_dir=tmp_path / "half")
    install_model(half)

    blended, _ = load_checkpoint(installed(half))
    base, _ = load_checkpoint(nano_base / "gpt.pth")
    name = "gpt.h.0.attn.c_attn.weight"
    torch.testing.assert_close(blended[name], (base[name] + whole[name]) / 2)
    assert not torch.equal(blended[name], base[name])


@pytest.fixture
def forgetful(config, tmp_path):
    weights, header = load_checkpoint(config.checkpoint)
    save_checkpoint(tmp_path / "forgot.pth", weights, replace(header, scores=FORGOT))
    return replace(config, checkpoint=tmp_path / "forgot.pth")


def test_a_gate_refuses_before_anything_is_written(forgetful):
    with pytest.raises(RegistryError, match=r"more than 3 points of letters: en 4\.0% -> 12\.0%"):
        install_model(replace(forgetful, gate=3))

    assert not forgetful.output_dir.exists()


def test_without_a_gate_it_is_warned_and_installed(forgetful, caplog):
    with caplog.at_level(logging.WARNING):
        report = install_model(forgetful)

    assert "lost more than 3 points" in caplog.text
    assert report.kept_line == (
        "letters wrong before and after the training: en 4.0% -> 12.0% (+8.0)"
    )
    assert installed(forgetful).is_file()


def test_a_blend_passes_the_gate_with_a_word(forgetful, caplog):
    install_model(replace(forgetful, gate=3, blend=0.5))

    assert "nobody measured the blend" in caplog.text


def test_a_gate_below_zero_is_no_gate(config):
    with pytest.raises(ConfigError, match="-1 points cannot be lost"):
        replace(config, gate=-1)


def test_the_command_refuses_with_exit_code_2(forgetful, capsys):
    flags = ["--checkpoint", str(forgetful.checkpoint), "--tokenizer", str(forgetful.tokenizer)]
    flags += ["--output-name", "catalan", "--output-dir", str(forgetful.output_dir)]
    flags += ["--base", str(forgetful.base)]

    assert main([*flags, "--gate", "3"]) == 2
    assert "en 4.0% -> 12.0% (+8.0)" in capsys.readouterr().err
    assert main([*flags, "--gate", "9"]) == 0
    assert "letters wrong before and after the training" in capsys.readouterr().out
