import asyncio
import errno
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from monitors.performance.label_join import LabelJoin
from serving.channel import frames
from serving.channel.frame_parts import Message
from serving.channel.messages.directory import ServedModel
from serving.channel.messages.observation import (
    EVENTS,
    LABELS,
    POSITION,
    TAKEN,
    EventMeta,
    Label,
    LabelCounts,
    LabelsMeta,
    Position,
    RecalledMeta,
    RecalledRow,
    Taken,
)
from serving.config import ModelConfig
from serving.errors import ModelNotFound, ModelNotReady
from serving.monitoring import write_ahead_log
from serving.monitoring.fan_out import FanOut
from serving.monitoring.intake import Intake
from serving.monitoring.recorded_clock import RecordedClock
from serving.monitoring.service import MonitoringService
from serving.monitoring.wal_segments import Record, records, segments
from serving.monitoring.write_ahead_log import WriteAheadLog
from serving.protocol.messages import Tensor
from serving.telemetry.counters import SeriesSet


class Peer:
    """The gateway's end: what it was told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def notify(self, kind: str, meta: Any) -> None:
        assert kind == TAKEN
        self.told.append(meta)


class Monitor:
    """An intake over a folder, and what it feeds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        recorded = RecordedClock(lambda: 1000.0)
        self.series = SeriesSet()
        self.service = MonitoringService(recorded)
        self.log = WriteAheadLog(folder, "monitor")
        fan_out = FanOut(self.service, recorded)
        self.intake = Intake(self.log, fan_out, lambda: 1000.0, self.series)
        self.service.notices.append(self.intake.notice)

    @property
    def unsaved(self) -> float:
        """What the metric says."""
        self.intake.update()
        (series,) = self.series.snapshot()
        return series.value

    @property
    def written(self) -> list[str]:
        """Kinds of the messages on the disk."""
        return [
            frames.decode(memoryview(record.frame)).kind
            for path in segments(self.folder, "monitor").values()
            for record in records(path)
            if isinstance(record, Record)
        ]


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[Monitor]:
    made = Monitor(tmp_path)
    made.intake.serve([served()])
    yield made
    made.log.close()


def served(minimum: float = 0.5) -> ServedModel:
    config = ModelConfig.model_validate({
        "format": "python", "factory": "net:build", "trust_code": True,
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}],
        "outputs": [{"name": "p", "datatype": "FP32", "shape": [-1, 2]}],
        "monitors": {"drift": None, "performance": {"min": minimum}},
    })  # fmt: skip
    return ServedModel("loans", "1", config.model_dump_json().encode(), "/nowhere")


def message(kind: str, meta: Any, tensors: Sequence[Tensor] = ()) -> Message:
    return frames.decode(memoryview(b"".join(frames.encode(kind, 1, meta, tensors)))[4:])


def event(sequence: int, gateway: str = "g") -> Message:
    position = Position(gateway, 1, sequence, sequence, sequence)
    meta = EventMeta(position, "loans", "1", 1000.0, [f"r{sequence}"], [1], {})
    scores = np.array([[0.1, 0.9]], np.float32)
    return message(EVENTS, meta, [Tensor("out:p", "FP32", (1, 2), scores)])


def labels(*idents: str, model: str = "loans") -> Message:
    return message(LABELS, LabelsMeta(model, [Label(ident, 0, 1) for ident in idents]))


