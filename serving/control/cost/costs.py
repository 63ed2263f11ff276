"""Counts what models cost while the instance runs: metrics, the hourly record, and bills."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Final

import msgspec

from serving.config import ServerConfig
from serving.control.cost.apportioning import energy_of
from serving.control.cost.bill import Bill
from serving.control.cost.billing import JOULES_PER_KWH, Period, make_bill
from serving.control.cost.energy import Meter, Reading
from serving.control.cost.nvml import Nvml, load_nvml
from serving.control.cost.quantities import (
    CPU,
    DEVICE,
    ENERGY,
    GPU,
    ROWS,
    UPSTREAM,
    ByModel,
    add,
    counted,
    grown,
    named,
    total,
)
from serving.control.cost.rapl import Rapl
from serving.control.cost.record import HOUR_S, CostRecord
from serving.control.registry import Registry
from serving.control.served_model import config_of
from serving.errors import NotFound, printable
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report
from serving.telemetry.metrics.cost import COST, ENERGY_JOULES

COUNT_S: Final = 5.0
WRITE_S: Final = 60.0
STOP_S: Final = 3.0


def meter_of(config: ServerConfig) -> Meter:
    """Return what reads the devices of this machine.

    On a cluster that was joined it reads none: which replicas run on this machine is not known,
    and those elsewhere would get a share of energy that they did not use.
    """
    if config.engine == "ray" and config.ray_address:
        return Meter(())
    return Meter((Rapl(), Nvml(load_nvml())))


class Costs:
    """What the models of one instance cost. Belongs to the loop; devices are read in a thread.

    Args:
        registry: the instance.
        config: the prices, and where the record is kept.
        meter: reads energy; none: the devices of this machine.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        registry: Registry,
        config: ServerConfig,
        meter: Meter | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._registry = registry
        self._prices = config.prices
        self._meter = meter_of(config) if meter is None else meter
        self._clock = clock
        self._record = CostRecord(config.data_dir.absolute() / "costs")
        self._before: ByModel = {}
        self._energy: ByModel = {}
        self._task: asyncio.Task[None] | None = None
        self._ending = asyncio.Event()
        # Not held while devices are read: one that does not answer must not hold up bills.
        self._recording = asyncio.Lock()
        self._not_saved = ""

    # -- life ---------------------------------------------------------------------------

    def start(self) -> None:
        """Begin; needs a running loop."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Count and write once more; bounded to seconds, should a device not answer."""
        self._ending.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=STOP_S)
            self._task.cancel()

    async def _run(self) -> None:
        await self.begin()
        written = self._clock()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(COUNT_S):
                    await self._ending.wait()
            try:
                await self.count()
            except Exception as error:  # noqa: BLE001 - the next count may be well
                report(Event.OBSERVATION_FAILED, "costs could not be counted", error=error)
            ends = self._ending.is_set()
            if ends or abs(self._clock() - written) >= WRITE_S:
                written = self._clock()
                await self.write()
            if ends:
                return

    async def begin(self) -> None:
        """Take up today's record, and read devices for the first time."""
        try:
            await asyncio.to_thread(self._record.load, self._clock())
        except ValueError as error:
            said = "today's record of costs is damaged; it was set aside, and begins anew"
            report(Event.STATE_UNREADABLE, said, error=error)
        except OSError as error:
            said = f"today's record of costs cannot be read yet: {error.strerror}"
            report(Event.STATE_UNREADABLE, said, file=str(error.filename or ""))
        await asyncio.to_thread(self._meter.read)

    async def write(self) -> None:
        """Write the record; where it cannot be, that is logged once."""
        async with self._recording:
            try:
                await asyncio.to_thread(self._record.write, self._clock())
                self._not_saved = ""
            except OSError as error:
                if self._not_saved != str(error):
                    said = f"the record of costs cannot be saved: {error.strerror}"
                    report(Event.STATE_NOT_SAVED, said, file=str(error.filename or ""))
                self._not_saved = str(error)

    # -- counting -----------------------------------------------------------------------

    async def count(self) -> None:
        """Count what was used since the last call."""
        reading = await asyncio.to_thread(self._meter.read)
        async with self._recording:
            self._count(reading)

    def _count(self, reading: Reading) -> None:
        # What roles used before this control plane began is in the record of the one before.
        now = grown(counted(self._registry.aggregate()), counted(self._registry.inherited()))
        used = grown(now, self._before)
        self._before = now
        for served in self._registry.directory.models:
            if config_of(served).remote is not None and (amounts := used.get(served.name)):
                amounts[UPSTREAM] = amounts.get(ROWS, 0)
        energy = energy_of(reading, used)
        add(used, energy)
        self._show(used, energy)
        told = {key for amounts in now.values() for key in amounts if key.startswith(CPU)}
        told |= {ROWS for amounts in now.values() if ROWS in amounts}
        for name, source in reading.sources.items():
            told |= {DEVICE + device for device, _ in source.devices}
            if source.complete:
                told.add(ENERGY + name)
        self._record.add(self._clock(), reading.seconds, told, used)

    def _show(self, used: ByModel, energy: ByModel) -> None:
        """Bring the metrics up to date."""
        series = self._registry.series
        add(self._energy, energy)
        for model, amounts in self._energy.items():
            for source, microjoules in named(amounts, ENERGY).items():
                shown = series.sum(ENERGY_JOULES, model=model, source=source)
                shown.value = microjoules / 1e6
        prices = self._prices
        for model, amounts in used.items():
            for resource, prefix, price, unit in (
                ("cpu", CPU, prices.cpu_second, 1),
                ("gpu", GPU, prices.gpu_second, 1),
                ("energy", ENERGY, prices.kwh, JOULES_PER_KWH * 1e6),
            ):
                if price is not None and any(key.startswith(prefix) for key in amounts):
                    about = {"model": model, "currency": prices.currency, "resource": resource}
                    series.sum(COST, **about).add(total(amounts, prefix) / unit * price)

    # -- bills --------------------------------------------------------------------------

    async def bill(self, since: float, model: str = "") -> Bill:
        """Return what models cost from the hour that `since` belongs to until now.

        Args:
            since: Unix seconds.
            model: the only one that the bill is about; empty: all.

        Raises:
            NotFound: it is not served, and has not been since then.
        """
        until = self._clock()
        first = since // HOUR_S * HOUR_S
        async with self._recording:
            hours = await asyncio.to_thread(self._record.read, first)
        served = {served.name for served in self._registry.directory.models}
        bill = make_bill(hours, Period(first, until), self._prices, served)
        if not model:
            return bill
        mine = [each for each in bill.models if each.model == model]
        if not mine:
            raise NotFound(f"no model '{printable(model[:200])}' was served since {bill.since}")
        return msgspec.structs.replace(bill, models=mine)
