#!/usr/bin/env python3
"""Do the codes of a clip depend on the clips that it is batched with? Counted on real clips::

python benchmarks/batch_invariance.py --base BASE --audio-dir DIR --batch-size 8
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

import idiolect.data.extractor
from idiolect.audio.io import Waveform, read_audio
from idiolect.base.units import SEMANTIC_SAMPLE_RATE, format_duration
from idiolect.data.extraction import MIN_CLIP_SEC
from idiolect.data.extractor import Extractor
from idiolect.data.features import Features
from idiolect.models.published import locate_base


def main() -> int:
    """Extract everything alone, batched, and batched without the guard; return 1 on a flip."""
    flags = _parse_flags()
    extractor = Extractor.from_base(locate_base(flags.base), flags.device)
    clips = _read(flags.audio_dir, flags.limit)
    num_seconds = sum(map(len, clips)) / SEMANTIC_SAMPLE_RATE
    print(f"{len(clips)} clips, {format_duration(num_seconds)}")
    alone = _extract(extractor, clips, 1, "alone")
    batched = _extract(extractor, clips, flags.batch_size, f"batches of {flags.batch_size}")
    num_flips = _report(alone, batched)
    idiolect.data.extractor.SAFE_MARGIN = 0.0
    label = f"batches of {flags.batch_size}, no clip computed again"
    _report(alone, _extract(extractor, clips, flags.batch_size, label))
    return int(num_flips > 0)


def _parse_flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--audio-dir", type=Path, required=True)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--limit", type=int, default=0, help="clips to take; 0 is all")
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


def _read(folder: Path, limit: int) -> list[Waveform]:
    known = {f".{name.lower()}" for name in soundfile.available_formats()}
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in known)
    clips = [read_audio(path, SEMANTIC_SAMPLE_RATE)[0] for path in paths[: limit or None]]
    return sorted((c for c in clips if len(c) > MIN_CLIP_SEC * SEMANTIC_SAMPLE_RATE), key=len)


def _extract(
    extractor: Extractor, clips: Sequence[Waveform], batch_size: int, label: str
) -> list[Features]:
    calls = []
    backbone = extractor.listeners.codec.encoder[0]
    count = backbone.register_forward_hook(lambda *_: calls.append(1))
    started = time.process_time()
    features = []
    for start in range(0, len(clips), batch_size):
        features += extractor.extract(clips[start : start + batch_size])
    count.remove()
    again = len(calls) - -(-len(clips) // batch_size)
    seconds = time.process_time() - started
    print(f"{label}: {seconds:.1f} s of CPU, {again} clips computed again")
    return features


def _report(alone: Sequence[Features], batched: Sequence[Features]) -> int:
    num_codes = sum(len(one.codes) for one in alone)
    num_flips = sum(
        int((one.codes != other.codes).sum()) if one.codes.shape == other.codes.shape else num_codes
        for one, other in zip(alone, batched, strict=True)
    )
    latents = max(
        float(np.abs(one.latents.astype(np.float32) - other.latents).max())
        for one, other in zip(alone, batched, strict=True)
    )
    print(f"  {num_flips} of {num_codes} codes differ; largest change of a latent {latents:.1e}")
    return num_flips


if __name__ == "__main__":
    raise SystemExit(main())
