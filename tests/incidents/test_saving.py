"""The way to a store that is slow, locked, damaged or away."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from serving.incidents import saving as module
from serving.incidents.saving import Saving
from serving.store.failures import StoreFailed
from serving.store.records import Batch, Kept, WatchState
from serving.telemetry.counters import SeriesSet


class Store:
    """Fails as often as it is told to, and writes down what it is given."""

    def __init__(self):
        self.fails = []
        self.saved = []
        self.kept = Kept()
        self.aside = 0
        self.closed = False
        self.gate = threading.Event()
        self.gate.set()

    def _may(self):
        self.gate.wait(10)
        if self.fails:
            fault = self.fails.pop(0)
            raise fault if isinstance(fault, Exception) else StoreFailed(fault)

    def load(self, since):
        self._may()
        return self.kept

    def save(self, batch):
        self._may()
        self.saved.append(batch)

    def find(self, ident):
        self._may()

    def set_aside(self):
        self.aside += 1
        return "/x/vigil.db.unreadable"

    def close(self):
        self.closed = True


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def series():
    return SeriesSet()


@pytest.fixture
async def saving(store, series, clock):
    made = Saving(lambda: store, lambda: Batch(states={("m", "all"): state("all")}), series, clock)
    yield made
    store.gate.set()
    await made.close(1.0)


def state(cause, since=1.0):
    return WatchState(model="m", cause=cause, kind="unknown", since=since)


def failures(series):
    return {
        dict(each.attributes)["reason"]: each.value
        for each in series.snapshot()
        if each.name == "vigil.incidents.store.failures"
    }


async def test_nothing_is_written_before_it_is_known_what_was_kept(saving, store):
    saving.state(("m", "a"), state("a"))
    await saving.flush()
    assert store.saved == []
    assert await saving.load(0.0) == Kept()
    await saving.flush()
    assert len(store.saved) == 1
    assert saving.idle


async def test_each_thing_is_written_once_as_it_is_last(saving, store):
    await saving.load(0.0)
    for since in range(5):
        saving.state(("m", "a"), state("a", float(since)))
    await saving.flush()
    await saving.flush()
    assert [batch.states for batch in store.saved] == [{("m", "a"): state("a", 4.0)}]


async def test_what_fails_is_told_counted_and_tried_again(saving, store, series, clock, caplog):
    caplog.set_level(logging.INFO)
    await saving.load(0.0)
    store.fails = ["locked", "locked", "full"]
    saving.state(("m", "a"), state("a"))
    pauses = []
    for _ in range(3):
        await saving.flush()
        began = clock.now
        while clock.now < saving._retry_at:
            clock.pass_s(1)
        pauses.append(clock.now - began)
        assert "is tried again" in saving.problem
    assert pauses == [1, 2, 4]
    saving.state(("m", "a"), state("a", 9.0))
    await saving.flush()
    assert saving.problem == ""
    assert store.saved == [Batch(states={("m", "a"): state("a", 9.0)})]
    assert failures(series) == {"locked": 2, "full": 1}
    assert "its disk is full" in caplog.text
    assert "takes changes again" in caplog.text


async def test_it_is_not_tried_too_often(saving, store, clock):
    await saving.load(0.0)
    store.fails = ["away"]
    saving.state(("m", "a"), state("a"))
    await saving.flush()
    await saving.flush()
    assert store.saved == []
    clock.pass_s(1)
    await saving.flush()
    assert len(store.saved) == 1


async def test_a_damaged_one_is_put_aside_and_gets_all_there_is(saving, store):
    await saving.load(0.0)
    store.fails = ["damaged"]
    saving.state(("m", "a"), state("a"))
    await saving.flush()
    await saving.flush()
    assert store.aside == 1
    assert store.saved[0].states.keys() == {("m", "all"), ("m", "a")}
    assert saving.problem == ""


async def test_questions_wait_only_so_long(saving, store, series, monkeypatch):
    monkeypatch.setattr(module, "ANSWER_S", 0.01)
    assert await saving.ask(lambda each: each.find("a")) is None  # nothing was loaded
    await saving.load(0.0)
    store.gate.clear()
    assert await saving.ask(lambda each: each.find("a")) is None
    store.gate.set()
    store.fails = ["locked"]
    monkeypatch.setattr(module, "ANSWER_S", 10)
    assert await saving.ask(lambda each: each.find("a")) is None
    assert failures(series)["slow"] == 1


async def test_a_fault_of_the_store_is_told_and_tried_again(saving, store, clock, series, caplog):
    store.fails = [ValueError("a-password"), KeyError("a-password"), TypeError("a-password")]
    assert await saving.load(0.0) is None
    assert "is tried again: it refused a statement" in saving.problem
    clock.pass_s(1)
    assert await saving.load(0.0) is None
    clock.pass_s(1)
    assert await saving.load(0.0) is None  # the pause has grown
    assert len(store.fails) == 1
    clock.pass_s(1)
    assert await saving.load(0.0) is None
    clock.pass_s(4)
    assert await saving.load(0.0) == Kept()
    store.fails = [ValueError("a-password")]
    saving.delivery("d", None)
    await saving.flush()
    assert not saving.holds("d")
    store.fails = [ValueError("a-password")]
    assert await saving.ask(lambda each: each.find("a")) is None
    assert failures(series) == {"refused": 5}
    assert "the store of incidents has failed" in caplog.text
    assert "a-password" not in caplog.text


async def test_questions_do_not_pile_up_behind_a_store_that_hangs(
    saving, store, series, monkeypatch, eventually
):
    await saving.load(0.0)
    asked = []

    def question(each):
        asked.append(None)
        return each.find("a") or "nothing"

    store.gate.clear()
    monkeypatch.setattr(module, "ANSWER_S", 0.01)
    for _ in range(module.MOST_ASKED + 5):
        assert await saving.ask(question) is None
    monkeypatch.setattr(module, "ANSWER_S", 10)
    store.gate.set()
    await eventually(lambda: saving._asked == 0)
    assert len(asked) == module.MOST_ASKED
    assert failures(series) == {"slow": module.MOST_ASKED + 5}
    assert await saving.ask(question) == "nothing"


async def test_a_delivery_is_held_until_it_is_saved_or_that_is_hopeless(saving, store):
    await saving.load(0.0)
    saving.delivery("d", None)
    assert saving.holds("d")
    store.fails = ["away"]
    await saving.flush()
    assert not saving.holds("d")  # else nobody would be told while the store is away


async def test_what_changes_meanwhile_is_not_lost_when_writing_is_cancelled(saving, store, clock):
    await saving.load(0.0)
    store.gate.clear()
    saving.state(("m", "a"), state("a"))
    task = asyncio.get_running_loop().create_task(saving.flush())
    await asyncio.sleep(0)
    saving.state(("m", "b"), state("b"))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    store.gate.set()
    await saving.close(5.0)
    assert {key for batch in store.saved for key in batch.states} == {("m", "a"), ("m", "b")}
    assert store.closed


async def test_memory_is_bounded_while_the_store_is_away(saving, series, monkeypatch, over):
    monkeypatch.setattr(module, "MOST_WAITING", 3)
    for number in range(5):
        saving.incident(over(f"i{number}"))
    assert failures(series) == {"overflow": 2}


async def test_messages_that_are_done_with_are_bounded_while_the_store_is_away(
    saving, store, series, monkeypatch
):
    monkeypatch.setattr(module, "MOST_WAITING", 3)
    for number in range(5):
        saving.delivery(f"d{number}", None)
    assert failures(series) == {"overflow": 2}
    await saving.load(0.0)
    await saving.flush()
    assert store.saved[0].deliveries == {"d2": None, "d3": None, "d4": None}


@pytest.fixture
def over(bench, found):
    from msgspec.structs import replace

    bench.judge(found())
    [one] = bench.active()
    return lambda ident: replace(one, id=ident, state="resolved", closed_at=1.0)
