"""What the footers of parts say. Who only writes imports no `pyarrow.dataset`: it brings pandas."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import pyarrow.parquet as pq

from serving.log.layout import Part
from serving.log.store import Store


class Footers:
    """Schemas of parts, each read once; who replaces a part leaves its schema as it is."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._schemas: dict[str, Any] = {}

    def schemas(self, parts: Sequence[Part]) -> dict[Part, Any]:
        """Return the schemas of parts, without those that retention has deleted meanwhile.

        Raises:
            OSError, pyarrow.ArrowException: one cannot be read.
        """
        known = self._schemas
        found: dict[Part, Any] = {}
        for part in parts:
            with contextlib.suppress(FileNotFoundError):
                schema = known.get(part.path) or pq.read_schema(
                    self._store.full(part.path), filesystem=self._store.filesystem
                )
                known[part.path] = found[part] = schema
        return found
