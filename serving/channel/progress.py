"""Which request of a connection is being worked on, told through memory that outlives the worker.

A process that dies cannot say what it was doing, and to say it beforehand would cost a message per
batch. So whoever asks shares three numbers with whoever answers, who writes them as it goes; they
are read only once the connection is lost.
"""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path
from typing import Final

import msgspec

from serving.channel.arena import ArenaOffer

_BYTES: Final = mmap.PAGESIZE
_FIRST, _LAST, _SINCE = range(3)
"""Ids of the first and the last request under way, and when (monotonic seconds, the same in all
processes of a host) the last one began or another one ended. Ids are far below 2**53."""
_UNUSED: Final = -1.0

decode_offer = msgspec.msgpack.Decoder(ArenaOffer).decode


class ProgressSheet:
    """The asking end: offers the memory, and reads it when the peer is gone.

    Raises:
        OSError: there is no memory for it.
    """

    def __init__(self) -> None:
        fd = os.memfd_create("vigil-progress", os.MFD_CLOEXEC)
        try:
            os.ftruncate(fd, _BYTES)
            self._numbers = memoryview(mmap.mmap(fd, _BYTES)).cast("d")
            inode = os.fstat(fd).st_ino
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        self._numbers[_SINCE] = _UNUSED
        self.offer: Final = ArenaOffer(os.getpid(), fd, inode, _BYTES)

    def begun(self, ident: int) -> bool | None:
        """Whether the request `ident`, which has no answer, was begun; None: nobody can say."""
        if self._numbers[_SINCE] == _UNUSED:
            return None
        return self._numbers[_FIRST] <= ident <= self._numbers[_LAST]

    @property
    def busy_s(self) -> float:
        """Seconds since a request under way began, or another one ended."""
        since = self._numbers[_SINCE]
        return time.monotonic() - since if since > 0 else 0.0

    def close(self) -> None:
        """Give the memory back."""
        self._numbers.release()
        os.close(self._fd)


class Progress:
    """The answering end: writes what it begins and ends.

    Raises:
        OSError, ValueError: the memory cannot be reached from here, or is not what was offered.
    """

    def __init__(self, offer: ArenaOffer) -> None:
        if offer.size != _BYTES:
            raise ValueError("the offered memory has an impossible size")
        # Another PID namespace may have another process of that number: hence the inode.
        with Path(f"/proc/{offer.pid}/fd/{offer.fd}").open("r+b", buffering=0) as file:
            found = os.fstat(file.fileno())
            if (found.st_ino, found.st_size) != (offer.inode, offer.size):
                raise ValueError("the offered memory is not there")
            self._numbers = memoryview(mmap.mmap(file.fileno(), _BYTES)).cast("d")
        self._under_way: set[int] = set()
        self._numbers[_SINCE] = 0.0

    def begin(self, ident: int, now: float) -> None:
        """Note that the work on request `ident` begins, at `now` (monotonic seconds)."""
        self._under_way.add(ident)
        self._numbers[_SINCE] = now
        self._numbers[_LAST] = ident

    def end(self, ident: int, now: float) -> None:
        """Note that the work on request `ident` is done."""
        under_way = self._under_way
        under_way.discard(ident)
        self._numbers[_FIRST] = min(under_way) if under_way else ident + 1
        self._numbers[_SINCE] = now
