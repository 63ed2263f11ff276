"""Rows to try a model with: those of its example, and what can be made of one without guessing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from serving.config import InputSpec
from serving.models.contract import Tensors
from serving.models.repository import ModelEntry
from serving.models.warm_up import example_inputs, known_batch, limited
from serving.protocol.datatypes import FLOATING, bf16_to_fp32

ROWS: Final = 3
_SPREAD: Final = 0.25
"""How far a made value is from the example's, as a share of it."""


class Trial(NamedTuple):
    """At least two rows, and what they are, in words."""

    inputs: Tensors
    what: str


def trial_rows(entry: ModelEntry) -> Iterator[Trial]:
    """Yield sets of rows that a model may be tried with, the most telling first.

    Numbers are varied within their limits. Integers and text may be indices or words of a
    vocabulary, so values are only taken from one place of the example to another.

    Raises:
        InvalidInput: the example is not a request that the protocol allows.
    """
    example = example_inputs(entry)
    seen = [spec for spec in entry.config.inputs if not spec.sensitive]
    example = {spec.name: example[spec.name] for spec in seen if spec.name in example}
    places = _distinct(example)[:ROWS]
    if len(places) > 1:
        rows = {name: array[places] for name, array in example.items()}
        yield Trial(rows, f"{len(places)} rows of the example")
    one = known_batch(entry, 1)
    one = {spec.name: one[spec.name] for spec in seen}
    made = {
        spec.name: _copies(one[spec.name]) if spec.rowless else _varied(spec, one[spec.name])
        for spec in seen
    }
    if len(_distinct(made)) > 1:
        yield Trial(made, f"{ROWS} rows made of {'the example' if example else 'zeros'}")
    copies = {name: _copies(array) for name, array in one.items()}
    yield Trial(copies, f"{ROWS} copies of {'the example' if example else 'one row'}")


def _copies(row: np.ndarray) -> np.ndarray:
    return np.repeat(row[:1], ROWS, axis=0)


def _varied(spec: InputSpec, row: np.ndarray) -> np.ndarray:
    """Return the row and two that differ from it, where the datatype allows it."""
    if spec.datatype in FLOATING:
        values = np.asarray(bf16_to_fp32(row) if spec.datatype == "BF16" else row, np.float64)
        noise = np.random.default_rng(0).standard_normal((ROWS - 1, *row.shape[1:]))
        return np.concatenate(
            [row[:1], *[limited(spec, _moved(values, part), row) for part in noise]]
        )
    if spec.features or row.ndim < 2:
        return _copies(row)
    return np.concatenate([np.roll(row[:1], places, axis=-1) for places in range(ROWS)])


def _moved(values: np.ndarray, noise: np.ndarray) -> np.ndarray:
    # Of zeros nothing can be told but that they are numbers.
    return np.where(values == 0, noise, values * (1 + _SPREAD * noise))


def _distinct(inputs: Tensors) -> list[int]:
    """Return the places of rows that differ from each other, in order."""
    found: dict[tuple[bytes, ...], int] = {}
    count = min((len(array) for array in inputs.values()), default=0)
    for place in range(count):
        key = tuple(
            repr(array[place : place + 1].tolist()).encode()
            if array.dtype == object
            else array[place].tobytes()
            for array in inputs.values()
        )
        found.setdefault(key, place)
    return list(found.values())
