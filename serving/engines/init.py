"""PID 1 of a container: ends what nobody waits for, and hands signals on.

Processes whose parents have ended become children of PID 1, which must wait for them, or each stays
as a zombie. The supervisor cannot do that itself without taking the exit statuses that its own
libraries wait for. So where the command is PID 1 it forks first: the child is the command, and the
parent does nothing else, as `tini` does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import Final

from serving.engines.process import die_with_parent
from serving.telemetry.process_title import set_title

HANDED_ON: Final = frozenset(
    {
        signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT,
        signal.SIGUSR1, signal.SIGUSR2,
    }
)  # fmt: skip
_FROM_PROCESS: Final = 0
"""`si_code` of signals that a process has sent is not above it; the kernel's own are."""


def become_init() -> None:
    """Return in a child of this process; this one waits, and ends as the child ends.

    Must be called before there are threads.
    """
    watched = HANDED_ON | {signal.SIGCHLD}
    # Blocked, they wait for `sigwaitinfo`, also those that the kernel would keep from a PID 1
    # without a handler.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # whoever started us may ignore it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    child = os.fork()
    if child == 0:
        die_with_parent()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    set_title("init")
    status = _keep(child, watched)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _keep(child: int, watched: frozenset[signal.Signals]) -> int:
    """Wait for every child there is; returns the exit status of `child`, as shells tell it."""
    while True:
        told = signal.sigwaitinfo(watched)
        if told.si_signo == signal.SIGCHLD:
            if (code := reap(child)) is not None:
                return code if code >= 0 else 128 - code
        else:
            hand_on(told, child)


def hand_on(told: signal.struct_siginfo, child: int) -> None:
    """Send a child the signal that this process was sent, unless the child has it already."""
    if told.si_code <= _FROM_PROCESS:  # what a terminal sends (Ctrl-C) goes to the whole group
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, told.si_signo)


def reap(child: int) -> int | None:
    """Wait for all that have ended; returns how `child` ended, if it has."""
    ended: int | None = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        if pid == child:
            ended = os.waitstatus_to_exitcode(status)
