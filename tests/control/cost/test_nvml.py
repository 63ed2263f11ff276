"""NVML, played by a library of the same interface. No GPU has been measured."""

# ruff: noqa: N802 - the names of the library

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from serving.control.cost.nvml import Nvml, load_nvml


class NVMLError(Exception):
    pass


class Library:
    """GPUs by UUID, with millijoules; None where the GPU does not tell them."""

    NVMLError = NVMLError

    def __init__(self, **gpus: int | None) -> None:
        self.gpus = gpus
        self.driver = True
        self.begun = 0

    def nvmlInit(self) -> None:
        self._require(self.driver, "Driver Not Loaded")
        self.begun += 1

    def nvmlDeviceGetCount(self) -> int:
        self._require(self.driver and self.begun > 0, "Uninitialized")
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        return list(self.gpus)[index]

    def nvmlDeviceGetUUID(self, handle: str) -> str | bytes:
        return handle.encode() if handle == "old" else handle

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        energy = self.gpus[handle]
        self._require(energy is not None, "Not Supported")
        assert energy is not None
        return energy

    def _require(self, holds: bool, why: str) -> None:
        if not holds:
            raise NVMLError(why)


def read(source: Nvml) -> tuple[dict[str, int], bool]:
    told = source.read()
    return dict(told.devices), told.complete


def test_millijoules_become_microjoules_from_the_second_reading_on() -> None:
    library = Library(a=1_000, old=50)
    source = Nvml(library)
    assert read(source) == ({}, False)
    library.gpus = {"a": 1_007, "old": 50}
    assert read(source) == ({"a": 7_000, "old": 0}, True)
    assert library.begun == 1


def test_a_counter_that_goes_back_begins_anew() -> None:
    library = Library(a=1_000)
    source = Nvml(library)
    read(source)
    library.gpus["a"] = 10
    assert read(source) == ({}, False)
    library.gpus["a"] = 12
    assert read(source) == ({"a": 2_000}, True)


def test_a_gpu_that_does_not_tell_leaves_the_others() -> None:
    library = Library(a=1, b=None)
    source = Nvml(library)
    read(source)
    library.gpus["a"] = 2
    told = source.read()
    assert (dict(told.devices), told.complete) == ({"a": 1000}, False)
    assert told.problem == "energy of GPU 1 is unknown: Not Supported"


def test_a_gpu_that_is_unplugged() -> None:
    library = Library(a=1, b=1)
    source = Nvml(library)
    read(source)
    library.gpus = {"b": 4}
    assert read(source) == ({"b": 3000}, False)
    assert read(source) == ({"b": 0}, True)


def test_a_driver_that_comes_later_and_goes() -> None:
    library = Library(a=1)
    library.driver = False
    source = Nvml(library)
    assert source.read().problem == "energy of GPUs is unknown: Driver Not Loaded"
    library.driver = True
    assert read(source) == ({}, False)
    library.gpus["a"] = 2
    assert read(source) == ({"a": 1000}, True)
    library.driver = False
    assert read(source) == ({}, False)
    library.driver, library.gpus["a"] = True, 100  # what was used meanwhile is not known
    assert read(source) == ({}, False)


def test_no_gpu_and_no_library() -> None:
    assert read(Nvml(Library())) == ({}, False)
    assert read(Nvml(None)) == ({}, False)


def test_the_library_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)  # what import does where there is none
    assert load_nvml() is None
    installed = SimpleNamespace()
    monkeypatch.setitem(sys.modules, "pynvml", installed)
    assert load_nvml() is installed
