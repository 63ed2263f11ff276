"""Memory that two processes of one host share, so that large tensors need not go through a socket.

The sender owns the memory and frees a block when the request that used it has been answered. It is
an anonymous file: it has no name that could be left behind, and no limit of /dev/shm.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

ARENA_BYTES: Final = 64 << 20
"""Address space; memory is used only where tensors have been."""
LARGE: Final = 64 << 10
"""Bytes from which on a tensor goes through shared memory; below, a socket is as quick."""
_ALIGNED: Final = 64


class ArenaOffer(msgspec.Struct, frozen=True):
    """Where the peer finds the memory: an open file of a process, and what identifies it."""

    pid: int
    fd: int
    inode: int
    size: int


class Arena:
    """The sender's end: takes blocks and gives them back. Not thread-safe.

    Raises:
        OSError: there is no memory for it.
    """

    def __init__(self, size: int = ARENA_BYTES) -> None:
        self._fd = os.memfd_create("vigil-tensors", os.MFD_CLOEXEC)
        os.ftruncate(self._fd, size)
        self._map = mmap.mmap(self._fd, size)
        self._view = memoryview(self._map)
        self._address = _address(self._view)
        self._free: list[tuple[int, int]] = [(0, size)]
        self._taken: dict[int, int] = {}
        self.offer: Final = ArenaOffer(os.getpid(), self._fd, os.fstat(self._fd).st_ino, size)

    def put(self, pieces: Sequence[memoryview], size: int) -> int:
        """Copy pieces of bytes, one after the other, into a block of `size` bytes.

        Returns:
            Where it is; -1 when there is no room.
        """
        at = start = self._take(size)
        if at >= 0:
            for piece in pieces:
                stop = start + len(piece)
                self._view[start:stop] = piece
                start = stop
        return at

    def receive_buffer(self, size: int, skip: int) -> memoryview | None:
        """Return room for `size` bytes that are still to come; None when there is none.

        It is taken until nobody refers to it any more. What lies behind its first `skip` bytes is
        aligned.
        """
        begin = -skip % _ALIGNED
        at = self._take(begin + size)
        if at < 0:
            return None
        # Not an array: numpy lets views of views refer to the first of them only, all the memory.
        block = (ctypes.c_ubyte * size).from_buffer(self._map, at + begin)
        weakref.finalize(block, self.release, at).atexit = False
        return memoryview(block).cast("B")

    def find(self, piece: memoryview) -> int:
        """Return where `piece` lies in this memory; -1 when it lies elsewhere."""
        at = _address(piece) - self._address
        return at if 0 <= at < len(self._view) else -1

    def _take(self, size: int) -> int:
        need = -(-size // _ALIGNED) * _ALIGNED
        for index, (at, room) in enumerate(self._free):
            if room >= need:
                if room > need:
                    self._free[index] = (at + need, room - need)
                else:
                    del self._free[index]
                self._taken[at] = need
                return at
        return -1

    def release(self, at: int) -> None:
        """Give a block back."""
        self._free.append((at, self._taken.pop(at)))
        # Few blocks are ever in use, so putting the free ones together again costs next to nothing.
        self._free.sort()
        joined = [self._free[0]]
        for start, room in self._free[1:]:
            before, size = joined[-1]
            if before + size == start:
                joined[-1] = (before, size + room)
            else:
                joined.append((start, room))
        self._free = joined

    @property
    def used(self) -> int:
        """Bytes in blocks that have not been given back."""
        return sum(self._taken.values())

    def close(self) -> None:
        """Unmap it; the memory goes when the peer's end is closed as well.

        What somebody still refers to stays mapped until then.
        """
        self._view.release()
        with contextlib.suppress(BufferError):
            self._map.close()
        os.close(self._fd)


def _address(piece: memoryview) -> int:
    address: int = np.frombuffer(piece, np.uint8).__array_interface__["data"][0]
    return address


def map_offer(offer: ArenaOffer) -> memoryview:
    """Return the peer's memory, read-only; it stays mapped while anything refers to it.

    Raises:
        OSError, ValueError: it cannot be reached from here, or is not what was offered.
    """
    if not 0 < offer.size <= ARENA_BYTES:
        raise ValueError("the offered memory has an impossible size")
    # Another PID namespace may have another process of that number: hence the inode.
    with Path(f"/proc/{offer.pid}/fd/{offer.fd}").open("rb", buffering=0) as file:
        found = os.fstat(file.fileno())
        if (found.st_ino, found.st_size) != (offer.inode, offer.size):
            raise ValueError("the offered memory is not there")
        mapped = mmap.mmap(file.fileno(), offer.size, prot=mmap.PROT_READ)
    return memoryview(mapped)
