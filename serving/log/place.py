"""Where the log of an instance is, as its configuration says."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from serving.config.log import Log, is_path
from serving.log.retention import Retention
from serving.log.store import LateStore, Store, open_store


class LogPlace(NamedTuple):
    """Where a log is.

    Attributes:
        url: of its Parquet files: a path, or a URL.
        spool: folder of its streams, always on the disk of the process that writes them.
    """

    url: str
    spool: Path

    def store(self) -> Store:
        """Return the store of the Parquet files; one that is away is not asked yet."""
        return open_store(self.url) if is_path(self.url) else LateStore(self.url)


def log_folder(data_dir: Path) -> Path:
    """Return the folder of the log in the `data_dir` of an instance; its spool is always there."""
    return data_dir.absolute() / "log"


def place_of(log: Log, data_dir: Path) -> LogPlace:
    """Return where the log of the instance with that `data_dir` is."""
    folder = log_folder(data_dir)
    return LogPlace(str(folder) if log.url is None else log.url, folder / "open")


def retention_of(log: Log) -> Retention:
    """Return what the section says of deleting."""
    sensitive = log.sensitive.retention_days
    return Retention(
        log.retention_days,
        log.retention_days if sensitive is None else sensitive,
        log.max_gib * 2**30,
    )
