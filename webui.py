#!/usr/bin/env python3
"""The page: ``idiolect webui``. Guide: docs/WEBUI_GUIDE.md."""

from idiolect.cli.webui import main

if __name__ == "__main__":
    raise SystemExit(main(prog="webui.py"))
