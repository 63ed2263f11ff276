"""Runs a model's example before the first client comes, so that no client pays for first use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from serving.config import InputSpec
from serving.errors import InvalidInput, ModelFailed
from serving.models.buckets import buckets_of
from serving.models.contract import Model
from serving.models.repository import ModelEntry
from serving.models.tensor_names import OutputMissing
from serving.protocol.datatypes import NUMPY_OF
from serving.protocol.json_codec import decode_request

WARM_UP_ROWS: Final = (1, 2, 8, 32)
"""Kernels are chosen by size, so a few sizes are tried before the first client comes."""


def warm_up(model: Model, entry: ModelEntry) -> None:
    """Run the model's example at a few batch sizes; without an example do nothing.

    A model that is compiled runs every size that it is compiled for.
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
    for batch in example_batches(entry):
        model.predict(batch)
        if model.capabilities.features:
            model.predict_with_features(batch)


def require_outputs(model: Model, entry: ModelEntry) -> None:
    """Refuse a model that does not return the outputs that `model.yaml` declares.

    Some formats tell only by running what they return. What an example has not shown, a row of
    zeros shows; a model that cannot compute one is given the benefit of the doubt. Models on other
    servers are not asked.

    Raises:
        OutputMissing: an output is not among what it returns.
    """
    if entry.example is not None or entry.config.remote is not None:
        return
    try:
        model.predict(known_batch(entry, 1))
    except OutputMissing:
        raise
    except (ModelFailed, InvalidInput):
        return


def try_without_example(model: Model, entry: ModelEntry) -> None:
    """Run a row of zeros (of text: the first category, or nothing) where there is no example.

    Without it, formats whose file does not tell its inputs and outputs would pass for fine
    whatever `model.yaml` says. Models on other servers are not asked.

    Raises:
        ModelFailed: it cannot compute the row.
    """
    if entry.example is not None or entry.config.remote is not None:
        return
    try:
        model.predict(known_batch(entry, 1))
    except (ModelFailed, InvalidInput) as error:
        raise ModelFailed(
            f"fails on a row of zeros: {error.message}; correct it or what model.yaml declares, "
            f"or name a request that it answers by `example`"
        ) from None


def known_batch(entry: ModelEntry, rows: int) -> dict[str, np.ndarray]:
    """Return `rows` rows that the model should compute: its example's, or zeros without one.

    Raises:
        InvalidInput: the example is not a request that the protocol allows.
    """
    inputs = example_inputs(entry) or {
        spec.name: _zeros(spec) for spec in entry.config.inputs if not spec.sensitive
    }
    return {name: _repeat(array, rows) for name, array in inputs.items()}


def _zeros(spec: InputSpec) -> np.ndarray:
    array = np.zeros([max(size, 1) for size in spec.shape], NUMPY_OF[spec.datatype])
    if spec.datatype == "BYTES":
        array[:] = b""
        for index, column in enumerate(spec.features or ()):
            if column.categories:
                array.reshape(-1)[index] = column.categories[0].encode()
    return array


def example_batches(entry: ModelEntry) -> Iterator[dict[str, np.ndarray]]:
    """Give the example as batches of the sizes that a warm-up needs; none without an example.

    Raises:
        InvalidInput: the example is not a request that the protocol allows.
    """
    inputs = example_inputs(entry)
    config = entry.config
    sizes = WARM_UP_ROWS if config.compile == "none" else buckets_of(config.batching)
    for rows in sizes if inputs else ():
        yield {name: _repeat(array, rows) for name, array in inputs.items()}


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
