"""The packed base: whole, small, honest about itself, and never half written."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from idiolect.base import places
from idiolect.base.config import read_yaml
from idiolect.base.errors import CheckpointError, GuardError
from idiolect.base.guard import base_dir_of
from idiolect.base.places import BasePlace, base_path
from idiolect.base.snapshot import BaseSnapshot
from idiolect.models.checkpoint import load_tensors
from idiolect.models.loading import load_codec, load_gpt, load_s2mel
from idiolect.models.published import locate_base
from idiolect.models.terms import NANO_NOTICE
from idiolect.nano import pack
from idiolect.nano.pack import check_size, check_sums, export_base, halved, pack_base
from nano_kit import random_run


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return random_run(tmp_path_factory.mktemp("nano") / "run")


@pytest.fixture(scope="module")
def packed(run, tmp_path_factory) -> Path:
    """A packed base; shared, so never written to."""
    folder = tmp_path_factory.mktemp("packed") / "base"
    pack_base(run, folder)
    return folder


@pytest.fixture
def shipped(packed, monkeypatch) -> Path:
    """The packed base as the one that comes with the package."""
    monkeypatch.setattr(places, "SHIPPED_DIR", packed)
    return packed


def test_the_base_is_whole_and_small_enough_to_ship(packed):
    files = locate_base(packed)

    assert check_size(packed) <= 25_000_000
    assert files.config.mark is not None
    assert (files.config.mark.name, files.config.mark.languages) == ("nano", ("en", "es"))
    assert sum(files.config.emotion_groups) == len(load_tensors(files.emotion_matrix))
    check_sums(packed)


def test_tensors_are_half_on_disk_and_whole_in_memory(packed, run):
    files = locate_base(packed)
    on_disk = load_tensors(files.gpt)["model"]

    gpt = load_gpt(files.gpt, files.config.gpt)

    assert on_disk["text_embedding.weight"].dtype == torch.float16
    assert on_disk["final_norm.weight"].dtype == torch.float16
    assert load_tensors(files.s2mel)["net"]["cfm"]["estimator.input_pos"].dtype == torch.int16
    assert {p.dtype for p in gpt.parameters()} == {torch.float32}
    trained = load_tensors(run / "voice" / "gpt.pth")["model"]["text_embedding.weight"]
    assert torch.equal(gpt.text_embedding.weight, trained.half().float())
    assert {p.dtype for p in load_s2mel(files).parameters()} == {torch.float32}
    assert {p.dtype for p in load_codec(files).parameters()} == {torch.float32}


def test_the_configuration_has_the_pieces_of_the_tokenizer(packed, run):
    rows = len(load_tensors(run / "voice" / "gpt.pth")["model"]["text_embedding.weight"])

    assert read_yaml(packed / "config.yaml")["gpt"]["number_text_tokens"] == rows - 1


def test_the_card_says_what_it_heard_and_under_which_licences(packed):
    card = (packed / "README.md").read_text()

    assert "| eSpeak NG | GPL-3.0-or-later | Catalan | 2 | 0 |" in card
    assert NANO_NOTICE in card
    assert "The judges have not heard it yet." in card
    assert "CAM++" not in card


def test_packing_again_puts_the_scores_and_the_teacher_in_the_card(run, packed, tmp_path):
    again = shutil.copytree(run, tmp_path / "run")
    base = shutil.copytree(packed, tmp_path / "base")
    finding = {"test": "copy", "measure": "en: letters wrong", "judge": "nano's recogniser"}
    finding |= {"value": 0.061, "limit": 0.08, "at_least": False, "passed": True}
    (again / "judge").mkdir()
    (again / "judge" / "verdict.json").write_text(json.dumps({"findings": [finding]}))
    (again / "speaker" / "likeness.pth").touch()

    pack_base(again, base)

    card = (base / "README.md").read_text()
    assert "| copy: en: letters wrong | 6.1% | at most 8% | yes | nano's recogniser |" in card
    assert "from a published CAM++ (Apache-2.0)" in card
    check_sums(base)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "run"]


def test_a_stage_that_is_not_done_is_named(run, tmp_path):
    partial = shutil.copytree(run, tmp_path / "run")
    (partial / "flow" / "s2mel.pth").unlink()

    with pytest.raises(CheckpointError, match=r"not done: flow/s2mel\.pth"):
        pack_base(partial, tmp_path / "base")

    assert not (tmp_path / "base").exists()


def test_weights_that_do_not_load_are_not_packed(run, packed, tmp_path):
    spoilt = shutil.copytree(run, tmp_path / "run")
    shutil.copyfile(spoilt / "codec" / "wav2vec2bert_stats.pt", spoilt / "flow" / "s2mel.pth")
    base = shutil.copytree(packed, tmp_path / "base")
    before = BaseSnapshot.take(base).hashes

    with pytest.raises(CheckpointError, match="not an s2mel checkpoint"):
        pack_base(spoilt, base)

    assert BaseSnapshot.take(base).hashes == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "run"]


def test_what_is_not_a_nano_base_is_not_replaced(run, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")

    with pytest.raises(CheckpointError, match="no nano base is in it"):
        pack_base(run, tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_base_that_is_too_large_to_ship_is_told_with_its_largest_files(packed, monkeypatch):
    monkeypatch.setattr(pack, "MOST_BYTES", 1 << 20)

    with pytest.raises(CheckpointError, match=r"1\.0MB at most.*: gpt\.pth"):
        check_size(packed)


def test_a_file_that_is_too_large_is_told_though_the_whole_is_not(packed, monkeypatch):
    monkeypatch.setattr(pack, "MOST_FILE_BYTES", 8 << 20)

    with pytest.raises(CheckpointError, match=r"gpt\.pth"):
        check_size(packed)


@pytest.mark.parametrize("number", [1e5, float("nan"), float("inf")])
def test_a_number_that_half_precision_cannot_hold_is_refused(number):
    content = {"net": {"w": torch.full((2, 2), number)}}

    with pytest.raises(CheckpointError, match="float16 cannot hold"):
        halved(content, where=Path("s2mel.pth"))


def test_an_exported_base_is_the_shipped_one_byte_for_byte(shipped, tmp_path):
    size_bytes = export_base(tmp_path / "mine")

    assert BaseSnapshot.take(tmp_path / "mine").hashes == BaseSnapshot.take(shipped).hashes
    assert size_bytes == check_size(shipped)


def test_nothing_is_exported_over_what_is_there(shipped, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")

    with pytest.raises(CheckpointError, match="not an empty folder"):
        export_base(tmp_path)
    with pytest.raises(CheckpointError, match="not an empty folder"):
        export_base(tmp_path / "notes.txt")


def test_an_empty_folder_becomes_the_base(shipped, tmp_path):
    (tmp_path / "mine").mkdir()

    export_base(tmp_path / "mine")

    assert (tmp_path / "mine" / "gpt.pth").is_file()


def test_nothing_is_exported_into_a_base(shipped, nano_base):
    with pytest.raises(GuardError):
        export_base(nano_base / "inner")
    with pytest.raises(GuardError):
        export_base(shipped / "inner")


def test_a_copy_that_is_cut_short_leaves_nothing(shipped, tmp_path, monkeypatch):
    copied = []

    def fail_at_third(source, target):
        if len(copied) == 2:
            raise OSError(28, "No space left on device", str(target))
        copied.append(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)

    monkeypatch.setattr(pack, "copy_file", fail_at_third)
    with pytest.raises(OSError, match="No space left"):
        export_base(tmp_path / "mine")

    assert list(tmp_path.iterdir()) == []


def test_a_damaged_package_is_not_exported(packed, tmp_path, monkeypatch):
    damaged = shutil.copytree(packed, tmp_path / "damaged")
    (damaged / "feat1.pt").write_bytes(b"x")
    monkeypatch.setattr(places, "SHIPPED_DIR", damaged)

    with pytest.raises(CheckpointError, match=r"not as SHA256SUMS says: feat1\.pt"):
        export_base(tmp_path / "mine")

    assert not (tmp_path / "mine").exists()


def test_nano_names_the_shipped_base_and_the_files_in_it(shipped, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert base_path(Path("nano")) == shipped
    assert base_path(Path("nano/gpt.pth")) == shipped / "gpt.pth"
    assert BasePlace(base=Path("nano")).base == shipped
    assert locate_base("nano").gpt == shipped / "gpt.pth"
    assert base_dir_of(base_path(Path("nano/x"))) == shipped.resolve()


def test_a_folder_called_nano_is_that_folder(shipped, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nano").mkdir()

    assert base_path(Path("nano")) == Path("nano")
    assert base_path(Path("nano/gpt.pth")) == Path("nano/gpt.pth")


@pytest.mark.parametrize("name", ["./x/nano", "checkpoints", "/nano", "", "nanobot"])
def test_other_names_mean_what_they_say(shipped, name):
    assert base_path(Path(name)) == Path(name)
