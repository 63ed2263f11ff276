"""What outlives the monitor's process: checkpoints, and between them the write-ahead log.

A checkpoint names the segment of the log that begins with it. So a restart has the state of the
checkpoint, and takes in again what came after it: it stands where the process before it stood.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from serving.log.byte_search import go_on
from serving.monitoring.checkpoint import Checkpoint
from serving.monitoring.fan_out import FanOut
from serving.monitoring.forget_proof import require_forgotten
from serving.monitoring.forgetting import Requests
from serving.monitoring.intake import Intake
from serving.monitoring.replay import Replay
from serving.monitoring.to_the_end import to_the_end
from serving.monitoring.write_ahead_log import WriteAheadLog
from serving.telemetry.counters import SeriesSet
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report
from serving.telemetry.metrics.events import MONITOR_REPLAYED, MONITOR_TORN

MOST_OF_THE_LOOP: Final = 0.25
"""Share of the time that saving may take from events."""
LOG: Final = "wal"
"""Key in what is saved: number of the log's segment that begins with the state."""
TOTALS: Final = "totals"
"""Key in what is saved: sums and histograms over all processes."""


class Persistence:
    """Saves and restores what a monitor knows. Belongs to one loop.

    Args:
        folder, name: where the files lie, and what their names begin with.
        fan_out: what is saved, and what takes messages in.
        clock: seconds since the epoch.
        series: where the metrics are kept.

    Attributes:
        intake: where messages go in.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        fan_out: FanOut,
        clock: Callable[[], float],
        series: SeriesSet,
    ) -> None:
        self._folder, self._name = folder, name
        self._fan_out = fan_out
        self._service = fan_out.service
        self._checkpoint = Checkpoint(folder, name, self._service.entries)
        self._log = WriteAheadLog(folder, name)
        self.intake = Intake(self._log, fan_out, clock, series)
        self._service.notices.append(self.intake.notice)
        self._replayed, self._torn = series.sum(MONITOR_REPLAYED), series.sum(MONITOR_TORN)
        self._saving = asyncio.Lock()
        self._stalled_s = 0.0

    def restore(self) -> None:
        """Go on from the last checkpoint and what came after it, before anything else."""
        # Nearly all that is made stays, and a collection would look at it again and again.
        gc.disable()
        try:
            self._restore()
        finally:
            gc.enable()

    def _restore(self) -> None:
        saved = self._checkpoint.load()
        first: int | None = 0
        if saved is not None:
            try:
                self._service.restore(*saved)
                first = saved[0].get(LOG)  # which was not saved at first
                if TOTALS in saved[0]:
                    self.intake.totals.restore(saved[0][TOTALS])
            except (KeyError, TypeError, ValueError) as error:
                why = f"it does not hold what it should ({type(error).__name__})"
                self._checkpoint.set_aside(why)
        done = Replay(self._folder, self._name, self.intake.again).run(first)
        self._replayed.add(done.rows)
        self._torn.add(done.torn)
        self._log.go_on(first or 0)

    async def save_regularly(self, interval_s: float) -> None:
        """Save every so many seconds, but not so often that events have to wait."""
        took = 0.0
        while True:
            least = self._stalled_s / MOST_OF_THE_LOOP
            await asyncio.sleep(max(interval_s - took, least))
            started, self._stalled_s = time.perf_counter(), 0.0
            await self.save()
            took = time.perf_counter() - started

    async def save(self) -> None:
        """Write a checkpoint; what cannot be written is logged, and the next one has it all."""
        async with self._saving:
            try:
                in_force = False
                while not in_force:
                    write, number = self._prepare()
                    await to_the_end(write)
                    in_force = self._checkpoint.in_force
                self._log.saved(number)
            except OSError as error:
                said = f"the monitor's state cannot be saved: {error.strerror}"
                report(Event.STATE_NOT_SAVED, said, file=str(error.filename or ""), error=error)

    async def forget(
        self,
        gone: Requests,
        upto: Mapping[str, int],
        *,
        prove: bool,
        going_on: Callable[[], None] = go_on,
    ) -> tuple[int, dict[str, int], int]:
        """Forget requests of clients, and leave nothing of them in the files of before.

        Args:
            gone: the requests.
            upto: see `MonitoredVersions.forget_requests`.
            prove: whether the files are searched.
            going_on: is called again and again, also in a thread, and may raise to end it between
                two saves, or while files are searched.

        Returns:
            How many entries are gone, the numbers by owner up to which entries were meant, and
            how many files were searched.

        Raises:
            OSError: a file cannot be written or read.
            VigilError: a file still holds one.
            Exception: what `going_on` raises.
        """
        going_on()
        entries, newest = self._service.forget_requests(gone.of, upto)
        newest.update(upto)  # what came later was not meant
        searched = 0

        def search(first: int) -> None:
            nonlocal searched
            searched = require_forgotten(self._folder, self._name, first, gone, newest, going_on)

        await self.save_anew(search if prove else None, going_on)
        return entries, newest, searched

    async def save_anew(
        self, check: Callable[[int], None] | None = None, going_on: Callable[[], None] = go_on
    ) -> None:
        """Write a checkpoint that has nothing of what is not known any more, in no file.

        It takes as many saves as usual, with pauses for events between them.

        Args:
            check: looks into the files before they are written to again; it is told the first
                segment of what has come since. Runs in a thread.
            going_on: is called between two saves, and may raise: later saves then go on with it.

        Raises:
            OSError: it cannot be written; the next save has it all.
            Exception: what `check` or `going_on` raises.
        """
        async with self._saving:
            self._checkpoint.begin_anew()
            while True:
                self._stalled_s = 0.0
                write, number = self._prepare()
                await to_the_end(write)
                if self._checkpoint.in_force:
                    self._log.saved(number)
                if self._checkpoint.complete:
                    break
                await asyncio.sleep(self._stalled_s / MOST_OF_THE_LOOP)
                going_on()  # whoever stops the monitor waits for one save more, not for all
            if check is not None:
                await to_the_end(check, number)

    def close(self) -> None:
        """Let go of the files."""
        self._checkpoint.close()
        self._log.close()

    def _prepare(self) -> tuple[Callable[[], None], int]:
        """Return what writes the state of now, and the segment of what comes after it."""
        started = time.perf_counter()
        # What is made here is freed at once, and a collection would look at all that is held.
        gc.disable()
        try:
            number = self._log.rotate()
            changes = self._service.changes()
            totals = self.intake.totals.state(self._service.cumulative())
            state = {**self._service.state(), LOG: number, TOTALS: totals}
            write = self._checkpoint.prepare(state, changes)
        finally:
            gc.enable()
            self._stalled_s += time.perf_counter() - started

        def flush_and_write() -> None:
            self._fan_out.flush()
            write()
            if self._checkpoint.in_force:
                self._log.delete_before(number)

        return flush_and_write, number
