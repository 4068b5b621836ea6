#!/usr/bin/env python3
"""Train or extend a tokenizer: ``idiolect tokenizer``. Guide: tools/tokenizer/README.md."""

from idiolect.cli.tokenizer import main

if __name__ == "__main__":
    raise SystemExit(main(prog="tools/tokenizer/train_bpe.py"))
