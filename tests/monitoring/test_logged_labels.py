"""Labels from pushes to rows of the prediction log: each that is taken for true, once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitors.performance.labels import CorrectedRow, JoinedRow
from serving.channel.messages.directory import ServedModel
from serving.channel.messages.observation import (
    BatchColumns,
    EventMeta,
    Label,
    LabelCounts,
    LabelsMeta,
    Position,
    RequestColumns,
)
from serving.config import Log, ModelConfig
from serving.config.encoded import encode_config
from serving.dataplane.hooks.record_ids import new_record_id
from serving.log.place import place_of
from serving.log.reader import LogReader
from serving.monitoring.fan_out import FanOut, Served
from serving.monitoring.logged_labels import logged_labels
from serving.monitoring.model_monitors import LearnedLabels
from serving.monitoring.prediction_log import PredictionLog
from serving.monitoring.recorded_clock import RecordedClock
from serving.monitoring.service import MonitoringService
from serving.protocol.messages import Tensor

NOW = 1_796_040_000.0
CLASSES = {"outputs": [{"name": "y", "datatype": "INT64", "shape": [-1]}]}
NAMED = {"outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2], "classes": ["no", "yes"]}]}
BOOLEAN = {"outputs": [{"name": "y", "datatype": "BOOL", "shape": [-1]}]}
NUMBER = {"outputs": [{"name": "y", "datatype": "FP32", "shape": [-1]}]}


def judged(metric: str) -> dict[str, Any]:
    outputs = [{"name": "y", "datatype": "FP32", "shape": [-1, 3]}]
    return {
        "outputs": outputs, "monitors": {"drift": None, "performance": {"metric": metric}},
    }  # fmt: skip


def served(kind: dict[str, Any], capture: str = "full") -> Served:
    config = ModelConfig.model_validate({
        "format": "python", "factory": "net:build", "trust_code": True,
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}],
        "monitors": {"drift": None}, "log": {"capture": capture, "sample": 1.0}, **kind,
    })  # fmt: skip
    return Served((ServedModel("m", "1", encode_config(config), "/nowhere"),))


class Monitor:
    """A monitor without sockets and files of its own, whose messages are written down."""

    def __init__(self, folder: Path, kind: dict[str, Any], capture: str = "full") -> None:
        self.told: list[tuple[Any, Any, float]] = []
        self.folder, self.kind, self.capture = folder, kind, capture
        self.logs: list[PredictionLog] = []
        self.sequence = 0
        self._begin()

    def _begin(self) -> None:
        clock = RecordedClock(lambda: NOW)
        log = PredictionLog(Log(), self.folder, lambda: NOW)
        log.start()
        self.logs.append(log)
        self.fan_out = FanOut(MonitoringService(clock), clock, [log], log)
        self.fan_out.apply(served(self.kind, self.capture), (), NOW)

    def killed(self) -> None:
        """Have another one in its place, which is told again what this one was told."""
        self._begin()
        for told, tensors, now in self.told:
            self.fan_out.apply(told, tensors, now, replayed=True)

    def _tell(self, told: Any, tensors: Any, now: float) -> Any:
        self.told.append((told, tensors, now))
        return self.fan_out.apply(told, tensors, now)

    def predict(self, *idents: str, output: Any, now: float = NOW) -> None:
        """Have a batch with a request of one row for each id, all of which got this answer."""
        count = len(idents)
        batches = BatchColumns(new_record_id(), [count], [now], [1000], [0])
        columns = RequestColumns(list(range(count)), [0.1] * count, [0.2] * count)
        meta = EventMeta(
            Position("g", 1, self.sequence, self.sequence, self.sequence), "m", "1", now,
            list(idents), [1] * count, {}, batches=batches, requests=columns,
        )  # fmt: skip
        self.sequence += count
        x = np.zeros((count, 1), np.float32)
        y = np.repeat(output[None], count, axis=0)
        datatype = {"i": "INT64", "b": "BOOL", "f": "FP32"}[output.dtype.kind]
        self._tell(
            meta, [Tensor("in:x", "FP32", x.shape, x), Tensor("out:y", datatype, y.shape, y)], now
        )

    def push(self, *pushed: tuple[str, Any], now: float = NOW + 60, **more: Any) -> LabelCounts:
        """Push labels."""
        labels = [Label(ident, 0, truth, **more) for ident, truth in pushed]
        answer = self._tell(LabelsMeta("m", labels), (), now)
        assert isinstance(answer, LabelCounts)
        return answer

    def reader(self, dataset: Any = "predictions") -> LogReader:
        place = place_of(Log(), self.folder)
        return LogReader(place.store(), place.spool, dataset)

    def written(self) -> list[tuple[str, Any]]:
        """Return all labels that are in the log, in the order in which they came."""
        self.logs[-1].flush()
        rows = self.reader("labels").scan("m").read_all().to_pylist()
        return [
            (row["client_id"], row["label"])
            for row in sorted(rows, key=lambda row: (row.get("label_time"), row["client_id"]))
        ]

    def truth(self) -> dict[str, Any]:
        """Return what a reader takes for true."""
        self.logs[-1].flush()
        table = self.reader().scan("m", "label IS NOT NULL").read_all()
        return dict(zip(table["client_id"].to_pylist(), table["label"].to_pylist(), strict=True))


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[Callable[..., Monitor]]:
    made: list[Monitor] = []

    def make(*given: Any) -> Monitor:
        made.append(Monitor(tmp_path, *given))
        return made[-1]

    yield make
    for each in made:
        for log in each.logs:
            log.close()


ONE = np.array(1, np.int64)
SCORES = np.array([0.1, 0.7, 0.2], np.float32)


@pytest.mark.parametrize(
    ("kind", "output", "right", "wrong", "read"),
    [
        (CLASSES, ONE, 1, 3, 3),
        (NAMED, np.array([0.2, 0.8], np.float32), "yes", "no", 0),
        (NAMED, np.array([0.2, 0.8], np.float32), 1, 0, 0),
        (BOOLEAN, np.array(True), True, False, 0),
        (NUMBER, np.array(1.5, np.float32), 1.5, 2, 2.0),
        (judged("rmse"), SCORES[:] * 0 + 1, [1.0, 1.0, 1.0], [1.0, 2.0, 3.5], [1.0, 2.0, 3.5]),
        (judged("ndcg"), np.array([0, 1, 0], np.float32), 1, [3.0, 0.0, 1.0], [3.0, 0.0, 1.0]),
    ],
    ids=["class", "name", "index of a name", "boolean", "number", "list", "ranking"],
)
def test_every_kind_of_label_is_found_with_its_prediction(
    monitor: Callable[..., Monitor], kind: Any, output: Any, right: Any, wrong: Any, read: Any
) -> None:
    made = monitor(kind)
    made.predict("a", "b", "c", output=output)
    assert made.push(("a", right), ("b", wrong)) == LabelCounts(accepted=2)
    truth = made.truth()
    assert truth.keys() == {"a", "b"}
    assert truth["b"] == read
    table = made.reader().scan("m", "label != predicted").read_all()
    assert table["client_id"].to_pylist() == ["b"]
    assert made.reader().scan("m", "label = predicted").read_all()["client_id"].to_pylist() == ["a"]


def test_what_is_taken_for_true_is_written_and_nothing_else(
    monitor: Callable[..., Monitor],
) -> None:
    made = monitor(CLASSES)
    made.predict("a", "b", "c", output=ONE)
    assert made.push(("a", 1), ("a", 1), ("b", 2), ("never", 1)) == LabelCounts(3 - 1, 1, 1)
    assert made.push(("b", 0), ("b", 3), now=NOW + 61) == LabelCounts(2)  # two in one push
    assert made.push(("c", 1), now=NOW + 62, timestamp=9.0) == LabelCounts(1)
    assert made.push(("c", 2), now=NOW + 63, timestamp=5.0) == LabelCounts(0, 1)  # known before
    assert made.push(("a", 4), now=NOW) == LabelCounts(1)  # the clock was set back
    assert made.written() == [("a", 1), ("b", 2), ("a", 4), ("b", 0), ("b", 3), ("c", 1)]
    assert made.truth() == {"a": 4, "b": 3, "c": 1}


def test_a_label_that_waited_is_written_when_its_prediction_comes(
    monitor: Callable[..., Monitor],
) -> None:
    made = monitor(CLASSES)
    assert made.push(("a", 1), ("b", 2), now=NOW) == LabelCounts(unknown=2)
    assert made.written() == []
    made.predict("a", output=ONE, now=NOW + 5)
    assert made.written() == [("a", 1)]
    [row] = made.reader().find("m", "a")
    assert row["label_time"].timestamp() == NOW


@pytest.mark.parametrize("rolled", [False, True])
@pytest.mark.parametrize("live", [False, True])
def test_a_kill_writes_no_label_twice_and_loses_none(
    monitor: Callable[..., Monitor], rolled: bool, live: bool
) -> None:
    made = monitor(CLASSES)
    made.push(("w", 1), now=NOW - 1)
    made.predict("a", "b", "w", output=ONE)
    made.push(("a", 1), ("b", 2), ("b", 3))
    assert len(made.written()) == 4
    if rolled:
        made.logs[-1].close()
    # What was written ahead and had not come to the log when the process died.
    lost = LabelsMeta("m", [Label("b", 0, 0), Label("a", 0, 2)])
    made.told.append((lost, (), NOW + 70))
    made.killed()
    if live:
        made.push(("w", 2), now=NOW + 80)
    more = [("w", 2)] if live else []
    assert made.written() == [
        ("w", 1), ("a", 1), ("b", 2), ("b", 3), ("a", 2), ("b", 0), *more,
    ]  # fmt: skip
    made.killed()
    assert len(made.written()) == 6 + len(more)
    assert made.truth() == {"a": 2, "b": 0, "w": 2 if live else 1}


def test_without_captured_values_there_are_no_labels(monitor: Callable[..., Monitor]) -> None:
    made = monitor(CLASSES, "none")
    made.predict("a", output=ONE)
    assert made.push(("a", 1)) == LabelCounts(accepted=1)
    assert made.written() == []
    assert not list(made.folder.rglob("labels"))


def test_sensitive_values_of_labels_are_not_written(monitor: Callable[..., Monitor]) -> None:
    made = monitor({**NAMED, "fairness": {"sensitive": ["sex"], "favorable": "yes"}})
    made.predict("a", output=np.array([0.2, 0.8], np.float32))
    made.push(("a", "yes"), sensitive={"sex": "canary-7"})
    assert made.written() == [("a", 1)]
    made.logs[-1].close()
    files = [path for path in (made.folder / "log").rglob("*") if path.is_file()]
    assert files
    assert not any(b"canary-7" in path.read_bytes() for path in files)


def test_labels_of_two_days_are_of_two_days() -> None:
    midnight = 1_796_083_200.0
    joined = [JoinedRow(1, 2, key=("a", 3), came=midnight - 1)]
    corrected = [CorrectedRow(1, 1, 0, key=("b", 0), came=midnight)]
    first, second = logged_labels(LearnedLabels("m", "7", [*joined, *corrected]))
    assert (first.client_ids, first.index, first.values) == (["a"], [3], [2])
    assert (second.client_ids, second.times, second.version) == (["b"], [midnight], "7")
