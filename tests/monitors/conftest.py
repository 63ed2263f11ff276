"""Events and monitors that several tests of this folder share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from monitors.drift import ColumnSpec, DriftMonitor
from monitors.events import PredictionEvent
from monitors.monitor import Monitor
from monitors.non_finite import NonFiniteMonitor
from monitors.reference import ReferenceProfile
from monitors.selection_rate_difference import SelectionRateMonitor

EventMaker = Callable[..., PredictionEvent]
MonitorMaker = Callable[[], Monitor]


def _text(values: Any) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


@pytest.fixture
def make_event() -> EventMaker:
    def make(
        inputs: Mapping[str, np.ndarray] | None = None,
        outputs: Mapping[str, np.ndarray] | None = None,
        sensitive: Mapping[str, Any] | None = None,
        ids: list[str] | None = None,
        timestamp: float = 0.0,
    ) -> PredictionEvent:
        arrays = [*(inputs or {}).values(), *(outputs or {}).values()]
        rows = len(ids) if ids is not None else len(arrays[0])
        return PredictionEvent(
            model_name="model",
            model_version="1",
            timestamp=timestamp,
            request_ids=ids if ids is not None else [f"r{i}" for i in range(rows)],
            row_index=np.zeros(rows, dtype=np.int64),
            inputs=inputs or {},
            outputs=outputs or {},
            sensitive_features={name: _text(v) for name, v in (sensitive or {}).items()},
        )

    return make


@pytest.fixture
def mixed_event(make_event: EventMaker) -> EventMaker:
    """Makes events of two numeric columns, one categorical, two classes and one attribute."""

    def make(rows: int, seed: int, timestamp: float = 0.0) -> PredictionEvent:
        rng = np.random.default_rng(seed)
        inputs = {
            "x": rng.normal(size=(rows, 2)).astype(np.float32),
            "kind": _text([[b"red", b"blue"][i] for i in rng.integers(0, 2, rows)]),
        }
        scores = rng.random((rows, 2)).astype(np.float32)
        groups = [["a", "b", None][i] for i in rng.integers(0, 3, rows)]
        return make_event(inputs, {"y": scores}, {"group": groups}, timestamp=timestamp)

    return make


@pytest.fixture(params=["drift", "selection_rate_difference", "non_finite"])
def make_monitor(request: pytest.FixtureRequest) -> MonitorMaker:
    def drift() -> Monitor:
        rng = np.random.default_rng(0)
        columns = {
            "first": rng.normal(size=500),
            "second": rng.normal(size=500),
            "kind": _text([[b"red", b"blue"][i] for i in rng.integers(0, 2, 500)]),
        }
        specs = [
            ColumnSpec("x", 0, "first"),
            ColumnSpec("x", 1, "second"),
            ColumnSpec("kind", 0, "kind", categorical=True),
        ]
        return DriftMonitor(ReferenceProfile.fit(columns), specs, 100, 0.01, 0.05)

    def selection() -> Monitor:
        return SelectionRateMonitor(["group"], 1, "y", 0.1, window=100, min_rows=25)

    def non_finite() -> Monitor:
        return NonFiniteMonitor(["y"], window=100)

    makers: dict[str, MonitorMaker] = {
        "drift": drift,
        "selection_rate_difference": selection,
        "non_finite": non_finite,
    }
    return makers[request.param]
