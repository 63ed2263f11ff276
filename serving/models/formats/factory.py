"""Runs the factory that `model.yaml` names: code beside the weights, checked and trusted first."""

from __future__ import annotations

import importlib.abc
import importlib.util
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

from serving.config import ConfigError
from serving.models.repository.folder import ModelEntry
from serving.models.repository.manifest import verified_bytes

# Two models may both call their file net.py, and a new version's must not meet the old one's.
_SERIAL: Final = itertools.count()


class _SourceLoader(importlib.abc.InspectLoader):
    """Imports given source: no compiled file is read or written beside a model."""

    def __init__(self, source: bytes, path: Path) -> None:
        self._source = source
        self._path = path

    def get_source(self, fullname: str) -> str:
        return importlib.util.decode_source(self._source)

    def get_filename(self, fullname: str) -> str:
        return str(self._path)

    def get_code(self, fullname: str) -> object:  # type: ignore[override]
        # The base class compiles without a path, and tracebacks would name no file.
        return self.source_to_code(self._source, str(self._path))


def require_trust(entry: ModelEntry, what: str) -> None:
    """Return if `model.yaml` trusts the model's code; `what` says what would run it.

    Raises:
        ConfigError: it does not.
    """
    if not entry.config.trust_code:
        raise ConfigError(
            f"model '{entry.name}': {what}; set `trust_code: true` in model.yaml if you trust "
            f"whoever wrote it"
        )


def run_factory(entry: ModelEntry) -> tuple[Path, object]:
    """Return the factory's file and the object that the factory builds.

    Raises:
        ConfigError: code is not trusted, the file is missing or is not the one in the
            manifest, or the factory raises.
    """
    require_trust(entry, f"format {entry.config.format} runs the code that `factory` names")
    factory = entry.config.factory or ""
    file, _, function = factory.partition(":")
    if not file.isidentifier() or not function.isidentifier():
        raise ConfigError(f"model '{entry.name}': factory '{factory}' must be `module:function`")
    path, source = _find_source(entry, f"{file}.py")
    try:
        return path, _build(path, source, function)
    except KeyboardInterrupt:  # somebody ends the process
        raise
    except BaseException as error:  # noqa: BLE001 - also `sys.exit` in somebody's own code
        raise ConfigError(f"{path}: {type(error).__name__}: {error}") from None


def _find_source(entry: ModelEntry, name: str) -> tuple[Path, bytes]:
    beside_weights = entry.directory / name
    if beside_weights.is_file():
        return beside_weights, verified_bytes(entry.directory, name)
    # Shared by all versions, so no version's manifest can list it.
    shared = entry.directory.parent / name
    if shared.exists() and not shared.is_file():
        raise ConfigError(f"{shared}: is no regular file")
    try:
        return shared, shared.read_bytes()
    except OSError:
        raise ConfigError(f"{beside_weights}: missing; `factory` in model.yaml names it") from None


def _build(path: Path, source: bytes, function: str) -> object:
    """Return what a function of this source builds; the module stays imported for it alone."""
    name = f"_vigil_model_{next(_SERIAL)}_{path.stem}"
    loader = _SourceLoader(source, path)
    spec = importlib.util.spec_from_loader(name, loader, origin=str(path))
    if spec is None:
        raise ImportError(f"cannot import {path}")
    module = importlib.util.module_from_spec(spec)
    # Code finds the files that lie beside it by this.
    module.__file__ = str(path)
    # Dataclasses and pickling look a class's module up by name.
    sys.modules[name] = module
    try:
        loader.exec_module(module)
        build = cast(Callable[[], object], getattr(module, function))
        return build()
    except BaseException:
        sys.modules.pop(name, None)  # the code may have done so itself
        raise
