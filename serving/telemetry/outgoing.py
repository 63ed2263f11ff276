"""What waits for a collector, what it has taken, and what it will never get: exact counts.

One thread hands over, another one sends. What is counted as neither waits or is under way, and
once `stop` has returned nothing does.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from serving.telemetry.exporting import Exporter, ExporterEnd, stop_within

ItemT = TypeVar("ItemT")
ItemT_contra = TypeVar("ItemT_contra", contravariant=True)
ResultT = TypeVar("ResultT")
ResultT_co = TypeVar("ResultT_co", covariant=True)

Reason = Literal["queue_full", "not_exported", "stopped"]
"""Why something was dropped: too much waited, the collector did not take it (or not in time), or it
came after the exporter's end had begun."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is sent, in words for the log.

    Attributes:
        exports: `exports of traces`.
        things: `spans`.
        fate: what becomes of those that cannot be sent.
    """

    exports: str
    things: str
    fate: str


class Outgoing:
    """Counts what is handed to an exporter's thread, and tells once of what changes.

    Args:
        exporter: what sends.
        most: how much may wait.
        subject: what is sent.
        sent: told how much a collector has taken.
        dropped: told how much no collector will get, and why.
        tell: writes a line to the log: a sentence, and the state in a word or two.
    """

    def __init__(
        self,
        exporter: Exporter,
        most: int,
        subject: Subject,
        sent: Callable[[int], None],
        dropped: Callable[[int, Reason], None],
        tell: Callable[[str, str], None],
    ) -> None:
        self.end = ExporterEnd(exporter)
        self._most = most
        self._subject = subject
        self._sent, self._dropped, self._tell = sent, dropped, tell
        # A line about this may itself be handed over.
        self._lock = threading.RLock()
        self._waiting = self._under_way = self._failed = 0
        self._overflows = self._untold = self._ending = self._over = False

    def admits(self) -> bool:
        """Whether one more may wait; else it is dropped and counted, of which `tell` is to say."""
        with self._lock:
            if self._ending:
                self._dropped(1, "stopped")
                return False
            if self._waiting < self._most:
                self._waiting += 1
                return True
            if not self._overflows:
                self._overflows = self._untold = True
            self._dropped(1, "queue_full")
            return False

    def tell(self) -> None:
        """Say in the log that too much waits, if that has begun and was not said."""
        with self._lock:
            untold, self._untold = self._untold, False
        if untold:
            said = f"more {self._subject.things} wait for the collector than may"
            self._tell(f"{said}; {self._subject.fate}", "overflow")

    def export(self, count: int, send: Callable[[], bool]) -> bool:
        """Send a part of what waits; returns whether the collector has taken it."""
        with self._lock:
            self._waiting -= count
            self._under_way += count
        try:
            taken = send()
        except Exception:  # noqa: BLE001 - what cannot be sent is lost, whatever it was
            taken = False
        with self._lock:
            if self._over:  # it is counted already
                return taken
            self._under_way -= count
            if taken:
                self._sent(count)
                self._overflows = self._overflows and 2 * self._waiting > self._most
            else:
                self._failed += count
                self._dropped(count, "not_exported")
        if self.end.changed(failed=not taken):
            how = "work again" if taken else "fail"
            more = "" if taken else f"; {self._subject.fate}"
            self._tell(f"{self._subject.exports} {how}{more}", how)
        self.tell()
        return taken

    def stop(self, timeout_s: float, shutdown: Callable[[], object]) -> None:
        """Send what waits and end a processor's thread, within `timeout_s`; then leave it behind.

        What was not sent by then is dropped, counted and told.
        """
        with self._lock:
            self._ending, before = True, self._failed
        stop_within(timeout_s, shutdown, self.end)
        with self._lock:
            left = 0 if self._over else self._waiting + self._under_way
            self._over = True
            lost = self._failed - before + left
            if left:
                self._dropped(left, "not_exported")
        if lost:
            said = f"{lost} {self._subject.things} could not be sent before the end"
            self._tell(f"{said}; {self._subject.fate}", "ended")


class Exports(Exporter, Protocol[ItemT_contra, ResultT_co]):
    """One of the SDK's exporters."""

    def export(self, batch: Sequence[ItemT_contra], /) -> ResultT_co:
        """Send a batch."""


class Counted(Generic[ItemT, ResultT]):
    """An exporter for a processor of the SDK that has it counted what another exporter does.

    Args:
        exporter: sends.
        outgoing: counts.
        taken, lost: the SDK's words for how it went.
    """

    def __init__(
        self, exporter: Exports[ItemT, ResultT], outgoing: Outgoing, taken: ResultT, lost: ResultT
    ) -> None:
        self._exporter, self._outgoing = exporter, outgoing
        self._taken, self._lost = taken, lost

    def export(self, batch: Sequence[ItemT], /) -> ResultT:
        """Send a batch; the SDK calls it from one thread."""

        def send() -> bool:
            return self._exporter.export(batch) is self._taken

        return self._taken if self._outgoing.export(len(batch), send) else self._lost

    def shutdown(self) -> None:
        """End the exporter once."""
        self._outgoing.end.cut_short()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Nothing waits here."""
        return True


def positive(name: str, default: int, ignored: Callable[[str], None]) -> int:
    """Return the positive number that a variable of the environment says.

    Args:
        name: of the variable.
        default: what else is so.
        ignored: told in a sentence that the variable says none.
    """
    text = os.environ.get(name, "").strip()
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    if text:
        ignored(f"{name} is '{text[:40]}', which is ignored: it must be a whole number, 1 or more")
    return default
