"""Makes a file of safetensors of weights that `torch.save` pickled."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError

from serving.config import ConfigError
from serving.models.formats.unreadable import unreadable
from serving.models.torch.weights_file import write_weights

# Where checkpoints of common training loops keep the weights.
_INSIDE: Final = ("state_dict", "model_state_dict", "model")


def to_safetensors(file: Path, target: Path) -> list[str]:
    """Write the weights that the pickle `file` holds to `target`; return what to tell the user.

    Args:
        file: what `torch.save` made of a module or its `state_dict`.
        target: the file to write.

    Raises:
        ConfigError: it is damaged, or holds something else or tensors of another kind.
    """
    loaded = _read_torch(file)
    weights = loaded.state_dict() if isinstance(loaded, torch.nn.Module) else loaded
    for key in _INSIDE:
        if isinstance(weights, Mapping) and isinstance(weights.get(key), Mapping):
            weights = weights[key]
    if not isinstance(weights, Mapping) or not weights:
        raise ConfigError(f"{file}: holds a {type(loaded).__name__}, no weights of a module")
    odd = [name for name, value in weights.items() if not isinstance(value, torch.Tensor)]
    if odd:
        raise ConfigError(f"{file}: '{odd[0]}' is no tensor, so these are no weights of a module")
    try:
        write_weights(weights, target)
    # What a file of safetensors cannot hold: torch and safetensors raise five kinds for it.
    except (SafetensorError, KeyError, RuntimeError, TypeError, ValueError) as error:
        message = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"{file}: its weights do not fit safetensors, which hold dense tensors of plain "
            f"datatypes by name: {type(error).__name__}: {message}; convert them before saving"
        ) from None
    note = (
        "serve it with `format: safetensors`, `factory: net:build`, `trust_code: true`; beside "
        "model.yaml put a net.py whose build() makes the module"
    )
    return [note]


def _read_torch(file: Path) -> Any:
    try:
        if not _is_torchscript(file):
            return torch.load(file, map_location="cpu", weights_only=False, pickle_module=pickle)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a pickle may raise anything
        raise unreadable(file, error) from None
    raise ConfigError(
        f"{file}: is a TorchScript archive, no pickle; serve it as format torchscript"
    )


def _is_torchscript(file: Path) -> bool:
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())
