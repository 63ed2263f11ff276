"""Runs a model's example before the first client comes, so that no client pays for first use."""

from __future__ import annotations

from typing import Final

import numpy as np

from serving.models.contract import Model
from serving.models.repository import ModelEntry
from serving.protocol.json_codec import decode_request

WARM_UP_ROWS: Final = (1, 2, 8, 32)
"""Kernels are chosen by size, so a few sizes are tried before the first client comes."""


def warm_up(model: Model, entry: ModelEntry) -> None:
    """Run the model's example at a few batch sizes; without an example do nothing.

    A model on another server is asked first whether it is there.

    Raises:
        InvalidInput: the example is not a request that the protocol allows.
        ModelFailed: the model cannot compute its own example.
    """
    if entry.config.remote is not None:
        # Here, because it loads gRPC, which must not be in a process that forks others.
        from serving.models.remote import RemoteModel

        assert isinstance(model, RemoteModel)
        model.require_ready()
    inputs = example_inputs(entry)
    if not inputs:
        return
    for rows in WARM_UP_ROWS:
        batch = {name: _repeat(array, rows) for name, array in inputs.items()}
        model.predict(batch)
        if model.capabilities.features:
            model.predict_with_features(batch)


def example_inputs(entry: ModelEntry) -> dict[str, np.ndarray]:
    """Return the arrays of the model's example by input name; empty without an example.

    Raises:
        InvalidInput: the example is not a request that the protocol allows.
    """
    if entry.example is None:
        return {}
    request = decode_request(entry.example, None, entry.name, entry.version, "example")
    return {tensor.name: tensor.data for tensor in request.inputs if tensor.data.shape[0]}


def _repeat(array: np.ndarray, rows: int) -> np.ndarray:
    return np.resize(array, (rows, *array.shape[1:]))
