"""Features that stand in for those that are not extracted yet: random, of the right lengths.

A plan needs how long clips are and something to compute on. What is there already is used.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from idiolect.base.units import CODE_RATE_HZ
from idiolect.data.extraction import MAX_CLIP_SEC, MIN_CLIP_SEC
from idiolect.data.extractor import fingerprint_of
from idiolect.data.features import FEATURES_DIR, Features, FeatureStore, features_dir
from idiolect.data.manifest import Utterance
from idiolect.models.config import NUM_LATENTS, GptDims
from idiolect.models.published import BaseFiles


class Shelf:
    """Features of clips: those that are there already, and random ones of the right length.

    Args:
        clips: By id.
        store: What was extracted; None when nothing was.
        dims: Of the model.
    """

    def __init__(
        self, clips: dict[str, Utterance], store: FeatureStore | None, dims: GptDims
    ) -> None:
        self._clips = clips
        self._store = store
        self._dims = dims

    @property
    def missing(self) -> list[str]:
        """Clips whose features are not there."""
        return [clip for clip in self._clips if not self._is_there(clip)]

    def __contains__(self, utterance_id: str) -> bool:
        clip = self._clips.get(utterance_id)
        return clip is not None and (
            self._is_there(utterance_id) or MIN_CLIP_SEC <= clip.duration_sec <= MAX_CLIP_SEC
        )

    def get(self, utterance_id: str) -> Features:
        """Return the features of ``utterance_id``, or random ones."""
        if self._store is not None and utterance_id in self._store:
            return self._store.get(utterance_id)
        rng = np.random.default_rng(len(utterance_id))
        count, dim = self.num_codes(utterance_id), self._dims.dim
        return Features(
            codes=rng.integers(0, self._dims.start_code, count).astype(np.uint16),
            latents=rng.normal(size=(NUM_LATENTS, dim)).astype(np.float16),
            emotion=rng.normal(size=dim).astype(np.float16),
        )

    def num_codes(self, utterance_id: str) -> int:
        """Return how many codes ``utterance_id`` has, or would have by its duration."""
        if self._store is not None and utterance_id in self._store:
            return self._store.num_codes(utterance_id)
        return round(self._clips[utterance_id].duration_sec * CODE_RATE_HZ)

    def _is_there(self, utterance_id: str) -> bool:
        return self._store is not None and utterance_id in self._store


def extracted(manifests: Collection[Path], files: BaseFiles) -> dict[Path, FeatureStore]:
    """Return the features that there are; the networks are hashed only if there are any."""
    held = [path for path in manifests if (path.parent / FEATURES_DIR).is_dir()]
    if not held:
        return {}
    fingerprint = fingerprint_of(files)
    return {path: FeatureStore.open(features_dir(path, fingerprint)) for path in held}
