import shutil
from pathlib import Path

import pytest
import torch

from idiolect.base.snapshot import BaseSnapshot
from idiolect.cli.doctor import main
from idiolect.models.checkpoint import load_tensors, save_checkpoint, save_tensors

GB = 1 << 30


@pytest.fixture
def base(nano_base, tmp_path, monkeypatch) -> Path:
    """A base that a test may damage."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf_home"))
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(nano_base, tmp_path / "nano"))


def ask_doctor(base: Path, capsys, *flags: str) -> tuple[int, str]:
    code = main(["--base", str(base), *flags])
    return code, capsys.readouterr().out


def test_a_whole_base_works(base, capsys):
    snapshot = BaseSnapshot.take(base)

    code, said = ask_doctor(base, capsys)

    assert code == 0
    assert said.endswith("everything works\n")
    for name in ("the GPT", "w2v-bert", "the semantic codec", "s2mel", "CAMPPlus", "BigVGAN"):
        assert f"{name}: loads" in said
    assert "torch" in said
    assert "are free in the working folder" in said
    assert snapshot.verify()


def test_an_absent_base_is_one_fault_with_the_command_that_mends_it(base, capsys):
    code, said = ask_doctor(Path("checkpoints"), capsys)

    assert code == 1
    assert "lacks 11 files" in said
    assert "idiolect download checkpoints --accept-licence bilibili" in said


def test_every_damaged_file_is_named_at_once(base, capsys):
    (base / "gpt.pth").write_bytes(b"half")
    s2mel = load_tensors(base / "s2mel.pth", mmap=False)
    del s2mel["net"]["gpt_layer"]
    save_tensors(base.parent / "s2mel.pth", s2mel)
    shutil.move(base.parent / "s2mel.pth", base / "s2mel.pth")

    code, said = ask_doctor(base, capsys)

    assert code == 1
    assert "the GPT: would not load: not a file of weights" in said
    assert "gpt_layer.0.weight: not in the file" in said
    assert "CAMPPlus: loads" in said


def test_a_configuration_of_something_else_is_a_fault(base, capsys):
    (base / "config.yaml").write_text("model: other\n")

    code, said = ask_doctor(base, capsys)

    assert code == 1
    assert "not a configuration of IndexTTS-2" in said


def test_a_tokenizer_of_another_base_is_a_fault(base, capsys, tmp_path):
    weights = load_tensors(base / "gpt.pth", mmap=False)["model"]
    for name in ("text_embedding.weight", "text_head.weight", "text_head.bias"):
        weights[name] = weights[name][:100]
    save_checkpoint(tmp_path / "gpt.pth", weights)
    shutil.move(tmp_path / "gpt.pth", base / "gpt.pth")

    code, said = ask_doctor(base, capsys)

    assert code == 1
    assert "gpt.pth has 100 text rows: they are not of one base" in said


def test_installed_models_are_looked_at_too(base, capsys, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "gpt_broken.pth").write_bytes(b"half")

    code, said = ask_doctor(base, capsys)

    assert code == 1
    assert "FAULT gpt_broken.pth: not a file of weights" in said


def test_files_are_compared_with_their_sums_when_asked(base, capsys):
    snapshot = BaseSnapshot.take(base)
    lines = "".join(f"{digest}  {name}\n" for name, digest in snapshot.hashes.items())
    (base / "SHA256SUMS").write_text(lines)

    assert "files are as SHA256SUMS says" in ask_doctor(base, capsys, "--verify")[1]

    (base / "feat1.pt").write_bytes((base / "feat1.pt").read_bytes() + b"\0")
    code, said = ask_doctor(base, capsys, "--verify")
    assert code == 1
    assert "not as SHA256SUMS says: feat1.pt" in said


@pytest.mark.parametrize(
    ("free", "verdict"),
    [
        pytest.param(8 * GB, "fits GPU 0", id="roomy"),
        pytest.param(1 << 20, "does not fit", id="no"),
    ],
)
def test_what_fits_the_gpu_is_told_from_what_is_free(base, capsys, monkeypatch, free, verdict):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index=0: "A Card")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (free, 8 * GB))

    code, said = ask_doctor(base, capsys)

    assert code == 0
    assert "GPU 0, A Card" in said
    assert f"(estimate): {verdict}" in said
    assert "full fine-tuning takes about" in said
