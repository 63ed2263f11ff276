"""What of a model's predictions goes to the prediction log, as its configuration says."""

from __future__ import annotations

from typing import Final

from serving.config.model import ModelConfig
from serving.config.tensor_specs import InputSpec, OutputSpec
from serving.models.consumers import consumers, reads_inputs

MOST_CLASSES: Final = 100
"""Outputs with scores of more classes are one column of lists, and not one column per class."""

Tensors = bool | frozenset[str]
"""All tensors of a side, none, or those of these names."""


def column_names(config: ModelConfig) -> dict[str, list[str]]:
    """Return names of the columns of tensors [n, columns], by tensor: features and classes."""
    names = {
        spec.name: [feature.name for feature in spec.features]
        for spec in config.inputs
        if spec.features
    }
    for output in config.outputs:
        if output.classes and len(output.shape) == 2 and len(output.classes) <= MOST_CLASSES:
            names.setdefault(output.name, output.classes)
    return names


def kept_inputs(config: ModelConfig) -> Tensors | None:
    """Return the inputs that the log keeps; None where it keeps no values of any kind."""
    if config.log is None or config.log.capture == "none":
        return None
    return _kept(config, config.inputs)


def lists(config: ModelConfig) -> frozenset[str]:
    """Return the tensors that are a column of lists whatever their shape turns out to be.

    A column that is now numbers and now lists could not be read as one.
    """
    specs: tuple[InputSpec | OutputSpec, ...] = (*config.inputs, *config.outputs)
    return frozenset(spec.name for spec in specs if -1 in spec.shape[1:])


def told_inputs(config: ModelConfig) -> Tensors:
    """Return the inputs that the monitor is told of: for drift all, for the log what it keeps."""
    return True if reads_inputs(config) else _kept(config, config.inputs)


def told_outputs(config: ModelConfig) -> Tensors:
    """Return the outputs that the monitor is told of."""
    return True if consumers(config) else _kept(config, config.outputs)


def _kept(config: ModelConfig, specs: list[InputSpec] | list[OutputSpec]) -> Tensors:
    if config.log is None or config.log.capture == "none":
        return False
    if config.log.capture == "full":
        return True
    named = column_names(config)
    # A free axis may turn out to be 1.
    return frozenset(
        spec.name for spec in specs if spec.name in named or spec.shape[1:] in ([], [1], [-1])
    )
