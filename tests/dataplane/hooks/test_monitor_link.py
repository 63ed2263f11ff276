"""A link to one monitor names it in what it says, and closes with what it never wrote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from serving.channel.connection import Connection
from serving.channel.endpoint import ChannelServer
from serving.channel.frame_parts import Message
from serving.channel.messages.observation import POSITION, TAKEN, EventMeta, FindingsMeta, Taken
from serving.dataplane.hooks.delivery import Delivery
from serving.dataplane.hooks.monitor_link import MonitorLink
from serving.errors import ModelNotReady
from serving.protocol.messages import Tensor

ZEROS = np.zeros((3, 1), np.float32)


def delivery() -> Delivery:
    return Delivery("g", 7, most_bytes=1000, unsent_bytes=1000, on_sent=lambda _meta: None)


@pytest.mark.parametrize(
    ("ident", "called"), [("monitor", "the monitor"), ("monitor-2", "monitor-2")]
)
async def test_one_that_is_away_is_named(ident: str, called: str) -> None:
    link = MonitorLink(ident, delivery(), None, lambda: None)
    with pytest.raises(ModelNotReady) as told:
        await link.request("findings", FindingsMeta("m"), ())
    assert told.value.message == f"{called} is not there; retry later"
    assert not link.connected
    assert link.close() == []


async def test_what_was_never_written_is_returned(tmp_path: Path) -> None:
    link = MonitorLink("monitor-0", delivery(), None, lambda: None)
    link.reach(f"unix:{tmp_path}/nobody.sock")
    meta = EventMeta(link.delivery.next, "m", "1", 5.0, ["r"], [3], {})
    link.delivery.add(meta, [Tensor("in:x", "FP32", ZEROS.shape, ZEROS)], ZEROS.nbytes)
    assert link.close() == [meta]
    assert link.delivery.bytes == 0


async def test_one_that_is_there_is_told_of_and_answers(tmp_path: Path, eventually) -> None:
    def answer(connection: Connection, message: Message) -> None:
        if message.kind == POSITION:
            connection.notify(TAKEN, Taken(7, 0))
        elif message.id:
            connection.reply(message.id, message.kind)

    server = ChannelServer(answer)
    ups: list[bool] = []
    link = MonitorLink("monitor-0", delivery(), None, lambda: ups.append(True))
    link.reach(await server.start(f"unix:{tmp_path}/monitor.sock"))
    await eventually(lambda: link.connected)
    assert ups == [True]
    reply = await link.request("findings", FindingsMeta("m"), ())
    assert bytes(reply.meta).endswith(b"findings")
    link.close()
    await eventually(lambda: not server.connections)
    server.close()
