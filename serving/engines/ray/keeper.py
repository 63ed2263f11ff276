"""Keeps a local Ray: its driver is a child process, started again when Ray is lost.

A driver does not survive its Ray: the library ends the process when the raylet or the GCS is gone.
So the command itself never meets Ray. It starts the driver, hands signals on, and adopts whatever
of Ray is left without a parent, so that nothing of a lost one disturbs the next. What was loaded
and set meanwhile is in a file, which the next driver begins with.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from serving.config import ConfigError
from serving.engines.init import HANDED_ON, hand_on, reap
from serving.engines.process import Adoption, all_processes, die_with_parent
from serving.engines.runtime_folder import runtime_folder
from serving.errors import VigilError
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import current, report
from serving.telemetry.process_title import set_title

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 30.0
MOST_IN_VAIN: Final = 5
"""Drivers in a row that ended before everything was ready; then the command ends."""
END_S: Final = 10.0
_STOPS: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})


class StartsTooSlowly(ConfigError):
    """A local Ray is not there within the time that it gives itself; the next one may be."""


class Kept:
    """What a driver leaves to whoever comes after it.

    Args:
        folder: an empty private folder.
    """

    def __init__(self, folder: Path) -> None:
        self._order = folder / "order"
        self._ready = folder / "ready"
        self._ended = folder / "ended"
        self._crashed = folder / "crashed"
        self._refused = folder / "refused"
        self._too_slow = folder / "too_slow"

    @property
    def order(self) -> bytes | None:
        """What must be served, encoded by the driver; None before there was anything."""
        return self._order.read_bytes() if self._order.exists() else None

    def keep(self, order: bytes) -> None:
        """Replace that, as a whole."""
        new = self._order.with_suffix(".new")
        new.write_bytes(order)
        new.replace(self._order)

    def note_ready(self) -> None:
        """Everything required has been ready."""
        self._ready.touch()

    def note_ended(self) -> None:
        """The driver ends because it is to."""
        self._ended.touch()

    def note_crashed(self) -> None:
        """The driver ends with an error that nobody expected."""
        self._crashed.touch()

    def note_refused(self, error: VigilError) -> None:
        """The driver ends because it cannot do what it is to."""
        self._refused.write_text(error.message)
        if isinstance(error, StartsTooSlowly):
            self._too_slow.touch()

    @property
    def ended(self) -> bool:
        """Whether the last driver ended because it was to."""
        return self._ended.exists()

    @property
    def crashed(self) -> bool:
        """Whether a driver has ended with an error that nobody expected."""
        return self._crashed.exists()

    def take_ready(self) -> bool:
        """Return whether everything has been ready since the last time."""
        ready = self._ready.exists()
        self._ready.unlink(missing_ok=True)
        return ready

    def take_too_slow(self) -> bool:
        """Return whether that was only because Ray took too long to start."""
        too_slow = self._too_slow.exists()
        self._too_slow.unlink(missing_ok=True)
        return too_slow

    def take_refused(self) -> str:
        """Return why the last driver could not do what it was to; empty if it could."""
        refused = self._refused.read_text() if self._refused.exists() else ""
        self._refused.unlink(missing_ok=True)
        return refused


Drive = Callable[[Kept, Path], int]


def keep(drive: Drive, kept: Kept) -> int:
    """Run `drive` in a child process, again and again until it ends because it is to.

    Must be called before there are threads. When it returns, no process is left below this one.

    Args:
        drive: serves until it is told to stop by a signal; returns the exit code. It is given a
            private folder for sockets, which is removed after its end.
        kept: what drivers leave to each other.

    Returns:
        The exit code.

    Raises:
        ConfigError: the first driver has raised one, other than `StartsTooSlowly`.
    """
    watched = HANDED_ON | {signal.SIGCHLD}
    # Blocked, they wait for `sigwaitinfo`.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # whoever started us may ignore it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    adoption = Adoption()
    adoption.want(kept, wanted=True)
    try:
        return _keep(drive, kept, watched, before)
    finally:
        end_descendants()
        adoption.want(kept, wanted=False)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _keep(
    drive: Drive,
    kept: Kept,
    watched: frozenset[signal.Signals],
    before: set[signal.Signals | int],
) -> int:
    pause, in_vain, first = FIRST_PAUSE_S, 0, True
    while True:
        with runtime_folder() as runtime:
            child = os.fork()
            if child == 0:
                _drive(drive, kept, runtime, before)
            code, told_to_stop = _wait(child, watched)
            # Else its gateways hold the ports, although they have lost what they stand on.
            end_descendants()
        refused, was_ready = kept.take_refused(), kept.take_ready()
        too_slow = kept.take_too_slow()
        if first and refused and not too_slow:
            raise ConfigError(refused)
        hopeless = first and kept.crashed and not was_ready
        if kept.ended or told_to_stop or hopeless:
            return code if code >= 0 else 128 - code
        pause, in_vain = (FIRST_PAUSE_S, 0) if was_ready else (pause, in_vain + 1)
        if in_vain >= MOST_IN_VAIN:
            said = f"the local Ray did not come up {in_vain} times in a row; stopping"
            report(Event.SUPERVISOR_STOPS, said, code=code)
            return 1
        said = refused or "the local Ray was lost"
        report(
            Event.RAY_LOST,
            f"{said}; it is started again, and what was served is served again",
            code=code,
            seconds=pause,
        )
        if _sleep(pause, watched):
            return 0
        pause = min(pause * 2, LONGEST_PAUSE_S)
        first = first and too_slow


def _drive(drive: Drive, kept: Kept, runtime: Path, mask: set[signal.Signals | int]) -> None:
    """Be the driver; does not return."""
    code = 1
    parent = os.getppid()
    try:
        die_with_parent()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if os.getppid() == parent:
            set_title("driver")
            code = drive(kept, runtime)
            kept.note_ended()
    except VigilError as error:
        kept.note_refused(error)
    except KeyboardInterrupt:
        kept.note_ended()
    except BaseException as error:  # noqa: BLE001 - the child must end here whatever it was
        kept.note_crashed()
        report(Event.PROCESS_CRASHED, "the driver of Ray ends with an error", error=error)
    finally:
        current().flush(everything=True)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(child: int, watched: frozenset[signal.Signals]) -> tuple[int, bool]:
    """Wait for the child's end and hand signals on; returns how it ended, as `waitpid` tells it.

    The second value is whether it was told to stop.
    """
    told_to_stop = False
    while True:
        told = signal.sigwaitinfo(watched)
        if told.si_signo == signal.SIGCHLD:
            if (code := reap(child)) is not None:
                return code, told_to_stop
        else:
            told_to_stop = told_to_stop or told.si_signo in _STOPS
            hand_on(told, child)


def _sleep(seconds: float, watched: frozenset[signal.Signals]) -> bool:
    """Sleep; returns whether a signal to stop has come."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        told = signal.sigtimedwait(watched, left)
        if told is not None and told.si_signo in _STOPS:
            return True
    return False


def end_descendants() -> None:
    """Kill every process below this one, and wait until none is left, for a bounded time.

    What loses its parent on the way must become a child of this process.
    """
    deadline = time.monotonic() + END_S
    while time.monotonic() < deadline:
        below = _descendants(os.getpid())
        for pid in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        reap(0)
        if not below:
            return
        time.sleep(0.02)


def _descendants(pid: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for child, parent, _ in all_processes():
        parents.setdefault(parent, []).append(child)
    found = list(parents.get(pid, ()))
    for child in found:
        found += parents.get(child, ())
    return found
