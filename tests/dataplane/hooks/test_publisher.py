import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from serving.channel.connection import Connection
from serving.channel.endpoint import ChannelServer
from serving.channel.frame_parts import Message
from serving.channel.messages.directory import Directory, Member
from serving.channel.messages.observation import (
    EVENTS,
    POSITION,
    REFUSED,
    TAKEN,
    EventMeta,
    FindingsMeta,
    Position,
    Taken,
)
from serving.channel.monitor_shares import monitor_ids, monitor_of, monitor_of_model
from serving.dataplane.hooks import monitor_link
from serving.dataplane.hooks.delivery import size_of
from serving.dataplane.hooks.event_batches import EventBatch, EventKey
from serving.dataplane.hooks.publisher import BACKLOG, NO_MONITOR, EventPublisher, Limits
from serving.errors import ModelNotReady
from serving.telemetry.counters import SeriesSet


class FakeMonitor:
    """Listens like a monitor and keeps what it gets.

    Attributes:
        safe: whether it says that what has arrived is safe.
        has: sequence up to which it has everything.
        slow: whether it does not say yet what it has.
        connections: those over which it was asked that.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.safe = True
        self.has = 0
        self.slow = False
        self.connections: list[Connection] = []
        self.messages: list[Message] = []
        self.server = ChannelServer(self._message)

    def _message(self, connection: Connection, message: Message) -> None:
        self.messages.append(message)
        if message.kind == EVENTS:
            meta = msgspec.msgpack.decode(message.meta, type=EventMeta)
            if self.safe:
                self.has = max(self.has, meta.position.sequence + 1)
                connection.notify(TAKEN, Taken(meta.position.incarnation, self.has))
        elif message.kind == POSITION:
            self.connections.append(connection)
            if not self.slow:
                self.tell(connection)
        if message.id:
            connection.reply(message.id, b"{}")

    def tell(self, connection: Connection) -> None:
        """Say what is here."""
        connection.notify(TAKEN, Taken(self.positions[-1].incarnation, self.has))

    @property
    def events(self) -> list[tuple[EventMeta, dict[str, np.ndarray]]]:
        return [
            (
                msgspec.msgpack.decode(message.meta, type=EventMeta),
                {tensor.name: tensor.data for tensor in message.tensors},
            )
            for message in self.messages
            if message.kind == EVENTS
        ]

    @property
    def positions(self) -> list[Position]:
        return [
            msgspec.msgpack.decode(message.meta, type=Position)
            for message in self.messages
            if message.kind == POSITION
        ]

    def directory(self) -> Directory:
        return Directory(1, (), (Member("monitor", "monitor", 1, self.address),))


@pytest.fixture
async def monitor(tmp_path: Path) -> AsyncIterator[FakeMonitor]:
    fake = FakeMonitor(f"unix:{tmp_path}/monitor.sock")
    await fake.server.start(fake.address)
    yield fake
    fake.server.close()


@pytest.fixture
async def publisher() -> AsyncIterator[EventPublisher]:
    made = EventPublisher("g0", SeriesSet(), limits=Limits(rows=100), incarnation=7)
    yield made
    made.close()


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], "asyncio.Future[None]"]:
    async def wait(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110 - the condition is in other objects' state
                await asyncio.sleep(0.002)

    return wait


@pytest.fixture
async def connected(publisher, monitor, until) -> EventPublisher:
    publisher.on_directory(monitor.directory())
    await until(lambda: publisher.connected and bool(monitor.positions))
    return publisher


KEY = EventKey("m", "1")


def publish(
    publisher: EventPublisher, rows: int, first: int = 0, upstream: str = "", **more
) -> None:
    x = np.arange(first, first + rows, dtype=np.float32).reshape(rows, 1)
    batch = EventBatch(5.0, [f"r{first}"], [rows], {"x": x}, {"y": -x}, **more)
    publisher.publish(KEY._replace(upstream=upstream), batch)


def publish_arrays(publisher: EventPublisher, rows: int, inputs, outputs) -> None:
    publisher.publish(KEY, EventBatch(0.0, ["a"], [rows], inputs, outputs))


async def test_small_batches_leave_as_one_message(connected, monitor, until):
    for number in range(10):
        publish(connected, 3, number * 3)
    assert not monitor.events
    await until(lambda: bool(monitor.events))
    [(meta, columns)] = monitor.events
    assert (meta.model, meta.version, meta.timestamp) == ("m", "1", 5.0)
    assert meta.rows == [3] * 10
    assert meta.ids == [f"r{number * 3}" for number in range(10)]
    assert meta.position == Position("g0", 7, 0, 0, 0)
    assert columns["in:x"].tolist() == [[float(v)] for v in range(30)]
    assert columns["out:y"].tolist() == [[-float(v)] for v in range(30)]
    assert meta.sensitive == {}


async def test_a_full_message_leaves_at_once(connected):
    publish(connected, 99)
    assert connected.sent.rows == 0
    publish(connected, 1)
    assert connected.sent.rows == 100
    assert connected.waiting_rows == 0


@pytest.mark.parametrize("side", [0, 1])
async def test_large_arrays_leave_before_many_rows_have_come(connected, side):
    arrays = [{}, {}]
    arrays[side] = {"x": np.zeros((2, 1 << 18), np.float32)}
    publish_arrays(connected, 2, *arrays)
    assert connected.sent.rows == 2


async def test_positions_add_up_over_messages(connected, monitor, until):
    for _ in range(3):
        publish(connected, 100)
    await until(lambda: len(monitor.events) == 3)
    assert [meta.position for meta, _ in monitor.events] == [
        Position("g0", 7, n, n, n * 100) for n in range(3)
    ]


async def test_batches_that_cannot_be_joined_leave_one_after_the_other(connected, monitor, until):
    for width in (2, 2, 5):
        publish_arrays(connected, 1, {"x": np.ones((1, width))}, {})
    await until(lambda: len(monitor.events) == 2)
    assert [columns["in:x"].shape for _, columns in monitor.events] == [(2, 2), (1, 5)]


async def test_sensitive_values_of_some_batches_only(connected, monitor, until):
    publish(connected, 2)
    publish(connected, 2, sensitive={"sex": np.array(["F", None], dtype=object)})
    await until(lambda: bool(monitor.events))
    assert monitor.events[0][0].sensitive == {"sex": [None, None, "F", None]}


async def test_versions_of_another_server_are_not_joined(connected, monitor, until):
    for first, upstream in enumerate(["", "2", "", "2", "v3"]):
        publish(connected, 1, first, upstream=upstream)
    await until(lambda: len(monitor.events) == 3)
    told = {meta.upstream: (meta.version, meta.ids) for meta, _ in monitor.events}
    assert told == {"": ("1", ["r0", "r2"]), "2": ("1", ["r1", "r3"]), "v3": ("1", ["r4"])}
    publish(connected, 1, 5)
    connected.flush()
    assert len(connected._open) == 1  # or each version that a server makes up would stay


async def test_text_inputs_travel_as_bytes(connected, monitor, until):
    words = np.array([[b"car"], [b""]], dtype=object)
    publish_arrays(connected, 2, {"w": words}, {})
    await until(lambda: bool(monitor.events))
    assert monitor.events[0][1]["in:w"].tolist() == words.tolist()


async def test_what_comes_before_the_first_monitor_waits_for_it(publisher, monitor, until):
    for number in range(5):
        publish(publisher, 50, number * 50)
    publisher.flush()
    assert publisher.waiting_rows == 250
    publisher.on_directory(monitor.directory())
    await until(lambda: len(monitor.events) == 3)
    assert publisher.sent.rows == publisher.published.rows == 250
    rows = np.concatenate([columns["in:x"] for _, columns in monitor.events])
    assert rows.tolist() == [[float(v)] for v in range(250)]
    assert publisher.waiting_rows == 0


async def test_what_waits_for_a_monitor_is_bounded():
    publisher = EventPublisher("g0", SeriesSet(), limits=Limits(rows=50, kept_bytes=2000))
    for first in range(3):  # of 480 bytes each, and what is told of one request
        publish(publisher, 60, first)
    assert publisher.waiting_rows == 120
    assert publisher.dropped[NO_MONITOR].rows == 60
    publisher.close()
    assert publisher.dropped[NO_MONITOR] == publisher.published


async def test_requests_without_arrays_are_bounded_too():
    publisher = EventPublisher("g0", SeriesSet(), limits=Limits(rows=10, kept_bytes=20_000))
    for number in range(100):
        batch = EventBatch(0.0, [f"refused-{number}"], [0], {}, {})
        publisher.publish(KEY._replace(kind=REFUSED), batch)
    assert 0 < publisher.kept_bytes <= 20_000
    dropped = publisher.dropped[NO_MONITOR].requests
    assert 0 < dropped < 100
    publisher.close()
    assert publisher.dropped[NO_MONITOR] == publisher.published


async def test_what_no_monitor_came_for_is_counted_as_dropped(publisher):
    publish(publisher, 10)
    publisher.close()
    assert publisher.dropped[NO_MONITOR] == publisher.published
    assert publisher.published.rows == 10


async def test_without_a_monitor_everything_is_dropped_and_counted():
    series = SeriesSet()
    publisher = EventPublisher("g0", series, limits=Limits(rows=100))
    for _ in range(5):
        publish(publisher, 50)
    assert publisher.waiting_rows == 250
    publisher.close()
    dropped = publisher.dropped[NO_MONITOR]
    assert (dropped.requests, dropped.rows) == (5, 250)
    assert publisher.published == dropped
    [recorded] = series.snapshot()
    assert (recorded.name, recorded.value) == ("vigil.events.dropped", 250)
    assert ("reason", NO_MONITOR) in recorded.attributes


async def test_a_slow_monitor_costs_bounded_memory(tmp_path, until):
    fake = FakeMonitor(f"unix:{tmp_path}/monitor.sock")
    await fake.server.start(fake.address)
    limits = Limits(rows=1, unsent_bytes=100_000, kept_bytes=2_000_000)
    publisher = EventPublisher("g0", SeriesSet(), limits=limits)
    publisher.on_directory(fake.directory())
    await until(lambda: publisher.connected and len(fake.server.connections) == 1)
    [connection] = fake.server.connections
    connection._transport.pause_reading()
    block = np.zeros((1, 50_000), np.float32)
    for _ in range(40):
        publish_arrays(publisher, 1, {"x": block}, {})
        await asyncio.sleep(0)
    backlog, sent = publisher.dropped[BACKLOG], publisher.sent
    assert backlog.rows > 0
    assert publisher.waiting_rows > 0
    assert sent.rows + backlog.rows + publisher.waiting_rows == publisher.published.rows == 40
    connection._transport.resume_reading()
    await until(lambda: len(fake.events) == 40 - backlog.rows)
    assert (publisher.waiting_rows, publisher.kept_bytes) == (0, 0)
    publisher.close()
    fake.server.close()


async def test_it_finds_the_monitor_again(connected, monitor, until):
    publish(connected, 100)
    await until(lambda: len(monitor.events) == 1)
    monitor.server.close()
    await until(lambda: not connected.connected)
    publish(connected, 100)
    assert connected.waiting_rows == 100
    monitor.server = ChannelServer(monitor._message)
    await monitor.server.start(monitor.address)
    await until(lambda: len(monitor.positions) == 2)
    assert monitor.positions[1] == Position("g0", 7, 1, 1, 100)
    await until(lambda: len(monitor.events) == 2)
    assert connected.waiting_rows == 0


async def test_what_the_monitor_had_not_made_safe_comes_again_in_order(connected, monitor, until):
    publish(connected, 100, 0)
    await until(lambda: connected.kept_bytes == 0)
    monitor.safe = False
    for first in (1, 2, 3):
        publish(connected, 100, first)
    await until(lambda: len(monitor.events) == 4)
    monitor.server.close()
    await until(lambda: not connected.connected)
    publish(connected, 100, 4)
    monitor.messages.clear()
    monitor.has, monitor.safe = 2, True  # it had made one safe, and did not come to say so
    monitor.server = ChannelServer(monitor._message)
    await monitor.server.start(monitor.address)
    await until(lambda: connected.kept_bytes == 0)
    assert monitor.positions == [Position("g0", 7, 1, 1, 100)]
    assert [meta.ids for meta, _ in monitor.events] == [["r2"], ["r3"], ["r4"]]
    assert connected.sent.rows == connected.published.rows == 500


async def test_a_monitor_that_has_lost_its_memory_gets_what_is_kept(connected, monitor, until):
    publish(connected, 100, 0)
    await until(lambda: connected.kept_bytes == 0)
    monitor.safe = False
    publish(connected, 100, 1)
    await until(lambda: len(monitor.events) == 2)
    monitor.server.close()
    await until(lambda: not connected.connected)
    monitor.messages.clear()
    monitor.has, monitor.safe = 0, True
    monitor.server = ChannelServer(monitor._message)
    await monitor.server.start(monitor.address)
    await until(lambda: connected.kept_bytes == 0)
    assert monitor.positions == [Position("g0", 7, 1, 1, 100)]
    assert [meta.ids for meta, _ in monitor.events] == [["r1"]]


async def test_questions_see_what_was_published_before(connected, monitor):
    publish(connected, 1)
    await connected.request("findings", FindingsMeta("m"), model="m")
    assert [message.kind for message in monitor.messages] == [POSITION, EVENTS, "findings"]


async def test_a_question_over_a_new_connection_waits_for_what_was_published_before(
    publisher, monitor, until
):
    monitor.slow = True
    publisher.on_directory(monitor.directory())
    publish(publisher, 1)
    await until(lambda: publisher.connected and bool(monitor.connections))
    asked = asyncio.ensure_future(publisher.request("findings", FindingsMeta("m"), model="m"))
    await asyncio.sleep(0.01)
    assert [message.kind for message in monitor.messages] == [POSITION]
    monitor.tell(monitor.connections[-1])
    await asked
    assert [message.kind for message in monitor.messages] == [POSITION, EVENTS, "findings"]


async def test_a_question_does_not_outlast_the_connection(publisher, monitor, until):
    monitor.slow = True
    publisher.on_directory(monitor.directory())
    await until(lambda: publisher.connected and bool(monitor.connections))
    asked = asyncio.ensure_future(publisher.request("findings", FindingsMeta("m"), model="m"))
    await asyncio.sleep(0)
    monitor.connections[-1].abort()
    with pytest.raises(ModelNotReady, match="monitor"):
        await asked


async def test_a_monitor_that_does_not_begin_is_as_good_as_none(
    publisher, monitor, until, monkeypatch
):
    monkeypatch.setattr(monitor_link, "BEGIN_S", 0.05)
    mute = ChannelServer(lambda _connection, _message: None)
    address = f"{monitor.address}.mute"
    await mute.start(address)
    publisher.on_directory(Directory(1, (), (Member("monitor", monitor_ids(1)[0], 1, address),)))
    await until(lambda: publisher.connected)
    with pytest.raises(ModelNotReady, match="monitor"):
        await publisher.request("findings", FindingsMeta("m"), model="m")
    mute.close()


async def test_a_question_without_a_monitor(publisher):
    with pytest.raises(ModelNotReady, match="monitor"):
        await publisher.request("findings", FindingsMeta("m"), model="m")


async def test_a_directory_that_names_no_monitor_changes_nothing(connected, until):
    connected.on_directory(Directory(2))
    publish(connected, 100)
    assert connected.sent.rows == 100


@pytest.fixture
async def monitors(tmp_path: Path) -> AsyncIterator[list[FakeMonitor]]:
    """Two, `monitor-0` and `monitor-1`."""
    fakes = [FakeMonitor(f"unix:{tmp_path}/monitor-{number}.sock") for number in range(2)]
    for fake in fakes:
        await fake.server.start(fake.address)
    yield fakes
    for fake in fakes:
        fake.server.close()


def directory_of(*monitors: FakeMonitor) -> Directory:
    members = tuple(
        Member("monitor", f"monitor-{number}", 1, fake.address)
        for number, fake in enumerate(monitors)
    )
    return Directory(1, (), members, monitors=len(monitors))


MODELS = {
    next(f"m{at}" for at in range(100) if monitor_of(f"m{at}", 2) == ident): ident
    for ident in monitor_ids(2)
}
"""A model of each of two monitors."""


def publish_all(publisher: EventPublisher, rows: int) -> None:
    x = np.zeros((rows, 1), dtype=np.float32)
    for model in MODELS:
        batch = EventBatch(5.0, ["r"], [rows], {"x": x}, {"y": x})
        publisher.publish(EventKey(model, "1"), batch)


def got(fake: FakeMonitor) -> list[tuple[str, int, int]]:
    metas = [meta for meta, _ in fake.events]
    return [(meta.model, meta.position.sequence, sum(meta.rows)) for meta in metas]


async def test_each_monitor_gets_its_models_counted_for_itself(publisher, monitors, until):
    publisher.on_directory(directory_of(*monitors))
    await until(lambda: publisher.connected)
    for _ in range(2):
        publish_all(publisher, 100)
    await until(lambda: publisher.kept_bytes == 0)
    for fake, model in zip(monitors, MODELS, strict=True):
        assert got(fake) == [(model, 0, 100), (model, 1, 100)]
    assert publisher.sent == publisher.published
    assert publisher.sent.rows == 400


async def test_a_monitor_that_is_away_costs_the_others_models_nothing(monitors, until):
    size = size_of(["r"], [], {}) + 60 * 2 * 4  # of each: half of what is kept takes one
    publisher = EventPublisher("g0", SeriesSet(), limits=Limits(rows=50, kept_bytes=3 * size))
    here, away = monitors
    away.server.close()
    publisher.on_directory(directory_of(here, away))
    await until(lambda: bool(here.connections))
    for number in range(1, 10):
        publish_all(publisher, 60)
        await until(lambda number=number: here.has == number)
    assert [rows for _, _, rows in got(here)] == [60] * 9
    await until(lambda: publisher.kept_bytes == size)
    assert publisher.dropped[NO_MONITOR].rows == 8 * 60
    assert not publisher.connected
    mine, others = MODELS
    await publisher.request("findings", FindingsMeta(mine), model=mine)
    with pytest.raises(ModelNotReady, match=r"^monitor-1 is not there; retry later$"):
        await publisher.request("findings", FindingsMeta(others), model=others)
    publisher.close()
    totals = [publisher.sent, *publisher.dropped.values()]
    assert sum(each.rows for each in totals) == publisher.published.rows == 2 * 9 * 60
    assert publisher.dropped[NO_MONITOR].rows == 9 * 60


async def test_texts_of_sensitive_attributes_count_as_kept(publisher):
    texts = np.array(["F" * 1000, None], object)
    x = np.zeros((2, 1), np.float32)
    publisher.publish(EventKey("m", "1"), EventBatch(5.0, ["r"], [2], {"x": x}, {}, {"sex": texts}))
    publisher.flush()
    assert size_of(["r"], [], {}) + x.nbytes + 1000 <= publisher.kept_bytes < 2000


async def test_a_question_sends_what_waits_of_its_model_only(monitors, until):
    publisher = EventPublisher("g0", SeriesSet(), limits=Limits(delay_s=3600))
    publisher.on_directory(directory_of(*monitors))
    await until(lambda: publisher.connected)
    asked, other = MODELS
    publish_all(publisher, 3)
    publisher.publish(EventKey(asked, "2"), EventBatch(5.0, ["r"], [4], {}, {}))
    await publisher.request("findings", FindingsMeta(asked), model=asked)
    assert sorted((meta.version, sum(meta.rows)) for meta, _ in monitors[0].events) == [
        ("1", 3), ("2", 4),
    ]  # fmt: skip
    assert [message.kind for message in monitors[0].messages][-1] == "findings"
    assert publisher.waiting_rows == 3  # of the other model
    await publisher.request("findings", FindingsMeta(other), model=other)
    assert [sum(meta.rows) for meta, _ in monitors[1].events] == [3]
    assert publisher.waiting_rows == 0
    publisher.close()


async def test_texts_of_clients_are_not_remembered(publisher):
    publisher.on_directory(Directory(1, monitors=2))
    publish_all(publisher, 1)
    publisher.flush()
    before = monitor_of_model.cache_info()
    for number in range(10):
        with pytest.raises(ModelNotReady):
            await publisher.request("findings", FindingsMeta("m"), model=f"made up {number}")
    assert monitor_of_model.cache_info() == before
    publish_all(publisher, 1)
    publisher.flush()
    assert monitor_of_model.cache_info().hits > before.hits


async def test_questions_go_to_the_monitor_of_their_model(publisher, monitors, until):
    publisher.on_directory(directory_of(*monitors))
    await until(lambda: publisher.connected)
    for fake, model in zip(monitors, MODELS, strict=True):
        await publisher.request("findings", FindingsMeta(model), model=model)
        asked = [message for message in fake.messages if message.kind == "findings"]
        assert [msgspec.msgpack.decode(each.meta, type=FindingsMeta).model for each in asked] == [
            model
        ]


async def test_what_a_monitor_was_to_get_that_is_not_wanted_any_more_is_dropped(publisher):
    publisher.on_directory(Directory(1, monitors=2))
    publish_all(publisher, 100)
    publisher.on_directory(Directory(2, monitors=1))
    assert publisher.dropped[NO_MONITOR].rows == publisher.published.rows == 200
    assert (publisher.waiting_rows, publisher.kept_bytes) == (0, 0)
    publish_all(publisher, 100)
    assert publisher.waiting_rows == 200


def test_the_gateway_process_stays_lean():
    code = (
        "import sys, serving.dataplane.hooks.publisher\n"
        "print([m for m in ('torch', 'pandas', 'ray', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
