"""Does what a row gives depend on the rows beside it? Compared before a version serves.

Rows of several clients are computed together, and large requests are cut. A softmax over the
candidates of one request, a first axis of time, or statistics of the batch then give answers that
depend on who else asks, and nothing in an answer would show it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import numpy as np

from serving.config import OutputSpec
from serving.errors import InvalidInput, ModelFailed
from serving.models.contract import Model, Tensors
from serving.models.preparation import deviation
from serving.models.preparation.trial_rows import Trial, trial_rows
from serving.models.repository.folder import ModelEntry
from serving.protocol.datatypes import FLOATING, bf16_to_fp32

ROWS: Final = 16
"""Rows of a set: more than what a model may keep of a batch, its best five for example."""
ALONE: Final = 4
ALONE_S: Final = 0.5
"""At least so many rows of a set are computed alone, and more until so much time has passed."""
PATIENCE_S: Final = 2.0
"""After so much time no further set of rows is begun."""

ROUNDING: Final = 1e-3
"""Largest difference that nobody hears of, as a share of the largest value of an element over the
rows. Kernels sum in another order for another number of rows, which moves float32 by some 1e-5."""
TOLERATED: Final = {"fp32": 0.02, "fp16": 0.02, "bf16": 0.02, "int8-dynamic": 0.1}
"""Largest difference that is served joined, and told of: the scale of numbers of few bits may be
that of the whole batch, as with dynamic quantisation."""
_FLOOR: Final = 1e-6
"""Share of an output's largest value below which a difference is what cancellation has left."""
_BEYOND_NOISE: Final = 10
"""How many times as large as that from run to run a difference must be to be the rows' doing."""
_FEW: Final = 1 / 8
"""Share of an output's labels that may be others: rounding decides where two are as good."""


class RowsCoupled(ModelFailed):
    """The answer for a row depends on the rows beside it."""


def compare_rows(model: Model, entry: ModelEntry) -> str:
    """Compute rows alone, together and in another order; return a sentence of what was seen.

    Models whose rows are never computed with others' are not compared, nor are models on other
    servers.

    Raises:
        RowsCoupled: a row gives something else beside others than it gives alone, or nothing.
    """
    config = entry.config
    if config.remote is not None:
        return "rows not compared: the model is on another server"
    if not config.row_axis:
        return "rows not compared: each request is one row, computed alone (batching.row_axis)"
    if not config.joined:
        return "rows not compared: each request is computed alone and whole (batching.join)"
    most = config.batching.max_batch_size or ROWS
    began, reason, told = time.monotonic(), "", ""
    for trial in trial_rows(entry, max(min(ROWS, most), 2)):
        if told and time.monotonic() - began > PATIENCE_S:
            break
        comparison = _Comparison(model, entry, trial)
        try:
            comparison.compute_alone()
        except (ModelFailed, InvalidInput) as error:
            reason = error.message
            continue
        try:
            comparison.compute_together()
        except (ModelFailed, InvalidInput) as error:
            if not comparison.takes_every_row():
                reason = error.message
                continue
            if most > 1:
                raise _apart(trial, error) from None
            return "rows not compared: the model computes one row at a time, as max_batch_size says"
        # What was made best comes first, and is what is told; the others may only refuse.
        said = comparison.sentence()
        told = told or said
    return told or f"rows not compared: the model does not compute what was tried: {reason}"


def _apart(trial: Trial, error: ModelFailed | InvalidInput) -> RowsCoupled:
    return RowsCoupled(
        f"{trial.what} are computed alone but not together: {error.message}; set `batching: "
        f"{{max_batch_size: 1}}` if the model takes one row at a time, `batching: {{join: false}}` "
        f"if the rows of a request belong together, or correct the model"
    )


