"""``python -m idiolect`` is ``idiolect``."""

from idiolect.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
