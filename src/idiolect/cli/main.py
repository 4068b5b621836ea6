"""``idiolect``: one entry point; each command is loaded only when it is asked for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from idiolect.base.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_USER, did_you_mean
from idiolect.base.log import package_version

COMMANDS = {
    "prepare": "audio and transcripts to a checked manifest",
    "pairs": "a manifest to prompt/target pairs",
    "tokenizer": "train or extend a BPE tokenizer",
    "features": "extract codes and prompt features ahead of training",
    "train": "fine-tune the GPT of a base",
    "install": "put a trained checkpoint where synthesis and the page find it",
    "models": "list installed models",
    "synth": "speak a text with a voice",
    "compare": "let two models speak the same sentences, and measure both",
    "webui": "the page: load a model and speak",
    "doctor": "what is there, what is missing, what fits this machine",
    "download": "fetch the published base",
    "nano": "make a base of pocket size in the published layout",
    "corpus": "fetch a public corpus of real speech",
    "demo": "run the whole way on a small synthetic corpus",
}
"""Every command and what it does; each lives in ``idiolect.cli.<name>``."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that ``argv`` names; return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in {"-h", "--help"}:
        return _show_overview()
    name, *rest = arguments
    if name in {"-V", "--version"}:
        print(f"idiolect {package_version()}")
        return EXIT_OK
    if name not in COMMANDS:
        print(f"error: no command {name!r}\n  fix: {did_you_mean(name, COMMANDS)}", file=sys.stderr)
        return EXIT_USER
    try:
        module = importlib.import_module(f"idiolect.cli.{name}")
        code: int = module.main(rest, prog=f"idiolect {name}")
    except KeyboardInterrupt:  # while modules are loaded; later ones are told where they come
        return EXIT_INTERRUPTED
    return code


def _show_overview() -> int:
    try:
        print(_overview(), flush=True)
    except BrokenPipeError:
        from idiolect.cli.surface import end_quietly

        return end_quietly()
    return EXIT_OK


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = ["usage: idiolect COMMAND [FLAGS]", "", "Teach IndexTTS-2 a new language.", ""]
    lines += [f"  {name:<{width}}  {purpose}" for name, purpose in COMMANDS.items()]
    lines += ["", "idiolect COMMAND --help explains every flag."]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
