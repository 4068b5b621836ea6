"""``registry.json``: every entry of a folder in one file, for other programs to read.

Nothing here depends on it, and it can be made anew at any time.
"""

from __future__ import annotations

from pathlib import Path

from idiolect.base.config import to_mapping
from idiolect.base.errors import RegistryError
from idiolect.base.files import write_json
from idiolect.base.log import get_logger
from idiolect.registry.entry import GPT_PREFIX, read_entry

REGISTRY_FILE = "registry.json"


def rebuild_index(model_dir: Path) -> Path:
    """Write ``registry.json`` from the entries in ``model_dir``; return its path.

    A damaged entry is left out, and said: it must not keep the others from being found.
    """
    models = {}
    for path in sorted(model_dir.glob(f"{GPT_PREFIX}*.json")):
        try:
            entry = read_entry(path)
        except RegistryError as error:
            get_logger().warning("%s is not in %s: %s", path.name, REGISTRY_FILE, error.problem)
            continue
        models[entry.name] = {"label": entry.label, **to_mapping(entry)}
    write_json(model_dir / REGISTRY_FILE, {"models": models})
    return model_dir / REGISTRY_FILE
