import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from idiolect.base.config import read_yaml
from idiolect.base.errors import (
    CheckpointError,
    ConfigError,
    GuardError,
    RegistryError,
    TokenizerError,
    UserError,
)
from idiolect.base.snapshot import BaseSnapshot
from idiolect.cli.install import main as install_main
from idiolect.cli.models import main as models_main
from idiolect.data.formants import CATALAN_SENTENCES
from idiolect.models.checkpoint import load_checkpoint, save_checkpoint
from idiolect.models.loading import load_gpt
from idiolect.models.published import BASE_REPO, DERIVATIVE_NOTICE, LICENCE_NAME, locate_base
from idiolect.models.terms import NANO_LICENCE, NANO_NOTICE
from idiolect.registry.entry import FileRecord, ModelEntry
from idiolect.registry.index import rebuild_index
from idiolect.registry.install import InstallConfig, install_model
from idiolect.registry.store import (
    base_entry,
    find_model,
    list_models,
    record_vram,
    verify_model,
)
from idiolect.text.tokenizer import Tokenizer
from registry_kit import make_tokenizer, plain_weights, trained_checkpoint

GB = 1 << 30
LABEL = "gpt_catalan.pth (11.7MB, v2.0, ca)"


@pytest.fixture(scope="module")
def run(nano_base, tmp_path_factory) -> Path:
    """A finished training in the guide's tree."""
    folder = tmp_path_factory.mktemp("training") / "catalan"
    (folder / "tokenizer").mkdir(parents=True)
    tokenizer = make_tokenizer(folder / "tokenizer" / "catalan_bpe.model")
    make_tokenizer(folder / "other.model", CATALAN_SENTENCES + CATALAN_SENTENCES[:5])
    trained_checkpoint(folder / "checkpoints" / "best.pth", nano_base, tokenizer)
    trained_checkpoint(folder / "checkpoints" / "later.pth", nano_base, tokenizer, step=200)
    trained_checkpoint(folder / "plain.pth", nano_base, tokenizer, with_header=False)
    return folder


@pytest.fixture
def config(run, nano_base, tmp_path) -> InstallConfig:
    return InstallConfig(
        checkpoint=run / "checkpoints" / "best.pth",
        tokenizer=run / "tokenizer" / "catalan_bpe.model",
        output_name="catalan",
        description="Catalan, a test",
        output_dir=tmp_path / "models",
        base=nano_base,
    )


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_lines_are_as_the_guide_prints_them():
    entry = ModelEntry(
        name="catalan",
        languages=("ca",),
        checkpoint=FileRecord(name="gpt_catalan.pth", size_bytes=int(3.24 * GB)),
        tokenizer=FileRecord(name="catalan_bpe.model", size_bytes=1),
        vocab_size=12000,
        vram_bytes=int(8.1 * GB),
        vram_is_measured=True,
    )

    assert entry.label == "gpt_catalan.pth (3.2GB, v2.0, ca)"
    assert entry.tokenizer_line == "Tokenizer: catalan_bpe.model (12000 vocab)"
    assert entry.vram_line == "VRAM: 8.1 GB (measured)"
    assert replace(entry, vram_is_measured=False).vram_line == "VRAM: 8.1 GB (estimate)"
    assert replace(entry, languages=("zh", "en")).label.endswith("v2.0, zh/en)")


def test_an_installed_model_is_whole_listed_and_found(config, nano_base):
    report = install_model(config)

    assert names_in(config.output_dir) == [
        "catalan_README.md",
        "catalan_bpe.model",
        "catalan_config.yaml",
        "gpt_catalan.json",
        "gpt_catalan.pth",
        "registry.json",
    ]
    (entry,) = list_models(config.output_dir, locate_base(nano_base))
    assert entry.label == report.entry.label == LABEL
    assert entry.vocab_size == 60
    assert entry.scores == {"val_loss": 3.25}
    found = find_model("catalan", config.output_dir, locate_base(nano_base))
    assert found.languages == ("ca",)
    assert found.header is not None
    assert found.header.step == 100
    assert load_gpt(found.gpt, found.config.gpt).dims.vocab_size == 60
    assert Tokenizer.load(found.tokenizer).vocab_size == 60
    assert "base unchanged" in report.base_sentence


