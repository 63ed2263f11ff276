"""How often followers are sent a directory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from serving.channel.connection import Connection
from serving.channel.messages.directory import Directory
from serving.control import directory_push
from serving.control.directory_push import DirectoryPush

Wait = Callable[[Callable[[], object]], Awaitable[None]]


class Follower:
    """Keeps the generations that it was sent."""

    def __init__(self) -> None:
        self.sent: list[int] = []

    def notify(self, kind: str, meta: Any) -> None:
        assert kind == "directory"
        self.sent.append(meta.generation)


@pytest.fixture
def follower() -> Follower:
    return Follower()


@pytest.fixture
def push(follower: Follower) -> DirectoryPush:
    return DirectoryPush(lambda: [cast(Connection, follower)])


async def test_the_first_change_travels_at_once_and_the_next_ones_together(
    push: DirectoryPush, follower: Follower, eventually: Wait
) -> None:
    for generation in range(1, 101):
        push.offer(Directory(generation))
    assert follower.sent == [1]
    await eventually(lambda: len(follower.sent) > 1)
    assert follower.sent == [1, 100]
    push.stop()


async def test_nothing_is_sent_twice(
    push: DirectoryPush, follower: Follower, eventually: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory_push, "PUSH_S", 0.0)
    push.offer(Directory(1))
    await eventually(lambda: push._pause is None)
    assert follower.sent == [1]
    push.offer(Directory(2))
    assert follower.sent == [1, 2]
    push.stop()


async def test_nothing_is_sent_before_members_had_time_to_come(
    push: DirectoryPush, follower: Follower
) -> None:
    push.settle(3600)
    push.offer(Directory(1))
    push.offer(Directory(2))
    assert follower.sent == []
    push.settled()
    assert follower.sent == [2]
    push.stop()


async def test_settled_without_news_sends_nothing(push: DirectoryPush, follower: Follower) -> None:
    push.settle(3600)
    push.settled()
    assert follower.sent == []
    push.stop()
