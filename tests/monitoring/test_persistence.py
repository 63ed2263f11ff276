"""A monitor that is killed at any point goes on exactly where it was."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from monitors.performance.group_values import restored as restored_groups
from monitors.performance.label_join import LabelJoin
from monitors.performance.prediction_entries import Entry, sorted_out
from monitors.performance.run_lengths import spread
from monitors.performance.score_column import restored as restored_scores
from monitors.performance.waiting_labels import WaitingLabels
from serving.channel import frames
from serving.channel.frame_parts import Message
from serving.channel.messages.directory import ServedModel
from serving.channel.messages.observation import (
    LABELS,
    RESET_REFERENCE,
    EventMeta,
    Label,
    LabelsMeta,
    RecalledMeta,
    RecalledRow,
    ResetMeta,
    Taken,
)
from serving.config import DriftMonitor as DriftConfig
from serving.config import Fairness, ModelConfig, Monitors
from serving.control.fleet_totals import FleetTotals
from serving.dataplane.hooks.delivery import Delivery
from serving.errors import VigilError
from serving.monitoring.fan_out import FanOut
from serving.monitoring.persistence import Persistence
from serving.monitoring.recorded_clock import RecordedClock
from serving.monitoring.service import MonitoringService
from serving.monitoring.wal_segments import segments
from serving.protocol.messages import Tensor
from serving.telemetry.counters import SeriesSet

START = 1000.0


class Killed(BaseException):
    """The process is gone."""


class Consumed:
    """What a consumer has made safe, over all processes, and what this one has only in memory."""

    def __init__(self) -> None:
        self.logged: dict[str, tuple[str, float, int, list[str]]] = {}
        self.safe: list[tuple[str, int]] = []
        self.held: list[tuple[str, int]] = []

    def serve(self, models: Sequence[ServedModel]) -> None:
        pass

    def taken_in(
        self, meta: EventMeta, tensors: Sequence[Tensor], now: float, replayed: bool
    ) -> None:
        (scores,) = (tensor.data for tensor in tensors if tensor.name == "out:p")
        for number, (ident, row) in enumerate(zip(meta.ids, scores, strict=True)):
            if number % 7:
                self.logged[ident] = meta.version, meta.timestamp, int(row.argmax()), ["sex"]
        event = meta.position.gateway, meta.position.sequence
        if not (replayed and event in self.safe):
            self.held.append(event)

    def flush(self) -> None:
        self.safe += self.held
        self.held = []


class Process:
    """A monitor's process, without sockets."""

    def __init__(self, folder: Path, consumed: Consumed, clock: Callable[[], float]) -> None:
        self.consumed = consumed
        recorded = RecordedClock(clock)
        self.service = MonitoringService(recorded)
        self.fan_out = FanOut(self.service, recorded, [consumed])
        self.persistence = Persistence(folder, "monitor", self.fan_out, clock, SeriesSet())
        self.persistence.restore()
        self.persistence.intake.recall = self.recall

    async def recall(self, model: str, keys: Sequence[tuple[str, int]]) -> RecalledMeta:
        """Return what the log has, which keeps all predictions but every seventh."""
        await asyncio.sleep(0)
        logged = self.consumed.logged
        found = [(key, logged[key[0]]) for key in keys if key[0] in logged]
        return RecalledMeta(model, [RecalledRow(*key, *row) for key, row in found])

    def kill(self) -> None:
        self.persistence.close()  # only so that no file stays open: nothing is written


class Wire:
    """A connection between a gateway and a monitor; nothing that is sent waits."""

    closed = False
    unsent_bytes = 0

    def __init__(self, monitor: Monitor, delivery: Delivery) -> None:
        self._monitor, self._delivery = monitor, delivery

    def notify(self, kind: str, meta: Any, tensors: Sequence[Tensor] = ()) -> None:
        if isinstance(meta, Taken):
            self._delivery.taken(self, meta)  # type: ignore[arg-type]
        else:
            self._monitor.process.persistence.intake.notified(self, encoded(kind, meta, tensors))  # type: ignore[arg-type]


