"""Memory that large bodies have left free in a gateway process goes back to the system."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Final

from serving.gateway.body_budget import BodyBudget
from serving.upkeep.periodic import Periodic

INTERVAL_S: Final = 10.0
SPARE: Final = 32 << 20
"""Bytes by which the process must have grown for a look to be worth its milliseconds."""
_FEW: Final = 1 << 20
"""Bytes of bodies beside which the process counts as idle."""
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class SpareMemory:
    """Gives free memory back once large bodies are over.

    The allocator keeps what it is given back (`direct.process` says how much of it), because the
    next large body would get it page by page from the system otherwise. Once they have gone, that
    is memory that others could use, and that an operator takes for a leak. To give it back takes
    some milliseconds per 100 MB, in which no request is answered: hence seldom, and while none of
    them is there.

    Args:
        bodies: the bytes of bodies that the process holds.
        interval_s: seconds between two looks.
    """

    def __init__(self, bodies: BodyBudget, interval_s: float = INTERVAL_S) -> None:
        self._bodies = bodies
        self._least = 0
        self._periodic = Periodic(interval_s, self._look)
        # Another C library may have none, and then keeps what it keeps.
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)

    def start(self) -> None:
        """Begin, in the running loop."""
        if self._trim is not None:
            self._least = _resident()
            self._periodic.start()

    def stop(self) -> None:
        """Look no more."""
        self._periodic.stop()

    def _look(self) -> None:
        resident = _resident()
        self._least = min(self._least, resident)
        if resident - self._least >= SPARE and self._bodies.held <= _FEW:
            assert self._trim is not None
            self._trim(0)
            self._least = _resident()  # what is in use now is no reason to look again


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
