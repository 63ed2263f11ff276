"""Rows to try a model with: those of its example, and what can be made of one without guessing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from serving.config import InputSpec
from serving.models.contract import Tensors
from serving.models.known_rows import example_inputs, known_batch
from serving.models.preparation.warm_up import at_random, drawn
from serving.models.repository.folder import ModelEntry
from serving.protocol.datatypes import FLOATING, bf16_to_fp32

_SPREAD: Final = 0.25
"""How far a made value is from the example's, as a share of it."""
_LARGEST_BF16: Final = float(bf16_to_fp32(np.array([0x7F7F], np.uint16))[0])


class Trial(NamedTuple):
    """At least two rows.

    Attributes:
        inputs: arrays by input name.
        what: what they are, in words.
        differ: whether not all of them are one row.
    """

    inputs: Tensors
    what: str
    differ: bool


def trial_rows(entry: ModelEntry, rows: int) -> Iterator[Trial]:
    """Yield sets of at most `rows` rows that a model may be tried with, the most telling first.

    Numbers are varied within their limits. Integers may be indices, so they stay at or below those
    of the example; text may be words of a vocabulary, so only categories that are declared take
    each other's place.

    Raises:
        InvalidInput: the example is not a request that the protocol allows.
    """
    example = example_inputs(entry)
    seen = [spec for spec in entry.config.inputs if not spec.sensitive]
    example = {spec.name: example[spec.name] for spec in seen if spec.name in example}
    places = _distinct(example)[:rows]
    if len(places) > 1:
        taken = {name: array[places] for name, array in example.items()}
        yield Trial(taken, f"{len(places)} rows of the example", differ=True)
    one = known_batch(entry, 1)
    one = {spec.name: one[spec.name] for spec in seen}
    made = {
        spec.name: np.repeat(one[spec.name], rows, axis=0)
        if spec.rowless
        else _varied(spec, one[spec.name], rows, has_example=bool(example))
        for spec in seen
    }
    if len(_distinct(made)) > 1:
        of = "the example" if example else "zeros"
        yield Trial(made, f"{rows} rows made of {of}", differ=True)
    copies = {name: np.repeat(array, rows, axis=0) for name, array in one.items()}
    of = "the example" if example else "one row"
    yield Trial(copies, f"{rows} copies of {of}", differ=False)


def _varied(spec: InputSpec, row: np.ndarray, rows: int, *, has_example: bool) -> np.ndarray:
    """Return the row and others that differ from it, where the datatype allows it."""
    random = np.random.default_rng(0)
    if spec.datatype in FLOATING:
        values = np.asarray(bf16_to_fp32(row) if spec.datatype == "BF16" else row, np.float64)
        noise = random.standard_normal((rows - 1, *row.shape[1:]))
        most = _LARGEST_BF16 if spec.datatype == "BF16" else float(np.finfo(row.dtype).max)
        moved = [drawn(spec, _moved(values, part[None], most), row) for part in noise]
        return np.concatenate([row, *moved])
    varied = np.repeat(row, rows, axis=0)
    if spec.datatype == "BYTES":
        for index, column in enumerate(spec.features or ()):
            known = column.categories or ()
            for place in range(1, rows if known else 0):
                varied[place, index] = known[(place + index) % len(known)].encode()
    elif has_example and (spec.features or spec.datatype not in ("BOOL", "UINT8")):
        least = [-np.inf if each.min is None else each.min for each in spec.features or (spec,)]
        for place in range(1, rows):
            # What is below an index is an index too, unless it is below the limit.
            below = np.where(varied[place] > 0, varied[place] - varied[place] % (place + 1), 0)
            varied[place] = np.where((row[0] < 0) | (below < least), row[0], below)
    else:
        varied[1:] = [drawn(spec, at_random(spec, random, row.shape), row)[0] for _ in varied[1:]]
    return varied


def _moved(values: np.ndarray, noise: np.ndarray, most: float) -> np.ndarray:
    with np.errstate(over="ignore"):
        # Of zeros nothing can be told but that they are numbers.
        moved = np.where(values == 0, noise, values * (1 + _SPREAD * noise))
    # What the datatype does not hold would become infinite, which many models refuse.
    return np.where(np.abs(moved) <= most, moved, values)


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
