#!/usr/bin/env python3
"""Fine-tune the GPT: ``idiolect train``. Guide: trainers/README.md."""

from idiolect.cli.train import main

if __name__ == "__main__":
    raise SystemExit(main(prog="trainers/train_gpt_v2.py"))
