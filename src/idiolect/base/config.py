"""YAML to a dataclass and back; an unknown key is an error that names the nearest known one."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from pydantic import TypeAdapter, ValidationError

from idiolect.base.errors import ConfigError, did_you_mean
from idiolect.base.files import write_text

Config = TypeVar("Config")


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in ``path``.

    Raises:
        ConfigError: The file is missing, is not YAML, or is not a mapping.
    """
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"no such file: {path}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"not a YAML file: {error}", where=str(path)) from error
    if not isinstance(value, dict):
        raise ConfigError("not a mapping of keys to values", where=str(path))
    return value


def from_mapping(kind: type[Config], values: dict[str, Any], *, where: str) -> Config:
    """Return a ``kind`` (a dataclass) made of ``values``, checked and converted by type.

    Raises:
        ConfigError: A key is unknown, missing, or has a value of the wrong type.
    """
    known = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise ConfigError(
                f"unknown key {key!r}", where=where, fix=did_you_mean(str(key), known)
            )
    try:
        config: Config = _adapter(cast(Any, kind)).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{field}: {first['msg']}", where=where) from error
    return config


def to_mapping(config: object) -> dict[str, Any]:
    """Return ``config`` (a dataclass) as plain values that YAML and JSON can hold."""
    mapping: dict[str, Any] = _adapter(cast(Any, type(config))).dump_python(config, mode="json")
    return mapping


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Return what reads and writes ``kind``; making it takes longer than reading one entry."""
    return TypeAdapter(kind)


def write_yaml(path: Path, config: object) -> None:
    """Write ``config`` (a dataclass or a mapping), complete, to ``path``."""
    values = config if isinstance(config, dict) else to_mapping(config)
    write_text(path, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
