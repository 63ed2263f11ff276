"""`ArrayModel`: the contract of a model, fulfilled by any callable on numpy arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from serving.config import OutputSpec
from serving.errors import InvalidInput, ModelFailed, Unsupported
from serving.models.batch_model import BatchModel
from serving.models.contract import Capabilities, Prediction
from serving.models.execution.non_finite import NonFinite
from serving.models.named_outputs import by_name, no_output
from serving.models.repository.folder import ModelEntry
from serving.models.rowless import without_rows
from serving.models.signature import FEATURES
from serving.protocol.datatypes import NUMPY_OF

if TYPE_CHECKING:
    import torch

Run = Callable[[dict[str, np.ndarray]], Mapping[str, np.ndarray]]
"""Takes the inputs by name and returns the outputs by name; it may not write to the inputs."""


class ArrayModel(BatchModel):
    """One loaded version of a format that computes on arrays; built by the format's loader.

    Args:
        entry: what is served; sensitive inputs of its configuration never reach the model.
        run: the forward pass; returns at least the outputs that are declared.
        run_with_features: the same, with a `features` besides; None if it cannot.
        is_own_code: somebody's own class computes. It looks at its inputs itself, so an error is
            most often its own, and it may return memory that it uses again, or a kind of array of
            its own.
        tells_indices: its errors tell an index out of range that a request may have brought.
    """

    def __init__(
        self,
        entry: ModelEntry,
        run: Run,
        run_with_features: Run | None = None,
        *,
        is_own_code: bool = False,
        tells_indices: bool = False,
    ) -> None:
        super().__init__(entry, Capabilities(features=run_with_features is not None))
        self._format = entry.config.format
        self._is_own_code = is_own_code
        self._tells_indices = tells_indices
        self._run = without_rows(entry.config, run)
        self._run_with_features = (
            without_rows(entry.config, run_with_features) if run_with_features else None
        )
        self._outputs = entry.config.outputs
        self._non_finite = NonFinite(entry)

    def module(self) -> torch.nn.Module:
        """Refuse: there is no torch module.

        Raises:
            Unsupported: always.
        """
        raise Unsupported(
            f"model '{self._name}' gives no module: format {self._format} has no gradients"
        )

    def _compute(self, arrays: dict[str, np.ndarray], rows: int, *, features: bool) -> Prediction:
        run = self._run_with_features if features else self._run
        assert run is not None
        given = {name: _read_only(array) for name, array in arrays.items()}
        returned = self._returned(run, given, rows)
        found = by_name(returned)
        if found is None:
            raise self._failed(f"it returned a {type(returned).__name__}, not arrays by name")
        penultimate = None
        if features:
            penultimate = self._features(found, rows)
        outputs = {spec.name: self._checked(spec, found, rows) for spec in self._outputs}
        return Prediction(outputs, penultimate)

    def _returned(
        self, run: Run, given: dict[str, np.ndarray], rows: int
    ) -> Mapping[str, np.ndarray]:
        try:
            return self._guarded(run, given, rows=rows)
        except ModelFailed:
            # Code of one's own can raise `InvalidInput` itself.
            if self._is_own_code:
                raise
            found = self._non_finite.at_fault(given, partial(_computes, run))
            if found is None:
                raise
        raise InvalidInput(f"model '{self._name}': {found}")

    def _index_error(self, error: BaseException) -> str | None:
        return super()._index_error(error) if self._tells_indices else None

    def _why_no_features(self) -> str:
        return f"this one of format {self._format} has no output for them"

    def _features(self, found: Mapping[str, np.ndarray], rows: int) -> np.ndarray:
        array = found.get(FEATURES)
        fits = isinstance(array, np.ndarray) and array.ndim == 2 and array.shape[0] == rows
        if array is None or not fits or array.dtype.kind not in "fiub":
            raise self._failed("features must be one array of numbers [rows, width]")
        return np.array(array, np.float32)

    def _checked(self, spec: OutputSpec, found: Mapping[str, np.ndarray], rows: int) -> np.ndarray:
        if spec.name not in found:
            raise no_output(self._name, spec.name, found)
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
        if self._is_own_code:
            array = np.array(array)
            if array.dtype == object:
                self._require_bytes(array, what)
        return array

    def _require_bytes(self, array: np.ndarray, what: str) -> None:
        for value in array.flat:
            if not isinstance(value, bytes):
                raise self._failed(f"{what} holds a {type(value).__name__}; BYTES are bytes")


def _computes(run: Run, inputs: dict[str, np.ndarray]) -> bool:
    try:
        run({name: _read_only(array) for name, array in inputs.items()})
    except Exception:  # noqa: BLE001 - as `_guarded`
        return False
    return True


def _read_only(array: np.ndarray) -> np.ndarray:
    # The caller's memory is shared and not copied, so a model that writes must fail.
    view = array.view()
    view.setflags(write=False)
    return view
