"""Loads an entry of the repository with the loader of its format."""

from __future__ import annotations

import os
from collections.abc import Callable
from pkgutil import resolve_name

from serving.config import ConfigError
from serving.models.contract import Model
from serving.models.formats.libraries import require
from serving.models.repository.folder import ModelEntry

Load = Callable[[ModelEntry, str], Model]
"""Loads an entry of its format onto a device (auto, cpu, cuda or cuda:N); raises ConfigError."""


def load(entry: ModelEntry, device: str) -> Model:
    """Load the model onto `device` (auto, cpu, cuda or cuda:N).

    Raises:
        ConfigError: files are missing, damaged or do not fit the configuration.
    """
    # Builds of ONNX Runtime send events from their import on, be it by a model's own code, and
    # heed only this.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        return _loaded(entry, device)
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001 - as `sys.exit` in a model's own code
        raise ConfigError(
            f"model '{entry.name}' cannot be loaded: {type(error).__name__}: {error}"
        ) from None


def _loaded(entry: ModelEntry, device: str) -> Model:
    kind = entry.config.descriptor
    if kind.library is not None:
        require(kind.library, f"model '{entry.name}': format {kind.name}")
    # Here, when the first model wants it: some formats load what others must not have.
    load_it: Load = resolve_name(kind.load)
    return load_it(entry, device)
