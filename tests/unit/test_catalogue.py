import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from idiolect.base.errors import CheckpointError
from idiolect.models.checkpoint import CheckpointHeader, load_checkpoint, save_checkpoint
from idiolect.models.published import locate_base
from idiolect.models.safe_file import load_safe, safe_outline, save_safe
from idiolect.registry import describe, shelf
from idiolect.registry.catalogue import Catalogue
from idiolect.registry.entry import read_entry, write_entry
from idiolect.registry.install import InstallConfig, install_model
from registry_kit import make_tokenizer, trained_checkpoint


@pytest.fixture(scope="module")
def made(nano_base, tmp_path_factory) -> Path:
    """A folder with one model that was copied by hand."""
    folder = tmp_path_factory.mktemp("made")
    tokenizer = make_tokenizer(folder / "ca_bpe.model")
    trained_checkpoint(folder / "gpt_ca.pth", nano_base, tokenizer)
    return folder


@pytest.fixture
def models(made, tmp_path) -> Path:
    return shutil.copytree(made, tmp_path / "models")


@pytest.fixture
def catalogue(models, nano_base) -> Catalogue:
    return Catalogue(models, locate_base(nano_base))


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """The files of weights that were opened, by name."""
    names: list[str] = []
    real = describe.outline_of

    def watched(path, **kwargs):
        names.append(path.name)
        return real(path, **kwargs)

    monkeypatch.setattr(describe, "outline_of", watched)
    return names


def names(catalogue: Catalogue) -> list[str]:
    return [entry.name for entry in catalogue.entries()]


def test_the_base_is_first_and_the_models_follow_by_name(catalogue, models):
    shutil.copyfile(models / "gpt_ca.pth", models / "gpt_a.pth")

    assert names(catalogue) == ["base", "a", "ca"]
    assert list(catalogue.by_label()) == [entry.label for entry in catalogue.entries()]


def test_nothing_is_opened_twice_while_it_stays_as_it_is(catalogue, opened):
    first = catalogue.entries()

    assert catalogue.entries() == first
    assert catalogue.by_label()
    assert sorted(opened) == ["gpt.pth", "gpt_ca.pth"]


def test_a_new_file_is_seen_by_the_next_call_and_only_it_is_opened(catalogue, models, opened):
    before, version = catalogue.entries(), catalogue.version()
    opened.clear()
    shutil.copyfile(models / "gpt_ca.pth", models / "gpt_new.pth")

    assert names(catalogue) == ["base", "ca", "new"]
    assert opened == ["gpt_new.pth"]
    assert catalogue.version() > version
    (models / "gpt_new.pth").unlink()
    assert catalogue.entries() == before


def test_a_file_that_was_replaced_is_read_anew(catalogue, models, nano_base):
    assert catalogue.models()[0].step == 100
    weights, header = load_checkpoint(models / "gpt_ca.pth")
    save_checkpoint(models / "gpt_ca.pth", weights, replace(header, step=200))

    assert catalogue.models()[0].step == 200


def test_a_damaged_file_says_why_until_it_is_mended(catalogue, models, made):
    (models / "gpt_ca.pth").write_bytes(b"half")

    assert "not a file of weights" in catalogue.models()[0].problem
    assert catalogue.problems()[0].startswith("gpt_ca.pth is not offered: not a file of weights")
    assert len(catalogue.by_label()) == 1
    shutil.copyfile(made / "gpt_ca.pth", models / "gpt_ca.pth")
    assert catalogue.problems() == []


def test_a_tokenizer_that_comes_later_mends_the_model(catalogue, models):
    (models / "ca_bpe.model").rename(models / "hidden")
    assert "which is not here" in catalogue.problems()[0]

    (models / "hidden").rename(models / "ca_bpe.model")

    assert catalogue.problems() == []


def test_a_tokenizer_is_hashed_once_however_many_models_there_are(catalogue, models, monkeypatch):
    read: list[str] = []
    real = shelf.Tokenizer.load
    monkeypatch.setattr(
        shelf.Tokenizer, "load", lambda path: read.append(Path(path).name) or real(path)
    )
    for index in range(5):
        shutil.copyfile(models / "gpt_ca.pth", models / f"gpt_m{index}.pth")
        shutil.copyfile(models / "ca_bpe.model", models / f"m{index}_bpe.model")

    assert len(catalogue.entries()) == 7

    assert sorted(name for name in read if name != "bpe.model") == sorted(
        ["ca_bpe.model", *(f"m{index}_bpe.model" for index in range(5))]
    )


def test_of_equal_tokenizers_a_model_has_the_one_of_its_name(catalogue, models):
    shutil.copyfile(models / "gpt_ca.pth", models / "gpt_va.pth")
    shutil.copyfile(models / "ca_bpe.model", models / "va_bpe.model")

    found = {entry.name: entry.tokenizer.name for entry in catalogue.models()}

    assert found == {"ca": "ca_bpe.model", "va": "va_bpe.model"}


def installed(models: Path, nano_base: Path, folder: Path) -> None:
    install_model(
        InstallConfig(
            checkpoint=models / "gpt_ca.pth",
            tokenizer=models / "ca_bpe.model",
            output_name="ca",
            output_dir=folder,
            base=nano_base,
        )
    )


