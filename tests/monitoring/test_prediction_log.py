"""The prediction log as a consumer of events: what it writes, says, and writes once."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.channel.messages.directory import ServedModel
from serving.channel.messages.observation import (
    BatchColumns,
    EventMeta,
    Position,
    RequestColumns,
)
from serving.config import Feature, InputSpec, Log, ModelConfig, ModelLog, OutputSpec
from serving.config.encoded import encode_config
from serving.dataplane.hooks.record_ids import new_record_id
from serving.log.place import place_of
from serving.log.reader import LogReader
from serving.monitoring.prediction_log import PredictionLog
from serving.protocol.messages import Tensor

SERIES = "vigil.store."


def served(version: str = "1", **log: Any) -> ServedModel:
    config = ModelConfig(
        format="torch_export",
        inputs=[
            InputSpec(name="x", datatype="FP32", shape=[-1, 1], features=[Feature(name="age")])
        ],
        outputs=[OutputSpec(name="y", datatype="FP32", shape=[-1])],
        log=ModelLog(**{"capture": "full", "sample": 1.0} | log),
    )
    return ServedModel("m", version, encode_config(config), "/nowhere", None, "r")


def event(*ages: float, model: str = "m", sex: str = "") -> tuple[EventMeta, list[Tensor]]:
    """Return an event of one batch with a request of one row for each age."""
    count, now = len(ages), time.time()
    requests = RequestColumns(list(range(count)), [0.1] * count, [0.2] * count)
    batches = BatchColumns(new_record_id(), [count], [now], [1000], [0])
    ids = [f"age-{age:g}" for age in ages]
    sensitive: dict[str, list[str | None]] = {"sex": [sex] * count} if sex else {}
    meta = EventMeta(
        Position("g", 1, 0, 0, 0), model, "1", now, ids, [1] * count, sensitive,
        batches=batches, requests=requests,
    )  # fmt: skip
    x = np.array(ages, np.float32)[:, None]
    return meta, [Tensor("in:x", "FP32", x.shape, x), Tensor("out:y", "FP32", (count,), x[:, 0])]


class Instance:
    """A data folder, and the logs of monitors that live one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs: list[PredictionLog] = []
        self.now = 1_000_000.0

    def begin(self, *models: ServedModel, log: Log | None = None) -> PredictionLog:
        """Return the log of a monitor that has just started; others are as if killed."""
        made = PredictionLog(log or Log(), self.folder, lambda: self.now)
        made.start()
        made.serve(models or (served(),))
        self.logs.append(made)
        return made

    def reader(self, dataset: Any = "predictions") -> LogReader:
        place = place_of(Log(), self.folder)
        return LogReader(place.store(), place.spool, dataset)

    def ages(self) -> list[float]:
        rows = self.reader().scan("m").read_all()
        return sorted(rows["in_age"].to_pylist()) if rows.num_rows else []


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    made = Instance(tmp_path)
    yield made
    for log in made.logs:
        log.close()


def counted(log: PredictionLog) -> dict[str, float]:
    return {
        each.name.removeprefix(SERIES) + "".join(f" {value}" for _, value in each.attributes):
            each.value for each in log.snapshot()
    }  # fmt: skip


def test_events_become_rows_that_are_counted(instance: Instance) -> None:
    log = instance.begin()
    log.taken_in(*event(1, 2), 0.0, replayed=False)
    log.taken_in(*event(3, sex="F"), 0.0, replayed=False)
    log.flush()
    assert instance.ages() == [1, 2, 3]
    assert instance.reader("sensitive").scan("m").read_all()["sex"].to_pylist() == ["F"]
    assert counted(log) == {
        "rows": 3, "sampled_out": 0, "errors": 0, "parts": 0, "waiting": 0,
        "labels": 0, "labels.dropped": 0,
    }  # fmt: skip
    assert log.notes() == ()


def test_what_is_not_known_any_more_is_logged_without_values(instance: Instance) -> None:
    log = instance.begin()
    log.serve([])
    log.taken_in(*event(1), 0.0, replayed=False)  # on its way while the model was unloaded
    log.taken_in(*event(2, model="other"), 0.0, replayed=False)
    log.flush()
    assert instance.ages() == [1]
    other = instance.reader().scan("other").read_all()
    assert other["client_id"].to_pylist() == ["age-2"]
    assert not [name for name in other.column_names if name.startswith(("in_", "out_"))]


