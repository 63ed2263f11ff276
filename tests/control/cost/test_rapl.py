"""RAPL on a tree of files like that of powercap: wraps, rights, resets, zones that come and go."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from serving.control.cost.energy import DeviceEnergy
from serving.control.cost.rapl import Rapl

RANGE = 262_143_328_850


class Machine:
    """Zones of powercap, and a clock."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.now = 100.0
        self.source = Rapl(root, lambda: self.now)

    def zone(self, zone: str, counter: int, name: str = "package-0") -> Path:
        folder = self.root / zone
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "name").write_text(f"{name}\n")
        (folder / "energy_uj").write_text(f"{counter}\n")
        (folder / "max_energy_range_uj").write_text(f"{RANGE}\n")
        return folder

    def read(self, seconds: float = 5.0) -> tuple[dict[str, int], bool]:
        self.now += seconds
        told = self.source.read()
        return dict(told.devices), told.complete


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "powercap")


def test_the_first_reading_only_begins(machine: Machine) -> None:
    machine.zone("intel-rapl:0", 1000)
    assert machine.read() == ({}, False)
    machine.zone("intel-rapl:0", 1500)
    assert machine.read() == ({"intel-rapl:0": 500}, True)
    assert machine.read() == ({"intel-rapl:0": 0}, True)


def test_packages_add_up_and_nothing_is_counted_twice(machine: Machine) -> None:
    def all_at(counter: int) -> None:
        machine.zone("intel-rapl:0", counter, "package-0")
        machine.zone("intel-rapl:0:0", counter, "core")
        machine.zone("intel-rapl:0:1", counter, "dram")
        machine.zone("intel-rapl:1", 2 * counter, "package-1")
        machine.zone("intel-rapl:1:0", counter, "core")
        machine.zone("intel-rapl:2", 9 * counter, "psys")
        machine.zone("intel-rapl-mmio:0", counter, "package-0")

    all_at(0)
    machine.read()
    all_at(100)
    assert machine.read() == ({"intel-rapl:0": 100, "intel-rapl:1": 200}, True)


def test_a_wrap(machine: Machine) -> None:
    machine.zone("intel-rapl:0", RANGE - 300)
    machine.read()
    machine.zone("intel-rapl:0", 700)
    assert machine.read() == ({"intel-rapl:0": 1000}, True)


def test_a_counter_that_was_set_back_is_no_wrap(machine: Machine) -> None:
    machine.zone("intel-rapl:0", RANGE // 2)
    machine.read()
    machine.zone("intel-rapl:0", 700)  # as a wrap, 26 kW
    assert machine.read() == ({}, False)
    machine.zone("intel-rapl:0", 900)
    assert machine.read() == ({"intel-rapl:0": 200}, True)


def test_without_a_range_a_counter_that_goes_back_tells_nothing(machine: Machine) -> None:
    folder = machine.zone("intel-rapl:0", 1000)
    machine.read()
    machine.zone("intel-rapl:0", 10)
    (folder / "max_energy_range_uj").unlink()
    assert machine.read() == ({}, False)


def test_no_rapl_at_all(machine: Machine) -> None:
    assert machine.read() == ({}, False)
    assert machine.source.read().problem == ""


def test_a_file_that_may_not_be_read_is_told_with_its_path(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.zone("intel-rapl:0", 1000)
    read = Path.read_text
    denied = True

    def read_text(path: Path, *arguments: str, **more: str) -> str:
        if denied and path.name == "energy_uj":  # root, who may run this test, may read any file
            raise PermissionError(13, "Permission denied", str(path))
        return read(path, *arguments, **more)

    monkeypatch.setattr(Path, "read_text", read_text)
    told = machine.source.read()
    assert (told.devices, told.complete) == ((), False)
    assert str(machine.root / "intel-rapl:0" / "energy_uj") in told.problem
    assert "right to read it" in told.problem
    denied = False
    assert machine.source.read().problem == ""
    machine.zone("intel-rapl:0", 1010)
    assert machine.read() == ({"intel-rapl:0": 10}, True)


@pytest.mark.parametrize("content", ["", "none\n", "1.5\n"])
def test_a_counter_that_is_no_number(machine: Machine, content: str) -> None:
    folder = machine.zone("intel-rapl:0", 1000)
    machine.read()
    (folder / "energy_uj").write_text(content)
    told = machine.source.read()
    assert (told.devices, told.complete) == ((), False)
    assert "cannot be read" in told.problem


def test_a_package_that_is_taken_away_and_comes_back(machine: Machine) -> None:
    machine.zone("intel-rapl:0", 100)
    folder = machine.zone("intel-rapl:1", 5000, "package-1")
    machine.read()
    shutil.rmtree(folder)
    machine.zone("intel-rapl:0", 110)
    assert machine.read() == ({"intel-rapl:0": 10}, False)
    machine.zone("intel-rapl:0", 120)
    assert machine.read() == ({"intel-rapl:0": 10}, True)
    machine.zone("intel-rapl:1", 9000, "package-1")
    assert machine.read() == ({"intel-rapl:0": 0}, False)
    machine.zone("intel-rapl:1", 9001, "package-1")
    assert machine.read() == ({"intel-rapl:0": 0, "intel-rapl:1": 1}, True)


def test_one_that_fails_leaves_the_others(machine: Machine) -> None:
    machine.zone("intel-rapl:0", 100)
    folder = machine.zone("intel-rapl:1", 100, "package-1")
    machine.read()
    machine.zone("intel-rapl:0", 150)
    (folder / "energy_uj").unlink()
    told = machine.source.read()
    assert told.devices == (DeviceEnergy("intel-rapl:0", 50),)
    assert not told.complete
    assert told.problem