def test_an_installed_model_is_listed_without_opening_its_weights(
    models, nano_base, tmp_path, opened
):
    installed(models, nano_base, tmp_path / "installed")
    catalogue = Catalogue(tmp_path / "installed", locate_base(nano_base))

    (entry,) = catalogue.models()

    assert opened == ["gpt.pth"]
    assert (entry.problem, entry.vocab_size, entry.step) == ("", 60, 100)
    assert entry.vram_bytes > entry.loaded_bytes > 0


def test_weights_of_the_same_size_but_another_time_are_not_believed(
    models, nano_base, tmp_path, opened
):
    folder = tmp_path / "installed"
    installed(models, nano_base, folder)
    weights, header = load_checkpoint(folder / "gpt_ca.pth")
    save_checkpoint(folder / "gpt_ca.pth", weights, replace(header, step=999))
    written = read_entry(folder / "gpt_ca.json")
    assert (folder / "gpt_ca.pth").stat().st_size == written.checkpoint.size_bytes

    assert Catalogue(folder).models()[0].step == 999
    assert opened == ["gpt_ca.pth"]


def test_weights_of_the_right_time_need_their_tokenizer_all_the_same(models, nano_base, tmp_path):
    folder = tmp_path / "installed"
    installed(models, nano_base, folder)
    (folder / "ca_bpe.model").unlink()

    assert "was trained with the tokenizer" in Catalogue(folder).models()[0].problem


def test_an_entry_of_another_text_front_end_is_refused_without_opening_the_weights(
    models, nano_base, tmp_path
):
    folder = tmp_path / "installed"
    installed(models, nano_base, folder)
    entry = read_entry(folder / "gpt_ca.json")
    write_entry(folder, replace(entry, front_end={"ca": "idiolect-text/0:ca"}))

    assert "idiolect-text/0:ca" in Catalogue(folder).models()[0].problem


def test_many_threads_may_ask_at_once(catalogue, models):
    for index in range(4):
        shutil.copyfile(models / "gpt_ca.pth", models / f"gpt_m{index}.pth")
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(len(catalogue.entries()))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [6] * 8


def test_a_model_as_safetensors_is_one_like_any_other(catalogue, models):
    weights, header = load_checkpoint(models / "gpt_ca.pth")
    (models / "gpt_ca.pth").unlink()
    save_safe(models / "gpt_ca.safetensors", weights, header)

    (entry,) = catalogue.models()

    assert entry.label == f"gpt_ca.safetensors ({entry.label.split('(')[1]}"
    assert (entry.problem, entry.step, entry.languages) == ("", 100, ("ca",))


def test_two_files_of_one_name_are_told_apart(catalogue, models):
    save_safe(models / "gpt_ca.safetensors", *load_checkpoint(models / "gpt_ca.pth"))

    problems = catalogue.problems()

    assert len(catalogue.by_label()) == 2
    assert problems == [
        "gpt_ca.safetensors is not offered: gpt_ca.pth is here, too, and has the same name"
    ]


def test_a_file_that_nobody_may_read_does_not_hide_the_others(catalogue, models):
    (models / "gpt_gone.pth").symlink_to(models / "nowhere")

    assert names(catalogue) == ["base", "ca"]


def test_safetensors_carry_the_header_and_every_bit(models, tmp_path):
    weights, header = load_checkpoint(models / "gpt_ca.pth")
    weights["half"] = torch.ones(3, dtype=torch.bfloat16)
    save_safe(tmp_path / "m.safetensors", weights, header)

    loaded, same = load_safe(tmp_path / "m.safetensors")
    outline = safe_outline(tmp_path / "m.safetensors")

    assert same == outline.header == header
    assert all(torch.equal(loaded[name], tensor) for name, tensor in weights.items())
    assert outline.weight_bytes == sum(tensor.nbytes for tensor in weights.values())
    assert outline.shapes["half"] == (3,)


def test_tensors_that_share_memory_are_written_apart(tmp_path):
    whole = torch.arange(6.0)
    save_safe(tmp_path / "m.safetensors", {"a": whole, "b": whole, "c": whole[2:4]}, None)

    loaded, header = load_safe(tmp_path / "m.safetensors")

    assert header is None
    assert loaded["c"].tolist() == [2.0, 3.0]
    assert torch.equal(loaded["a"], loaded["b"])


@pytest.mark.parametrize("content", [b"", b"half", b"\xff" * 64])
def test_damaged_safetensors_are_said_to_be(tmp_path, content):
    (tmp_path / "m.safetensors").write_bytes(content)

    for read in (load_safe, safe_outline):
        with pytest.raises(CheckpointError, match="not a file of weights"):
            read(tmp_path / "m.safetensors")


def test_a_newer_header_is_refused(tmp_path):
    save_safe(tmp_path / "m.safetensors", {"a": torch.ones(1)}, CheckpointHeader(format_version=99))

    with pytest.raises(CheckpointError, match="newer than this program"):
        safe_outline(tmp_path / "m.safetensors")
