"""A request that has been held against its model, and what fits of one that does not."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np


class Bound(msgspec.Struct, frozen=True):
    """A request that fits: its arrays in the model's order, its rows, its sensitive values.

    Attributes:
        arrays: one per model input, first axis `rows`; the value of an input that has no rows is
            repeated, without a copy.
        key: what must be equal for requests to share a batch: all dims but the first, and the
            values of inputs that have no rows.
        outputs: names of the outputs the client wants, in its order; empty for all.
        sensitive: object arrays of text or None, [rows], by attribute name.
        forward: an encoded `Passthrough` for a model on another server; empty: nothing to pass on.
        alone: whether it shares a batch with no other request.
    """

    arrays: tuple[np.ndarray, ...]
    rows: int
    key: tuple[tuple[int, ...] | bytes, ...]
    outputs: tuple[str, ...]
    sensitive: dict[str, np.ndarray] | None
    forward: bytes = b""
    alone: bool = False


class Fitting(msgspec.Struct, frozen=True):
    """What of a request fits its model, whatever else is wrong with it; for the prediction log.

    Attributes:
        rows: of all its inputs.
        inputs: arrays [rows, ...] of the model's datatypes and shapes, by name; not always all.
        sensitive: as in `Bound`.
    """

    rows: int
    inputs: Mapping[str, np.ndarray]
    sensitive: Mapping[str, np.ndarray] | None = None
