"""Reading configurations from files and command lines."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from serving.config.log import is_path
from serving.config.model import ModelConfig
from serving.config.section import ConfigError, Section
from serving.config.server import ServerConfig
from serving.config.store_url import below
from serving.config.wording import first_problem

SectionT = TypeVar("SectionT", bound=Section)


def parse(kind: type[SectionT], raw: object, where: str) -> SectionT:
    """Validate `raw` (what YAML or JSON gave) as `kind`; `where` names the source in errors.

    Raises:
        ConfigError: with the first wrong key and what is wrong with it.
    """
    try:
        return kind.model_validate(raw if raw is not None else {})
    except ValidationError as error:
        raise ConfigError(f"{where}: {first_problem(error, kind)}") from None


def load_yaml(path: Path) -> object:
    """Read one YAML file.

    Raises:
        ConfigError: the file is missing or not YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, LookupError, RecursionError) as error:
        # Dates, numbers and booleans that are none make the reader raise what Python does.
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from None


def load_server(path: Path | None, overrides: Mapping[str, Any]) -> ServerConfig:
    """Load `vigil.yaml` (or the defaults) with command-line `overrides` merged on top.

    Relative paths in the file are relative to the file.

    Raises:
        ConfigError: something in the file or the overrides is wrong.
    """
    raw = load_yaml(path) if path else {}
    if raw is None:
        raw = {}
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: must be a mapping of keys to values")
    merged = dict(raw)
    if path:
        for key in ("models", "data_dir"):
            if isinstance(merged.get(key), str):
                merged[key] = path.parent / merged[key]
        merged |= _placed(merged, path.parent)
        log = merged.get("log")
        if isinstance(log, dict) and isinstance(url := log.get("url"), str) and is_path(url):
            merged["log"] = {**log, "url": str(path.parent / url)}
    for key, value in overrides.items():
        inner = merged.get(key)
        if isinstance(value, dict):
            if inner is not None and not isinstance(inner, dict):
                continue  # no section; it is refused below
            value = {**(inner or {}), **value}
        merged[key] = value
    return parse(ServerConfig, merged, str(path) if path else "configuration")


def _placed(raw: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return `store_url` with its path relative to the file; nothing where it has none."""
    url = raw.get("store_url")
    return {"store_url": below(url, folder)} if isinstance(url, str) else {}


def load_model(directory: Path) -> ModelConfig:
    """Load `model.yaml` of the model in `directory`.

    Raises:
        ConfigError: the file is missing or wrong.
    """
    path = directory / "model.yaml"
    return parse(ModelConfig, _load_regular(path), str(path))


def insists(directory: Path) -> bool:
    """Whether a `model.yaml` says `required: true` itself, however wrong it is otherwise."""
    try:
        raw = _load_regular(directory / "model.yaml")
    except ConfigError:
        return False
    return isinstance(raw, dict) and raw.get("required") is True


def _load_regular(path: Path) -> object:
    """Read a `model.yaml`; not from a pipe or a device, whose reading might never end.

    Raises:
        ConfigError: the file is missing, or is none, or not YAML.
    """
    try:
        regular = stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such file; every folder among the models needs one"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    if not regular:
        raise ConfigError(f"{path}: is no regular file")
    return load_yaml(path)
