"""What reference rows with labels say of a metric of performance."""

from __future__ import annotations

from typing import NamedTuple


class Learnt(NamedTuple):
    """A metric over reference rows.

    Attributes:
        value: over them.
        threshold: the worst value that they do not rule out.
        rows: that it is of.
    """

    value: float
    threshold: float
    rows: int
