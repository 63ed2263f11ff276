"""What a device tells of its energy: one contract for all sources, and their readings together."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report


class DeviceEnergy(NamedTuple):
    """What one device has used since its last reading, in microjoules."""

    device: str
    microjoules: int


class Told(NamedTuple):
    """What a source tells in one reading.

    Attributes:
        devices: those that it tells of.
        complete: whether that is all energy of all its devices since the last reading. It is not
            after the first reading of a device, nor while one cannot be read, nor when there is
            none.
        problem: why a device that is there cannot be read, a sentence; empty where all can.
    """

    devices: tuple[DeviceEnergy, ...] = ()
    complete: bool = False
    problem: str = ""


class EnergySource(Protocol):
    """Reads the energy counters of devices of one kind. Calls may block, for a driver answers.

    Attributes:
        name: as metrics and bills name it.
    """

    name: str

    def read(self) -> Told:
        """Return what was used since the last call; never raises."""


class Reading(NamedTuple):
    """What all sources tell in one reading.

    Attributes:
        seconds: since the last one.
        sources: by name.
    """

    seconds: float
    sources: dict[str, Told]


class Meter:
    """Reads all sources. Belongs to one thread at a time.

    Args:
        sources: what is read.
        clock: monotonic seconds.
    """

    def __init__(
        self, sources: Sequence[EnergySource], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._sources: Final = sources
        self._clock = clock
        self._last: float | None = None
        self._problems: dict[str, str] = {}

    def read(self) -> Reading:
        """Return what was used since the last call; the first one only begins."""
        now = self._clock()
        seconds = 0.0 if self._last is None else now - self._last
        self._last = now
        told = {source.name: source.read() for source in self._sources}
        for name, each in told.items():
            if each.problem and each.problem != self._problems.get(name):
                report(Event.ENERGY_UNREADABLE, each.problem, source=name)
            self._problems[name] = each.problem
        return Reading(seconds, told)
