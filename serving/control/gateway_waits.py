"""Waiting for gateways: until they can answer with what is new, and answer with the old no more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

from serving.channel.messages.directory import ModelKey, ServedModel
from serving.control.registry import Registry
from serving.control.served_state import ServedState
from serving.telemetry.metrics.models import LOAD_TIMEOUT

LOOK_S: Final = 0.5
"""How long to wait for news before looking at the clock again."""
FOLLOW_S: Final = 10.0
"""What gateways may take to follow a directory before a call no longer waits for them."""


class GatewayWaits:
    """What gateways say of revisions, and waiting until they say something else.

    Args:
        registry: hears how they fare.
        state: which revisions there are.
        load_timeout_s: what loading may take.
        drain_timeout_s: what answering the rest of a revision's requests may take.

    Attributes:
        late: why a version fails that takes longer than `load_timeout_s`.
    """

    def __init__(
        self, registry: Registry, state: ServedState, load_timeout_s: float, drain_timeout_s: float
    ) -> None:
        self._registry = registry
        self._state = state
        self._load_timeout_s = load_timeout_s
        self._drain_timeout_s = drain_timeout_s
        self.late: Final = f"not ready within load_timeout_s ({load_timeout_s:g} s)"

    # -- what they say ------------------------------------------------------------------

    def unready(self) -> dict[tuple[str, str], str]:
        """Return what a gateway cannot answer with, and why, by name and version.

        Where no replica of a served revision could be, that is the reason.
        """
        said = {
            which: why
            for status in self._registry.gateway_statuses()
            for which, why in status.why_unready.items()
        }
        failed = {key[:2]: self._registry.failures.of(key) for key in self._state.active}
        return {which: failed.get(which) or why for which, why in said.items()}

    def standing(self, key: ModelKey, generation: int) -> tuple[bool, str]:
        """Whether every gateway can answer with a revision; and why it failed, if it has.

        Args:
            key: of a revision that is served, or tried.
            generation: of a directory with it; gateways that do not know it yet do not count.
        """
        if (failure := self._registry.failures.of(key)) is not None:
            return False, failure
        ready = 0
        for status in self._registry.gateway_statuses():
            if status.generation < generation:
                continue
            if key in self._state.active:
                unready = status.why_unready
                if key[:2] in unready and key in status.disproved:
                    return False, unready[key[:2]]
                ready += key[:2] not in unready
            for each in status.candidates:
                if each.key == key and each.state == "UNAVAILABLE":
                    return False, each.reason
                ready += each.key == key and each.state == "READY"
        return ready >= self._registry.gateways_wanted, ""

    # -- waiting ------------------------------------------------------------------------

    async def proven(self, wanted: Iterable[ServedModel], generation: int) -> dict[ModelKey, str]:
        """Wait until every gateway can answer with these; returns why, for each that it cannot.

        Args:
            wanted: what is served, or tried.
            generation: of a directory with it.
        """
        waiting = {served.key for served in wanted}
        failed: dict[ModelKey, str] = {}

        def over() -> bool:
            for key in list(waiting):
                ready, why = self.standing(key, generation)
                if ready or why:
                    waiting.discard(key)
                if why:
                    failed[key] = why
            return not waiting

        await self._until(over, self._load_timeout_s)
        for name, _, _ in waiting:
            self._registry.load_failures.count(name, LOAD_TIMEOUT)
        return {**failed, **dict.fromkeys(waiting, self.late)}

    async def cleared(self, keys: Collection[ModelKey]) -> None:
        """Wait until nothing of an earlier time is left: it could be proven while it ends."""

        def over() -> bool:
            there = {member.key for member in self._registry.directory.of_role("replica")}
            return not set(keys) & (there | self._state.retiring.keys())

        await self._until(over, self._drain_timeout_s + FOLLOW_S)

    async def followed(self, generation: int) -> None:
        """Wait until every gateway knows a directory."""
        await self._until(lambda: self._know(generation, ()), FOLLOW_S)

    async def drained(self, generation: int, gone: Sequence[ServedModel]) -> None:
        """Wait until every gateway knows a directory and none answers with `gone` any more."""
        keys = [served.key for served in gone]
        await self._until(lambda: self._know(generation, keys), self._drain_timeout_s)

    def _know(self, generation: int, gone: Iterable[ModelKey]) -> bool:
        return all(
            status.generation >= generation and not set(gone) & set(status.retiring)
            for status in self._registry.gateway_statuses()
        )

    async def _until(self, over: Callable[[], bool], timeout_s: float) -> None:
        """Wait until something is so; return also when it is not in time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while (left := deadline - loop.time()) > 0 and not over():
            await self._registry.news(min(left, LOOK_S))
