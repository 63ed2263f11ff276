"""Batches that tests of several folders share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from monitors.performance.predicted_class import predicted_class
from monitors.rows import Rows

RowsMaker = Callable[..., Rows]


def _text(values: Any) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


@pytest.fixture
def make_rows() -> RowsMaker:
    def make(
        columns: Mapping[str, np.ndarray] | None = None,
        outputs: Mapping[str, np.ndarray] | None = None,
        groups: Mapping[str, Any] | None = None,
        ids: list[str] | None = None,
        timestamp: float = 0.0,
    ) -> Rows:
        """Predictions; their classes are those of the output `y`."""
        outputs = outputs or {}
        arrays = [*(columns or {}).values(), *outputs.values()]
        n = len(ids) if ids is not None else len(arrays[0])
        return Rows(
            n=n,
            timestamp=timestamp,
            columns=columns or {},
            outputs=outputs,
            groups={name: _text(values) for name, values in (groups or {}).items()},
            predicted=predicted_class(outputs["y"]) if "y" in outputs else None,
            request_ids=ids if ids is not None else [f"r{i}" for i in range(n)],
            row_index=np.zeros(n, dtype=np.int64),
        )

    return make
