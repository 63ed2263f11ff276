"""Format `safetensors`: weights without code, and a Python factory that builds the module."""

from __future__ import annotations

import copy
import importlib.abc
import importlib.util
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Final, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from serving.config import ConfigError
from serving.models.manifest import verified_bytes, verified_path
from serving.models.repository import WEIGHTS_OF, ModelEntry
from serving.models.torch_model import FirstOutput, TorchModel, resolve_device

# Two models may both call their file net.py, and a new version's must not meet the old one's.
_SERIAL: Final = itertools.count()


class _SourceLoader(importlib.abc.InspectLoader):
    """Imports given source text: no compiled file is read or written beside a model."""

    def __init__(self, source: str, path: Path) -> None:
        self._source = source
        self._path = path

    def get_source(self, fullname: str) -> str:
        return self._source

    def get_filename(self, fullname: str) -> str:
        return str(self._path)

    def get_code(self, fullname: str) -> object:  # type: ignore[override]
        # The base class compiles without a path, and tracebacks would name no file.
        return self.source_to_code(self._source, str(self._path))


def load_safetensors(entry: ModelEntry, device: str) -> TorchModel:
    """Build the module with the model's factory and load its weights into it.

    Raises:
        ConfigError: code is not trusted, a file is missing or is not the one in the manifest,
            the factory does not give a module, or the weights do not fit the module.
    """
    where = resolve_device(device)
    module = _build(entry)
    try:
        weights = load_file(verified_path(entry.directory, WEIGHTS_OF["safetensors"]))
        module.load_state_dict(weights)
    except (SafetensorError, RuntimeError) as error:
        raise ConfigError(f"{entry.weights}: {' '.join(str(error).split())}") from None
    module.eval().requires_grad_(requires_grad=False).to(where)
    return TorchModel(
        entry,
        where,
        module.forward,
        getattr(module, "forward_with_features", None),
        lambda: FirstOutput(copy.deepcopy(module)),
    )


def _build(entry: ModelEntry) -> torch.nn.Module:
    factory = entry.config.factory
    if not factory or not entry.config.trust_code:
        raise ConfigError(
            f"model '{entry.name}': format safetensors runs the code that `factory` names; set "
            f"`trust_code: true` in model.yaml if you trust whoever wrote it"
        )
    file, _, function = factory.partition(":")
    if not file.isidentifier() or not function.isidentifier():
        raise ConfigError(f"model '{entry.name}': factory '{factory}' must be `module:function`")
    path, source = _find_source(entry, f"{file}.py")
    try:
        build = cast(
            Callable[[], torch.nn.Module], getattr(_import_private(path, source), function)
        )
        module = build()
    except Exception as error:  # noqa: BLE001 - anything may happen in somebody's own code
        raise ConfigError(f"{path}: {type(error).__name__}: {error}") from None
    if not isinstance(module, torch.nn.Module):
        raise ConfigError(f"{path}: {function}() must return a torch.nn.Module")
    return module


def _find_source(entry: ModelEntry, name: str) -> tuple[Path, str]:
    beside_weights = entry.directory / name
    if beside_weights.is_file():
        return beside_weights, verified_bytes(entry.directory, name).decode()
    # Shared by all versions, so no version's manifest can list it.
    shared = entry.directory.parent / name
    try:
        return shared, shared.read_text(encoding="utf-8")
    except OSError:
        raise ConfigError(f"{beside_weights}: missing; `factory` in model.yaml names it") from None


def _import_private(path: Path, source: str) -> ModuleType:
    name = f"_vigil_model_{next(_SERIAL)}_{path.stem}"
    loader = _SourceLoader(source, path)
    spec = importlib.util.spec_from_loader(name, loader, origin=str(path))
    if spec is None:
        raise ImportError(f"cannot import {path}")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pickling look a class's module up by name.
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
