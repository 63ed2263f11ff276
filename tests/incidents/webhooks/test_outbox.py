"""What a receiver has still to be told: in order, bounded, and not for ever."""

from __future__ import annotations

import pytest

from serving.incidents.webhooks.outbox import LONGEST_PAUSE_S, Outbox
from serving.telemetry.counters import SeriesSet


@pytest.fixture
def saved():
    return {}


@pytest.fixture
def series():
    return SeriesSet()


@pytest.fixture
def make(webhook, clock, saved, series):
    return lambda **more: Outbox(webhook(**more), saved.__setitem__, series, clock)


def counted(series, name="vigil.webhooks.deliveries"):
    return {
        dict(each.attributes).get("outcome"): each.value
        for each in series.snapshot()
        if each.name == name and each.value
    }


@pytest.mark.parametrize(
    ("wants", "told"),
    [({}, True), ({"min_severity": "page"}, False), ({"min_severity": "info"}, True),
     ({"models": ["loans"]}, True), ({"models": ["other"]}, False)],
)  # fmt: skip
def test_a_receiver_hears_what_it_wants(make, incident, saved, wants, told):
    outbox = make(**wants)
    outbox.offer("opened", incident())
    assert (outbox.next() is not None) is told
    assert bool(saved) is told


def test_messages_wait_for_those_before_them(make, incident, clock, saved):
    outbox = make()
    outbox.offer("opened", incident())
    outbox.offer("resolved", incident())
    first = outbox.next()
    outbox.failed(first)
    assert outbox.next() is None
    clock.pass_s(1)
    assert (outbox.next().id, outbox.next().attempts) == (first.id, 1)
    assert saved[first.id].attempts == 1
    outbox.done(outbox.next(), "delivered")
    assert saved[first.id] is None
    assert outbox.next().event == "resolved"


def test_pauses_grow_up_to_a_bound_and_follow_the_receiver(make, incident, clock):
    outbox = make()
    outbox.offer("opened", incident())
    pauses = []
    for _ in range(12):
        outbox.failed(outbox.next())
        before = clock.now
        pauses.append(outbox.waiting()[0].next_at - before)
        clock.pass_s(pauses[-1])
    assert pauses[:4] == [1, 2, 4, 8]
    assert pauses[-1] == LONGEST_PAUSE_S
    other = make()
    other.offer("opened", incident())
    other.failed(other.next(), 7.0)
    assert other.waiting()[0].next_at == clock.now + 7


def test_a_clock_that_is_set_back_silences_no_receiver(make, incident, clock):
    outbox = make()
    outbox.offer("opened", incident())
    outbox.failed(outbox.next(), 200.0)
    clock.pass_s(-86_400)
    assert outbox.next() is not None
    outbox.failed(outbox.next())
    assert outbox.next() is None


def test_it_gives_up_after_a_while(make, incident, clock, saved, series):
    outbox = make(give_up_after_s=60)
    outbox.offer("opened", incident())
    clock.pass_s(61)
    assert outbox.next() is None
    assert set(saved.values()) == {None}
    assert counted(series) == {"expired": 1}


def test_the_oldest_make_room(make, incident, saved, series):
    outbox = make(queue=2)
    for _ in range(5):
        outbox.offer("opened", incident())
    assert len(outbox) == 2
    assert list(saved.values()).count(None) == 3
    assert counted(series) == {"overflow": 3}


def test_what_waited_before_the_start_comes_first(make, incident, delivery):
    outbox = make()
    outbox.offer("resolved", incident())
    outbox.restore([delivery("opened", "a"), delivery("acknowledged", "b")])
    assert [each.event for each in outbox.waiting()] == ["opened", "acknowledged", "resolved"]


def test_what_is_done_with_is_counted_once(make, incident, series):
    outbox = make()
    outbox.offer("opened", incident())
    one = outbox.next()
    outbox.done(one, "delivered")
    outbox.done(one, "delivered")
    outbox.failed(one)
    assert counted(series) == {"delivered": 1}