def encoded(kind: str, meta: Any, tensors: Sequence[Tensor] = ()) -> Message:
    frame = b"".join(frames.encode(kind, 0, meta, tensors))
    return frames.decode(memoryview(frame)[4:])


class Monitor:
    """A monitor that may be killed and is started again, and two gateways that feed it."""

    def __init__(self, folder: Path, models: Sequence[ServedModel]) -> None:
        self.folder = folder
        self.now = START
        self.consumed = Consumed()
        self.models = models
        self.control = FleetTotals()
        self.pid = 0
        self.gateways = [
            Delivery(f"g{n}", 1, most_bytes=1 << 30, unsent_bytes=1, on_sent=lambda _: None)
            for n in range(2)
        ]
        self.start()

    async def connect(self) -> None:
        for gateway in self.gateways:
            gateway.up(Wire(self, gateway))  # type: ignore[arg-type]
            await asyncio.sleep(0)  # the monitor answers in the next turn

    def start(self) -> None:
        self.process = Process(self.folder, self.consumed, lambda: self.now)
        self.process.persistence.intake.serve(self.models)
        self.pid += 1
        self.join()

    def join(self) -> None:
        """Register at the control plane."""
        self.control.join("monitor", self.pid)
        intake = self.process.persistence.intake
        told_before = intake.totals.told_before
        self.control.report("monitor", intake.report(introduces=True), told_before)

    def reconnect(self) -> None:
        """Lose the connection to the control plane, and register again."""
        self.control.leave("monitor", self.pid)
        self.join()

    def report(self, sends: bool = True) -> None:
        """Tell the control plane the totals, or die before it."""
        intake = self.process.persistence.intake
        series = intake.report()
        if sends:
            self.control.report("monitor", series)

    async def restart(self) -> None:
        self.process.kill()
        self.control.leave("monitor", self.pid)
        self.consumed.held = []
        for gateway in self.gateways:
            gateway.down()
        await asyncio.sleep(0)
        self.start()
        await self.connect()

    async def publish(self, gateway: int, meta: Callable[..., EventMeta], tensors: Any) -> None:
        delivery = self.gateways[gateway]
        delivery.add(meta(delivery.next), tensors, 1)
        await asyncio.sleep(0)

    async def ask(self, kind: str, meta: Any) -> object:
        return await self.process.persistence.intake.asked(encoded(kind, meta))

    def serve(self, models: Sequence[ServedModel]) -> None:
        self.models = models
        self.process.persistence.intake.serve(models)


def rows_of(entries: Sequence[Entry]) -> dict[str, Any]:
    """Predictions and waiting labels by key, however they are divided among entries."""
    saved = sorted_out(entries)
    rows: dict[Any, Any] = {}
    for _, keys, first, predicted, times, known, scores in saved.spans:
        of_rows = restored_scores(scores)
        told = [None] * len(keys) if of_rows is None else of_rows.tolist()
        values = zip(predicted, spread(times), restored_groups(known), told, strict=True)
        for at, (key, row) in enumerate(zip(keys, values, strict=True), first):
            if at >= saved.start and at not in saved.left_out:
                rows[tuple(key)] = row
    rows |= {(ident, index): values for _, ident, index, _, *values in saved.rows}
    waiting = {(ident, index): values for _, ident, index, *values in saved.waiting}
    return {"rows": rows, "waiting": waiting}


def what_is_known(monitor: Monitor) -> dict[str, Any]:
    """Everything that a later answer may depend on, but the order in which entries came."""
    service = monitor.process.service
    by_owner: dict[str, list[Entry]] = {}
    for owner, entry in service.entries():
        by_owner.setdefault(owner, []).append(entry)
    entries = {
        owner: rows_of(found) if "/" in owner else sorted(v for _, *values in found for v in values)
        for owner, found in by_owner.items()
    }
    state = json.loads(msgspec.json.encode(service.state()))
    findings = json.loads(msgspec.json.encode(service.all_findings()))
    monitor.report()
    return {
        "totals": totals(monitor.control),
        "state": state,
        "entries": entries,
        "findings": sorted(findings, key=str),
        "notes": service.status().notes,
        "events": service.status().events,
        "consumed": [*monitor.consumed.safe, *monitor.consumed.held],
    }


