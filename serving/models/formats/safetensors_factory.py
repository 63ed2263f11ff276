"""Format `safetensors`: weights without code, and a Python factory that builds the module."""

from __future__ import annotations

import copy

import torch

from serving.config import ConfigError
from serving.models.formats.factory import run_factory
from serving.models.repository.folder import ModelEntry
from serving.models.repository.manifest import verified_path
from serving.models.torch.assembly import assemble
from serving.models.torch.model import FirstOutput, TorchModel, resolve_device
from serving.models.torch.precision import runs_at_precision
from serving.models.torch.tensor_names import FORWARD, arguments_of_method, bound
from serving.models.torch.weights_file import load_weights


def load_safetensors(entry: ModelEntry, device: str) -> TorchModel:
    """Build the module with the model's factory and load its weights into it.

    Raises:
        ConfigError: code is not trusted, a file is missing or is not the one in the manifest,
            the factory does not give a module, or the weights or the inputs do not fit the module.
    """
    where = resolve_device(device)
    module = _build(entry, where)
    run, run_with_features = runs_at_precision(entry, module, where)

    def private() -> FirstOutput:
        # Explanations need gradients, which a converted module gives roughly or not at all.
        is_as_made = entry.config.precision == "fp32"
        own = copy.deepcopy(module) if is_as_made else _build(entry, where)
        return FirstOutput(own, bound(entry, own, arguments_of_method(own, FORWARD)))

    return assemble(entry, where, run, run_with_features, private)


def _build(entry: ModelEntry, device: torch.device) -> torch.nn.Module:
    path, module = run_factory(entry)
    if not isinstance(module, torch.nn.Module):
        raise ConfigError(f"{path}: {entry.config.factory} must return a torch.nn.Module")
    weights = verified_path(entry.directory, entry.weights.name)
    load_weights(module, weights, entry.config.factory or "")
    try:
        return module.eval().requires_grad_(requires_grad=False).to(device)
    except (NotImplementedError, RuntimeError) as error:
        message = " ".join(str(error).split())[:300]
        raise ConfigError(f"{entry.weights}: {message}") from None
