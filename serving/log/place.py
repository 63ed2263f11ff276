"""Where the log of an instance is, as its configuration says."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from serving.config.log import Log
from serving.log.store import Store, open_store


class LogPlace(NamedTuple):
    """Where a log is.

    Attributes:
        url: of its Parquet files: a path, or a URL.
        spool: folder of its streams, always on the disk of the process that writes them.
    """

    url: str
    spool: Path

    def store(self) -> Store:
        """Return the store of the Parquet files."""
        return open_store(self.url)


def place_of(log: Log, data_dir: Path) -> LogPlace:
    """Return where the log of the instance with that `data_dir` is."""
    folder = data_dir.absolute() / "log"
    return LogPlace(str(folder) if log.url is None else log.url, folder / "open")
