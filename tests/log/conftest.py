"""What tests of the log share: rows, writers that are closed again, and stores that fail."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.dataplane.hooks.record_ids import RecordIds
from serving.log.open_streams import RollLimits
from serving.log.reader import LogReader
from serving.log.retention import Retention
from serving.log.rows import LoggedBatches, LoggedRequests, LogRows, ModelLog
from serving.log.store import Store, open_store
from serving.log.writer import LogLimits, LogWriter

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()
FOREVER = Retention(1e5, 1e5, 1e15)

Rows = Callable[..., LogRows]
Wait = Callable[[Callable[[], object]], None]


@pytest.fixture
def rows() -> Rows:
    """Make rows of requests named r<number>, of given sizes, with feature `x` equal to the row."""
    ids = RecordIds()
    made = iter(range(10**9))

    def make(*sizes: int, **given: Any) -> LogRows:
        sizes = sizes or (1,)
        total = sum(sizes)
        numbers = [next(made) for _ in sizes]
        requests = {
            "client_ids": [f"r{number}" for number in numbers],
            "rows": list(sizes),
            "outcomes": ["ok"] * len(sizes),
        }
        requests |= given.pop("requests", {})
        batch = {
            name: given.pop(name, value)
            for name, value in (("id", ids.new()), ("time", NOON), ("compute_s", None))
        }
        compute_s = () if batch["compute_s"] is None else [batch["compute_s"]]
        values: dict[str, Any] = {
            "model": "m", "version": "1",
            "batches": LoggedBatches(batch["id"], [len(sizes)], [batch["time"]], compute_s),
            "inputs": {"x": np.arange(total, dtype=np.float32)},
            "outputs": {"y": np.full((total, 2), 0.5, np.float32)},
        }  # fmt: skip
        return LogRows(**values | given, requests=LoggedRequests(**requests))

    return make


@pytest.fixture(autouse=True)
def _rows_are_written_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of times these tests wait until rows are in a stream."""
    monkeypatch.setattr("serving.log.writer._FLUSH_S", 0.01)


@pytest.fixture
def wait() -> Wait:
    """Return what waits for a condition."""

    def until(condition: Callable[[], object]) -> None:
        end = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < end, "it did not come true"
            time.sleep(0.01)

    return until


class Log:
    """A log in a folder: makes writers and readers of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spool = folder / "open"
        self.store = open_store(str(folder))
        self.writers: list[LogWriter] = []

    def writer(
        self,
        models: dict[str, ModelLog] | None = None,
        limits: LogLimits | None = None,
        store: Store | None = None,
        retention: Retention = FOREVER,
    ) -> LogWriter:
        """Return a writer that runs."""
        made = LogWriter(store or self.store, self.spool, retention, models or {}, limits)
        made.start()
        self.writers.append(made)
        return made

    def reader(self, dataset: Any = "predictions") -> LogReader:
        """Return a reader of it."""
        return LogReader(self.store, self.spool, dataset)

    def table(self, model: str = "m", dataset: Any = "predictions") -> Any:
        """Return all rows."""
        return self.reader(dataset).scan(model).read_all()

    def parts(self) -> list[Path]:
        """Return the Parquet files."""
        return sorted(self.folder.rglob("*.parquet"))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    """A log; its writers are closed at the end."""
    made = Log(tmp_path / "log")
    yield made
    for writer in made.writers:
        writer.close()


@pytest.fixture
def small() -> Callable[..., LogLimits]:
    """Make limits of a writer that rolls by rows."""

    def make(max_rows: int = 500_000, max_age_s: float = 1e6, **given: Any) -> LogLimits:
        return LogLimits(roll=RollLimits(64 << 20, max_rows, max_age_s), **given)

    return make
