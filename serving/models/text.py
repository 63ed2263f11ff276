"""BYTES as text, for models that take nothing else."""

from __future__ import annotations

import numpy as np

from serving.errors import InvalidInput


def texts_of(name: str, array: np.ndarray) -> np.ndarray:
    """Return the elements of the BYTES input `name` as text, an object array of the same shape.

    Raises:
        InvalidInput: an element is not UTF-8.
    """
    found = np.empty(array.shape, object)
    try:
        found.reshape(-1)[:] = [value.decode() for value in array.flat]
    except UnicodeDecodeError:
        raise InvalidInput(f"input '{name}': holds bytes that are no text; send UTF-8") from None
    return found
