"""Which texts a reference has had, without the texts: one bit for each hash of 16 bits."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

SLOTS: Final = 1 << 16
BUCKETS: Final = 16


def slot(text: str) -> int:
    """Return the slot of a text, from 0 to `SLOTS` - 1."""
    return zlib.crc32(text.encode("utf-8", "replace")) & (SLOTS - 1)


def bucket(text: str) -> int:
    """Return the bucket of a text, from 0 to `BUCKETS` - 1; other bits than those of its slot."""
    return (zlib.crc32(text.encode("utf-8", "replace")) >> 16) & (BUCKETS - 1)


@dataclass(frozen=True, slots=True)
class KnownValues:
    """The slots that texts of a reference fall in.

    Many texts share a slot, so that nobody can read from it that the reference had one of them;
    for the same reason a new text is taken for a known one with the share of slots in use.

    Attributes:
        used: bool [SLOTS].
    """

    used: np.ndarray = field(compare=False)

    @classmethod
    def of(cls, texts: Iterable[str]) -> KnownValues:
        """Return the slots of texts."""
        used = np.zeros(SLOTS, dtype=np.bool_)
        used[[slot(text) for text in texts]] = True
        return cls(used)

    def __contains__(self, text: str) -> bool:
        return bool(self.used[slot(text)])

    def to_text(self) -> str:
        """Return them as text: packed, deflated, base64."""
        return base64.b64encode(zlib.compress(np.packbits(self.used).tobytes(), 9)).decode()

    @classmethod
    def from_text(cls, raw: str) -> KnownValues:
        """Return what `to_text` was called on.

        Raises:
            ValueError: it is no such text.
        """
        try:
            packed = zlib.decompress(base64.b64decode(raw, validate=True))
        except (zlib.error, ValueError) as error:
            raise ValueError(f"known values cannot be read: {error}") from None
        if len(packed) != SLOTS // 8:
            raise ValueError(f"known values need {SLOTS // 8} bytes and have {len(packed)}")
        return cls(np.unpackbits(np.frombuffer(packed, np.uint8)).astype(np.bool_))
