"""Does what a row gives depend on the rows beside it? Compared before a version serves.

Rows of several clients are computed together, and large requests are cut. A softmax over the
candidates of one request, a first axis of time, or statistics of the batch then give answers that
depend on who else asks, and nothing in an answer would show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from serving.config import OutputSpec
from serving.errors import InvalidInput, ModelFailed
from serving.models.contract import Model, Tensors
from serving.models.repository import ModelEntry
from serving.models.trial_rows import trial_rows
from serving.protocol.datatypes import FLOATING, bf16_to_fp32

TOLERANCE: Final = 1e-3
"""Largest difference that is rounding, as a share of an output's largest value. Kernels sum in
another order for another number of rows, which moves float32 by some 1e-5."""
COARSE: Final = {"fp32": 0.0, "fp16": 0.02, "bf16": 0.02, "int8-dynamic": 0.1}
"""The same for numbers of few bits; the scale of `int8-dynamic` is that of the whole batch."""


def compare_rows(model: Model, entry: ModelEntry) -> str:
    """Compute rows alone, together and in another order; return a sentence of what was seen.

    Models whose rows are never computed with others' are not compared, nor are models on other
    servers.

    Raises:
        ModelFailed: a row gives something else beside others than it gives alone.
    """
    config = entry.config
    if config.remote is not None:
        return "rows not compared: the model is on another server"
    if not config.row_axis:
        return "rows not compared: each request is one row, computed alone (batching.row_axis)"
    if not config.joined:
        return "rows not compared: each request is computed alone and whole (batching.join)"
    reason = ""
    for trial in trial_rows(entry):
        try:
            return _Comparison(model, entry, trial.inputs).sentence(trial.what)
        except RowsCoupled:
            raise
        except (ModelFailed, InvalidInput) as error:
            reason = error.message
    return f"rows not compared: the model does not compute what was tried: {reason}"


class RowsCoupled(ModelFailed):
    """The answer for a row depends on the rows beside it."""


class _Comparison:
    """One set of rows, computed in several ways.

    Args:
        model: what computes.
        entry: says what the outputs are.
        rows: inputs by name, at least two rows.
    """

    def __init__(self, model: Model, entry: ModelEntry, rows: Tensors) -> None:
        self._model = model
        self._outputs = entry.config.outputs
        self._rows = rows
        self._count = len(next(iter(rows.values())))
        self._tolerance = max(
            TOLERANCE, COARSE[entry.config.precision], entry.config.precision_tolerance or 0
        )

    def sentence(self, what: str) -> str:
        """Return what was seen of the rows, which are `what`.

        Raises:
            RowsCoupled: a row gives something else beside others.
            ModelFailed, InvalidInput: the model does not compute the rows.
        """
        places = list(range(self._count))
        together, again = self._compute(places), self._compute(places)
        for spec in self._outputs:
            if not self._same(spec, together[spec.name], again[spec.name]):
                return f"rows not compared: output '{spec.name}' differs from run to run"
        alone = [self._compute([place]) for place in places]
        self._require_same("alone", alone, together, places)
        permuted = [*places[1:], places[0]]
        self._require_same("in another order", alone, self._compute(permuted), permuted)
        return f"{what} give the same alone, together and in another order"

    def _compute(self, places: Sequence[int]) -> Tensors:
        return self._model.predict({name: rows[places] for name, rows in self._rows.items()})

    def _require_same(
        self, how: str, alone: list[Tensors], found: Tensors, places: list[int]
    ) -> None:
        for spec in self._outputs:
            expected = [alone[place][spec.name] for place in places]
            shapes = {array.shape[1:] for array in expected}
            same = len(shapes) == 1 and self._same(spec, np.concatenate(expected), found[spec.name])
            if not same:
                raise RowsCoupled(
                    f"output '{spec.name}' of a row depends on the rows beside it: {how} it is "
                    f"another; set `batching: {{join: false}}` if the rows of a request belong "
                    f"together, `batching: {{row_axis: false}}` if the first axis is none of rows, "
                    f"or correct the model"
                )

    def _same(self, spec: OutputSpec, one: np.ndarray, other: np.ndarray) -> bool:
        if one.shape != other.shape:
            return False
        if spec.datatype not in FLOATING:
            return bool(np.array_equal(one, other))
        few_bits = spec.datatype in ("FP16", "BF16")
        tolerance = max(self._tolerance, COARSE["fp16"]) if few_bits else self._tolerance
        first, second = _wide(spec, one), _wide(spec, other)
        known = np.isfinite(first)
        if not np.array_equal(first[~known], second[~known], equal_nan=True):
            return False
        first, second = first[known], second[known]
        if not np.isfinite(second).all():
            return False
        largest = max(np.abs(first).max(initial=0), np.abs(second).max(initial=0))
        return bool((np.abs(first - second) <= tolerance * largest).all())


def _wide(spec: OutputSpec, array: np.ndarray) -> np.ndarray:
    values = bf16_to_fp32(array) if spec.datatype == "BF16" else array
    return np.asarray(values, np.float64)
