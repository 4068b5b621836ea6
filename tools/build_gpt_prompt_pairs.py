#!/usr/bin/env python3
"""A manifest to prompt/target pairs: ``idiolect pairs``. Guide: tools/README.md."""

from idiolect.cli.pairs import main

if __name__ == "__main__":
    raise SystemExit(main(prog="tools/build_gpt_prompt_pairs.py"))
