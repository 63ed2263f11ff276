"""Loads an entry of the repository with the loader of its format."""

from __future__ import annotations

from serving.models.contract import Model
from serving.models.repository import ModelEntry
from serving.models.safetensors_factory import load_safetensors
from serving.models.torch_export import load_torch_export


def load(entry: ModelEntry, device: str) -> Model:
    """Load the model onto `device` (auto, cpu, cuda or cuda:N).

    Raises:
        ConfigError: files are missing, damaged or do not fit the configuration.
    """
    if entry.config.format == "safetensors":
        return load_safetensors(entry, device)
    return load_torch_export(entry, device)
