"""Links that are opened, proven, lost and opened again, over fake and real replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from serving.channel.messages.directory import Directory
from serving.dataplane import link_proving
from serving.dataplane.handler import DataPlane

Wait = Callable[[Callable[[], object]], Awaitable[None]]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"failed": {0: "poison"}, "outputs": {}}, "a row of zeros fails: poison"),
        ({"failed": {7: "elsewhere"}}, "a row of zeros fails: elsewhere"),
        ({"outputs": {}}, "does not give output 'y'"),
    ],
)
async def test_a_replica_that_fails_its_proof_gets_no_traffic(
    plane: DataPlane, served: Any, make_link: Any, eventually: Wait, more: Any, words: str
) -> None:
    plane.apply(Directory(1, (served(),), ()))
    link = make_link(manual=True)
    plane.add_link("m", "1", link)
    await eventually(lambda: link.held)
    link.answer(**more)
    await eventually(lambda: words in plane.ready()[1][0])
    assert not plane.resolve("m").batcher.links


async def test_a_proof_that_cannot_be_read_is_no_proof_and_is_tried_again(
    plane: DataPlane,
    served: Any,
    make_replica: Any,
    eventually: Wait,
    monkeypatch: pytest.MonkeyPatch,
    caplog: Any,
) -> None:
    monkeypatch.setattr(link_proving, "RETRY_S", 0.02)
    replica = await make_replica()
    replica.wrong = "no result at all"
    plane.apply(Directory(1, (served(),), (replica.member(),)))
    await eventually(lambda: "cannot be read" in plane.ready()[1][0])
    assert "does not answer the example" in caplog.text
    replica.wrong = None
    await eventually(lambda: plane.ready()[0])


async def test_a_replica_that_could_not_be_reached_is_tried_again(
    plane: DataPlane,
    served: Any,
    make_replica: Any,
    eventually: Wait,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(link_proving, "RETRY_S", 0.02)
    replica = await make_replica()
    replica.server.close()
    plane.apply(Directory(1, (served(),), (replica.member(),)))
    await asyncio.sleep(0.05)
    await replica.server.start(replica.address)  # the directory has not changed
    await eventually(lambda: plane.ready()[0])


async def test_a_broken_connection_to_a_living_replica_is_opened_again(
    plane: DataPlane, served: Any, make_replica: Any, eventually: Wait, ask: Any
) -> None:
    replica = await make_replica()
    plane.apply(Directory(1, (served(),), (replica.member(),)))
    await eventually(lambda: plane.ready()[0])
    replica.cut()
    await eventually(lambda: not plane.ready()[0])
    await eventually(lambda: plane.ready()[0])
    assert await ask(plane) == 2.0


async def test_a_replica_back_at_another_address_under_its_old_id(
    plane: DataPlane, served: Any, make_replica: Any, eventually: Wait, ask: Any
) -> None:
    old, new = await make_replica(), await make_replica()
    plane.apply(Directory(1, (served(),), (old.member(),)))
    await eventually(lambda: plane.ready()[0])
    # The old one's host is gone without a word: its connection still looks open.
    plane.apply(Directory(2, (served(),), (new.member(),)))
    await eventually(lambda: new.asked)
    await eventually(lambda: plane.ready()[0])
    before = old.asked
    assert await ask(plane) == 2.0
    assert old.asked == before
