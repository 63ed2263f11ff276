"""What models of every format share: rows in, rows out, and errors that name the model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from serving.config import InputSpec
from serving.errors import InvalidInput, ModelFailed, Unsupported, VigilError
from serving.models.blank_row import blank_row
from serving.models.contract import Capabilities, Prediction, Tensors
from serving.models.execution.index_errors import told_index_error
from serving.models.known_rows import known_batch
from serving.models.repository.folder import ModelEntry
from serving.models.rowless import rowless_inputs, same_in_all_rows
from serving.telemetry.logs.causes import describe

if TYPE_CHECKING:
    import torch

MAX_MESSAGE: Final = 500

ResultT = TypeVar("ResultT")


class BatchModel(ABC):
    """One loaded version; a format says how a batch of at least one row is computed.

    Args:
        entry: what is served; sensitive inputs of its configuration never reach the model.
        capabilities: what the version offers beside `predict`.
    """

    def __init__(self, entry: ModelEntry, capabilities: Capabilities) -> None:
        self._entry = entry
        self._name = entry.name
        self._specs = [spec for spec in entry.config.inputs if not spec.sensitive]
        self._capabilities = capabilities
        self._row_axis = entry.config.row_axis
        self._rowless = rowless_inputs(entry.config) if self._row_axis else frozenset()
        self._sound: dict[int, bool] = {}
        """Whether the model computes so many rows of a request that it should know."""

    @property
    def capabilities(self) -> Capabilities:
        """What this model offers beside `predict`."""
        return self._capabilities

    def predict(self, inputs: Tensors) -> Tensors:
        """Run a batch of n rows; see `Model.predict`. A batch of 0 rows gives 0 rows.

        Raises:
            InvalidInput: an input is missing, or the model refuses what it is given.
            ModelFailed: the model raised, or its outputs are not what `model.yaml` declares.
        """
        arrays, rows = self._arrays(inputs)
        return self._cut(self._compute_all(arrays, rows or 1, features=False), rows).outputs

    def predict_with_features(self, inputs: Tensors) -> Prediction:
        """Run a batch of n rows; features are float32 `[n, width]`.

        Raises:
            InvalidInput: an input is missing, or the model refuses what it is given.
            ModelFailed: the model raised, or its outputs are not what `model.yaml` declares.
            Unsupported: the model has no `features` capability.
        """
        self._require_features()
        arrays, rows = self._arrays(inputs)
        return self._cut(self._compute_all(arrays, rows or 1, features=True), rows)

    @abstractmethod
    def module(self) -> torch.nn.Module:
        """Return a new module of the caller's own; see `Model.module`."""

    @abstractmethod
    def _compute(self, arrays: dict[str, np.ndarray], rows: int, *, features: bool) -> Prediction:
        """Run `rows` rows, at least one; outputs in the order in which they are declared."""

    def _compute_all(
        self, arrays: dict[str, np.ndarray], rows: int, *, features: bool
    ) -> Prediction:
        if self._row_axis or rows == 1:
            return self._compute(arrays, rows, features=features)
        # Each row is a request of its own, and one request is all that such a model takes.
        parts = [
            self._compute(
                {name: array[at : at + 1] for name, array in arrays.items()}, 1, features=features
            )
            for at in range(rows)
        ]
        outputs = {
            name: np.concatenate([part.outputs[name] for part in parts])
            for name in parts[0].outputs
        }
        penultimate = [part.features for part in parts if part.features is not None]
        return Prediction(outputs, np.concatenate(penultimate) if penultimate else None)

    @abstractmethod
    def _why_no_features(self) -> str:
        """Finish the sentence "model 'x' gives no features: ..."."""

    def _require_features(self) -> None:
        if not self._capabilities.features:
            raise Unsupported(f"model '{self._name}' gives no features: {self._why_no_features()}")

    def _arrays(self, inputs: Tensors) -> tuple[dict[str, np.ndarray], int]:
        try:
            arrays = {spec.name: inputs[spec.name] for spec in self._specs}
        except KeyError as error:
            raise InvalidInput(f"model '{self._name}' needs the input {error}") from None
        rows = next(iter(arrays.values())).shape[0]
        for name in self._rowless:
            if not same_in_all_rows(arrays[name]):
                raise InvalidInput(
                    f"model '{self._name}': input '{name}' has no rows, so all rows that are "
                    f"computed together must have the same value in it"
                )
        if rows == 0:
            # Many models reshape with -1 or reduce over rows and cannot compute none at all;
            # one row of zeros, thrown away again, gives the outputs their shapes.
            arrays = {
                spec.name: blank_row(spec, arrays[spec.name].shape[1:]) for spec in self._specs
            }
        return arrays, rows

    def _cut(self, found: Prediction, rows: int) -> Prediction:
        """Take away the one row that stood for none."""
        if rows:
            return found
        outputs = {name: array[:0] for name, array in found.outputs.items()}
        return Prediction(outputs, None if found.features is None else found.features[:0])

    def _guarded(self, run: Callable[..., ResultT], *arguments: object, rows: int) -> ResultT:
        """Call the model's own code with `rows` rows; what it raises is told in one line.

        Raises:
            InvalidInput: the model raised it, or an index in the inputs is out of range.
            ModelFailed: it raised anything else.
        """
        try:
            return run(*arguments)
        except KeyboardInterrupt:  # somebody ends the process
            raise
        except BaseException as error:  # noqa: BLE001 - also `sys.exit` in somebody's own code
            raise self._raised(error, rows) from None

    def _raised(self, error: BaseException, rows: int) -> VigilError:
        if isinstance(error, InvalidInput):
            return InvalidInput(error.message[:MAX_MESSAGE])
        if isinstance(error, ModelFailed):
            # One that somebody's own code raises may quote values, as any exception may.
            error.cause = error.cause or describe(error)
            return error
        index = self._index_error(error)
        if index is not None and self._is_sound(rows):
            return InvalidInput(
                f"model '{self._name}': {_integers(self._specs)} holds an index that is out of "
                f"range ({index}); send values that the model knows"
            )
        message = " ".join(str(error).split())[:MAX_MESSAGE]
        return self._failed(f"{type(error).__name__}: {message}")

    def _index_error(self, error: BaseException) -> str | None:
        """Return what an error says of an index out of range that a request may have brought."""
        return told_index_error(error)

    def _is_sound(self, rows: int) -> bool:
        """Tell if the model computes so many rows that it should know, so it is not at fault."""
        if rows not in self._sound:
            self._sound[rows] = False  # also for what it raises now
            with suppress(ModelFailed, InvalidInput):
                self.predict(known_batch(self._entry, rows))
                self._sound[rows] = True
        return self._sound[rows]

    def _failed(self, what: str) -> ModelFailed:
        return ModelFailed(f"model '{self._name}' failed: {what}")


def _integers(specs: list[InputSpec]) -> str:
    """Name the inputs that may hold indices: those of integers, or else all."""
    names = [spec.name for spec in specs if "INT" in spec.datatype or spec.datatype == "BYTES"]
    shown = [f"'{name}'" for name in names or [spec.name for spec in specs]]
    return f"input {' or '.join(shown)}"
