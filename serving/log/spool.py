"""The folder of streams that are not rolled yet, and what dead writers have left in it.

Every writer has a folder of its own there and holds a lock on a file in it. The lock goes with the
process; whoever can take it may take the streams.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from serving.log.layout import DATASETS, Dataset, model_folder, partition_of

LOCK: Final = "lock"
SUFFIX: Final = ".arrows"


class StreamFile(NamedTuple):
    """A stream on the disk: the dataset and folder that its rows belong to, and its UUIDv7."""

    path: Path
    dataset: Dataset
    folder: str

    @property
    def name(self) -> str:
        """The UUIDv7 that its part will have."""
        return self.path.name.removesuffix(SUFFIX)


def stream_file(spool: Path, dataset: Dataset, folder: str, name: str) -> StreamFile:
    """Return the stream of that name in a writer's folder."""
    return StreamFile(spool / dataset / folder / f"{name}{SUFFIX}", dataset, folder)


class SpoolFolder:
    """A writer's folder, locked.

    Raises:
        BlockingIOError: another process holds it.
        OSError: it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise

    def remove(self) -> None:
        """Unlock the folder and delete it, unless there are streams in it."""
        if not any(streams_in(self.path)):
            for folder, _, _ in sorted(os.walk(self.path), reverse=True):
                if Path(folder) != self.path:
                    with contextlib.suppress(OSError):
                        Path(folder).rmdir()
            with contextlib.suppress(OSError):
                (self.path / LOCK).unlink(missing_ok=True)
                self.path.rmdir()
        os.close(self._lock)


def dead_folders(spool: Path) -> Iterator[SpoolFolder]:
    """Lock and yield the folders of writers that live no more."""
    for path in sorted(spool.iterdir()) if spool.is_dir() else ():
        if path.is_dir():
            with contextlib.suppress(OSError):
                yield SpoolFolder(path)


def streams_in(folder: Path) -> list[StreamFile]:
    """Return the streams in a writer's folder, oldest first."""
    found = []
    for path in folder.rglob(f"*{SUFFIX}"):
        dataset, *parts = path.relative_to(folder).parent.parts
        inner = "/".join(parts)
        if partition_of(inner) is not None:
            found += [StreamFile(path, known, inner) for known in DATASETS if known == dataset]
    return sorted(found, key=lambda stream: stream.name)


def of_models(streams: Iterable[StreamFile], models: Iterable[str]) -> list[StreamFile]:
    """Return those of the streams that have rows of these models."""
    folders = {model_folder(model) for model in models}
    return [stream for stream in streams if stream.folder.partition("/")[0] in folders]


def all_streams(spool: Path, dataset: Dataset) -> list[StreamFile]:
    """Return the streams of a dataset of all writers, living and dead."""
    folders = [path for path in spool.iterdir() if path.is_dir()] if spool.is_dir() else []
    return [
        stream for folder in folders for stream in streams_in(folder) if stream.dataset == dataset
    ]
