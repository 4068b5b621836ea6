import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from idiolect.base.errors import GuardError, RegistryError
from idiolect.cli.models import main
from idiolect.models.checkpoint import load_checkpoint, save_checkpoint
from idiolect.models.published import locate_base
from idiolect.models.safe_file import load_safe
from idiolect.registry.catalogue import Catalogue
from idiolect.registry.change import MAX_NOTES, set_notes
from idiolect.registry.entry import read_entry, write_entry
from idiolect.registry.export import ExportForm, export_model, without_paths
from idiolect.registry.install import InstallConfig, install_model
from idiolect.registry.remove import plan_removal, remove_model
from idiolect.registry.store import verify_model
from registry_kit import make_tokenizer, trained_checkpoint

SCORES = {"probe_cer_base.en": 0.05, "probe_cer.en": 0.0625, "val_loss": 3.25}


@pytest.fixture(scope="module")
def made(nano_base, tmp_path_factory) -> Path:
    """A folder with one installed model."""
    folder = tmp_path_factory.mktemp("made")
    tokenizer = make_tokenizer(folder / "ca_bpe.model")
    path = trained_checkpoint(folder / "best.pth", nano_base, tokenizer)
    weights, header = load_checkpoint(path)
    data = {"train": [{"manifest": "/home/marta/train.jsonl", "clips": 16}]}
    save_checkpoint(path, weights, replace(header, data=data, scores=SCORES))
    install_model(
        InstallConfig(
            checkpoint=path,
            tokenizer=tokenizer.path,
            output_name="catalan",
            output_dir=folder / "models",
            base=nano_base,
        )
    )
    return folder / "models"


@pytest.fixture
def models(made, tmp_path) -> Path:
    return shutil.copytree(made, tmp_path / "models")


@pytest.fixture
def catalogue(models, nano_base) -> Catalogue:
    return Catalogue(models, locate_base(nano_base))


@pytest.fixture
def place(models, nano_base) -> list[str]:
    return ["--model-dir", str(models), "--base", str(nano_base)]


def copy_by_hand(models: Path, name: str) -> None:
    shutil.copyfile(models / "gpt_catalan.pth", models / f"gpt_{name}.pth")


def test_show_prints_the_whole_entry(place, capsys):
    assert main(["show", "gpt_catalan.pth", *place]) == 0

    printed = capsys.readouterr().out
    for line in (
        "base: nano, v2.0, gpt.pth ",
        "optimizer steps: 100",
        "trained on: train: manifest /home/marta/train.jsonl, clips 16",
        "letters wrong before and after the training: en 5.0% -> 6.2% (+1.2)",
        "val_loss: 3.25",
        "licence: Apache-2.0",
        "text front-end of ca: idiolect-text/1:ca",
    ):
        assert line in printed
    assert main(["show", "base", *place]) == 0
    assert capsys.readouterr().out.startswith("gpt.pth (")


def test_an_unknown_action_or_model_is_answered_with_the_known_ones(place, capsys):
    assert main(["shwo", *place]) == 2
    assert "did you mean 'show'?" in capsys.readouterr().err
    assert main(["show", "catalna", *place]) == 2
    assert "did you mean 'catalan'?" in capsys.readouterr().err


def test_list_is_what_is_printed_without_an_action(place, capsys):
    assert main(place) == 0
    plain = capsys.readouterr().out
    assert main(["list", *place]) == 0

    assert capsys.readouterr().out == plain


def test_verify_names_what_was_changed(place, models, capsys):
    assert main(["verify", "catalan", *place]) == 0
    assert "verified: 1 installed models" in capsys.readouterr().out
    (models / "catalan_bpe.model").write_bytes(b"x")

    assert main(["verify", *place]) == 2
    assert "catalan_bpe.model was changed" in capsys.readouterr().err


def test_a_note_is_kept_with_the_model_and_in_the_index(place, models, catalogue, capsys):
    assert main(["note", "catalan", "  good <b>vowels</b>\n", *place]) == 0

    assert catalogue.models()[0].notes == "good <b>vowels</b>"
    index = json.loads((models / "registry.json").read_text())
    assert index["models"]["catalan"]["notes"] == "good <b>vowels</b>"
    assert verify_model("catalan", models) == []
    assert main(["note", "catalan", "", *place]) == 0
    assert catalogue.models()[0].notes == ""


def test_a_note_makes_an_entry_for_what_was_copied_by_hand(models, catalogue):
    copy_by_hand(models, "copy")

    set_notes("copy", "from a friend", catalogue)

    entry = next(each for each in catalogue.models() if each.name == "copy")
    assert (entry.notes, entry.step, entry.languages) == ("from a friend", 100, ("ca",))
    assert verify_model("copy", models) == []


def test_a_note_that_is_too_long_or_on_a_damaged_model_is_refused(models, catalogue):
    (models / "gpt_bad.pth").write_bytes(b"half")

    with pytest.raises(RegistryError, match=f"room for {MAX_NOTES}"):
        set_notes("catalan", "x" * (MAX_NOTES + 1), catalogue)
    with pytest.raises(RegistryError, match="cannot be loaded"):
        set_notes("bad", "x", catalogue)


def test_remove_deletes_the_files_of_one_model_and_no_others(place, models, catalogue, capsys):
    (models / "LICENSE.txt").write_text("the terms")
    (models / "mine.txt").write_text("mine")

    assert main(["remove", "catalan", "--yes", *place]) == 0

    assert "removed catalan" in capsys.readouterr().out
    left = {path.name for path in models.iterdir()} - {".registry.lock"}
    assert left == {"LICENSE.txt", "mine.txt", "registry.json"}
    assert json.loads((models / "registry.json").read_text()) == {"models": {}}
    assert catalogue.models() == []


