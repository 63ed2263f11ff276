"""What the monitor is told, on disk before anybody acts on it: a restart does it again.

Each message is written with one call and no `fsync`, so that nothing that was written is lost with
the process; with the machine the last seconds may be. Who needs more (labels) awaits `sync`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from pathlib import Path
from typing import Final

from serving.monitoring.state_file import sync_folder
from serving.monitoring.wal_segments import MAGIC, Frame, Record, head, path_of, segments
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report

MOST_BYTES: Final = 1 << 30
"""Bytes that wait for a checkpoint; while none can be saved, nothing more is written."""


class WriteAheadLog:
    """Segments of records; a checkpoint names the one that begins with it. Belongs to one loop.

    What cannot be written is counted, and the next record is tried again.

    Args:
        folder: made when it is missing, readable by the owner only.
        name: of the role.
        most_bytes: see `MOST_BYTES`.

    Attributes:
        missing: rows that a restart would forget: they could not be written, and no checkpoint
            has them yet.
        failure: why the last record was not written; empty when it was.
    """

    def __init__(self, folder: Path, name: str, *, most_bytes: int = MOST_BYTES) -> None:
        self._folder, self._name = folder, name
        self._most_bytes = most_bytes
        self._number = 1
        self._file = -1
        self._size = 0
        self._kept: dict[int, int] = {}
        """Bytes of earlier segments that no checkpoint has made superfluous."""
        self._begin: Record | None = None
        self._begun = False
        self.missing = 0
        self.failure = ""
        self._covered = 0
        # What `sync` is about: records are numbered, segments are kept open until they are synced.
        self._written = self._synced = 0
        self._unsynced: list[int] = []
        self._new_segment = False
        self._syncing: asyncio.Task[None] | None = None

    def go_on(self, first: int) -> None:
        """Write behind what is there; call it before anything is written.

        Args:
            first: segment from which the last checkpoint goes on; 0 if there is none.
        """
        found = segments(self._folder, self._name)
        self._kept = {at: path.stat().st_size for at, path in found.items() if at >= first}
        self._number = max(first, *(at + 1 for at in found), 1)

    # -- writing ------------------------------------------------------------------------

    def begin_with(self, record: Record) -> None:
        """Write this record at the beginning of every segment from now on."""
        self._begin, self._begun = record, False

    def begin_anew_with(self, record: Record) -> None:
        """Write this record now, and at the beginning of every segment from then on.

        A segment that has nothing yet begins with what was so before.
        """
        written = self.append(record)
        self._begin, self._begun = record, written

    def append(self, record: Record, rows: int = 0) -> bool:
        """Write a record; False: it could not be, and its rows are `missing`.

        Args:
            record: what to write.
            rows: rows of predictions in it.
        """
        try:
            self._write(record)
        except OSError as error:
            self._failed(error)
            self.missing += rows
            return False
        self.failure = ""
        return True

    def _write(self, record: Record) -> None:
        if self._file < 0:
            self._open()
        parts: list[Frame] = [] if self._size else [MAGIC]
        if self._begin is not None and not self._begun:
            parts += (head(self._begin), self._begin.frame)
        parts += (head(record), record.frame)
        size = sum(map(len, parts))
        if self._size + size + sum(self._kept.values()) > self._most_bytes:
            raise OSError(errno.EFBIG, "no checkpoint could be saved for too long")
        _write_all(self._file, parts, size)
        self._size += size
        self._begun = True
        self._written += 1

    def _open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = path_of(self._folder, self._name, self._number)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o600)
        self._size = 0
        self._begun = False
        self._new_segment = True

    def _failed(self, error: OSError) -> None:
        """Go on behind the last whole record, in this segment or else in another one."""
        if not self.failure:
            said = f"what the monitor is told cannot be written: {error.strerror}"
            more = "; a restart would forget it"
            report(Event.STATE_NOT_SAVED, said + more, file=str(error.filename or ""), error=error)
        self.failure = str(error.strerror)
        if self._file < 0:
            return
        try:
            os.truncate(self._file, self._size)
            os.lseek(self._file, self._size, os.SEEK_SET)
        except OSError:
            self._next()

    def _next(self) -> None:
        if self._file >= 0:
            self._kept[self._number] = self._size
            # Its labels may not be on disk yet.
            self._unsynced.append(self._file)
            self._file = -1
            self._number += 1
        self._begun = False

    # -- labels -------------------------------------------------------------------------

    async def sync(self) -> None:
        """Wait until everything written so far is on disk; callers share the way there.

        Raises:
            OSError: it may not be.
        """
        wanted = self._written
        while self._synced < wanted:
            if self._syncing is None:
                self._syncing = asyncio.get_running_loop().create_task(self._sync())
            await asyncio.shield(self._syncing)

    async def _sync(self) -> None:
        reached = self._written
        files, self._unsynced = self._unsynced, []
        try:
            if self._file >= 0:
                files.append(os.dup(self._file))
            folder, self._new_segment = self._folder if self._new_segment else None, False
            await asyncio.to_thread(_sync_and_close, files, folder)
            self._synced = reached
        except OSError as error:
            self.failure = str(error.strerror)
            self._new_segment = True
            self._next()  # the kernel tells of a page that it could not write only once
            raise
        finally:
            self._syncing = None

    # -- checkpoints --------------------------------------------------------------------

    def rotate(self) -> int:
        """Begin a new segment; returns its number, from which a checkpoint of now goes on."""
        self._next()
        if self._synced == self._written and self._syncing is None:
            self._close_unsynced()
        self._covered = self.missing
        return self._number

    def delete_before(self, number: int) -> None:
        """Delete what a checkpoint on disk has made superfluous; may run in a thread."""
        for each, path in segments(self._folder, self._name).items():
            if each < number:
                path.unlink(missing_ok=True)

    def saved(self, number: int) -> None:
        """Take note that the checkpoint is on disk that goes on from a segment."""
        self._kept = {each: size for each, size in self._kept.items() if each >= number}
        self.missing -= self._covered
        self._covered = 0
        if self._syncing is None:
            # The checkpoint is on disk, and it has all that these segments have.
            self._close_unsynced()

    def close(self) -> None:
        """Let go of the files."""
        self._next()
        self._close_unsynced()

    def _close_unsynced(self) -> None:
        for file in self._unsynced:
            with contextlib.suppress(OSError):
                os.close(file)
        self._unsynced = []


def _write_all(file: int, parts: list[Frame], size: int) -> None:
    """Write everything, or raise OSError."""
    written = os.writev(file, parts)
    if written < size:  # the disk is full, or a signal came
        rest = memoryview(b"".join(parts))[written:]
        while rest:
            rest = rest[os.write(file, rest) :]


def _sync_and_close(files: list[int], folder: Path | None) -> None:
    """Have the disk hold what was written to files, and the folder's list of them."""
    try:
        for file in files:
            os.fdatasync(file)
        if folder is not None:
            sync_folder(folder)
    finally:
        for file in files:
            os.close(file)
