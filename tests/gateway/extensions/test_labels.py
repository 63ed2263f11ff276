"""Labels as JSON and as gRPC messages: the same comes to the monitor, the same is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from serving.channel.connection import Connection
from serving.channel.endpoint import ChannelServer
from serving.channel.frame_parts import Message
from serving.channel.messages.directory import Directory, Member
from serving.channel.messages.observation import (
    LABELS,
    LABELS_WANTED,
    POSITION,
    TAKEN,
    Label,
    LabelCounts,
    LabelsMeta,
    LabelsWantedMeta,
    LabelsWantedReply,
    Position,
    Taken,
    WantedRow,
)
from serving.errors import InvalidInput, ModelNotFound
from serving.gateway.extensions.labels import labels, push, wanted
from serving.protocol.pb import vigil_pb2 as pb

Seen = list[LabelsMeta]


@pytest.fixture
async def seen(plane: Any, tmp_path: Path) -> AsyncIterator[Seen]:
    """What the monitor was sent; it accepts everything."""
    found: Seen = []

    def message(connection: Connection, message: Message) -> None:
        if message.kind == POSITION:
            position = msgspec.msgpack.decode(message.meta, type=Position)
            connection.notify(TAKEN, Taken(position.incarnation, position.sequence))
        if message.kind == LABELS:
            found.append(msgspec.msgpack.decode(message.meta, type=LabelsMeta))
            connection.reply(message.id, LabelCounts(accepted=len(found[-1].labels), late=1))
        elif message.kind == LABELS_WANTED:
            asked = msgspec.msgpack.decode(message.meta, type=LabelsWantedMeta)
            rows = tuple(WantedRow(f"r{at}", 0, 0.5, True) for at in range(asked.rows))
            connection.reply(message.id, LabelsWantedReply("1", 9, rows))
        elif message.kind == POSITION:  # labels wait until it is known what the monitor has
            position = msgspec.msgpack.decode(message.meta, type=Position)
            connection.notify(TAKEN, Taken(position.incarnation, position.sequence))

    server = ChannelServer(message)
    address = await server.start(f"unix:{tmp_path}/monitor.sock")
    plane.publisher.on_directory(Directory(2, (), (Member("monitor", "monitor", 1, address),)))
    async with asyncio.timeout(60):
        while not plane.publisher.connected:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
    yield found
    server.close()


JSON = (
    b'{"labels": [{"id": "a", "y_true": 1}, {"id": "b", "index": 2, "y_true": "yes"}, '
    b'{"id": "c", "y_true": true, "sensitive_features": {"sex": "F"}}, '
    b'{"id": "d", "y_true": [0.5, 1], "timestamp": "1970-01-01T00:00:07Z"}]}'
)
MESSAGE = pb.LabelsPushRequest(
    model_name="m",
    labels=[
        pb.Label(id="a", number=1),
        pb.Label(id="b", index=2, text="yes"),
        pb.Label(id="c", flag=True, sensitive_features={"sex": "F"}),
        pb.Label(
            id="d", numbers=pb.Label.Numbers(values=[0.5, 1]), timestamp="1970-01-01T00:00:07Z"
        ),
    ],
)


async def test_both_say_the_same(plane: Any, seen: Seen) -> None:
    answer = await labels(plane, JSON, "m")
    reply = await push(plane, MESSAGE, None)
    assert seen[0] == seen[1]
    assert seen[0].model == "m"
    assert seen[0].labels == [
        Label("a", 0, 1.0),
        Label("b", 2, "yes"),
        Label("c", 0, True, {"sex": "F"}),
        Label("d", 0, [0.5, 1.0], {}, 7.0),
    ]
    assert seen[0].labels[2].y_true is True
    assert answer == b'{"accepted":4,"duplicate":0,"unknown":0,"late":1}'
    assert reply == pb.LabelsPushResponse(accepted=4, late=1)


@pytest.mark.parametrize(
    ("label", "sentence"),
    [
        (pb.Label(id="a"), "label 0 has no y_true"),
        (pb.Label(id="a", number=1, index=-1), "index -1 must be 0 or more"),
        (pb.Label(id="a", number=1, timestamp="noon"), "'noon' is not RFC 3339"),
    ],
)
async def test_what_a_message_may_not_say(plane: Any, label: Any, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        await push(plane, pb.LabelsPushRequest(model_name="m", labels=[label]), None)


async def test_too_many(plane: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.gateway.extensions.labels.MAX_LABELS", 3)
    with pytest.raises(InvalidInput, match="at most 3 at once"):
        await push(plane, MESSAGE, None)
    with pytest.raises(InvalidInput, match="at most 3 at once"):
        await labels(plane, JSON, "m")


async def test_an_unknown_model(plane: Any) -> None:
    with pytest.raises(ModelNotFound):
        await push(plane, pb.LabelsPushRequest(model_name="other"), None)


async def test_an_unknown_model_is_said_before_the_body_is_read(plane: Any) -> None:
    with pytest.raises(ModelNotFound):
        await labels(plane, b"?", "other")


@pytest.mark.parametrize(("body", "rows"), [(b'{"rows": 2}', 2), (b"", 200), (b"{}", 200)])
async def test_rows_to_label_come_with_their_propensities(
    plane: Any, seen: Seen, body: bytes, rows: int
) -> None:
    found = msgspec.json.decode(await wanted(plane, body, "m"))
    assert (found["version"], found["pool"], len(found["rows"])) == ("1", 9, rows)
    assert found["rows"][0] == {"id": "r0", "index": 0, "propensity": 0.5, "at_random": True}


@pytest.mark.parametrize("body", [b'{"rows": 0}', b'{"rows": 10001}', b'{"row": 1}', b"[]", b"{"])
async def test_orders_of_rows_that_are_none_are_refused(plane: Any, body: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"^labels wanted: "):
        await wanted(plane, body, "m")