class _Comparison:
    """One set of rows, computed in several ways.

    Args:
        model: what computes.
        entry: says what the outputs are.
        trial: the rows.
    """

    def __init__(self, model: Model, entry: ModelEntry, trial: Trial) -> None:
        self._model = model
        self._outputs = entry.config.outputs
        self._trial = trial
        config = entry.config
        self._tolerated = TOLERATED[config.precision]
        if deviation.changes_numbers(config):
            self._tolerated = max(self._tolerated, config.precision_tolerance or 0)
        self._alone: list[Tensors] = []
        self._together: list[Tensors] = []
        self._places = list(range(len(next(iter(trial.inputs.values())))))

    def compute_alone(self) -> None:
        """Compute some rows by themselves.

        Raises:
            ModelFailed, InvalidInput: the model does not compute one.
        """
        began = time.monotonic()
        for place in self._places:
            if place >= ALONE and time.monotonic() - began > ALONE_S:
                break
            self._alone.append(self._compute([place]))

    def takes_every_row(self) -> bool:
        """Whether the model computes each of the rows by itself."""
        try:
            for place in self._places[len(self._alone) :]:
                self._compute([place])
        except (ModelFailed, InvalidInput):
            return False
        return True

    def compute_together(self) -> None:
        """Compute the rows twice in their order and once in another one.

        Raises:
            ModelFailed, InvalidInput: the model does not compute them.
        """
        back = self._places[::-1]
        self._together = [self._compute(self._places) for _ in range(2)]
        self._together.append(self._compute(back))

    def _compute(self, places: Sequence[int]) -> Tensors:
        return self._model.predict(
            {name: rows[places] for name, rows in self._trial.inputs.items()}
        )

    def sentence(self) -> str:
        """Return what was seen.

        Raises:
            RowsCoupled: a row gives something else beside others.
        """
        random = [spec.name for spec in self._outputs if not self._is_compared(spec)]
        if len(random) == len(self._outputs):
            return f"rows not compared: output '{random[0]}' differs from run to run"
        said = f"{self._trial.what} give the same alone, together and in another order"
        moved = max(self._largest(spec) for spec in self._outputs if spec.name not in random)
        if moved > ROUNDING:
            said += f", but for {moved:.1%}: its rounding depends on the rows beside"
        if random:
            said += f"; output '{random[0]}' was not compared, since it differs from run to run"
        if not self._trial.differ:
            said += (
                "; rows that differ were not compared, so name a request of several by `example`"
            )
        return said

    def _is_compared(self, spec: OutputSpec) -> bool:
        """Whether an output can be compared.

        Raises:
            RowsCoupled: it can, and a row gives something else beside others.
        """
        noise = self._difference(spec, self._together[0], self._together[1])
        found = self._largest(spec)
        limit = self._tolerated if spec.datatype in FLOATING else _FEW
        if found > max(limit, _BEYOND_NOISE * noise):
            raise RowsCoupled(
                f"output '{spec.name}' of a row depends on the rows beside it: alone, or in "
                f"another order, it is another; set `batching: {{join: false}}` if the rows of a "
                f"request belong together, `batching: {{row_axis: false}}` if the first axis is "
                f"none of rows, or correct the model"
            )
        return noise <= limit

    def _largest(self, spec: OutputSpec) -> float:
        together, _, back = self._together
        name = spec.name
        shapes = {array[name].shape[1:] for array in (together, back, *self._alone)}
        if len(shapes) > 1:
            return np.inf
        alone = {name: np.concatenate([array[name] for array in self._alone])}
        some = {name: together[name][: len(self._alone)]}
        return max(
            self._difference(spec, alone, some),
            self._difference(spec, together, {name: back[name][::-1]}),
        )

    def _difference(self, spec: OutputSpec, one: Tensors, other: Tensors) -> float:
        """Return how far two arrays of rows are from each other.

        Of floats, the largest share of an element's largest value over the rows; of anything
        else, the share of values that differ.
        """
        first, second = one[spec.name], other[spec.name]
        if first.shape != second.shape:
            return np.inf
        if not first.size:
            return 0.0
        if spec.datatype not in FLOATING:
            return _differing(first, second)
        first, second = _wide(spec, first), _wide(spec, second)
        if not np.array_equal(np.isfinite(first), np.isfinite(second)):
            return np.inf
        first, second = (
            np.nan_to_num(first, posinf=0, neginf=0),
            np.nan_to_num(second, posinf=0, neginf=0),
        )
        scale = np.maximum(np.abs(first), np.abs(second)).max(axis=0)
        scale = np.maximum(scale, _FLOOR * scale.max())
        apart = np.abs(first - second).max(axis=0)
        return float(np.divide(apart, scale, out=np.zeros_like(apart), where=scale > 0).max())


def _differing(first: np.ndarray, second: np.ndarray) -> float:
    differ = first != second
    if first.dtype.kind in "iu":
        # Quantities that a model has rounded itself; labels, ranks and counts are smaller.
        wide, other = first.astype(np.float64), second.astype(np.float64)
        largest = max(np.abs(wide).max(), np.abs(other).max())
        differ = np.abs(wide - other) > ROUNDING * largest
    return float(np.mean(differ))


def _wide(spec: OutputSpec, array: np.ndarray) -> np.ndarray:
    values = bf16_to_fp32(array) if spec.datatype == "BF16" else array
    return np.asarray(values, np.float64)
