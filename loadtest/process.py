"""Starting a server as a child, waiting until it is ready, and stopping it for certain.

Everything is addressed by process id: nothing here ever ends a process by its name.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


class ServerError(RuntimeError):
    """A contender did not start, did not stay, or answered wrongly."""


# Not those that the kernel gives away by itself: a server may take a minute until it binds, and by
# then one of those may be somebody else's.
_PORTS = range(20000, 32000)
_BLOCK = 50
_random = random.SystemRandom()  # nobody seeds it, so no two processes choose alike


class _Block:
    """Ports that this process alone may give away: it holds their lock until it ends."""

    def __init__(self) -> None:
        home = Path(tempfile.gettempdir()) / f"vigil-ports-{os.getuid()}"
        home.mkdir(mode=0o700, exist_ok=True)
        self.process = os.getpid()
        blocks = [range(first, first + _BLOCK) for first in _PORTS[::_BLOCK]]
        for block in _random.sample(blocks, len(blocks)):
            lock = os.open(home / str(block.start), os.O_WRONLY | os.O_CREAT, 0o600)
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # never closed
                self.left = _random.sample(block, len(block))
                return
            os.close(lock)
        raise ServerError(f"every port from {_PORTS.start} to {_PORTS.stop - 1} is given away")


_blocks: list[_Block] = []


def free_ports(count: int) -> list[int]:
    """Return `count` ports that are free on loopback now.

    Nobody else who asks here gets one of them, as long as this process runs, nor does this process
    get one twice: what was given stays given while its server still starts.

    Raises:
        ServerError: there are none left.
    """
    found: list[int] = []
    while len(found) < count:
        # What a process that forked holds is its parent's.
        if not _blocks or not _blocks[-1].left or _blocks[-1].process != os.getpid():
            _blocks.append(_Block())
        port = _blocks[-1].left.pop()
        if _is_free(port):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@dataclass(slots=True)
class Server:
    """A running contender. `grpc_port` is None when it speaks no gRPC of the protocol's.

    `admin_port` is Vigil's.
    """

    name: str
    process: subprocess.Popen[bytes]
    http_port: int
    grpc_port: int | None
    log: Path
    cleanup: Callable[[], None] = field(default=lambda: None)
    admin_port: int | None = None

    def alive(self) -> bool:
        """Whether the child still runs."""
        return self.process.poll() is None

    def stop(self, grace_s: float = 30) -> None:
        """Ask it to end, wait, and then kill what is left of its descendants."""
        family = descendants(self.process.pid)
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(grace_s)
        if self.alive():
            self.process.kill()
            self.process.wait()
        _kill_survivors(family)
        self.cleanup()


def stop_on_sigterm() -> None:
    """Make SIGTERM end this program as Ctrl-C does: by unwinding, so that servers are stopped."""

    def unwind(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, unwind)


@contextlib.contextmanager
def only_one(home: Path) -> Iterator[None]:
    """Hold the lock of `home`: two races at once would share its files and spoil each other.

    Raises:
        SystemExit: another race runs.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit("another race runs in this checkout; wait until it is over") from None
        yield


def spawn(command: Sequence[str], env: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own with its output in `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as sink:
        return subprocess.Popen(
            list(command),
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def http_status(port: int, path: str, timeout_s: float = 2) -> int | None:
    """Return the status of `GET path`, or None when nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def wait_ready(server: Server, ready: Callable[[], bool], limit_s: float = 120) -> Server:
    """Poll `ready` until it says yes.

    Raises:
        ServerError: the child ended or the limit passed; its last output is in the message.
    """
    end = time.monotonic() + limit_s
    try:
        while time.monotonic() < end and server.alive():
            if ready():
                return server
            time.sleep(0.02)
    except BaseException:  # interrupted: nobody else knows of this server yet
        server.stop(grace_s=10)
        raise
    tail = server.log.read_text(errors="replace")[-2000:]
    state = "is not ready" if server.alive() else f"ended with {server.process.returncode}"
    server.stop(grace_s=10)
    raise ServerError(f"{server.name} {state}; its last output:\n{tail}")


def metric(server: Server, name: str, having: str = "") -> float:
    """Return the sum of a metric over series whose attributes hold a text, as `/metrics` tells."""
    url = f"http://127.0.0.1:{server.admin_port}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    found = [
        line for line in lines if line.startswith((f"{name}{{", f"{name} ")) and having in line
    ]
    return sum(float(line.rpartition(" ")[2]) for line in found)


def cpu_seconds(pid: int, *, ended: bool = False) -> float:
    """Return the processor time that `pid` and its living descendants have used so far.

    With `ended`, that of their children counts as well which have ended and were waited for.
    """
    family = [pid, *(child for child, _ in descendants(pid))]
    return sum(own_cpu_seconds(member, ended=ended) for member in family)


def own_cpu_seconds(pid: int, *, ended: bool = False) -> float:
    """Return the processor time of `pid` alone, with `ended` as in `cpu_seconds`; 0: it is gone."""
    fields = _stat(pid) or []
    return sum(map(int, fields[11 : 15 if ended else 13])) / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str] | None:
    # The command name may hold spaces and brackets; what follows the last bracket is regular.
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def descendants(pid: int) -> list[tuple[int, str]]:
    """Return (pid, start time) of all descendants; the start time tells a reused pid apart."""
    children: dict[int, list[tuple[int, str]]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append((int(entry.name), fields[19]))
    found: list[tuple[int, str]] = []
    queue = [pid]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += [child for child, _ in below]
    return found


def _kill_survivors(family: list[tuple[int, str]]) -> None:
    for pid, started in family:
        fields = _stat(pid)
        if fields and fields[19] == started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