def totals(control: FleetTotals) -> dict[str, tuple[float, tuple[int, ...]]]:
    """Return the sums and histograms that the control plane shows; no zeros or processor times."""
    return {
        f"{each.name} {dict(each.attributes)}": (round(each.value, 6), each.counts)
        for each in control.aggregate()
        if each.kind != "gauge" and each.value and "cpu" not in each.name
    }


# -- what happens ---------------------------------------------------------------------------

STAGES = ["nothing written", "torn", "written", "applied"]
"""How far a message has come when the process is killed."""

kills = st.sampled_from([None, None, None, *STAGES])
events = st.tuples(
    st.just("event"), st.integers(0, 1), st.sampled_from(["1", "2"]), st.integers(1, 60), kills
)
labels = st.tuples(st.just("labels"), st.integers(0, 400), st.integers(1, 150), kills)
reports = st.tuples(st.just("report"), st.sampled_from([None, None, *STAGES[:2], "noted", "sent"]))
others = st.tuples(
    st.sampled_from(["checkpoint", "restart", "late checkpoint", "reconnect", "serve", "reset"])
)
steps = st.lists(st.one_of(events, events, labels, reports, others), min_size=1, max_size=40)


class Script:
    """Does the same things to a monitor whether it is killed in between or not.

    Attributes:
        repeated: pushes of labels that were written, and that nobody has acknowledged.
    """

    def __init__(
        self,
        monitor: Monitor,
        versions: Sequence[ServedModel],
        kills: bool,
        repeated: Sequence[int] = (),
    ) -> None:
        self._monitor, self._versions = monitor, versions
        self._kills = kills
        self.repeated = list(repeated)
        self._pushes = 0
        self._random = np.random.default_rng(7)
        self._named = 0

    async def run(self, script: Sequence[tuple[Any, ...]]) -> None:
        await self._monitor.connect()
        for kind, *arguments in script:
            self._monitor.now += 1.0
            await getattr(self, f"_{kind.replace(' ', '_')}")(*arguments)

    async def _event(self, gateway: int, version: str, rows: int, kill: str | None) -> None:
        random = self._random
        numbers = random.normal(size=(rows, 2)).astype(np.float32) + self._named % 2
        words = np.array([[b"car"], [b"home"]], dtype=object)[random.integers(0, 2, rows)]
        p = random.random(rows).astype(np.float32)
        sex = ["F" if each else "M" for each in random.integers(0, 2, rows)]
        ids = [f"r{self._named + row}" for row in range(rows)]
        self._named += rows
        tensors = [
            Tensor("in:x", "FP32", numbers.shape, numbers),
            Tensor("in:words", "BYTES", words.shape, words),
            Tensor("out:p", "FP32", (rows, 2), np.stack([1 - p, p], axis=1)),
        ]

        def meta(position: Any) -> EventMeta:
            at = self._monitor.now
            return EventMeta(position, "loans", version, at, ids, [1] * rows, {"sex": sex})

        await self._killed(kill, lambda: self._monitor.publish(gateway, meta, tensors))

    async def _labels(self, first: int, count: int, kill: str | None) -> None:
        ids = [f"r{first + n}" for n in range(count)]
        pushed = [Label(ident, 0, int(self._random.integers(0, 2))) for ident in ids]

        async def push() -> None:
            await self._monitor.ask(LABELS, LabelsMeta("loans", pushed))

        self._pushes += 1
        killed = await self._killed(kill, push)
        if killed or self._pushes in self.repeated:
            await push()  # nobody has acknowledged them

    async def _killed(self, stage: str | None, act: Callable[[], Any]) -> bool:
        """Do something; in its midst the process may be killed, and is started again."""
        if stage is None or not self._kills:
            await act()
            return False
        process = self._monitor.process
        log, fan_out = process.persistence._log, process.fan_out
        append, apply = log.append, fan_out.apply

        def dying_append(*arguments: Any) -> bool:
            if stage == "nothing written":
                raise Killed
            assert append(*arguments)
            if stage == "torn":
                *_, segment = segments(self._monitor.folder, "monitor").values()
                with segment.open("r+b") as file:
                    file.truncate(segment.stat().st_size - 3)
                raise Killed
            if frames.decode(memoryview(arguments[0].frame)).kind == LABELS:
                self.repeated.append(self._pushes)
            return True

        def dying_apply(*arguments: Any, **options: Any) -> object:
            if stage == "applied":
                apply(*arguments, **options)
            raise Killed

        log.append, fan_out.apply = dying_append, dying_apply  # type: ignore[method-assign,assignment]
        with pytest.raises(Killed):
            await act()
        await self._monitor.restart()
        return True

    async def _report(self, kill: str | None) -> None:
        async def report() -> None:
            dies = self._kills and kill is not None
            self._monitor.report(sends=kill == "sent" or not dies)
            if dies:
                raise Killed

        if await self._killed(kill, report):
            self._monitor.report()

    async def _reconnect(self) -> None:
        if self._kills:
            self._monitor.reconnect()

    async def _checkpoint(self) -> None:
        await self._monitor.process.persistence.save()

    async def _restart(self) -> None:
        if self._kills:
            await self._monitor.restart()

    async def _late_checkpoint(self) -> None:
        """Is killed when a checkpoint is prepared, and nothing of it is written."""
        if self._kills:
            self._monitor.process.persistence._prepare()
            await self._monitor.restart()

    async def _serve(self) -> None:
        both = len(self._monitor.models) == 2
        self._monitor.serve(self._versions[:1] if both else self._versions)

    async def _reset(self) -> None:
        with pytest.raises(VigilError, match="no live reference"):
            await self._monitor.ask(RESET_REFERENCE, ResetMeta("loans"))


