"""Load and run a base of the published size: every file, key, shape and type as published.

    python benchmarks/published_size.py DIR

writes to DIR (about 7 GB, once) a base whose tensors follow the published key inventories with
random values, then measures, in this process: locating, loading, one short sentence, peak memory.
What it says is noise; what it proves is that files of that layout and size load and run.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

from idiolect.audio.io import write_wav
from idiolect.base.guard import making_base
from idiolect.data.formants import VOICES, speak_formants
from idiolect.models.checkpoint import save_tensors
from idiolect.models.published import locate_base
from idiolect.registry.store import base_entry
from idiolect.synthesis.pipeline import IndexTTS2

DATA = Path(__file__).parents[1] / "tests/golden/data"
W2V_BERT_CONFIG = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "position_embeddings_type": "relative_key",
}
BIGVGAN_CONFIG = {
    "num_mels": 80,
    "upsample_initial_channel": 1536,
    "upsample_rates": [4, 4, 2, 2, 2, 2],
    "upsample_kernel_sizes": [8, 8, 4, 4, 4, 4],
    "resblock_kernel_sizes": [3, 7, 11],
    "resblock_dilation_sizes": [[1, 3, 5]] * 3,
}
GIGABYTE = 1024**3


def tensors(inventory: str) -> dict[str, torch.Tensor]:
    """Return random tensors for each key of an inventory; variances and norms are positive."""
    return _random(json.loads((DATA / f"keys/{inventory}.json").read_text()))


def _random(node: dict) -> dict:
    return {
        key: _random(value) if isinstance(value, dict) else _tensor(key, *value)
        for key, value in node.items()
    }


def _tensor(key: str, shape: list[int], dtype: str) -> torch.Tensor:
    if not dtype.startswith("float"):
        return torch.zeros(shape, dtype=getattr(torch, dtype))
    values = 0.02 * torch.randn(shape, dtype=getattr(torch, dtype))
    return values.abs() + 0.5 if key.endswith(("running_var", "weight_g", "gamma")) else values


def write_base(folder: Path) -> None:
    """Write the base; a network at a time, so that memory stays low."""
    cache = folder / "hf_cache"
    for name in ("w2v-bert-2.0", "bigvgan"):
        (cache / name).mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_bytes((DATA / "config_v2_official.yaml").read_bytes())
    (folder / "bpe.model").write_bytes((DATA / "bpe.model").read_bytes())
    save_tensors(folder / "gpt.pth", tensors("gpt_v2"))
    save_tensors(folder / "s2mel.pth", tensors("s2mel_checkpoint_layout"))
    save_tensors(
        folder / "wav2vec2bert_stats.pt", {"mean": torch.zeros(1024), "var": torch.ones(1024)}
    )
    save_tensors(folder / "feat1.pt", torch.randn(73, 192))
    save_tensors(folder / "feat2.pt", torch.randn(73, 1280))
    save_file(tensors("w2v_bert"), cache / "w2v-bert-2.0/model.safetensors")
    (cache / "w2v-bert-2.0/config.json").write_text(json.dumps(W2V_BERT_CONFIG))
    save_file(tensors("semantic_codec"), cache / "semantic_codec_model.safetensors")
    save_tensors(cache / "campplus_cn_common.bin", tensors("campplus"))
    save_tensors(cache / "bigvgan/bigvgan_generator.pt", {"generator": tensors("bigvgan")})
    (cache / "bigvgan/config.json").write_text(json.dumps(BIGVGAN_CONFIG))


def main(folder: Path) -> None:
    """Write the base if it is not there, measure, and print a table."""
    if not (folder / "config.yaml").exists():
        with making_base(folder):
            write_base(folder)
    prompt = folder.with_name("prompt.wav")
    write_wav(prompt, speak_formants("bon dia a tothom", VOICES[0]), 22_050)
    started = time.perf_counter()
    files = locate_base(folder)
    located = time.perf_counter()
    entry = base_entry(files)
    described = time.perf_counter()
    tts = IndexTTS2(folder / "config.yaml", folder)
    loaded = time.perf_counter()
    rate, samples = tts.infer(prompt, "Hello.", seed=1, max_mel_tokens=50)
    spoken = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIGABYTE
    for label, value in (
        ("all files, GB", sum(p.stat().st_size for p in folder.rglob("*.*")) / GIGABYTE),
        ("locate every file, s", located - started),
        ("describe gpt.pth by its header, s", described - located),
        ("load all networks, s", loaded - described),
        (f"speak {len(samples) / rate:.1f} s with 3 beams, s", spoken - loaded),
        ("peak resident memory, GB", peak),
    ):
        print(f"| {label} | {value:.2f} |")
    print(f"{entry.label}\n{entry.tokenizer_line}\n{entry.vram_line}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
