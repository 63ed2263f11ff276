"""After a restart: what was written ahead of the last checkpoint is taken in again."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from serving.channel.frames import FrameError
from serving.errors import VigilError
from serving.monitoring.set_aside import set_aside
from serving.monitoring.wal_segments import Record, Torn, records, segments
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report

TELL_S: Final = 2.0
"""Seconds after which progress is told, and then again."""
MOST_ATTEMPTS: Final = 3
"""A process that does not survive a replay so many times gives it up."""


class Replayed(msgspec.Struct):
    """What was taken in again.

    Attributes:
        records, rows: messages, and rows of predictions in them.
        torn: segments whose end was no whole record.
    """

    records: int = 0
    rows: int = 0
    torn: int = 0


class Replay:
    """Reads the segments that a checkpoint has nothing of.

    Args:
        folder, name: where the segments lie.
        again: takes in a record; returns its rows.
        seconds: a monotonic clock.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        again: Callable[[Record], int],
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._name = folder, name
        self._again = again
        self._seconds = seconds
        self._attempts = folder / f"{name}.replays"
        self.done = Replayed()

    def run(self, first: int | None) -> Replayed:
        """Take in again what lies in the segments from `first` on; None: in none of them."""
        found = segments(self._folder, self._name)
        wanted = {
            number: path for number, path in found.items() if first is not None and number >= first
        }
        if first is None:
            self._give_up(found, "the state that was saved last knows nothing of it")
        elif wanted and self._attempted() >= MOST_ATTEMPTS:
            self._give_up(wanted, f"the monitor died {MOST_ATTEMPTS} times while it read it")
        elif wanted:
            self._read(list(wanted.values()))
        with contextlib.suppress(OSError):
            self._attempts.unlink(missing_ok=True)
        return self.done

    def _attempted(self) -> int:
        """Return how many processes have begun this before, and count this one."""
        try:
            before = int(self._attempts.read_text())
        except (OSError, ValueError):
            before = 0
        with contextlib.suppress(OSError):
            self._attempts.write_text(str(before + 1))
        return before

    def _give_up(self, found: dict[int, Path], why: str) -> None:
        for path in found.values():
            with contextlib.suppress(OSError):
                set_aside(path, why)

    def _read(self, paths: list[Path]) -> None:
        total = sum(path.stat().st_size for path in paths)
        read, tell_at = 0, self._seconds() + TELL_S
        for path in paths:
            try:
                for record in records(path):
                    if isinstance(record, Torn):
                        self._torn(record)
                        continue
                    self._take_in(record)
                    read += len(record.frame)
                    if self._seconds() >= tell_at:
                        tell_at = self._seconds() + TELL_S
                        self._tell(f"{read >> 20} of {total >> 20} MiB so far")
            except OSError as error:
                said = f"{path} cannot be read: {error.strerror}; what it holds is lost"
                report(Event.STATE_UNREADABLE, said, file=str(path))
        if self.done.records:
            self._tell(f"{self.done.records} messages with {self.done.rows} rows, all there are")

    def _take_in(self, record: Record) -> None:
        try:
            self.done.rows += self._again(record)
        except VigilError:
            pass  # it was refused the first time too
        except (FrameError, msgspec.DecodeError) as error:
            report(Event.OBSERVATION_FAILED, "a saved message cannot be read", error=error)
        except Exception as error:  # noqa: BLE001 - the next one may be well
            report(Event.MONITOR_FAILED, "a saved message cannot be taken in", error=error)
        self.done.records += 1

    def _tell(self, how_far: str) -> None:
        said = f"the monitor goes on from where it was: it takes in again {how_far}"
        report(Event.STATE_REPLAYED, said)

    def _torn(self, torn: Torn) -> None:
        self.done.torn += 1
        said = f"the last record of {torn.path} is cut short: {torn.bytes} bytes are left out"
        report(Event.STATE_REPLAYED, said, file=str(torn.path))
