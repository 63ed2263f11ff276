"""Requests that ended a replica, remembered for a while so that a retry does not end another."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Final
from zlib import crc32

import msgspec

from serving.dataplane.requests.bound import Bound

MOST: Final = 256
"""Requests that are remembered for one model version, the newest."""
KEPT_S: Final = 600.0
_SAMPLES: Final = 16


class Deadly(msgspec.Struct, frozen=True):
    """One such request, by what its inputs are known again.

    Attributes:
        digest: of the inputs.
        sample: a number that is quickly found, and that the same inputs have in all processes.
        how: how the replica ended, a clause whose subject that is.
    """

    digest: bytes
    sample: int
    how: str


class DeadlyRequests:
    """What is known of requests that ended a replica; no input is kept.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[bytes, tuple[float, Deadly]] = {}
        self._samples: set[int] = set()

    def __len__(self) -> int:
        return len(self._known)

    def add(self, deadly: Deadly) -> None:
        """Remember a request."""
        self._known.pop(deadly.digest, None)
        if len(self._known) >= MOST:
            del self._known[next(iter(self._known))]
        self._known[deadly.digest] = (self._clock(), deadly)
        self._follow()

    def how(self, bound: Bound) -> str | None:
        """Return how the replica ended that computed the same inputs; None if none did lately."""
        oldest = next(iter(self._known.values()), None)
        if oldest is not None and self._clock() - oldest[0] > KEPT_S:
            self._expire()
        # Digests of large inputs take time, so only what looks like a known one gets one.
        if _sample(bound) not in self._samples:
            return None
        known = self._known.get(_digest(bound))
        return known[1].how if known else None

    def _expire(self) -> None:
        since = self._clock() - KEPT_S
        self._known = {d: known for d, known in self._known.items() if known[0] >= since}
        self._follow()

    def _follow(self) -> None:
        self._samples = {deadly.sample for _, deadly in self._known.values()}


def deadly_request(bound: Bound, how: str) -> Deadly:
    """Return what a request is known by; `how` the replica ended that computed it."""
    return Deadly(_digest(bound), _sample(bound), how)


def _sample(bound: Bound) -> int:
    sample = bound.rows
    for array in bound.arrays:
        flat = array.reshape(-1)
        few = flat[:: max(1, flat.size // _SAMPLES)]
        sample = crc32(b"\0".join(few) if array.dtype.hasobject else few.tobytes(), sample)
    return sample


def _digest(bound: Bound) -> bytes:
    digest = hashlib.blake2b(repr((bound.key, bound.rows)).encode(), digest_size=16)
    for array in bound.arrays:
        if array.dtype.hasobject:
            for value in array.flat:
                digest.update(b"%d:%b" % (len(value), value))
        else:
            digest.update(array.tobytes())
    return digest.digest()
