"""What the labels of a model are: classes, numbers or rankings, and how they are read.

Each kind also says what of an answer they are compared with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

import numpy as np

from monitors.performance.labels import Truth, Value
from monitors.performance.predicted_class import predicted_class

LARGEST: Final = 1e75
"""Larger numbers are none that an error can be told of: its fourth power has to be finite."""
_SHOWN: Final = 3


class LabelKind(Protocol):
    """How labels of a model are read."""

    @property
    def takes(self) -> str:
        """What a label has to be, as the end of a sentence."""

    def read(self, y_true: Truth) -> Value:
        """Return a label's value.

        Raises:
            ValueError: it is of another kind.
        """

    def predicted(self, output: np.ndarray) -> np.ndarray:
        """Return what labels are compared with, [n] or [n, k].

        Args:
            output: the model's first output, [n, ...]; BF16 widened.

        Raises:
            ValueError: it is of another shape or type.
        """

    def scores(self, output: np.ndarray) -> np.ndarray | None:
        """Return the scores of the classes, [n, classes]; None where there are none.

        Args:
            output: as in `predicted`.
        """

    def values(self, predicted: np.ndarray) -> list[Any]:
        """Return what `predicted` gave as one value per row; None where it is no number."""

    def holds(self, value: object) -> bool:
        """Whether a value that was saved is one of this kind."""


class ClassLabels:
    """A class's name or index; of two classes also false and true.

    Args:
        names: of the classes, in the order of their indices, where they have some.
        count: of the classes; 0: not known.
    """

    def __init__(self, names: Sequence[str] = (), count: int = 0) -> None:
        self._index = {name: index for index, name in enumerate(names)}
        self._count = len(names) or count

    @property
    def takes(self) -> str:
        """What a label has to be, as the end of a sentence."""
        quoted = [f"'{name[:40]}'" for name in list(self._index)[:_SHOWN]]
        more = ", …" if len(self._index) > _SHOWN else ""
        named = f"a class name ({', '.join(quoted)}{more}) or " if quoted else ""
        reach = f" from 0 to {self._count - 1}" if self._count else ", 0 or more"
        truth = ", or true or false" if self._count in (0, 2) else ""
        return f"{named}a class index{reach}{truth}"

    def read(self, y_true: Truth) -> int:
        """Return a class index; see `LabelKind`."""
        if isinstance(y_true, str) and y_true in self._index:
            return self._index[y_true]
        if isinstance(y_true, bool) and self._count not in (0, 2):
            raise ValueError(self.takes)
        whole = isinstance(y_true, int) or (isinstance(y_true, float) and y_true.is_integer())
        # Where their number is not known, an index is still one that an array can hold.
        if whole and 0 <= y_true < (self._count or 1 << 31):  # type: ignore[operator]
            return int(y_true)  # type: ignore[arg-type]
        raise ValueError(self.takes)

    def predicted(self, output: np.ndarray) -> np.ndarray:
        """Return the predicted classes; see `predicted_class`."""
        return predicted_class(output)

    def scores(self, output: np.ndarray) -> np.ndarray | None:
        """Return the output where it has a score for each class."""
        return output if output.ndim == 2 and output.dtype.kind == "f" else None

    def values(self, predicted: np.ndarray) -> list[Any]:
        """Return the class of each row; -1 where a score is no number."""
        values: list[Any] = predicted.tolist()
        return values

    def holds(self, value: object) -> bool:
        """Whether a value is a class index."""
        return isinstance(value, int)


class NumberLabels:
    """A number, or a list of as many as the output has.

    Args:
        length: 0: one number; else of the lists.
    """

    def __init__(self, length: int = 0) -> None:
        self._length = length

    @property
    def takes(self) -> str:
        """What a label has to be, as the end of a sentence."""
        return f"a list of {self._length} numbers" if self._length else "a number"

    def read(self, y_true: Truth) -> float | list[float]:
        """Return the number or numbers; see `LabelKind`."""
        if self._length:
            return _numbers(y_true, self._length, self.takes)
        if not _is_number(y_true):
            raise ValueError(self.takes)
        return float(y_true)  # type: ignore[arg-type]

    def predicted(self, output: np.ndarray) -> np.ndarray:
        """Return the numbers of each row, float64 [n] or [n, length]."""
        size = self._length or 1
        if output.dtype.kind not in "biuf" or output.size != len(output) * size:
            raise ValueError(f"an output of shape {list(output.shape)} is not {self.takes} a row")
        numbers = output.astype(np.float64)
        return numbers.reshape(-1, self._length) if self._length else numbers.reshape(-1)

    def scores(self, output: np.ndarray) -> None:
        """Return None: numbers are no classes."""

    def values(self, predicted: np.ndarray) -> list[Any]:
        """Return the number or numbers of each row; None where one is not finite, or too large."""
        return _values(predicted)

    def holds(self, value: object) -> bool:
        """Whether a value is such a number, or list, or none."""
        return _holds(value, self._length)


class RankingLabels:
    """The relevance of each item, or the index of the one that was chosen.

    Args:
        items: that are ranked.
    """

    def __init__(self, items: int) -> None:
        self._items = items

    @property
    def takes(self) -> str:
        """What a label has to be, as the end of a sentence."""
        return (
            f"a list of {self._items} relevances, each 0 or more, or the index of the chosen item, "
            f"0 to {self._items - 1}"
        )

    def read(self, y_true: Truth) -> list[float]:
        """Return the relevance of each item; that of a chosen one is 1, of the others 0."""
        if isinstance(y_true, list):
            relevances = _numbers(y_true, self._items, self.takes)
            if min(relevances) < 0:
                raise ValueError(self.takes)
            return relevances
        if _is_number(y_true) and y_true in range(self._items):
            return [float(item == y_true) for item in range(self._items)]
        raise ValueError(self.takes)

    def predicted(self, output: np.ndarray) -> np.ndarray:
        """Return the score of each item, float64 [n, items]."""
        if output.dtype.kind not in "iuf" or output.shape[1:] != (self._items,):
            raise ValueError(
                f"an output of shape {list(output.shape)} ranks no {self._items} items"
            )
        return output.astype(np.float64)

    def scores(self, output: np.ndarray) -> None:
        """Return None: items are no classes."""

    def values(self, predicted: np.ndarray) -> list[Any]:
        """Return the scores of each row; None where one is no number."""
        return _values(predicted)

    def holds(self, value: object) -> bool:
        """Whether a value is a list of scores or relevances, or none."""
        return _holds(value, self._items)


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= LARGEST  # which NaN is not either


def _numbers(value: object, length: int, takes: str) -> list[float]:
    if not isinstance(value, list) or len(value) != length or not all(map(_is_number, value)):
        raise ValueError(takes)
    return [float(each) for each in value]


def _holds(value: object, length: int) -> bool:
    if value is None:
        return True
    return isinstance(value, list) and len(value) == length if length else isinstance(value, float)


def _values(predicted: np.ndarray) -> list[Any]:
    values: list[Any] = predicted.tolist()
    fine = (np.abs(predicted) <= LARGEST).all(axis=tuple(range(1, predicted.ndim)))
    for row in np.flatnonzero(~fine).tolist():
        values[row] = None
    return values
