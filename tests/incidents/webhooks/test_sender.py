"""A receiver is given its messages over HTTP; one that is dead, slow or wrong disturbs nobody."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time

import httpx
import pytest

from serving.incidents.webhooks import sender as module
from serving.incidents.webhooks.sender import sender_of
from serving.telemetry.counters import SeriesSet

SLOW = b""
"""An answer that never comes."""


@pytest.fixture
async def send(webhook, eventually):
    """Starts a sender; returns its queue and itself."""
    tasks = []
    series = SeriesSet()

    def start(url, kind="generic", holds=lambda _: False, active=lambda: (), **more):
        made = webhook(kind, url=url, **more)
        outbox, sender = sender_of(made, lambda *_: None, holds, active, series, time.time)
        tasks.append(asyncio.get_running_loop().create_task(sender.run()))
        return outbox, sender

    start.series = series
    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def counted(series, name):
    return {
        dict(each.attributes).get("outcome") or dict(each.attributes).get("reason"): each.value
        for each in series.snapshot()
        if each.name == name and each.value
    }


async def test_messages_arrive_in_order(send, receiver, incident, eventually):
    outbox, sender = send(receiver.url + "/hook")
    for event in ("opened", "acknowledged", "resolved"):
        outbox.offer(event, incident())
    await eventually(lambda: not outbox.waiting())
    told = [json.loads(body)["event"] for _, _, body in receiver.posts]
    assert told == ["opened", "acknowledged", "resolved"]
    assert receiver.posts[0][0] == "POST /hook HTTP/1.1"
    assert counted(send.series, "vigil.webhooks.deliveries") == {"delivered": 3}
    assert sender.problem == ""


@pytest.mark.parametrize("answer", [b"500 No\r\n", b"429 No\r\nretry-after: 0\r\n"])
async def test_what_is_not_taken_is_tried_again(
    send, receiver, incident, eventually, monkeypatch, answer
):
    monkeypatch.setattr("serving.incidents.webhooks.outbox.FIRST_PAUSE_S", 0.01)
    receiver.answers = [answer, answer]
    outbox, sender = send(receiver.url)
    outbox.offer("opened", incident())
    await eventually(lambda: not outbox.waiting())
    assert len(receiver.posts) == 3
    assert len({json.loads(body)["id"] for _, _, body in receiver.posts}) == 1
    assert counted(send.series, "vigil.webhooks.failures") == {f"status_{answer[:1].decode()}xx": 2}
    assert sender.problem == ""


@pytest.mark.parametrize("answer", [b"404 No\r\n", b"302 Elsewhere\r\nlocation: http://x/\r\n"])
async def test_what_is_refused_is_dropped_and_the_next_one_sent(
    send, receiver, incident, eventually, answer
):
    receiver.answers = [answer]
    outbox, _ = send(receiver.url)
    outbox.offer("opened", incident())
    outbox.offer("resolved", incident())
    await eventually(lambda: not outbox.waiting())
    assert len(receiver.posts) == 2
    assert counted(send.series, "vigil.webhooks.deliveries") == {"refused": 1, "delivered": 1}


async def test_a_slow_receiver_is_given_up_on_in_time(send, receiver, incident, eventually):
    receiver.answers = [SLOW]
    outbox, sender = send(receiver.url, timeout_s=0.05)
    outbox.offer("opened", incident())
    await eventually(lambda: sender.problem)
    assert counted(send.series, "vigil.webhooks.failures") == {"timeout": 1}


async def test_a_dead_receiver_is_told_of_without_its_address(send, incident, eventually, caplog):
    caplog.set_level(logging.DEBUG)
    outbox, sender = send("http://127.0.0.1:1/a-secret-path")
    outbox.offer("opened", incident())
    await eventually(lambda: sender.problem)
    assert sender.problem == ("the receiver 'r' of incidents does not take messages: unreachable")
    assert counted(send.series, "vigil.webhooks.failures") == {"unreachable": 1}
    assert outbox.waiting()
    assert "a-secret-path" not in caplog.text


async def test_no_log_has_the_address_of_one_that_works(
    send, receiver, incident, eventually, caplog
):
    caplog.set_level(logging.INFO)
    outbox, _ = send(receiver.url + "/a-secret-path")
    outbox.offer("opened", incident())
    await eventually(lambda: not outbox.waiting())
    assert "a-secret-path" not in caplog.text


async def test_a_message_waits_until_the_store_has_it(send, receiver, incident, eventually):
    held, asked = [True], []

    def holds(ident):
        asked.append(ident)
        return held[0]

    outbox, _ = send(receiver.url, holds=holds)
    outbox.offer("opened", incident())
    await eventually(lambda: len(asked) >= 3)
    assert not receiver.posts
    held[0] = False
    await eventually(lambda: receiver.posts)


async def test_a_store_that_hangs_keeps_no_message_for_long(
    send, receiver, incident, eventually, monkeypatch
):
    monkeypatch.setattr(module, "HELD_S", 0.05)
    outbox, _ = send(receiver.url, holds=lambda _: True)
    outbox.offer("opened", incident())
    await eventually(lambda: receiver.posts, 5.0)


async def test_an_environment_without_a_client_is_told_and_tried_again(
    send, receiver, incident, eventually, monkeypatch, caplog
):
    monkeypatch.setattr("serving.incidents.webhooks.outbox.FIRST_PAUSE_S", 0.01)
    monkeypatch.setenv("ALL_PROXY", "nonsense://a-secret")
    outbox, sender = send(receiver.url)
    outbox.offer("opened", incident())
    await eventually(lambda: sender.problem or not outbox.waiting())
    assert sender.problem.endswith("does not take messages: client")
    assert "a-secret" not in caplog.text
    monkeypatch.delenv("ALL_PROXY")
    await eventually(lambda: receiver.posts)


async def test_the_client_is_made_beside_the_loop(
    send, receiver, incident, eventually, monkeypatch
):
    made_in = []
    make = httpx.AsyncClient

    def client(**more):
        made_in.append(threading.current_thread())
        return make(**more)

    monkeypatch.setattr(httpx, "AsyncClient", client)
    outbox, _ = send(receiver.url)
    outbox.offer("opened", incident())
    await eventually(lambda: receiver.posts)
    assert len(made_in) == 1
    assert made_in[0] is not threading.current_thread()


async def test_a_fault_ends_no_reminders(send, receiver, incident, eventually, monkeypatch, caplog):
    monkeypatch.setattr(module, "REMIND_S", 0.01)
    faults = [RuntimeError("not now")]

    def active():
        if faults:
            raise faults.pop()
        return [incident()]

    send(receiver.url, "alertmanager", active=active)
    await eventually(lambda: receiver.posts, 5.0)
    assert "cannot be reminded" in caplog.text


async def test_alertmanager_is_reminded_of_what_it_wants_to_hear(
    send, receiver, incident, eventually, monkeypatch
):
    monkeypatch.setattr(module, "REMIND_S", 0.01)
    there = [incident(id="a"), incident(id="b", severity="info")]
    send(receiver.url, "alertmanager", active=lambda: there)
    await eventually(lambda: len(receiver.posts) >= 2)
    for head, _, body in receiver.posts:
        assert head.startswith("POST /api/v2/alerts ")
        assert [alert["labels"]["incident"] for alert in json.loads(body)] == ["a"]