class _SmallJoin(LabelJoin):
    """Keeps few predictions, and all labels that wait: who pushes again has no more of these."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._pending = WaitingLabels(self._numbers, 100_000, 3600.0)


@pytest.fixture(params=[100_000, 25])
def memory(request, monkeypatch) -> int:
    """How many predictions of a version are kept in memory."""
    small = partial(_SmallJoin, max_rows=request.param)
    monkeypatch.setattr("serving.monitoring.labelled_rows.LabelJoin", small)
    return request.param


@pytest.fixture
def versions(served: ServedModel, tabular_config: ModelConfig) -> list[ServedModel]:
    config = tabular_config.model_copy(
        update={
            "monitors": Monitors(drift=DriftConfig(window=50)),
            "fairness": Fairness(sensitive=["sex"], favorable="yes", window=100),
        }
    )
    first = msgspec.structs.replace(served, config=config.model_dump_json().encode())
    return [first, msgspec.structs.replace(first, version="2")]


@settings(
    max_examples=settings.default.max_examples // 3,  # each takes a quarter of a second
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example(script=[("event", 0, "1", 1, None), ("checkpoint",), ("serve",)])
@example(
    script=[("event", 0, "1", 60, None), ("labels", 0, 60, None), ("report", None), ("restart",)]
)
@example(script=[("event", 0, "1", 1, None), ("restart",), ("serve",), ("checkpoint",)])
@example(
    script=[
        ("event", 0, "1", 60, None),
        ("labels", 0, 60, "written"),
        ("restart",),
        ("event", 1, "1", 60, None),
        ("labels", 0, 100, "applied"),
        ("checkpoint",),
    ]
)
@given(script=steps)
def test_killed_anywhere_it_knows_what_it_would_know_without(versions, memory, script):
    repeated: list[int] = []

    async def known(kills: bool) -> dict[str, Any]:
        nonlocal repeated
        with tempfile.TemporaryDirectory() as folder:
            monitor = Monitor(Path(folder), versions)
            done = Script(monitor, versions, kills, repeated)
            await done.run(script)
            repeated = done.repeated
            if kills:
                await monitor.restart()
            monitor.now += 1.0
            told = what_is_known(monitor)
            assert not any(gateway.bytes for gateway in monitor.gateways)
            monitor.process.kill()
            return told

    assert asyncio.run(known(kills=True)) == asyncio.run(known(kills=False))
