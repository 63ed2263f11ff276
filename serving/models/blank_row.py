"""A row for models that come without an example: zeros, and text that the model may know."""

from __future__ import annotations

from typing import Final

import numpy as np

from serving.config import InputSpec, ModelConfig, OutputSpec
from serving.protocol.datatypes import NUMPY_OF

_MOST_TOLD: Final = 8


def no_rows(config: ModelConfig) -> dict[str, np.ndarray]:
    """Return every output without a row; a free axis has no elements either."""
    return {
        spec.name: np.zeros(
            (0, *(max(size, 0) for size in spec.shape[1:])), NUMPY_OF[spec.datatype]
        )
        for spec in config.outputs
    }


def blank_row(spec: InputSpec | OutputSpec, tail: tuple[int, ...] | None = None) -> np.ndarray:
    """Return one row of a tensor, an array [1, ...]: zeros, or no text.

    A text column that declares `categories` has the first of them. Free axes have one element,
    unless `tail` says how many each has.
    """
    if tail is None:
        tail = tuple(1 if size < 0 else size for size in spec.shape[1:])
    row = np.zeros((1, *tail), NUMPY_OF[spec.datatype])
    if spec.datatype == "BYTES":
        row[...] = b""
        columns = spec.features if isinstance(spec, InputSpec) else None
        for index, column in enumerate(columns or ()):
            if column.categories:
                row[:, index] = column.categories[0].encode()
    return row


def told_blank_row(config: ModelConfig) -> str | None:
    """Say what text a model without an example is tried with; None if it takes no text."""
    texts = [spec for spec in config.inputs if spec.datatype == "BYTES" and not spec.sensitive]
    if config.example is not None or not texts:
        return None
    tried = " and ".join(f"{_words(spec)} for input '{spec.name}'" for spec in texts)
    return f"no example, so it is tried with the text {tried}; name a request by `example`"


def _words(spec: InputSpec) -> str:
    values = [value.decode() for value in blank_row(spec).flat]
    more = ", …" if len(values) > _MOST_TOLD else ""
    return ", ".join(f'"{value}"' for value in values[:_MOST_TOLD]) + more
