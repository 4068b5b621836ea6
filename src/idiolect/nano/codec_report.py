"""What the codes of nano keep: how many are used, how firm they are, what is heard in them.

``B`` is batch, ``T`` code frames, ``N`` samples at 16 000 Hz.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from idiolect.audio.resample import resample_22k_to_16k
from idiolect.listening.recogniser import BATCH_CLIPS, Recogniser, heard_errors
from idiolect.listening.scores import LetterErrors
from idiolect.models.checkpoint import load_tensors, load_weights
from idiolect.models.codec import SemanticCodec
from idiolect.models.config import CodecDims
from idiolect.models.published import CODEC_FILE, SEMANTIC_DIR
from idiolect.nano.clips import Clips, open_clips
from idiolect.nano.codec import STATS_FILE, Ear, decode
from idiolect.nano.sounds import add_noise

NOISE_DB = -40.0
"""Of the noise by which the firmness of codes is tried, against the speech."""


@dataclass(frozen=True, slots=True)
class CodecReport:
    """Measured on the clips of one manifest."""

    num_codes: int
    used: float
    """Share of the codes that occur."""
    perplexity: float
    firm: float
    """Share of the codes that a little noise does not change."""
    repeated: float
    """Share of the codes that are the same as the one before."""
    cer: dict[str, float]
    """Of the recogniser, by language."""
    cer_of_codes: dict[str, float]
    """The same, when its upper layers hear features that were rebuilt from codes."""

    def as_dict(self) -> dict[str, object]:
        """Return plain values, for a file."""
        return asdict(self)


@torch.inference_mode()
def judge_codec(
    manifest: Path, encoder_folder: Path, folder: Path, dims: CodecDims, read_layer: int
) -> CodecReport:
    """Return the report of the codec in ``folder`` on the clips of ``manifest``.

    Args:
        manifest: Clips that no stage was trained on.
        encoder_folder: Of the encoder's stage.
        folder: Of the codec's stage.
        dims: Of the codec.
        read_layer: Of the encoder.
    """
    clips = open_clips(manifest, encoder_folder / "cache")
    judge = _Judge(encoder_folder / SEMANTIC_DIR, folder, dims, read_layer)
    for start in range(0, len(clips), BATCH_CLIPS):
        judge.take(clips, range(start, min(len(clips), start + BATCH_CLIPS)))
    return judge.report()


class _Judge:
    def __init__(self, semantic: Path, folder: Path, dims: CodecDims, read_layer: int) -> None:
        self._recogniser = Recogniser(semantic)
        stats = load_tensors(folder / STATS_FILE)
        self._ear = Ear(semantic, read_layer, stats)
        self._mean, self._std = stats["mean"], stats["var"].sqrt()
        self._read_layer = read_layer
        self._codec = SemanticCodec(dims).eval()
        load_weights(self._codec, load_tensors(folder / CODEC_FILE), where=folder / CODEC_FILE)
        self._counts: Counter[int] = Counter()
        self._firm: list[Tensor] = []
        self._repeated: list[Tensor] = []
        self._errors: dict[str, list[LetterErrors]] = defaultdict(list)
        self._errors_of_codes: dict[str, list[LetterErrors]] = defaultdict(list)

    def take(self, clips: Clips, indices: Sequence[int]) -> None:
        """Measure a batch of clips."""
        audios = [resample_22k_to_16k(clips.wave(index)[None])[0] for index in indices]
        codes, logits, lens = self._codes(audios)
        noisy, _, _ = self._codes([add_noise(audio, NOISE_DB, len(audio)) for audio in audios])
        mask = torch.arange(codes.shape[1]) < lens[:, None]
        features = decode(self._codec, self._codec.embed(codes), mask)
        heard = self._recogniser.spell(logits, lens)
        heard_in_codes = self._recogniser.spell(self._ear(features, mask), lens)
        self._counts.update(codes[mask].tolist())
        self._firm.append((codes == noisy)[mask])
        self._repeated.append((codes[:, 1:] == codes[:, :-1])[mask[:, 1:]])
        for row, index in enumerate(indices):
            spoken = clips.utterances[index]
            text, language = spoken.text, spoken.language
            self._errors[language].append(heard_errors(text, heard[row], language))
            self._errors_of_codes[language].append(
                heard_errors(text, heard_in_codes[row], language)
            )

    def _codes(self, audios: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return codes ``[B, T]``, what is heard without them ``[B, T, A]``, and lengths."""
        states, lens = self._recogniser.states(audios)
        features = (states[self._read_layer] - self._mean) / self._std
        codes, _ = self._codec.quantize(features, lens)
        return codes, self._recogniser.head(states[-1]), lens

    def report(self) -> CodecReport:
        """Return what was measured so far."""
        shares = torch.tensor(list(self._counts.values()), dtype=torch.double)
        shares /= shares.sum()
        num_codes = self._codec.dims.codebook_size
        return CodecReport(
            num_codes=num_codes,
            used=len(self._counts) / num_codes,
            perplexity=float(torch.exp(-(shares * shares.log()).sum())),
            firm=float(torch.cat(self._firm).double().mean()),
            repeated=float(torch.cat(self._repeated).double().mean()),
            cer=_rates(self._errors),
            cer_of_codes=_rates(self._errors_of_codes),
        )


def _rates(errors: dict[str, list[LetterErrors]]) -> dict[str, float]:
    return {language: LetterErrors.total(parts).rate for language, parts in errors.items()}