@pytest.mark.parametrize("rolled", [False, True])
@pytest.mark.parametrize("live", [False, True])
def test_what_is_replayed_after_a_kill_is_in_the_log_once(
    instance: Instance, rolled: bool, live: bool
) -> None:
    first = instance.begin()
    stored = [event(1, 2), event(3), event(4, 5, sex="F")]
    for each in stored:
        first.taken_in(*each, 0.0, replayed=False)
    first.flush()
    if rolled:
        first.close()
    lost = event(6, 7)  # it was in the queue
    second = instance.begin()
    for each in (*stored, lost):
        second.taken_in(*each, each[0].timestamp, replayed=True)
    if live:
        second.taken_in(*event(8), 0.0, replayed=False)
    second.flush()
    assert instance.ages() == [1, 2, 3, 4, 5, 6, 7, *([8] if live else [])]
    assert instance.reader("sensitive").scan("m").read_all().num_rows == 2
    assert counted(second)["rows"] == (3 if live else 2)


def test_a_replay_ends_with_the_monitor_at_the_latest(instance: Instance) -> None:
    log = instance.begin()
    log.taken_in(*event(1), time.time(), replayed=True)
    log.close()
    assert instance.ages() == [1]


def test_a_sample_stays_what_it_is_when_it_is_replayed(instance: Instance) -> None:
    events = [event(*range(10 * number, 10 * number + 10)) for number in range(20)]
    first = instance.begin(served(sample=0.5))
    for each in events:
        first.taken_in(*each, 0.0, replayed=False)
    first.flush()
    kept = instance.ages()
    assert 50 < len(kept) < 150
    second = instance.begin(served(sample=0.5))
    for each in events:
        second.taken_in(*each, each[0].timestamp, replayed=True)
    second.flush()
    assert instance.ages() == kept


def test_a_log_that_cannot_be_read_costs_no_rows(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> Any:
        raise ConnectionError("the store is away")

    monkeypatch.setattr("serving.log.stored.all_parts", away)
    log = instance.begin()
    log.taken_in(*event(1), time.time(), replayed=True)
    log.flush()
    monkeypatch.undo()
    assert instance.ages() == [1]


def test_a_message_that_cannot_be_read_is_counted(instance: Instance) -> None:
    log = instance.begin()
    meta, arrays = event(1, 2)
    assert meta.batches is not None
    meta.batches.times.append(0.0)
    log.taken_in(meta, arrays, 0.0, replayed=False)
    log.taken_in(*event(3), 0.0, replayed=False)
    log.flush()
    assert instance.ages() == [3]
    assert counted(log)["dropped unwritable"] == 2


class FullDisk:
    """Stands in for `os`: there is no room for what is written."""

    def __init__(self) -> None:
        self.full = True

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def write(self, descriptor: int, data: Any) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.write(descriptor, data)


def test_a_full_disk_is_told_of_and_the_log_goes_on(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk()
    monkeypatch.setattr("serving.log.stream.os", disk)
    log = instance.begin()
    log.taken_in(*event(1, 2), 0.0, replayed=False)
    log.flush()
    (note,) = log.notes()
    assert note == (
        "the prediction log has lost 2 rows since 1970-01-12 13:46:40 UTC: the disk is full "
        "([Errno 28] No space left on device)"
    )
    assert counted(log)["dropped disk_full"] == 2
    assert counted(log)["errors"] == 1
    disk.full = False
    instance.now += 1800
    log.taken_in(*event(3), 0.0, replayed=False)
    log.flush()
    assert instance.ages() == [3]
    assert "lost 2 rows since 1970-01-12 13:46:40 UTC: the disk is full" in log.notes()[0]
    instance.now += 1801
    assert log.notes() == ()
    assert counted(log)["dropped disk_full"] == 2


def test_a_log_begins_once_its_folder_can_be_made(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.log.late_writer.RETRY_S", 0)
    in_the_way = instance.folder / "log"
    in_the_way.touch()
    log = instance.begin()
    log.taken_in(*event(1, 2), 0.0, replayed=False)
    log.flush()
    assert "has lost 2 rows" in log.notes()[0]
    in_the_way.unlink()
    log.taken_in(*event(3), 0.0, replayed=False)
    log.flush()
    assert instance.ages() == [3]
    assert counted(log)["rows"] == 1
    assert counted(log)["dropped io_error"] == 2


def test_a_store_that_nobody_knows_costs_no_rows_either(
    instance: Instance, until: Callable[..., None]
) -> None:
    log = instance.begin(log=Log(url="nowhere://bucket/log"))
    log.taken_in(*event(1), 0.0, replayed=False)
    log.flush()
    assert instance.ages() == [1]  # it is in a stream
    until(lambda: log.notes())
    assert log.notes()[0].startswith(
        "files of the prediction log cannot be written to its store, and it is tried again: "
        "log.url: 'nowhere://bucket/log' cannot be used"
    )
    log.close(timeout_s=0.1)  # it would try until then


@pytest.fixture
def until() -> Callable[..., None]:
    """Return what waits for a condition."""

    def wait(condition: Callable[[], object]) -> None:
        end = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < end, "it did not come true"
            time.sleep(0.01)

    return wait
