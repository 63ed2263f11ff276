"""How many bytes arrays hold."""

from __future__ import annotations

import numpy as np


def weight(array: np.ndarray) -> int:
    """Return the bytes of an array of any shape, with those of its BYTES values.

    Of texts, as sensitive attributes are, characters count; None has nothing.
    """
    if not array.dtype.hasobject:
        return array.nbytes
    return array.nbytes + sum(map(len, filter(None, array.flat)))
