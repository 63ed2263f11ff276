"""Loads an entry of the repository with the loader of its format."""

from __future__ import annotations

import os

from serving.config import ConfigError
from serving.models.contract import Model
from serving.models.formats.onnx.graph import load_onnx
from serving.models.formats.python_class import load_python
from serving.models.formats.safetensors_factory import load_safetensors
from serving.models.formats.sklearn.estimator import load_sklearn
from serving.models.formats.torch_export.graph import load_torch_export
from serving.models.formats.torchscript import load_torchscript
from serving.models.repository.folder import ModelEntry


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
    match entry.config.format:
        case "safetensors":
            return load_safetensors(entry, device)
        case "torch_export":
            return load_torch_export(entry, device)
        case "torchscript":
            return load_torchscript(entry, device)
        case "onnx":
            return load_onnx(entry, device)
        case "sklearn":
            return load_sklearn(entry)
        case "python":
            return load_python(entry)
        case "remote":
            # Here, because it loads gRPC, which must not be in a process that forks others.
            from serving.models.formats.remote import load_remote

            return load_remote(entry)
