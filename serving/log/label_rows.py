"""Labels as rows of the log: a dataset of their own, beside the predictions.

A row says what was told of a prediction, the newest one of a prediction what is true: corrections
are rows like any other. Columns are `client_id`, `index`, `label_time` (when it came, UTC), and
`label`, which is compared with `predicted`: a class index, a number, or numbers. No sensitive value
that a label brings is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Final

import pyarrow as pa

LABEL: Final = "label"
LABEL_TIME: Final = "label_time"
_TIME: Final = pa.timestamp("us", "UTC")
_BYTES: Final = 128
"""About what one takes in memory, without numbers of a list."""

Value = int | float | list[float]


@dataclass(frozen=True, slots=True)
class LabelRows:
    """Labels of n predictions of one version that came on one day (UTC).

    Attributes:
        model, version: that made the predictions.
        client_ids, index: the clients' ids of their requests, and the rows in these, [n].
        times: seconds since the epoch when each label came, [n].
        values: class indices, numbers, or lists of numbers; all of them alike, [n].
    """

    model: str
    version: str
    client_ids: Sequence[str]
    index: Sequence[int]
    times: Sequence[float]
    values: Sequence[Value]

    @property
    def count(self) -> int:
        """Number of labels n."""
        return len(self.client_ids)

    @property
    def time(self) -> float:
        """When the first one came, seconds since the epoch."""
        return self.times[0]

    @property
    def nbytes(self) -> int:
        """About how many bytes it holds."""
        first = self.values[0]
        return self.count * (_BYTES + (8 * len(first) if isinstance(first, list) else 0))

    @property
    def kind(self) -> Any:
        """Type of its column of labels."""
        first = self.values[0]
        if isinstance(first, list):
            return pa.large_list(pa.float64())
        return pa.float64() if isinstance(first, float) else pa.int64()

    def label_keys(self) -> list[tuple[str, int, int]]:
        """Return what tells each label from all others of its model: id, index and time in µs."""
        return list(zip(self.client_ids, self.index, map(micros, self.times), strict=True))

    def chosen(self, positions: Sequence[int]) -> LabelRows:
        """Return the labels at these positions."""
        return replace(
            self,
            client_ids=[self.client_ids[at] for at in positions],
            index=[self.index[at] for at in positions],
            times=[self.times[at] for at in positions],
            values=[self.values[at] for at in positions],
        )


def micros(seconds: float) -> int:
    """Return a time in µs, as it is written."""
    return round(seconds * 1e6)


def label_batch(group: Sequence[LabelRows]) -> Any:
    """Return a record batch of labels of one kind.

    Raises:
        ValueError, TypeError, pyarrow.ArrowException: they hold what their type cannot.
    """

    def joined(name: str) -> list[Any]:
        return list(chain.from_iterable(getattr(rows, name) for rows in group))

    return pa.record_batch({
        "client_id": pa.array(joined("client_ids"), pa.string()),
        "index": pa.array(joined("index"), pa.int32()),
        LABEL_TIME: pa.array(map(micros, joined("times")), pa.int64()).cast(_TIME),
        LABEL: pa.array(joined("values"), group[0].kind),
    })  # fmt: skip
