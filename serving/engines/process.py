"""Small pieces for starting and ending our own child processes, always by pid."""

from __future__ import annotations

import ctypes
import signal
import socket

from serving.config import ConfigError

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies; run in the child."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


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
