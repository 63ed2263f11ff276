"""Finds the NaN, infinity or too large number in a batch for which a model failed.

Estimators of scikit-learn raise `ValueError` for them, as for faults of their own, in words that
differ from one to the next. So the words are not read: a value is at fault where the model
computes the same batch with a usual number in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final, NamedTuple

import numpy as np

from serving.config import InputSpec
from serving.errors import InvalidInput
from serving.models.contract import Tensors
from serving.models.known_rows import known_batch
from serving.models.repository.folder import ModelEntry
from serving.protocol.datatypes import FLOATING, bf16_to_fp32

Computes = Callable[[dict[str, np.ndarray]], bool]
"""Tells if the model computes a batch."""

_LARGE: Final = float(np.sqrt(np.finfo(np.float32).max))
"""The square of a larger number is infinite in 32 bits, with which many estimators compute."""


def _too_large(values: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.isfinite(values) & (np.abs(values) > _LARGE)
    return found


_TOO_LARGE: Final = "a number that is too large for the model; send smaller ones"
_KINDS: Final[dict[str, Callable[[np.ndarray], np.ndarray]]] = {
    "NaN (null in JSON), which the model does not take; send numbers": np.isnan,
    "infinity, which the model does not take; send finite numbers": np.isinf,
    _TOO_LARGE: _too_large,
}


class _Place(NamedTuple):
    """Values of one kind in one column, or in an input without names of columns."""

    name: str
    """Of the input."""
    column: str | None
    kind: str
    at: np.ndarray
    """Where they are, bool, in the shape of the input."""

    @property
    def told(self) -> str:
        column = "" if self.column is None else f": column '{self.column}'"
        return f"input '{self.name}'{column} holds {self.kind}"


class NonFinite:
    """Remembers what one version of a model does not take, so that it is found only once."""

    def __init__(self, entry: ModelEntry) -> None:
        self._entry = entry
        self._refused: set[str] = set()
        self._usual: Tensors | None = None

    def at_fault(self, batch: dict[str, np.ndarray], computes: Computes) -> str | None:
        """Return what in a batch that the model did not compute is at fault, in a sentence.

        Of several values that are at fault one is told. None: it is none of them.
        """
        places = list(_places(self._entry.config.inputs, batch))
        for place in places:
            if place.told in self._refused:
                return place.told
        if not places or not computes(self._without(batch, places)):
            return None
        suspects = places
        while len(suspects) > 1:
            half = suspects[: len(suspects) // 2]
            others = [place for place in places if not any(place is each for each in half)]
            is_among = not computes(self._without(batch, others))
            suspects = half if is_among else suspects[len(suspects) // 2 :]
        (found,) = suspects
        if found.kind != _TOO_LARGE:  # other large numbers may do
            self._refused.add(found.told)
        return found.told

    def _without(self, batch: dict[str, np.ndarray], places: list[_Place]) -> dict[str, np.ndarray]:
        """Return the batch with a usual number in these places."""
        found = dict(batch)
        for place in places:
            array = found[place.name]
            found[place.name] = np.where(place.at, self._fill(place.name, array), array)
        return found

    def _fill(self, name: str, array: np.ndarray) -> np.ndarray:
        """Return what stands in for the values of an input: its example's, or zero."""
        if self._usual is None:
            self._usual = {}
            with suppress(InvalidInput):
                self._usual = known_batch(self._entry, 1)
        usual = self._usual.get(name)
        zero = np.zeros((), array.dtype)
        if usual is None or usual.shape[1:] != array.shape[1:]:
            return zero
        (spec,) = [spec for spec in self._entry.config.inputs if spec.name == name]
        for is_kind in _KINDS.values():
            usual = np.where(is_kind(_numbers(spec, usual)), zero, usual)
        return usual


def _places(specs: list[InputSpec], batch: dict[str, np.ndarray]) -> Iterator[_Place]:
    for spec in specs:
        if spec.name not in batch or spec.datatype not in FLOATING:
            continue
        values = _numbers(spec, batch[spec.name])
        for kind, is_kind in _KINDS.items():
            at = is_kind(values)
            if not at.any():
                continue
            if not spec.features or values.ndim != 2:
                yield _Place(spec.name, None, kind, at)
                continue
            for index, column in enumerate(spec.features):
                if at[:, index].any():
                    one = np.zeros_like(at)
                    one[:, index] = at[:, index]
                    yield _Place(spec.name, column.name, kind, one)


def _numbers(spec: InputSpec, array: np.ndarray) -> np.ndarray:
    # FP16 could not be compared with what is too large.
    return bf16_to_fp32(array) if spec.datatype == "BF16" else array.astype(np.float64, copy=False)
