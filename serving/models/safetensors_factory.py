"""Format `safetensors`: weights without code, and a Python factory that builds the module."""

from __future__ import annotations

import copy
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from serving.config import ConfigError
from serving.models.factory import run_factory
from serving.models.manifest import verified_path
from serving.models.precision import runs_at_precision
from serving.models.repository import WEIGHTS_OF, ModelEntry
from serving.models.torch_assembly import assemble
from serving.models.torch_model import FirstOutput, TorchModel, resolve_device

_MAX_MESSAGE: Final = 500
"""A file may name a million tensors that the module does not have, and torch tells them all."""


def load_safetensors(entry: ModelEntry, device: str) -> TorchModel:
    """Build the module with the model's factory and load its weights into it.

    Raises:
        ConfigError: code is not trusted, a file is missing or is not the one in the manifest,
            the factory does not give a module, or the weights do not fit the module.
    """
    where = resolve_device(device)
    module = _build(entry, where)
    run, run_with_features = runs_at_precision(entry, module, where)
    if entry.config.precision == "fp32":
        return assemble(
            entry, where, run, run_with_features, lambda: FirstOutput(copy.deepcopy(module))
        )
    # Explanations need gradients, which a converted module gives roughly or not at all.
    return assemble(entry, where, run, run_with_features, lambda: FirstOutput(_build(entry, where)))


def _build(entry: ModelEntry, device: torch.device) -> torch.nn.Module:
    path, module = run_factory(entry)
    if not isinstance(module, torch.nn.Module):
        raise ConfigError(f"{path}: {entry.config.factory} must return a torch.nn.Module")
    try:
        weights = load_file(verified_path(entry.directory, WEIGHTS_OF["safetensors"]))
        _require_kinds(entry, module, weights)
        module.load_state_dict(weights)
        return module.eval().requires_grad_(requires_grad=False).to(device)
    except (SafetensorError, RuntimeError) as error:
        message = " ".join(str(error).split())[:_MAX_MESSAGE]
        raise ConfigError(f"{entry.weights}: {message}") from None


def _require_kinds(
    entry: ModelEntry, module: torch.nn.Module, weights: dict[str, torch.Tensor]
) -> None:
    # Torch casts what it loads, and integers for weights would be numbers of another meaning.
    for name, wanted in module.state_dict().items():
        given = weights.get(name)
        if given is not None and isinstance(wanted, torch.Tensor) and _kind(given) != _kind(wanted):
            raise ConfigError(
                f"{entry.weights}: '{name}' has {given.dtype}, the module that "
                f"{entry.config.factory} builds has {wanted.dtype}; save the weights of that module"
            )


def _kind(tensor: torch.Tensor) -> tuple[bool, bool]:
    return tensor.is_floating_point(), tensor.is_complex()
