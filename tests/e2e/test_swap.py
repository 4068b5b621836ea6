"""Swaps as a process lives through them: memory that comes back, and devices that change."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from clips import write_clip
from docs.guide import ROOT
from idiolect.models.published import locate_base
from idiolect.registry.entry import FileRecord, ModelEntry, read_entry, write_entry
from idiolect.synthesis.swap import ModelSlot
from registry_kit import make_tokenizer, trained_checkpoint

BRIEF = {"seed": 1, "language": "ca", "max_mel_tokens": 8, "num_beams": 1}
GPU = "cuda:0"
SOAK_SEC = 300
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


@pytest.fixture
def models_dir(nano_base, tmp_path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    tokenizer = make_tokenizer(folder / "catalan_bpe.model")
    path = trained_checkpoint(folder / "gpt_catalan.pth", nano_base, tokenizer)
    checkpoint = FileRecord(name=path.name, size_bytes=path.stat().st_size)
    write_entry(folder, ModelEntry(name="catalan", checkpoint=checkpoint, step=100))
    return folder


def speak(slot: ModelSlot, name: str, device: str, folder: Path) -> list[list[int]]:
    heard: list[list[int]] = []
    prompt = write_clip(folder / "voice.wav", seconds=0.4, seed=1)
    with slot.leased(name, device) as voice:
        said = voice.infer(
            prompt, "Bon dia.", on_codes=lambda codes: heard.append(codes.tolist()), **BRIEF
        )
    assert said[1].any()
    return heard


def allocated() -> int:
    """What tensors take on the GPU, without the workspace that cuBLAS keeps for the process."""
    torch.cuda.init()
    torch._C._cuda_clearCublasWorkspaces()
    return torch.cuda.memory_allocated(GPU)


@pytest.mark.slow
def test_many_threads_say_the_same_while_models_are_swapped_and_memory_stays(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks/soak.py"), str(tmp_path)]
    command += ["--threads", "4", "--swaps", "8", "--requests", "16", "--generations", "50"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=SOAK_SEC, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "0 lost, 0 with other codes than alone, 0 leases left" in done.stdout
    rows = [line.split("|") for line in done.stdout.splitlines() if line.startswith("| ")]
    first, last = (float(row[2]) for row in (rows[1], rows[-1]))
    assert last - first < 100, "megabytes of 50 requests"


@on_gpu
@pytest.mark.gpu
def test_a_model_moves_to_the_gpu_and_back_and_leaves_nothing_there(
    nano_base, models_dir, tmp_path
):
    before = allocated()
    slot = ModelSlot(locate_base(nano_base), models_dir)
    speak(slot, "catalan", "cpu", tmp_path)

    speak(slot, "catalan", GPU, tmp_path)
    assert [stack.device for stack in slot.status().stacks] == [GPU]
    assert torch.cuda.memory_allocated(GPU) - before >= slot.status().num_bytes

    slot.load("catalan", "cpu")
    assert [stack.device for stack in slot.status().stacks] == ["cpu"]
    assert allocated() == before


@on_gpu
@pytest.mark.gpu
def test_what_is_unloaded_leaves_the_gpu(nano_base, models_dir, tmp_path):
    before = allocated()
    slot = ModelSlot(locate_base(nano_base), models_dir, keep_loaded=2)
    codes = speak(slot, "catalan", GPU, tmp_path)
    speak(slot, "base", GPU, tmp_path)
    both = torch.cuda.memory_allocated(GPU)
    size = slot.status().models[0].num_bytes

    slot.unload("base")
    assert both - torch.cuda.memory_allocated(GPU) > 0.9 * size
    assert speak(slot, "catalan", GPU, tmp_path) == codes
    slot.unload()
    assert allocated() == before


@on_gpu
@pytest.mark.gpu
@pytest.mark.parametrize("half", [False, True])
def test_the_first_request_on_a_gpu_measures_its_memory(nano_base, models_dir, tmp_path, half):
    slot = ModelSlot(locate_base(nano_base), models_dir, half=half)

    speak(slot, "catalan", GPU, tmp_path)

    entry = read_entry(models_dir / "gpt_catalan.json")
    assert entry.vram_is_measured
    assert entry.vram_bytes >= slot.status().num_bytes
