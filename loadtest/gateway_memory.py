"""How much memory the processes of a server hold, as the kernel counts it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from loadtest.process import Server, ServerError, cpu_seconds, descendants

_TITLE = "vigil: "


@dataclass(frozen=True, slots=True)
class Memory:
    """In MiB. `pss` shares what several processes have in common among them, `rss` does not."""

    pss: float
    rss: float


def gateways(server: Server) -> list[int]:
    """Return the process ids of the gateways of a Vigil.

    Raises:
        ServerError: it has none.
    """
    return processes(server, "gateway")


def processes(server: Server, role: str) -> list[int]:
    """Return the process ids of one role of a Vigil.

    Raises:
        ServerError: it has none.
    """
    title = f"{_TITLE}{role}"
    family = [server.process.pid, *(pid for pid, _ in descendants(server.process.pid))]
    found = [pid for pid in family if _command(pid).startswith(title.encode())]
    if not found:
        raise ServerError(f"{server.name} has no process that calls itself {title}")
    return found


def memory(pids: Iterable[int]) -> Memory:
    """Return what the processes hold together."""
    total = {"Pss": 0, "Rss": 0}
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in total:
                total[name] += int(value.split()[0])
    return Memory(total["Pss"] / 1024, total["Rss"] / 1024)


def wait_idle(pids: Iterable[int], limit_s: float = 60, share: float = 0.05) -> bool:
    """Wait until the processes use less than `share` of a core for a second; False: they do not."""
    pids, ends = list(pids), time.monotonic() + limit_s
    used = sum(map(cpu_seconds, pids))
    while time.monotonic() < ends:
        time.sleep(1)
        now = sum(map(cpu_seconds, pids))
        if now - used < share:
            return True
        used = now
    return False


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
