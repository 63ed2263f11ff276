"""Connections that another thread can end at any moment: name lookup, connecting, TLS, reading.

The socket of an HTTP connection is out of reach at just those moments. There is none before it is
connected, TLS takes it over for the handshake, and a connection lets go of it while it reads an
answer that ends with the connection. So a duplicate of each socket is kept here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import threading
from collections.abc import Sequence
from typing import Any, Final, Protocol

Address = tuple[Any, ...]
"""As `socket.getaddrinfo` gives them: family, kind, protocol, name, address."""

_UNDER_WAY: Final = (0, errno.EINPROGRESS)
_MOST_MS: Final = (1 << 31) - 1
"""The longest that poll(2) waits."""


class Owner(Protocol):
    """A connection, which has no socket any more once it is closed."""

    sock: Any


class CancellableSockets:
    """The sockets of one session; one request is under way at a time, `cancel` is any thread's."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._kept: dict[Owner, socket.socket] = {}
        self._lookup: _Lookup | None = None
        self._request = 0
        self._cancelled = self._ended = False

    def begin(self) -> int:
        """Begin a request; returns its number.

        Raises:
            ConnectionAbortedError: all of it has ended.
        """
        with self._changed:
            if self._ended:
                raise ConnectionAbortedError("the session is closed")
            self._cancelled = False
            self._request += 1
            return self._request

    def cancel(self, request: int | None = None) -> None:
        """End what a request is doing, unless another one has begun; None: end all, for ever."""
        with self._changed:
            if request not in (None, self._request):
                return
            self._cancelled = True
            self._ended = self._ended or request is None
            for kept in self._kept.values():
                with contextlib.suppress(OSError):
                    kept.shutdown(socket.SHUT_RDWR)
            self._changed.notify_all()

    @property
    def cancelled(self) -> bool:
        """Whether the request that is under way was cancelled."""
        return self._cancelled

    def tidy(self) -> None:
        """Let go of sockets whose owners are closed; a request's end is the time for it."""
        with self._changed:
            for owner in [owner for owner in self._kept if owner.sock is None]:
                self._kept.pop(owner).close()

    def connect(
        self,
        owner: Owner,
        host: str,
        port: int,
        timeout_s: float | None,
        options: Sequence[tuple[int, int, int | bytes]],
    ) -> socket.socket:
        """Return a socket that is connected to the first address of a host that answers.

        Args:
            owner: whose it will be.
            host, port: where to; a name or an address.
            timeout_s: longest for one address, and the timeout of what is returned.
            options: for `setsockopt`.

        Raises:
            OSError: no address answers, or the request is cancelled.
        """
        failed: OSError | None = None
        for address in self._addresses(host.strip("[]"), port):
            try:
                return self._connected(owner, address, timeout_s, options)
            except OSError as error:
                failed = error
        raise failed or OSError(f"{host} has no address")

    def _addresses(self, host: str, port: int) -> list[Address]:
        with contextlib.suppress(socket.gaierror, UnicodeError):
            numeric = socket.AI_NUMERICHOST
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=numeric)
        with self._changed:
            lookup = self._lookup
            if lookup is None or not lookup.serves(host, port):
                lookup = self._lookup = _Lookup(host, port, self._changed)
            # Nothing ends a lookup, so it is left behind; the next request waits for the same one.
            self._changed.wait_for(lambda: lookup.found is not None or self._cancelled)
            self._check()
            self._lookup = None
        if isinstance(lookup.found, Exception):
            raise OSError(f"{host} is not known: {lookup.found}") from lookup.found
        return lookup.found or []

    def _connected(
        self,
        owner: Owner,
        address: Address,
        timeout_s: float | None,
        options: Sequence[tuple[int, int, int | bytes]],
    ) -> socket.socket:
        family, kind, protocol, _, where = address
        made = socket.socket(family, kind, protocol)
        try:
            for option in options:
                made.setsockopt(*option)
            made.setblocking(False)
            self._begin(owner, made, where)
            _wait(made, timeout_s)
            with self._changed:
                self._check()
            made.settimeout(timeout_s)
        except BaseException:
            made.close()
            raise
        return made

    def _begin(self, owner: Owner, made: socket.socket, where: Any) -> None:
        # A socket that connects already can be shut down, one that has not begun to cannot.
        with self._changed:
            self._check()
            begun = made.connect_ex(where)
            before = self._kept.pop(owner, None)
            self._kept[owner] = made.dup()
        if before is not None:
            before.close()
        if begun not in _UNDER_WAY:
            raise OSError(begun, os.strerror(begun))

    def _check(self) -> None:
        if self._cancelled:
            raise ConnectionAbortedError("it was cancelled")


class _Lookup:
    """Asks for a host's addresses, in a thread.

    Attributes:
        found: the addresses, or why there are none; None: not known yet.
    """

    def __init__(self, host: str, port: int, changed: threading.Condition) -> None:
        self.host, self.port = host, port
        self.found: list[Address] | Exception | None = None
        self._changed = changed
        threading.Thread(target=self._run, name="collector-lookup", daemon=True).start()

    def serves(self, host: str, port: int) -> bool:
        """Whether it goes on, and for this host: what was found earlier may be out of date."""
        return self.found is None and (self.host, self.port) == (host, port)

    def _run(self) -> None:
        found: list[Address] | Exception
        try:
            found = list(socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:  # the latter of a name that cannot be one
            found = error
        with self._changed:
            self.found = found
            self._changed.notify_all()


def _wait(connecting: socket.socket, timeout_s: float | None) -> None:
    """Wait until a socket is connected.

    Raises:
        OSError: it is not, or not in time.
    """
    poll = select.poll()
    poll.register(connecting, select.POLLOUT)
    if not poll.poll(None if timeout_s is None else min(timeout_s * 1000, _MOST_MS)):
        raise TimeoutError(f"nobody has answered within {timeout_s:g} s")
    if error := connecting.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(error, os.strerror(error))
