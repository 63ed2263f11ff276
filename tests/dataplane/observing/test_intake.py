"""Pairs that are taken in: expired by the clock, joined at the monitor by several gateways."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from serving.channel.messages.directory import Directory, Member
from serving.channel.messages.observation import HALF, HalfReply
from serving.dataplane.observing.intake import PairIntake
from serving.dataplane.observing.pairing import Half, Limits
from serving.errors import ModelNotReady
from serving.monitoring.shared_pairs import SharedPairs
from serving.telemetry.counters import SeriesSet

ASKED, ANSWERED = Half(b"asked", 1.0), Half(b"answered", 2.0)
KEY = ("1",)


class Publisher:
    """Reaches a monitor, unless it is away."""

    def __init__(self) -> None:
        self.away = False
        self.monitors: dict[str, SharedPairs] = {}

    async def request(self, kind: str, meta: Any, *, model: str) -> Any:
        assert kind == HALF
        if self.away:
            raise ModelNotReady("the monitor is not there; retry later")
        # As if there were one for each text: halves of a pair meet only where both give the same.
        reply = self.monitors.setdefault(model, SharedPairs()).half(meta)
        return msgspec.structs.replace(Message(), meta=msgspec.msgpack.encode(reply))


class Message(msgspec.Struct):
    meta: bytes = b""


def intake(publisher: Any = None, limits: Limits | None = None) -> tuple[PairIntake, SeriesSet]:
    series = SeriesSet()
    return PairIntake(series, publisher or Publisher(), limits), series


def counts(series: SeriesSet) -> dict[str, float]:
    return {
        "+".join(value for _, value in each.attributes): each.value
        for each in series.snapshot()
        if each.value
    }


def gateways(number: int) -> Directory:
    members = tuple(Member(role="gateway", id=f"g{at}", pid=1) for at in range(number))
    return Directory(1, (), members)


async def test_halves_are_dropped_by_the_clock_alone() -> None:
    pairs, series = intake(limits=Limits(wait_s=0.01))
    assert await pairs.half(KEY, "request", ASKED) is None
    async with asyncio.timeout(60):
        while pairs.waiting:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    assert counts(series) == {"request": 1, "unpaired": 1}
    pairs.close()


async def test_one_gateway_needs_no_monitor() -> None:
    publisher = Publisher()
    publisher.away = True
    pairs, series = intake(publisher)
    pairs.on_directory(gateways(1))
    assert await pairs.half(KEY, "response", ANSWERED) is None
    assert await pairs.half(KEY, "request", ASKED) == (ASKED, ANSWERED)
    assert counts(series) == {"request": 1, "response": 1}
    pairs.close()


async def test_two_gateways_join_halves_at_the_monitor() -> None:
    publisher = Publisher()
    (one, _), (other, series) = intake(publisher), intake(publisher)
    for pairs in (one, other):
        pairs.on_directory(gateways(2))
    assert await one.half(KEY, "request", ASKED) is None
    assert one.waiting == 0
    assert await other.half(KEY, "response", ANSWERED) == (ASKED, ANSWERED)
    assert await one.half(("2",), "response", ANSWERED) is None
    assert await other.half(("2",), "request", ASKED) == (ASKED, ANSWERED)
    publisher.away = True
    with pytest.raises(ModelNotReady):
        await other.half(("3",), "request", ASKED)
    assert counts(series) == {"request": 1, "response": 1}  # what was not taken is not counted


def test_the_reply_is_small_where_nothing_is_told() -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(HalfReply(False)), type=HalfReply) == (
        HalfReply(paired=False)
    )