def test_the_installed_weights_are_those_of_the_training(config):
    install_model(config)

    trained, _ = load_checkpoint(config.checkpoint)
    installed, _ = load_checkpoint(config.output_dir / "gpt_catalan.pth")
    assert all(torch.equal(installed[name], tensor) for name, tensor in trained.items())


def test_the_card_has_the_sentence_of_the_licence(config, nano_base, tmp_path):
    base = shutil.copytree(nano_base, tmp_path / "published")
    values = read_yaml(base / "config.yaml")
    del values["idiolect"]
    (base / "config.yaml").write_text(yaml.safe_dump(values))
    install_model(replace(config, base=base))

    card = (config.output_dir / "catalan_README.md").read_text()
    assert DERIVATIVE_NOTICE in card
    assert LICENCE_NAME in card
    assert f"Base: {BASE_REPO}, version" in card
    assert "Catalan, a test" in card
    assert "val_loss | 3.25" in card


def test_the_card_has_a_row_for_each_manifest_that_was_learnt_from(config):
    sources = [
        {"manifest": "a.jsonl", "weight": 1.0, "languages": ["ca"]},
        {"manifest": "b.jsonl", "weight": 3.0, "languages": ["en", "es"]},
    ]
    weights, header = load_checkpoint(config.checkpoint)
    save_checkpoint(config.checkpoint, weights, replace(header, data={"train": sources}))

    install_model(config)

    card = (config.output_dir / "catalan_README.md").read_text()
    assert "| manifest | weight | languages |\n| --- | --- | --- |\n" in card
    assert "| b.jsonl | 3.0 | en, es |" in card


def test_the_card_of_a_model_tuned_on_nano_has_nanos_terms(config):
    entry = install_model(config).entry

    card = (config.output_dir / "catalan_README.md").read_text()
    assert NANO_NOTICE in card
    assert "- Base: nano, version" in card
    assert DERIVATIVE_NOTICE not in card
    assert "bilibili" not in card
    assert (entry.base_name, entry.licence) == ("nano", NANO_LICENCE)


def test_the_configuration_differs_from_the_bases_only_in_its_rows(config, nano_base):
    install_model(config)

    own = read_yaml(config.output_dir / "catalan_config.yaml")
    base = read_yaml(nano_base / "config.yaml")
    assert own["gpt"].pop("number_text_tokens") == 60
    assert base["gpt"].pop("number_text_tokens") != 60
    assert own == base


def test_no_configuration_is_written_when_the_bases_serves(config, nano_base, tmp_path):
    trained_checkpoint(tmp_path / "m.pth", nano_base, Tokenizer.load(nano_base / "bpe.model"))
    own = replace(config, checkpoint=tmp_path / "m.pth", tokenizer=nano_base / "bpe.model")

    install_model(own)

    assert "catalan_config.yaml" not in names_in(config.output_dir)


def test_optimizer_states_and_aliases_are_stripped(config, tmp_path, run):
    weights, _ = load_checkpoint(run / "plain.pth")
    aliases = {"gpt.wte.weight": weights["mel_embedding.weight"].clone()}
    torch.save({"model": weights | aliases, "optimizer": {"m": weights}}, tmp_path / "fat.pth")

    install_model(replace(config, checkpoint=tmp_path / "fat.pth", language=("ca",)))

    installed, header = load_checkpoint(config.output_dir / "gpt_catalan.pth")
    assert set(installed) == set(weights)
    assert header is not None
    assert header.languages == ("ca",)
    assert header.tokenizer_sha256 == Tokenizer.load(config.tokenizer).sha256


