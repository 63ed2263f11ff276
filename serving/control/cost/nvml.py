"""Energy of NVIDIA GPUs: NVML's counter since the driver was loaded (Volta and later)."""

from __future__ import annotations

import importlib
from typing import Any, Final, Protocol

from serving.control.cost.energy import DeviceEnergy, Told

NVML: Final = "nvml"


class NvmlLibrary(Protocol):
    """What is used of the module `pynvml` (package `nvidia-ml-py`), whose names these are."""

    NVMLError: type[Exception]

    def nvmlInit(self) -> None:  # noqa: N802
        """Load the driver's library."""

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        """Return how many GPUs there are."""

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any:  # noqa: N802
        """Return what stands for a GPU in other calls."""

    def nvmlDeviceGetUUID(self, handle: Any) -> str | bytes:  # noqa: N802
        """Return its UUID, such as `GPU-…`."""

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Any) -> int:  # noqa: N802
        """Return the millijoules that it has used since the driver was loaded."""


def load_nvml() -> NvmlLibrary | None:
    """Return the library; None where the extra `nvml` is not installed."""
    try:
        library: NvmlLibrary = importlib.import_module("pynvml")
    except ImportError:
        return None
    return library


class Nvml:
    """The source `nvml`; see `EnergySource`.

    Args:
        library: what is asked; None: nothing is told.
    """

    name = NVML

    def __init__(self, library: NvmlLibrary | None) -> None:
        self._library = library
        self._begun = False
        self._known: dict[str, int] = {}

    def read(self) -> Told:
        """Return what GPUs have used since the last call."""
        if self._library is None:
            return Told()
        try:
            return self._read(self._library)
        except self._library.NVMLError as error:
            # Without a driver, or after it was loaded anew; the next call begins again.
            self._begun = False
            self._known = {}
            return Told(problem=f"energy of GPUs is unknown: {error}")

    def _read(self, library: NvmlLibrary) -> Told:
        if not self._begun:
            library.nvmlInit()
            self._begun = True
        count = library.nvmlDeviceGetCount()
        found: list[DeviceEnergy] = []
        now: dict[str, int] = {}
        problem = ""
        for index in range(count):
            try:
                device, used = _total(library, index)
            except library.NVMLError as error:  # an old GPU, or one that has fallen off the bus
                problem = problem or f"energy of GPU {index} is unknown: {error}"
                continue
            now[device] = used
            last = self._known.get(device)
            if last is not None and used >= last:
                found.append(DeviceEnergy(device, (used - last) * 1000))
        complete = 0 < count == len(found) and self._known.keys() <= now.keys()
        self._known = now
        return Told(tuple(found), complete, problem)


def _total(library: NvmlLibrary, index: int) -> tuple[str, int]:
    """Return a GPU's UUID and the millijoules on its counter."""
    handle = library.nvmlDeviceGetHandleByIndex(index)
    uuid = library.nvmlDeviceGetUUID(handle)
    device = uuid.decode("ascii") if isinstance(uuid, bytes) else uuid
    return device, library.nvmlDeviceGetTotalEnergyConsumption(handle)