def full(*_: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


async def test_what_was_taken_is_told_once_a_turn_and_is_on_the_disk(monitor):
    first, second = Peer(), Peer()
    for sequence in range(3):
        monitor.intake.notified(first, event(sequence))
    monitor.intake.notified(second, event(0, "h"))
    assert first.told == second.told == []
    await asyncio.sleep(0)
    assert (first.told, second.told) == ([Taken(1, 3)], [Taken(1, 1)])
    assert monitor.written == ["served", *[EVENTS] * 4]


async def test_a_position_is_answered_too(monitor):
    peer = Peer()
    monitor.intake.notified(peer, message(POSITION, Position("g", 1, 5, 5, 5)))
    await asyncio.sleep(0)
    assert peer.told == [Taken(1, 5)]
    assert monitor.service.delivery.lost.rows == 5


async def test_labels_are_answered_once_they_are_on_the_disk(monitor, monkeypatch):
    monitor.intake.notified(Peer(), event(0))
    synced = []
    monkeypatch.setattr(write_ahead_log.os, "fdatasync", lambda _: synced.append(monitor.written))
    answer = await monitor.intake.asked(labels("r0", "early"))
    assert answer == LabelCounts(accepted=1, unknown=1)
    assert synced == [["served", EVENTS, LABELS]]


async def test_labels_that_are_refused_wait_for_no_disk(monitor, monkeypatch):
    monkeypatch.setattr(write_ahead_log.os, "fdatasync", full)
    with pytest.raises(ModelNotFound):
        await monitor.intake.asked(labels("a", model="cats"))


async def test_a_full_disk_costs_events_nothing_and_is_told(monitor, monkeypatch):
    peer = Peer()
    with monkeypatch.context() as patch:
        patch.setattr(write_ahead_log.os, "writev", full)
        for sequence in range(3):
            monitor.intake.notified(peer, event(sequence))
        await asyncio.sleep(0)
        with pytest.raises(ModelNotReady, match="cannot write to its disk: No space left"):
            await monitor.intake.asked(labels("r0"))
    assert peer.told == [Taken(1, 3)]
    assert monitor.service.delivery.received.rows == 3
    told = "a restart of the monitor would forget 3 rows: No space left on device"
    assert told in monitor.service.status().not_judged
    assert told in monitor.service.findings("loans").notes
    assert monitor.unsaved == 3
    assert await monitor.intake.asked(labels("r0")) == LabelCounts(accepted=1)
    monitor.log.saved(monitor.log.rotate())
    assert "forget" not in str(monitor.service.status())
    assert monitor.unsaved == 0


async def test_a_disk_that_does_not_say_that_it_holds_labels_refuses_them(monitor, monkeypatch):
    monitor.intake.notified(Peer(), event(0))
    with monkeypatch.context() as patch:
        patch.setattr(write_ahead_log.os, "fdatasync", full)
        with pytest.raises(ModelNotReady, match="cannot write to its disk"):
            await monitor.intake.asked(labels("r0"))
    assert await monitor.intake.asked(labels("r0")) == LabelCounts(duplicate=1)


async def test_what_is_served_is_written_when_it_changes(monitor):
    monitor.intake.serve([served()])
    assert monitor.written == ["served"]
    monitor.intake.serve([served(0.9)])
    assert monitor.written == ["served", "served"]


def again(folder: Path) -> Monitor:
    other = Monitor(folder)
    for path in segments(folder, "monitor").values():
        for record in records(path):
            assert isinstance(record, Record)
            other.intake.again(record)
    other.log.go_on(0)
    return other


@pytest.mark.parametrize("minimum", [0.5, 0.9])
async def test_a_version_goes_on_although_its_configuration_changed_meanwhile(
    monitor, tmp_path, minimum
):
    for sequence in range(3):
        monitor.intake.notified(Peer(), event(sequence))
    other = again(tmp_path)
    assert other.service.changes()
    other.intake.serve([served(minimum)])
    (watch,) = other.service.watches
    filled = {judge.name: judge.monitor.filled[0] for judge in watch._monitors.judges}
    assert filled == {"quality": 3, "performance": 0}
    assert await other.intake.asked(labels("r0")) == LabelCounts(accepted=1)
    other.log.close()


async def test_entries_that_were_replayed_are_changes_also_when_the_configuration_changed(
    monitor, tmp_path
):
    monitor.intake.notified(Peer(), event(0))
    other = again(tmp_path)
    other.intake.serve([served(0.9)])
    ((owner, entries),) = other.service.changes()
    assert (owner, len(entries or ())) == ("loans/1", 1)
    other.log.close()


async def test_what_is_damaged_is_not_taken_in(monitor):
    with pytest.raises(msgspec.DecodeError):
        monitor.intake.notified(Peer(), message(EVENTS, {"no": "event"}))
    assert monitor.written == ["served"]


async def test_what_was_told_to_the_control_plane_is_told_once_over_a_restart(monitor, tmp_path):
    def received(one: Monitor) -> float:
        (value,) = [s.value for s in one.intake.report() if s.name == "vigil.events.received"]
        return value

    for sequence in range(3):
        monitor.intake.notified(Peer(), event(sequence))
    assert received(monitor) == 3
    for sequence in range(3, 5):
        monitor.intake.notified(Peer(), event(sequence))
    other = again(tmp_path)
    assert received(other) == 2
    other.intake.notified(Peer(), event(5))
    assert received(other) == 3
    third = again(tmp_path)
    assert received(third) == 0
    for one in (other, third):
        one.log.close()


# -- what is recalled -----------------------------------------------------------------------


class Log:
    """Has predictions r<number> that the monitor may have forgotten; it may be away."""

    def __init__(self, *idents: str) -> None:
        self.idents = idents
        self.away = False
        self.asked: list[list[str]] = []

    async def recall(self, model: str, keys: Sequence[tuple[str, int]]) -> RecalledMeta:
        self.asked.append([ident for ident, _ in keys])
        await asyncio.sleep(0)
        if self.away:
            raise ModelNotReady("the prediction log cannot be read now")
        found = [key for key in keys if key[0] in self.idents]
        return RecalledMeta(model, [RecalledRow(*key, "1", 1000.0, 1) for key in found])


@pytest.fixture
async def log(monitor, monkeypatch):
    """Predictions of which the monitor keeps the last two, r2 and r3."""
    monkeypatch.setattr(
        "serving.monitoring.labelled_rows.LabelJoin", partial(LabelJoin, max_rows=2)
    )
    monitor.intake.serve([served(0.6)])
    for sequence in range(4):
        monitor.intake.notified(Peer(), event(sequence))
    made = Log("r0", "r1", "r2", "r3")
    monitor.intake.recall = made.recall
    return made


async def test_labels_of_forgotten_predictions_are_taken_in_behind_what_the_log_has(
    monitor, log, tmp_path
):
    before = len(monitor.written)
    assert await monitor.intake.asked(labels("r0", "r3", "never")) == LabelCounts(2, 0, 1)
    assert log.asked == [["r0", "never"]]
    assert monitor.written[before:] == ["recalled", LABELS]
    other = again(tmp_path)  # which has no log to ask
    assert await other.intake.asked(labels("r0", "r1", "r3")) == LabelCounts(late=2, duplicate=1)
    assert list(other.service.entries()) == list(monitor.service.entries())
    other.log.close()


async def test_where_the_log_has_nothing_nothing_is_written_of_it(monitor, log):
    before = len(monitor.written)
    await monitor.intake.asked(labels("never"))
    await monitor.intake.asked(labels("r3"))
    assert log.asked == [["never"]]
    assert monitor.written[before:] == [LABELS, LABELS]


async def test_the_same_label_at_once_counts_once(monitor, log):
    answers = await asyncio.gather(*(monitor.intake.asked(labels("r0")) for _ in range(3)))
    assert sum(answer.accepted for answer in answers) == 1
    assert all(sum(msgspec.structs.astuple(answer)) == 1 for answer in answers)


async def test_a_log_that_is_away_refuses_labels_of_what_was_seen_and_no_others(monitor, log):
    log.away = True
    with pytest.raises(ModelNotReady, match="log cannot be read"):
        await monitor.intake.asked(labels("r0"))
    assert await monitor.intake.asked(labels("r3", "never")) == LabelCounts(1, 0, 1)
    log.away = False
    assert await monitor.intake.asked(labels("r0")) == LabelCounts(accepted=1)


async def test_what_is_recalled_is_on_the_disk_or_labels_are_refused(monitor, log, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(write_ahead_log.os, "writev", full)
        with pytest.raises(ModelNotReady, match="cannot write to its disk"):
            await monitor.intake.asked(labels("r0"))
    assert await monitor.intake.asked(labels("r0")) == LabelCounts(accepted=1)
