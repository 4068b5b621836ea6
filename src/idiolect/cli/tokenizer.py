"""``idiolect tokenizer``: a manifest's texts to a tokenizer, or to an extension of the base's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from idiolect.base.errors import ConfigError
from idiolect.base.progress import track
from idiolect.cli.surface import run_command
from idiolect.data.manifest import parse_source, read_manifest
from idiolect.text.train_bpe import TokenizerConfig, train_tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerCommand:
    """What to train a tokenizer on, and how."""

    manifest: tyro.conf.UseAppendAction[tuple[str, ...]]
    """Manifest whose texts to learn from; may be repeated. PATH::ca overrides its language."""
    config: Annotated[TokenizerConfig, tyro.conf.arg(name="")]
    language: str | None = None
    """Language of all texts (ca, es, fr ...); that of each line of the manifest when left out."""

    def __post_init__(self) -> None:
        if not self.manifest:
            raise ConfigError(
                "no text to learn from", where="--manifest", fix="give --manifest train.jsonl"
            )
        for manifest in self.manifest:
            if parse_source(manifest).weight != 1.0:
                raise ConfigError(
                    f"a tokenizer learns from each text once, and {manifest} has a weight",
                    where="--manifest",
                    fix="leave the weight out; training takes it",
                )


def main(argv: Sequence[str] | None = None, prog: str = "idiolect tokenizer") -> int:
    """Run the command on ``argv``; return its exit code."""
    return run_command(
        TokenizerCommand,
        _train,
        argv,
        prog=prog,
        description="Train a tokenizer on the texts of a manifest.",
    )


def _train(command: TokenizerCommand) -> None:
    texts = track(_texts(command), "preparing texts", unit="texts")
    print(train_tokenizer(texts, command.config).summary())


def _texts(command: TokenizerCommand) -> Iterator[tuple[str, str | None]]:
    for manifest in command.manifest:
        spec = parse_source(manifest)
        for utterance in read_manifest(spec.path):
            yield utterance.text, spec.language or command.language or utterance.language
