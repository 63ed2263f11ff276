"""`ArrayModel`: the contract of a model, fulfilled by any callable on numpy arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import numpy as np

from serving.config import InputSpec, OutputSpec
from serving.errors import InvalidInput, ModelFailed, Unsupported
from serving.models.contract import Capabilities, Prediction, Tensors
from serving.models.repository import ModelEntry
from serving.protocol.datatypes import NUMPY_OF

if TYPE_CHECKING:
    import torch

Run = Callable[[dict[str, np.ndarray]], Mapping[str, np.ndarray]]
"""Takes the inputs by name and returns the outputs by name; it may not write to the inputs."""

FEATURES: Final = "features"
"""What `run_with_features` calls the penultimate activations among its outputs."""

MAX_MESSAGE: Final = 500


class ArrayModel:
    """One loaded version of a format that computes on arrays; built by the format's loader.

    Args:
        entry: what is served; sensitive inputs of its configuration never reach the model.
        run: the forward pass; returns at least the outputs that are declared.
        run_with_features: the same, with a `features` besides; None if it cannot.
    """

    def __init__(self, entry: ModelEntry, run: Run, run_with_features: Run | None = None) -> None:
        self._name = entry.name
        self._format = entry.config.format
        self._run = run
        self._run_with_features = run_with_features
        self._inputs = [spec for spec in entry.config.inputs if not spec.sensitive]
        self._outputs = entry.config.outputs
        self._capabilities = Capabilities(features=run_with_features is not None)

    @property
    def capabilities(self) -> Capabilities:
        """What this model offers beside `predict`: at most features."""
        return self._capabilities

    def predict(self, inputs: Tensors) -> Tensors:
        """Run a batch of n rows; see `Model.predict`. A batch of 0 rows gives 0 rows.

        Raises:
            InvalidInput: an input is missing.
            ModelFailed: the model raised, or its outputs are not what `model.yaml` declares.
        """
        arrays, rows = self._arrays(inputs)
        return self._read(self._call(self._run, arrays), rows)

    def predict_with_features(self, inputs: Tensors) -> Prediction:
        """Run a batch of n rows; features are float32 `[n, width]`.

        Raises:
            InvalidInput: an input is missing.
            ModelFailed: the model raised, or its outputs are not what `model.yaml` declares.
            Unsupported: the model has no `features` capability.
        """
        if self._run_with_features is None:
            raise Unsupported(
                f"model '{self._name}' gives no features: this one of format {self._format} "
                f"has no output for them"
            )
        arrays, rows = self._arrays(inputs)
        found = self._call(self._run_with_features, arrays)
        features = found[FEATURES]
        if features.ndim != 2 or features.shape[0] != max(rows, 1):
            raise self._failed("features must be one array [rows, width]")
        return Prediction(self._read(found, rows), features[:rows].astype(np.float32, copy=False))

    def module(self) -> torch.nn.Module:
        """Refuse: there is no torch module.

        Raises:
            Unsupported: always.
        """
        raise Unsupported(
            f"model '{self._name}' gives no module: format {self._format} has no gradients"
        )

    def _arrays(self, inputs: Tensors) -> tuple[dict[str, np.ndarray], int]:
        try:
            arrays = {spec.name: inputs[spec.name] for spec in self._inputs}
        except KeyError as error:
            raise InvalidInput(f"model '{self._name}' needs the input {error}") from None
        rows = next(iter(arrays.values())).shape[0]
        if rows == 0:
            # Many models cannot compute none at all; one row of zeros, thrown away again,
            # gives the outputs their shapes.
            arrays = {spec.name: _blank_row(spec, arrays[spec.name]) for spec in self._inputs}
        return {name: _read_only(array) for name, array in arrays.items()}, rows

    def _call(self, run: Run, arrays: dict[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        try:
            found = run(arrays)
        except Exception as error:  # noqa: BLE001 - whatever a model raises is its failure
            message = " ".join(str(error).split())[:MAX_MESSAGE]
            raise self._failed(f"{type(error).__name__}: {message}") from None
        if not isinstance(found, Mapping):
            raise self._failed(f"it returned a {type(found).__name__}, not arrays by name")
        return found

    def _read(self, found: Mapping[str, np.ndarray], rows: int) -> dict[str, np.ndarray]:
        computed = max(rows, 1)
        return {spec.name: self._checked(spec, found, computed)[:rows] for spec in self._outputs}

    def _checked(self, spec: OutputSpec, found: Mapping[str, np.ndarray], rows: int) -> np.ndarray:
        if spec.name not in found:
            names = ", ".join(f"'{name}'" for name in found) or "nothing"
            raise self._failed(f"it returned {names}, model.yaml declares '{spec.name}'")
        array = found[spec.name]
        what = f"output '{spec.name}'"
        if not isinstance(array, np.ndarray):
            raise self._failed(f"{what} is a {type(array).__name__}, not an array")
        if array.dtype != NUMPY_OF[spec.datatype]:
            raise self._failed(f"{what} has {array.dtype}, model.yaml declares {spec.datatype}")
        shape = (rows, *spec.shape[1:])
        fits = len(array.shape) == len(shape) and all(
            declared in (-1, size) for size, declared in zip(array.shape, shape, strict=True)
        )
        if not fits:
            raise self._failed(
                f"{what} has shape {list(array.shape)} for {rows} rows, model.yaml declares "
                f"{spec.shape}"
            )
        return array

    def _failed(self, what: str) -> ModelFailed:
        return ModelFailed(f"model '{self._name}' failed: {what}")


def _read_only(array: np.ndarray) -> np.ndarray:
    # The caller's memory is shared and not copied, so a model that writes must fail.
    view = array.view()
    view.setflags(write=False)
    return view


def _blank_row(spec: InputSpec, array: np.ndarray) -> np.ndarray:
    shape = (1, *array.shape[1:])
    if array.dtype != object:
        return np.zeros(shape, array.dtype)
    # A category that the model knows, where the configuration tells one.
    row = np.full(shape, b"", object)
    for index, column in enumerate(spec.features or []):
        if column.categories:
            row[:, index] = column.categories[0].encode()
    return row
