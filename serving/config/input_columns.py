"""The columns of inputs with a fixed shape: what is in them, and how they are read of a batch.

They have the names that findings have (`serving.models.profile.columns`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from serving.config.tensor_specs import InputSpec
from serving.expressions.operands import ColumnKind

_MOST_ELEMENTS: Final = 256
"""As in `serving.models.profile.columns`."""

_Read = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True)
class InputColumn:
    """One column.

    Attributes:
        input: name of the input that it is of.
        kind: what is in it.
        read: gives it, [n], of the input as it travels, [n, ...]: BF16 as its bits.
    """

    input: str
    kind: ColumnKind
    read: _Read


def column_kinds(inputs: Sequence[InputSpec]) -> dict[str, ColumnKind]:
    """Return the columns that monitors see of inputs with a fixed shape, and what is in them."""
    return {name: each.kind for name, each in columns_of(inputs).items()}


def columns_of(inputs: Sequence[InputSpec]) -> dict[str, InputColumn]:
    """Return the columns of all inputs that the model sees, by name."""
    seen = [spec for spec in inputs if not spec.sensitive]
    features = [feature.name for spec in seen for feature in spec.features or []]
    found: dict[str, InputColumn] = {}
    for spec in seen:
        kind: ColumnKind = "text" if spec.datatype == "BYTES" else "numbers"
        for name, read in _reads(spec, features):
            whole = _widened(read) if spec.datatype == "BF16" else read
            found[name] = InputColumn(spec.name, kind, whole)
    return found


def _reads(spec: InputSpec, features: Sequence[str]) -> Iterator[tuple[str, _Read]]:
    if spec.features:
        for index, each in enumerate(spec.features):
            ambiguous = features.count(each.name) > 1
            yield f"{spec.name}.{each.name}" if ambiguous else each.name, _element((index,))
        return
    inner = spec.shape[1:]
    if not inner:
        yield spec.name, _element(())
    elif -1 in inner:
        return
    elif np.prod(inner) > _MOST_ELEMENTS and spec.datatype != "BYTES":
        yield f"{spec.name}.mean", lambda array: _flat(array).mean(axis=1)
        yield f"{spec.name}.std", lambda array: _flat(array).std(axis=1)
    else:
        for at in np.ndindex(*inner):
            yield f"{spec.name}[{','.join(map(str, at))}]", _element(at)


def _element(at: tuple[int, ...]) -> _Read:
    whole: tuple[Any, ...] = (slice(None), *at)
    return lambda array: array[whole]


def _flat(array: np.ndarray) -> np.ndarray:
    return array.reshape(len(array), int(np.prod(array.shape[1:]))).astype(np.float64)


def _widened(read: _Read) -> _Read:
    """Read BF16, which is the upper half of a float32."""
    return lambda array: read((array.astype(np.uint32) << np.uint32(16)).view(np.float32))
