"""Small tokenizers and checkpoints that belong together, for the tests of the registry."""

from collections.abc import Sequence
from pathlib import Path

import torch

from idiolect.base.hashes import sha256_file
from idiolect.data.formants import CATALAN_SENTENCES
from idiolect.models.checkpoint import (
    CheckpointHeader,
    load_checkpoint,
    save_checkpoint,
    transfer_vocabulary,
)
from idiolect.text.tokenizer import Tokenizer
from idiolect.text.train_bpe import TokenizerConfig, train_tokenizer


def make_tokenizer(
    path: Path, texts: Sequence[str] = CATALAN_SENTENCES, *, vocab_size: int = 60
) -> Tokenizer:
    """Train a tokenizer at ``path``."""
    prefix = path.with_suffix("")
    config = TokenizerConfig(output_prefix=prefix, vocab_size=vocab_size, model_type="unigram")
    train_tokenizer([(text, "ca") for text in texts], config)
    prefix.with_suffix(".vocab").unlink()
    prefix.with_suffix(".json").unlink()
    return Tokenizer.load(path)


def plain_weights(rows: int) -> dict[str, torch.Tensor]:
    """As much of a GPT as detection looks at, for a vocabulary of ``rows - 1`` pieces."""
    return {"text_embedding.weight": torch.zeros(rows, 2)}


def trained_checkpoint(
    path: Path, base: Path, tokenizer: Tokenizer, *, with_header: bool = True, step: int = 100
) -> Path:
    """Write what a training from ``base`` with ``tokenizer`` would leave."""
    weights, _ = load_checkpoint(base / "gpt.pth")
    weights, _ = transfer_vocabulary(weights, Tokenizer.load(base / "bpe.model"), tokenizer)
    header = CheckpointHeader(
        step=step,
        base_sha256=sha256_file(base / "gpt.pth"),
        tokenizer_sha256=tokenizer.sha256,
        vocab_size=tokenizer.vocab_size,
        languages=("ca",),
        front_end={"ca": "idiolect-text/1:ca"},
        data={"clips": 16, "hours": 0.01},
        scores={"val_loss": 3.25},
    )
    save_checkpoint(path, weights, header if with_header else None)
    return path
