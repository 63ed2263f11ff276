"""Small pieces for starting and ending our own child processes, always by pid."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from serving.config import ConfigError

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_GET_CHILD_SUBREAPER: Final = 37
_libc = ctypes.CDLL(None, use_errno=True)

NOT_STARTED: Final = 127
"""The exit code of a child that could not be started, as shells tell it."""
_TIE: Final = f"""
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl({_PR_SET_PDEATHSIG}, signal.SIGKILL)
for number in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(number, signal.SIG_DFL)
if os.getppid() == int(sys.argv[1]):
    try:
        os.execvp(sys.argv[2], sys.argv[2:])
    except OSError as error:
        print(f"{{sys.argv[2]}}: {{error.strerror}}", file=sys.stderr)
        sys.exit({NOT_STARTED})
"""


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies; run in the child."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Adoption:
    """Whether processes below this one become its children when their own parents end.

    They do as long as anybody wants it; then it is again as it was, for the process may belong to
    an application that has no use for others' children.
    """

    def __init__(self) -> None:
        self._wanting: set[object] = set()
        self._before = 0

    def want(self, who: object, *, wanted: bool) -> None:
        """Note whether `who` wants it from now on."""
        had = bool(self._wanting)
        (self._wanting.add if wanted else self._wanting.discard)(who)
        if had == bool(self._wanting):
            return
        if not had:
            before = ctypes.c_int()
            _libc.prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(before), 0, 0, 0)
            self._before = before.value
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, self._before if had else 1, 0, 0, 0)


def tied(argv: Sequence[str]) -> list[str]:
    """Return the command that runs `argv` as a child that the kernel kills when its parent dies.

    The child asks for that itself, before it becomes the program. Code that ran between fork and
    exec (`preexec_fn`) would do so in a copy of a process whose other threads are gone: with gRPC
    in the process, one child in sixty ended there, and nobody was told.

    Must be called in the process that becomes the parent. What cannot be executed ends with
    `NOT_STARTED`.
    """
    return [sys.executable, "-ISc", _TIE, str(os.getpid()), *argv]


def require_free_port(host: str, port: int, what: str) -> None:
    """Refuse a port that somebody else listens on.

    The gateways share their ports (SO_REUSEPORT), so the kernel would not refuse a second
    server: half of the connections would silently go to each.

    Raises:
        ConfigError: the port is taken, or the address is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # Connections of an earlier run that linger in TIME_WAIT are no reason to refuse.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(
                f"{what} {host}:{port} cannot be used: {error.strerror}; stop what listens there "
                "or choose another port"
            ) from None


def free_port(host: str) -> int:
    """Return a port that nobody listens on now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def all_processes() -> Iterator[tuple[int, int, str]]:
    """Yield the pid, the parent's pid, and the name of every process that this one can see."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            head, _, tail = stat.read_text().rpartition(")")
        except OSError:  # it has ended meanwhile
            continue
        yield int(stat.parent.name), int(tail.split()[1]), head.partition("(")[2]
