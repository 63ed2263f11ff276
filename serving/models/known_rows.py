"""Rows that a model should compute: those of its example, or a blank one without an example."""

from __future__ import annotations

import numpy as np

from serving.models.blank_row import blank_row
from serving.models.repository.folder import ModelEntry
from serving.models.rowless import with_rows
from serving.protocol.example import decode_example


def known_batch(entry: ModelEntry, rows: int) -> dict[str, np.ndarray]:
    """Return `rows` rows that the model should compute: its example's, or zeros without one.

    Raises:
        InvalidInput: the example is not a request that the protocol allows.
    """
    inputs = example_inputs(entry) or {
        spec.name: blank_row(spec) for spec in entry.config.inputs if not spec.sensitive
    }
    return {name: repeated(array, rows) for name, array in inputs.items()}


def example_inputs(entry: ModelEntry) -> dict[str, np.ndarray]:
    """Return the arrays of the model's example by input name; empty without an example.

    Raises:
        InvalidInput: the example is not a request that the protocol allows.
    """
    if entry.example is None:
        return {}
    request = decode_example(entry.example, entry.name, entry.version)
    given = {tensor.name: tensor.data for tensor in request.inputs}
    return {name: array for name, array in with_rows(entry.config, given).items() if len(array)}


def repeated(array: np.ndarray, rows: int) -> np.ndarray:
    """Return `rows` rows of an array of rows, its own again and again."""
    return np.resize(array, (rows, *array.shape[1:]))
