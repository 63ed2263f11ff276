"""Takes the labels of one subject's predictions out of a log; see `forget`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from serving.log.layout import Part, model_of
from serving.log.roll import replace_part
from serving.log.store import Store

_KEY: Final = ["client_id", "index"]

Labelled = tuple[str, str, int]
"""What labels are told by: the model, the client's id of a request, and the row in it."""


class LabelsGone(NamedTuple):
    """How many labels were taken out of a file, and whether any are left in it."""

    path: str
    rows: int
    left: bool


def forget_labels(
    store: Store, parts: Sequence[Part], keys: Collection[Labelled], ident: str | None
) -> list[LabelsGone]:
    """Delete labels; returns what is gone of which file.

    Args:
        store: of the log.
        parts: that may hold them.
        keys: of the subject's predictions.
        ident: a client's id all of whose labels are meant; None: there is none.

    Raises:
        OSError, pyarrow.ArrowException: a file could not be read or written. Do it again.
    """
    gone = []
    for part, mask in _held(store, parts, keys, ident):
        with pq.ParquetFile(store.full(part.path), filesystem=store.filesystem) as file:
            table = file.read()
        left = replace_part(store, part, table, table.filter(pc.invert(mask)).combine_chunks())
        gone.append(LabelsGone(part.path, int(pc.sum(mask).as_py()), left))
    return gone


def labels_left(
    store: Store, parts: Sequence[Part], keys: Collection[Labelled], ident: str | None
) -> list[str]:
    """Return the paths of files with such labels; arguments and errors as for `forget_labels`."""
    return [part.path for part, _ in _held(store, parts, keys, ident)]


def _held(
    store: Store, parts: Sequence[Part], keys: Collection[Labelled], ident: str | None
) -> Iterator[tuple[Part, Any]]:
    """Yield the parts that hold such labels, and which of their rows these are."""
    wanted = frozenset(keys)
    idents = {of for _, of, _ in wanted} | ({ident} if ident is not None else set())
    values = pa.array(sorted(idents), pa.string())
    for part in parts:
        with pq.ParquetFile(store.full(part.path), filesystem=store.filesystem) as file:
            table = file.read(_KEY)
        if pc.any(pc.is_in(table["client_id"], value_set=values)).as_py():
            pairs = zip(table["client_id"].to_pylist(), table["index"].to_pylist(), strict=True)
            name = model_of(part.folder)
            mask = [(name, *pair) in wanted or pair[0] == ident for pair in pairs]
            if any(mask):
                yield part, pa.array(mask)