def test_the_tokenizer_of_another_model_is_refused_with_both_hashes(config, run):
    with pytest.raises(TokenizerError) as caught:
        install_model(replace(config, tokenizer=run / "other.model"))

    assert Tokenizer.load(config.tokenizer).sha256[:12] in caught.value.problem
    assert Tokenizer.load(run / "other.model").sha256[:12] in caught.value.problem
    assert not config.output_dir.exists()


def test_a_model_of_another_text_front_end_is_refused_with_both_identities(config, tmp_path):
    weights, header = load_checkpoint(config.checkpoint)
    old = tmp_path / "old.pth"
    save_checkpoint(old, weights, replace(header, front_end={"ca": "idiolect-text/0:ca"}))

    with pytest.raises(TokenizerError, match=r"idiolect-text/0:ca, but .* has idiolect-text/1:ca"):
        install_model(replace(config, checkpoint=old))


def test_plain_weights_need_a_tokenizer_of_their_size(config, run, nano_base):
    plain = replace(config, checkpoint=run / "plain.pth", tokenizer=nano_base / "bpe.model")

    with pytest.raises(TokenizerError, match="61 text rows"):
        install_model(plain)


@pytest.mark.parametrize("name", ["s2mel.pth", "feat1.pt", "config.yaml", "absent.pth"])
def test_what_is_no_gpt_is_not_installed(config, nano_base, name):
    with pytest.raises(CheckpointError):
        install_model(replace(config, checkpoint=nano_base / name))

    assert not config.output_dir.exists()


def test_a_gpt_of_another_base_is_refused_with_the_differences(config, run, tmp_path):
    weights, header = load_checkpoint(config.checkpoint)
    weights["gpt.ln_f.weight"] = torch.ones(7)
    del weights["speed_emb.weight"]
    save_checkpoint(tmp_path / "m.pth", weights, header)

    with pytest.raises(CheckpointError, match="2 tensors differ") as caught:
        install_model(replace(config, checkpoint=tmp_path / "m.pth"))

    assert "speed_emb.weight: not in the file" in caught.value.problem


def test_unmerged_lora_weights_are_refused(config, tmp_path):
    weights, header = load_checkpoint(config.checkpoint)
    weights["gpt.h.0.attn.c_attn.lora_A.weight"] = torch.ones(1)
    save_checkpoint(tmp_path / "m.pth", weights, header)

    with pytest.raises(CheckpointError, match="LoRA"):
        install_model(replace(config, checkpoint=tmp_path / "m.pth"))


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "base", "gpt", "català"])
def test_a_name_that_is_no_name_is_refused(config, name):
    with pytest.raises(UserError):
        install_model(replace(config, output_name=name))


@pytest.mark.parametrize("name", ["gpt_catalan", "gpt_catalan.pth", "catalan.pth"])
def test_the_file_name_is_understood_as_the_name(config, name):
    assert install_model(replace(config, output_name=name)).entry.name == "catalan"


def test_a_model_is_not_installed_into_the_base(config, nano_base):
    snapshot = BaseSnapshot.take(nano_base)

    with pytest.raises(GuardError):
        install_model(replace(config, output_dir=nano_base))

    assert snapshot.verify()


def test_a_dry_run_writes_nothing_and_says_what_it_would(config):
    report = install_model(replace(config, dry_run=True))

    assert not config.output_dir.exists()
    assert report.files[0].name == "gpt_catalan.pth"
    assert report.entry.vocab_size == 60


def test_installing_the_same_again_changes_nothing(config):
    install_model(config)
    before = BaseSnapshot.take(config.output_dir)

    report = install_model(config)

    assert report.files == ()
    assert before.verify()


def test_the_same_model_may_be_described_anew(config):
    install_model(config)

    install_model(replace(config, description="Catalan, from Girona"))

    assert list_models(config.output_dir)[0].description == "Catalan, from Girona"


def test_another_model_of_the_name_is_replaced_only_by_force(config, run):
    install_model(config)
    later = replace(config, checkpoint=run / "checkpoints" / "later.pth")

    with pytest.raises(RegistryError, match="another model 'catalan'"):
        install_model(later)
    assert list_models(config.output_dir)[0].step == 100

    install_model(replace(later, force=True))
    assert list_models(config.output_dir)[0].step == 200
    assert verify_model("catalan", config.output_dir) == []


