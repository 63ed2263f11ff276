"""A PostgreSQL server for a benchmark or a test: in a folder, on a Unix socket, as another user.

Needs Debian's `postgresql` (only its programs; a server that Debian starts is left alone).
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from loadtest.process import cpu_seconds

_PROGRAMS: Final = Path("/usr/lib/postgresql")
_USER: Final = "nobody"
"""Runs it when root asks, whom PostgreSQL refuses."""
_SETTINGS: Final = {
    "listen_addresses": "",
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "wal_compression": "on",
    # As the log: what the last moment has brought may be lost with the machine.
    "synchronous_commit": "off",
    "jit": "off",
}


def programs() -> Path | None:
    """Return the folder of the newest PostgreSQL's programs; None: there is none."""
    found = [each for each in _PROGRAMS.glob("*/bin") if (each / "initdb").exists()]
    return max(found, key=lambda each: float(each.parent.name), default=None)


@dataclass(frozen=True, slots=True)
class Postgres:
    """A server that runs.

    Attributes:
        version: as it tells.
        database: a psycopg connection to it.
        server: process id of its first process.
        url: where SQLAlchemy finds it.
    """

    version: str
    database: Any
    server: int
    url: str

    def processor_s(self) -> float:
        """Return the processor seconds of all its processes so far, those that ended included."""
        return cpu_seconds(self.server, ended=True)


@contextlib.contextmanager
def postgres(bin_folder: Path) -> Iterator[Postgres]:
    """Run a server; afterwards nothing of it is left."""
    import psycopg

    folder = Path(tempfile.mkdtemp(prefix="vigil-pg-"))
    as_user: dict[str, Any] = {"cwd": folder}
    if os.geteuid() == 0:
        user = pwd.getpwnam(_USER)
        os.chown(folder, user.pw_uid, user.pw_gid)
        as_user |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    try:
        data = folder / "data"
        initdb = [bin_folder / "initdb", "-D", data, "-U", "vigil", "-A", "trust", "--no-sync"]
        subprocess.run(
            [*initdb, "-E", "UTF8", "--locale=C"], check=True, stdout=subprocess.DEVNULL, **as_user
        )
        options = [f"--{name}={value}" for name, value in _SETTINGS.items()]
        with (folder / "output").open("w") as output:
            server = subprocess.Popen(
                [bin_folder / "postgres", "-D", data, "-k", folder, *options],
                stdout=output, stderr=output, **as_user,
            )  # fmt: skip
        try:
            with _connected(psycopg, folder, server) as database:
                version = database.execute("SHOW server_version").fetchone()[0]
                url = f"postgresql://vigil@/postgres?host={folder}"
                yield Postgres(version, database, server.pid, url)
        finally:
            server.send_signal(signal.SIGINT)  # ends its sessions, too
            server.wait(timeout=120)
    finally:
        shutil.rmtree(folder)


def _connected(psycopg: Any, folder: Path, server: subprocess.Popen[bytes]) -> Any:
    end = time.monotonic() + 60
    while True:
        try:
            return psycopg.connect(
                host=str(folder), user="vigil", dbname="postgres", autocommit=True
            )
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > end:
                raise SystemExit(
                    f"PostgreSQL does not start:\n{(folder / 'output').read_text()}"
                ) from None
            time.sleep(0.05)
