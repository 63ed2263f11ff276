"""Makes a file of safetensors of weights that `torch.save` pickled."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

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
        ConfigError: it is damaged or holds something else.
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
    write_weights(weights, target)
    note = (
        "serve it with `format: safetensors`, `factory: net:build`, `trust_code: true`; beside "
        "model.yaml put a net.py whose build() makes the module"
    )
    return [note]


def _read_torch(file: Path) -> Any:
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                raise ConfigError(
                    f"{file}: is a TorchScript archive, no pickle; serve it as format torchscript"
                )
    try:
        return torch.load(file, map_location="cpu", weights_only=False, pickle_module=pickle)
    except Exception as error:  # noqa: BLE001 - a pickle may raise anything
        raise unreadable(file, error) from None