def test_remove_asks_and_without_anybody_to_ask_deletes_nothing(place, models, capsys):
    before = sorted(models.iterdir())

    assert main(["remove", "catalan", *place]) == 2

    assert "--yes" in capsys.readouterr().err
    assert sorted(models.iterdir()) == before


@pytest.mark.parametrize("name", ["base", "gpt.pth"])
def test_the_base_is_never_removed(place, nano_base, name, capsys):
    assert main(["remove", name, "--yes", *place]) == 2

    assert "the base is never removed" in capsys.readouterr().err
    assert (nano_base / "gpt.pth").is_file()


def test_a_tokenizer_that_another_model_uses_stays(models, catalogue):
    copy_by_hand(models, "other")

    removal = plan_removal("catalan", catalogue)
    remove_model(removal)

    assert [(path.name, user) for path, user in removal.shared] == [("catalan_bpe.model", "other")]
    assert catalogue.problems() == []
    assert [entry.name for entry in catalogue.models()] == ["other"]


def test_a_damaged_model_can_be_removed_and_keeps_its_claim_to_its_tokenizer(models, catalogue):
    (models / "gpt_catalan.pth").write_bytes(b"half")
    copy_by_hand(models, "half")

    assert "catalan_bpe.model" not in {p.name for p in plan_removal("half", catalogue).files}
    remove_model(plan_removal("catalan", catalogue))

    assert not (models / "gpt_catalan.pth").exists()


def test_an_entry_that_names_files_elsewhere_deletes_none_of_them(models, catalogue, tmp_path):
    (tmp_path / "precious.model").write_text("mine")
    entry = read_entry(models / "gpt_catalan.json")
    for name in ("../precious.model", str(tmp_path / "precious.model")):
        write_entry(models, replace(entry, tokenizer=replace(entry.tokenizer, name=name)))

        assert {p.parent for p in plan_removal("catalan", catalogue).files} == {models}


def test_a_link_into_the_base_is_not_removed(models, catalogue, nano_base):
    (models / "gpt_link.pth").symlink_to(nano_base / "gpt.pth")

    with pytest.raises(GuardError):
        plan_removal("link", catalogue)


@pytest.mark.parametrize("form", ["safetensors", "pth"])
def test_a_copy_of_an_exported_folder_is_an_installed_model(catalogue, nano_base, tmp_path, form):
    done = export_model("catalan", catalogue, tmp_path / "out", ExportForm(form=form))

    there = Catalogue(shutil.copytree(tmp_path / "out", tmp_path / "m"), locate_base(nano_base))
    (entry,) = there.models()
    assert entry.problem == ""
    assert entry.checkpoint.name == f"gpt_catalan.{form}"
    assert (entry.step, entry.scores, entry.languages) == (100, SCORES, ("ca",))
    assert verify_model("catalan", tmp_path / "m") == []
    assert b"/home/marta" not in b"".join(path.read_bytes() for path in done.files)


def test_bf16_takes_half_and_speaks_in_the_same_memory(catalogue, tmp_path, nano_base):
    form = ExportForm(form="safetensors", precision="bf16")
    done = export_model("catalan", catalogue, tmp_path / "out", form)

    weights, header = load_safe(tmp_path / "out" / "gpt_catalan.safetensors")
    whole, _ = load_checkpoint(catalogue.model_dir / "gpt_catalan.pth")
    assert header.step == 100
    assert all(torch.equal(weights[name], each.bfloat16()) for name, each in whole.items())
    (entry,) = Catalogue(tmp_path / "out", locate_base(nano_base)).models()
    assert entry.weight_bytes == done.entry.weight_bytes < 0.51 * entry.loaded_bytes
    assert entry.vram_bytes == catalogue.models()[0].vram_bytes


def test_an_export_can_be_installed(catalogue, tmp_path, nano_base):
    done = export_model("catalan", catalogue, tmp_path / "out", ExportForm())

    report = install_model(
        InstallConfig(
            checkpoint=done.files[0],
            tokenizer=done.files[1],
            output_name="again",
            output_dir=tmp_path / "m",
            base=nano_base,
        )
    )

    assert (report.entry.step, report.entry.languages) == (100, ("ca",))


def test_an_export_does_not_write_over_anything_unasked(place, catalogue, tmp_path, capsys):
    assert main(["export", "catalan", str(tmp_path / "out"), *place]) == 0
    assert "exported gpt_catalan.safetensors" in capsys.readouterr().out

    assert main(["export", "catalan", str(tmp_path / "out"), "--form", "pth", *place]) == 2
    assert "--force" in capsys.readouterr().err
    again = ["export", "catalan", str(tmp_path / "out"), "--form", "pth", "--force"]
    assert main([*again, *place]) == 0
    assert not (tmp_path / "out" / "gpt_catalan.safetensors").exists()
    with pytest.raises(RegistryError, match="folder of the installed models"):
        export_model("catalan", catalogue, catalogue.model_dir, ExportForm(), force=True)


def test_nothing_is_exported_into_the_base(catalogue, nano_base):
    with pytest.raises(GuardError):
        export_model("catalan", catalogue, nano_base, ExportForm())


def test_of_paths_only_the_last_name_is_passed_on():
    told = without_paths({"a": ["/home/marta/x.jsonl", "rel/y"], "b": {"c": "C:\\u\\z"}, "d": 3})

    assert told == {"a": ["x.jsonl", "rel/y"], "b": {"c": "z"}, "d": 3}
