"""Two answers to one request, compared bit by bit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serving.protocol.datatypes import bf16_to_fp32
from serving.protocol.messages import Tensor


@dataclass(frozen=True, slots=True)
class Difference:
    """How an output differs from the one before.

    Attributes:
        name: of the output.
        why: what is wrong with it as a whole, such as another shape; empty where values compare.
        values: how many values it has.
        different: how many of them have other bits; NaN is equal to the same NaN.
        largest: the largest difference of two numbers; None where there are none, as in text. It
            is infinite where one of two is no finite number, and 0 where only a zero's sign or
            a NaN's bits differ.
    """

    name: str
    why: str = ""
    values: int = 0
    different: int = 0
    largest: float | None = None

    @property
    def equal(self) -> bool:
        """Whether all bits are the same."""
        return not self.why and not self.different


def differences(before: Sequence[Tensor], now: Sequence[Tensor]) -> list[Difference]:
    """Compare the outputs of an answer with those of one before, in their order."""
    given = {tensor.name: tensor for tensor in now}
    return [_difference(tensor, given.get(tensor.name)) for tensor in before]


def _difference(before: Tensor, now: Tensor | None) -> Difference:
    if now is None:
        return Difference(before.name, "is not in the answer any more")
    for what in ("datatype", "shape"):
        was, new = getattr(before, what), getattr(now, what)
        if was != new:
            return Difference(before.name, f"has another {what}: {was} then, {new} now")
    if before.data.dtype == np.object_:
        changed = sum(a != b for a, b in zip(before.data.flat, now.data.flat, strict=True))
        return Difference(before.name, "", before.data.size, changed)
    bits = np.dtype(f"V{before.data.dtype.itemsize}")
    one, other = (np.ascontiguousarray(each.data).reshape(-1) for each in (before, now))
    changed = int((one.view(bits) != other.view(bits)).sum()) if one.size else 0
    largest = _largest(before.datatype, one, other) if changed else 0.0
    return Difference(before.name, "", one.size, changed, largest)


def _largest(datatype: str, one: np.ndarray, other: np.ndarray) -> float:
    if datatype == "BF16":
        one, other = bf16_to_fp32(one), bf16_to_fp32(other)
    if datatype == "BOOL":
        return 1.0
    if one.dtype.kind in "iu":
        # Python's numbers do not overflow.
        places = np.flatnonzero(one != other)
        pairs = zip(one[places].tolist(), other[places].tolist(), strict=True)
        return float(max((abs(a - b) for a, b in pairs), default=0))
    with np.errstate(invalid="ignore", over="ignore"):
        gap = np.abs(one.astype(np.float64) - other.astype(np.float64))
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    gap[same] = 0.0
    gap[np.isnan(gap)] = np.inf
    return float(gap.max())
