#!/usr/bin/env python3
"""Install a trained checkpoint: ``idiolect install``. Guide: tools/README.md."""

from idiolect.cli.install import main

if __name__ == "__main__":
    raise SystemExit(main(prog="tools/install_trained_model.py"))