def test_what_an_interrupted_installation_left_is_completed(config):
    install_model(config)
    for name in ("gpt_catalan.json", "catalan_bpe.model", "registry.json"):
        (config.output_dir / name).unlink()

    install_model(config)

    assert verify_model("catalan", config.output_dir) == []
    assert len(names_in(config.output_dir)) == 6


def test_a_full_disk_is_noticed_before_writing(config, monkeypatch):
    monkeypatch.setattr("idiolect.registry.install.free_bytes", lambda folder: 1000)

    with pytest.raises(RegistryError, match="1000B are free"):
        install_model(config)

    assert not config.output_dir.exists()


def test_installing_works_without_a_base(config, tmp_path):
    report = install_model(replace(config, base=tmp_path / "nowhere"))

    assert "no base" in report.base_sentence
    assert report.entry.vram_bytes == report.entry.weight_bytes


def test_a_blend_lies_between_the_base_and_the_training(config, tmp_path):
    like_base, header = load_checkpoint(config.checkpoint)
    moved = tmp_path / "moved.pth"
    save_checkpoint(moved, {name: tensor + 1 for name, tensor in like_base.items()}, header)
    quarter = replace(config, checkpoint=moved, blend=0.25)

    install_model(quarter)

    installed, says = load_checkpoint(config.output_dir / "gpt_catalan.pth")
    assert (says.settings["blend"], says.scores) == (0.25, {})  # nobody measured the blend
    assert installed.keys() == like_base.keys()
    for name, tensor in like_base.items():
        torch.testing.assert_close(installed[name], tensor + 0.25)
    card = (config.output_dir / "catalan_README.md").read_text()
    assert "Weights: 25% of the way from the base to the trained ones" in card
    assert install_model(quarter).files == ()
    with pytest.raises(RegistryError):
        install_model(replace(quarter, blend=0.5))  # is another model


def test_a_blend_needs_a_base_and_a_share(config, tmp_path):
    with pytest.raises(ConfigError, match="no base"):
        install_model(replace(config, base=tmp_path / "nowhere", blend=0.5))
    for share in (0.0, 1.1, -1.0):
        with pytest.raises(ConfigError, match="no share"):
            replace(config, blend=share)


