"""What labels need of streams that are not rolled yet: each row of them is read once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from serving.log.columns import PREDICTED
from serving.log.keyed_rows import FoundPrediction, KeyedRows, WantedKeys, keyed_rows, merged
from serving.log.spool import StreamFile
from serving.log.stream import GrowingStream

_SMALLER: Final = 2
"""A piece is merged with the one before while that is not more than so many times its rows."""


class PredictedStreams:
    """Looks rows of streams up while they grow; those that were used last are kept.

    Args:
        most_bytes: of what is kept.
    """

    def __init__(self, most_bytes: int = 256 << 20) -> None:
        self._most = most_bytes
        self._kept: OrderedDict[StreamFile, _Pieces] = OrderedDict()

    def find(self, stream: StreamFile, wanted: WantedKeys) -> list[FoundPrediction]:
        """Return what rows of a stream, as it is now, are of these keys.

        Raises:
            FileNotFoundError: it has become a part.
            OSError: it cannot be read.
        """
        pieces = self._kept.pop(stream, None) or _Pieces(GrowingStream(stream.path))
        pieces.update()
        self._kept[stream] = pieces
        size = sum(each.size for each in self._kept.values())
        while size > self._most and len(self._kept) > 1:
            size -= self._kept.popitem(last=False)[1].size
        return [found for piece in pieces.pieces for found in wanted.among(piece, stream.folder)]

    def keep(self, streams: Collection[StreamFile]) -> None:
        """Let go of all streams but these."""
        for stream in self._kept.keys() - set(streams):
            del self._kept[stream]


@dataclass(slots=True)
class _Pieces:
    """What a stream had so far: few pieces, each of more rows than the next."""

    stream: GrowingStream
    pieces: list[KeyedRows] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes of memory."""
        return sum(piece.rows.nbytes for piece in self.pieces)

    def update(self) -> None:
        """Take in what has come since."""
        batches: list[Any] = self.stream.more()
        if not batches or PREDICTED not in batches[0].schema.names:
            return
        table = pa.Table.from_batches(batches)
        if not table.num_rows:
            return
        self.pieces.append(keyed_rows(table))
        while len(self.pieces) > 1 and len(self.pieces[-2].keys) <= _SMALLER * len(
            self.pieces[-1].keys
        ):
            self.pieces[-2:] = [merged(self.pieces[-2:])]
