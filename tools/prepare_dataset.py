#!/usr/bin/env python3
"""Audio and transcripts to a manifest: ``idiolect prepare``. Guide: tools/README.md."""

from idiolect.cli.prepare import main

if __name__ == "__main__":
    raise SystemExit(main(prog="tools/prepare_dataset.py"))