def test_a_model_copied_by_hand_is_found_with_all_that_its_header_says(run, nano_base, tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    shutil.copyfile(run / "checkpoints" / "best.pth", models / "gpt_catalan.pth")
    shutil.copyfile(run / "tokenizer" / "catalan_bpe.model", models / "catalan_bpe.model")

    (entry,) = list_models(models, locate_base(nano_base))

    assert entry.label == LABEL
    assert entry.tokenizer_line == "Tokenizer: catalan_bpe.model (60 vocab)"
    assert find_model("gpt_catalan.pth", models, nano_base).tokenizer.name == "catalan_bpe.model"


def test_plain_weights_copied_by_hand_are_found(run, nano_base, tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    shutil.copyfile(run / "plain.pth", models / "gpt_catalan.pth")
    shutil.copyfile(run / "tokenizer" / "catalan_bpe.model", models / "gpt_catalan_bpe.model")

    (entry,) = list_models(models)

    assert entry.label == LABEL.replace("ca)", "?)")
    assert entry.problem == ""


def test_a_bad_file_does_not_hide_the_others(config, run):
    install_model(config)
    (config.output_dir / "gpt_broken.pth").write_bytes(b"half")
    save_checkpoint(config.output_dir / "gpt_lonely.pth", plain_weights(9), None)

    entries = {entry.name: entry for entry in list_models(config.output_dir)}

    assert list(entries) == ["broken", "catalan", "lonely"]
    assert "not a file of weights" in entries["broken"].problem
    assert "no tokenizer" in entries["lonely"].problem
    assert entries["catalan"].problem == ""


def test_an_entry_is_not_believed_once_the_weights_are_others(config, run):
    install_model(config)
    shutil.copyfile(run / "checkpoints" / "later.pth", config.output_dir / "gpt_catalan.pth")

    (entry,) = list_models(config.output_dir)

    assert entry.step == 200
    assert entry.description == ""
    assert verify_model("catalan", config.output_dir) == ["gpt_catalan.pth was changed"]


def test_a_damaged_entry_is_said_to_be_one(config):
    install_model(config)
    (config.output_dir / "gpt_catalan.json").write_text('{"name": 3}')

    (entry,) = list_models(config.output_dir)

    assert "damaged entry" in entry.problem


def test_a_missing_file_is_told_by_verify(config):
    install_model(config)
    (config.output_dir / "catalan_config.yaml").unlink()

    assert verify_model("catalan", config.output_dir) == ["catalan_config.yaml is missing"]


def test_an_unknown_model_is_answered_with_the_known_ones(config, nano_base):
    install_model(config)

    with pytest.raises(RegistryError, match="'catalá' is not installed") as caught:
        find_model("catalá", config.output_dir, nano_base)

    assert caught.value.fix == "known: base, catalan; did you mean 'catalan'?"


def test_the_base_is_a_model_too(nano_base, tmp_path):
    files = locate_base(nano_base)

    for name in ("base", "gpt.pth", nano_base / "gpt.pth"):
        found = find_model(name, tmp_path, files)
        assert (found.gpt, found.languages, found.header) == (files.gpt, ("zh", "en"), None)
    assert base_entry(files).label == "gpt.pth (11.9MB, v2.0, zh/en)"


def test_a_checkpoint_of_a_run_can_be_named_by_its_path(run, nano_base, tmp_path):
    found = find_model(run / "checkpoints" / "best.pth", tmp_path, nano_base)

    assert found.tokenizer.samefile(run / "tokenizer" / "catalan_bpe.model")
    assert found.languages == ("ca",)


def test_the_index_is_rebuilt_from_the_entries(config):
    install_model(config)
    (config.output_dir / "registry.json").write_text("garbage")

    index = json.loads(rebuild_index(config.output_dir).read_text())

    assert index["models"]["catalan"]["label"] == LABEL
    assert index["models"]["catalan"]["tokenizer"]["sha256"]


def test_measured_memory_replaces_the_estimate(config, nano_base):
    install_model(config)

    record_vram("catalan", config.output_dir, 5 * GB)

    (entry,) = list_models(config.output_dir, locate_base(nano_base))
    assert entry.vram_line == "VRAM: 5.0 GB (measured)"


def test_an_empty_or_missing_folder_has_no_models(tmp_path):
    assert list_models(tmp_path) == []
    assert list_models(tmp_path / "absent") == []


def test_the_commands_install_and_list(config, capsys):
    flags = ["--checkpoint", str(config.checkpoint), "--tokenizer", str(config.tokenizer)]
    flags += ["--output-name", "catalan", "--output_dir", str(config.output_dir)]
    flags += ["--base", str(config.base)]

    assert install_main(flags) == 0
    printed = capsys.readouterr().out
    assert f"installed {LABEL}" in printed
    assert "Tokenizer: catalan_bpe.model (60 vocab)" in printed
    assert "base unchanged" in printed

    listing = ["--model-dir", str(config.output_dir), "--base", str(config.base)]
    assert models_main([*listing, "--verify"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("gpt.pth (11.9MB, v2.0, zh/en)\n")
    assert "verified: 1 installed models" in printed
    assert models_main([*listing, "--json"]) == 0
    assert [entry["name"] for entry in json.loads(capsys.readouterr().out)] == ["base", "catalan"]

    (config.output_dir / "catalan_bpe.model").write_bytes(b"x")
    assert models_main([*listing, "--verify"]) == 2
    assert "catalan_bpe.model was changed" in capsys.readouterr().err
