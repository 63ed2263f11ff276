"""Not a test: sends cases to both instances, and tells those that they do not answer alike."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import ModuleType
from typing import Any

Pieces = tuple[bytes, ...]
NOISE = "noise"
TRIES = 3
MOST = 10
"""Cases of one batch that are tried again: if so many differ, something is wrong with all."""


class Comparison:
    """Cases of one protocol against both instances."""

    def __init__(self, both: Any, protocol: str, talk: ModuleType, differences: ModuleType) -> None:
        self._both, self._talk, self._differences = both, talk, differences
        self._send = getattr(talk, protocol)
        self._known = getattr(differences, protocol.upper())

    async def answers(self, pieces: Pieces) -> tuple[list[str], list[str]]:
        """Return how direct and how Envoy answer."""
        ports = (self._both.direct.http_port, self._both.envoy.http_port)
        direct, envoy = await asyncio.gather(*(self._send(port, pieces) for port in ports))
        return direct, envoy

    async def _problem(self, pieces: Pieces, used: frozenset[str]) -> str | None:
        direct, envoy = await self.answers(pieces)
        cut = self._talk.until_refused(direct), self._talk.until_refused(envoy)
        alike = cut[0] == cut[1] or self._differences.explained(self._known, pieces, *cut)
        # What a changed byte makes need not be answered by us because somebody else forgives it.
        alike = alike or (NOISE in used and cut[0] == cut[1][: len(cut[0])])
        if alike and self._talk.HANGS not in direct:
            return None
        return f"direct {direct}\n  envoy  {envoy}"

    async def problems(self, made: Sequence[tuple[Pieces, frozenset[str]]]) -> list[str]:
        """Try cases at once; return a text for each that only one answers, or both differently.

        A busy machine may take longer than the instances allow. So what differs is tried again,
        alone, and counts only if it does so each time.
        """
        found = await asyncio.gather(*(self._problem(*case) for case in made))
        suspects = [case for case, said in zip(made, found, strict=True) if said]
        confirmed = []
        for pieces, used in suspects[:MOST]:
            for _ in range(TRIES):
                said = await self._problem(pieces, used)
                if said is None:
                    break
            else:
                confirmed.append(f"made by {sorted(used)}, {said}\n  VIGIL_FUZZ_CASE={pieces!r}")
        return confirmed
