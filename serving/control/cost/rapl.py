"""Energy of processor packages: RAPL, as Linux's powercap tells it.

Documentation/power/powercap/powercap.rst in the kernel describes the files. Only packages are read:
their subdomains (cores, graphics) are parts of them, and the domain `psys` holds the packages
themselves. Memory is a subdomain that the package does not hold; it is left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from serving.control.cost.energy import DeviceEnergy, Told

POWERCAP: Final = Path("/sys/class/powercap")
RAPL: Final = "rapl"
MOST_WATTS: Final = 5000.0
"""No package draws more. A counter that has gone back, and would have by a wrap, was set back."""


class _Domain:
    """What was read of a package last, and when."""

    __slots__ = ("at", "counter")

    def __init__(self, counter: int, at: float) -> None:
        self.counter, self.at = counter, at


class Rapl:
    """The source `rapl`; see `EnergySource`.

    Args:
        root: the folder of powercap's zones.
        clock: monotonic seconds.
    """

    name = RAPL

    def __init__(self, root: Path = POWERCAP, clock: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._clock = clock
        self._known: dict[str, _Domain] = {}

    def read(self) -> Told:
        """Return what packages have used since the last call."""
        problem = ""
        found: list[DeviceEnergy] = []
        packages = self._packages()
        complete = bool(packages) and self._known.keys() <= packages.keys()
        known: dict[str, _Domain] = {}
        for device, folder in packages.items():
            try:
                used = self._used(device, folder, known)
            except (OSError, ValueError) as error:
                problem = problem or _problem(folder, error)
                used = None
            if used is None:
                complete = False
            else:
                found.append(DeviceEnergy(device, used))
        self._known = known
        return Told(tuple(found), complete, problem)

    def _packages(self) -> dict[str, Path]:
        """Return the folders of packages by their zone's name; `intel-rapl:0:1` is a subdomain."""
        found: dict[str, Path] = {}
        for folder in sorted(self._root.glob("intel-rapl:*")):
            try:
                is_package = folder.name.count(":") == 1 and _text(folder, "name").startswith(
                    "package"
                )
            except OSError:  # taken away in this moment
                continue
            if is_package:
                found[folder.name] = folder
        return found

    def _used(self, device: str, folder: Path, known: dict[str, _Domain]) -> int | None:
        """Return the microjoules since the last call; None where they cannot be known."""
        now, counter = self._clock(), int(_text(folder, "energy_uj"))
        last = self._known.get(device)
        known[device] = _Domain(counter, now)
        if last is None:
            return None
        if counter >= last.counter:
            return counter - last.counter
        wrapped = counter - last.counter + int(_text(folder, "max_energy_range_uj"))
        plausible = 0 <= wrapped <= MOST_WATTS * (now - last.at) * 1e6
        return wrapped if plausible else None


def _text(folder: Path, file: str) -> str:
    return (folder / file).read_text(encoding="ascii").strip()


def _problem(folder: Path, error: Exception) -> str:
    if isinstance(error, PermissionError):
        return (
            f"energy of processors is unknown: {folder / 'energy_uj'} may not be read; give the "
            "user of Vigil the right to read it"
        )
    return f"energy of a processor is unknown: {folder} cannot be read ({type(error).__name__})"
