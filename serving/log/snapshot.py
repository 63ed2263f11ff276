"""What there is of a dataset of a log at one moment, while others write it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from serving.log.layout import Dataset, Part, model_folder, partition_of
from serving.log.retention import all_parts
from serving.log.spool import StreamFile, all_streams, of_models
from serving.log.store import Store
from serving.log.stream import read_stream


class Snapshot(NamedTuple):
    """Every row once: streams with their tables, and parts that were made of none of these."""

    streams: list[tuple[StreamFile, Any]]
    parts: list[Part]

    def within(self, since: datetime | None, until: datetime | None) -> Snapshot:
        """Leave out parts of other days."""
        kept = []
        for part in self.parts:
            partition = partition_of(part.folder)
            assert partition is not None, "parts are found by it"
            day = datetime.fromisoformat(partition.day).replace(tzinfo=UTC)
            early = since is not None and day + timedelta(days=1) <= since.astimezone(UTC)
            late = until is not None and day >= until.astimezone(UTC)
            if not early and not late:
                kept.append(part)
        return self._replace(parts=kept)


def take_snapshot(store: Store, spool: Path | None, dataset: Dataset, model: str) -> Snapshot:
    """Return what there is of a model now.

    A stream becomes the part of its name. Streams are read first, so a stream that goes away
    meanwhile is among the parts; one that was read is left out there.

    Raises:
        OSError: the store cannot be reached.
    """
    streams = []
    names = set()
    for stream in of_models(all_streams(spool, dataset) if spool else (), [model]):
        try:
            table = read_stream(stream.path).table
        except FileNotFoundError:
            continue
        if table is not None:
            streams.append((stream, table))
            names.add(stream.name)
    parts = all_parts(store, (dataset,), model_folder(model))
    return Snapshot(streams, [part for part in parts if part.name not in names])
