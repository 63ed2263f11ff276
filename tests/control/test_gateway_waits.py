"""What gateways say of a revision, and how long it is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from serving.channel.messages.directory import Directory, Inventory, Member, ServedModel
from serving.channel.messages.reports import CandidateStanding, GatewayStatus, UnreadyVersion
from serving.control.gateway_waits import GatewayWaits
from serving.control.registry import Registry
from serving.control.served_state import ServedState

Wait = Callable[[Callable[[], object]], Awaitable[None]]
SERVED = ServedModel("m", "1", b"{}", "/m/1", revision="a")
TRIED = ServedModel("m", "2", b"{}", "/m/2", revision="b")


class ToldRegistry(Registry):
    """A control plane whose gateways say what the test says."""

    def __init__(self) -> None:
        super().__init__(gateways=2)
        self.said: list[GatewayStatus] = []

    def gateway_statuses(self) -> list[GatewayStatus]:
        return self.said

    def says(self, statuses: Sequence[GatewayStatus]) -> None:
        self.said = list(statuses)
        self._news.tell()


@pytest.fixture
def registry() -> ToldRegistry:
    return ToldRegistry()


@pytest.fixture
def state() -> ServedState:
    made = ServedState()
    made.begin(Inventory((SERVED,)))
    made.candidates[TRIED.key] = TRIED
    return made


@pytest.fixture
def waits(registry: ToldRegistry, state: ServedState) -> GatewayWaits:
    return GatewayWaits(registry, state, 60, 60)


def served(*unready: str, failed: bool = False, generation: int = 5) -> GatewayStatus:
    told = tuple(UnreadyVersion("m", "1", why) for why in unready)
    return GatewayStatus(generation, unready=told, disproved=(SERVED.key,) if failed else ())


def tried(state: str, reason: str = "") -> GatewayStatus:
    return GatewayStatus(5, (CandidateStanding(*TRIED.key, state, reason),))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "standing"),
    [
        ([], (False, "")),
        ([served()], (False, "")),
        ([served(), served()], (True, "")),
        ([served(), served(generation=4)], (False, "")),
        ([served(), served("no replica yet")], (False, "")),
        ([served(), served("it fails", failed=True)], (False, "it fails")),
        ([served(), served("it fails", failed=True, generation=4)], (False, "")),
    ],
)
def test_what_is_served_stands_where_every_gateway_answers(
    registry: ToldRegistry,
    waits: GatewayWaits,
    said: list[GatewayStatus],
    standing: tuple[bool, str],
) -> None:
    registry.said = said
    assert waits.standing(SERVED.key, 5) == standing


@pytest.mark.parametrize(
    ("said", "standing"),
    [
        ([tried("READY"), GatewayStatus(5)], (False, "")),
        ([tried("READY"), tried("LOADING", "no replica yet")], (False, "")),
        ([tried("READY"), tried("READY")], (True, "")),
        ([tried("READY"), tried("UNAVAILABLE", "it fails")], (False, "it fails")),
    ],
)
def test_what_is_tried_stands_where_every_gateway_has_proven_it(
    registry: ToldRegistry,
    waits: GatewayWaits,
    said: list[GatewayStatus],
    standing: tuple[bool, str],
) -> None:
    registry.said = said
    assert waits.standing(TRIED.key, 5) == standing


def test_a_replica_knows_best_why_a_version_fails(
    registry: ToldRegistry, waits: GatewayWaits
) -> None:
    registry.said = [served("no replica yet"), served()]
    assert waits.unready() == {("m", "1"): "no replica yet"}
    registry.failures.told(SERVED.key, "no weights")
    assert waits.unready() == {("m", "1"): "no weights"}
    assert waits.standing(SERVED.key, 5) == (False, "no weights")


async def test_it_waits_until_each_is_proven_or_has_failed(
    registry: ToldRegistry, waits: GatewayWaits
) -> None:
    waiting = asyncio.ensure_future(waits.proven([SERVED, TRIED], 5))
    await asyncio.sleep(0)
    registry.says([served(), served()])
    await asyncio.sleep(0.01)
    assert not waiting.done()
    registry.says([tried("UNAVAILABLE", "it fails"), tried("READY")])
    assert await waiting == {TRIED.key: "it fails"}


async def test_what_takes_too_long_has_failed(registry: ToldRegistry, state: ServedState) -> None:
    waits = GatewayWaits(registry, state, 0.01, 60)
    late = "not ready within load_timeout_s (0.01 s)"
    assert await waits.proven([TRIED], 5) == {TRIED.key: late}
    assert waits.late == late


async def test_a_directory_is_followed_once_every_gateway_has_it(
    registry: ToldRegistry, waits: GatewayWaits
) -> None:
    registry.said = [GatewayStatus(4), GatewayStatus(5)]
    waiting = asyncio.ensure_future(waits.followed(5))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    registry.says([GatewayStatus(6), GatewayStatus(5)])
    await waiting


async def test_what_is_gone_is_drained_once_no_gateway_answers_with_it(
    registry: ToldRegistry, waits: GatewayWaits
) -> None:
    registry.said = [GatewayStatus(5, retiring=(SERVED.key,)), GatewayStatus(5)]
    waiting = asyncio.ensure_future(waits.drained(5, [SERVED]))
    await waits.followed(5)
    assert not waiting.done()
    registry.says([GatewayStatus(5), GatewayStatus(5, retiring=(TRIED.key,))])
    await waiting


async def test_what_is_to_come_back_waits_until_it_has_ended(
    registry: ToldRegistry, waits: GatewayWaits, state: ServedState
) -> None:
    await waits.cleared([SERVED.key])
    state.retire([SERVED])
    waiting = asyncio.ensure_future(waits.cleared([SERVED.key]))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    replica = Member("replica", "r", 1, "unix:/r", *SERVED.key[:2], revision="a")
    state.retiring.clear()
    registry.directory = Directory(7, (), (replica,))
    registry._news.tell()
    await asyncio.sleep(0.01)
    assert not waiting.done()
    registry.directory = Directory(8)
    registry._news.tell()
    await waiting
