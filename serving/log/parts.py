"""The parts of a log as one table, with what differs between their schemas made alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.dataset as pads

from serving.log.layout import Part, partition_of
from serving.log.store import Store

PARTITION_FIELDS: Final = (
    pa.field("model", pa.string()), pa.field("version", pa.string()), pa.field("date", pa.string()),
)  # fmt: skip


def common_schema(schemas: Sequence[Any]) -> Any:
    """Return a schema that rows of all the given ones fit into, partition columns first.

    A column that has types which no common one holds is text.
    """
    fields: dict[str, Any] = {field.name: field for field in PARTITION_FIELDS}
    for schema in schemas:
        for field in schema:
            known = fields.get(field.name)
            fields[field.name] = field if known is None else _common(known, field)
    return pa.schema(list(fields.values()))


def _common(one: Any, other: Any) -> Any:
    if one.type == other.type:
        return one
    try:
        schemas = [pa.schema([one]), pa.schema([other])]
        return pa.unify_schemas(schemas, promote_options="permissive").field(0)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.field(one.name, pa.string())


def as_dataset(store: Store, parts: Sequence[Part], schema: Any) -> Any:
    """Return the parts as a dataset of that schema; nothing is read yet."""
    if not parts:
        return schema.empty_table()
    return pads.FileSystemDataset.from_paths(
        [store.full(part.path) for part in parts],
        schema=schema,
        format=pads.ParquetFileFormat(),
        filesystem=store.filesystem,
        partitions=[_expression(part.folder) for part in parts],
    )


def with_partition(table: Any, folder: str, schema: Any) -> Any:
    """Return a table of a stream or a part with its partition's columns, as of that schema."""
    partition = partition_of(folder)
    assert partition is not None, "streams and parts are found by their partition"
    count = table.num_rows
    columns = []
    for field in schema:
        if field.name in table.column_names:
            columns.append(table[field.name].cast(field.type))
        elif field in PARTITION_FIELDS:
            place = [known.name for known in PARTITION_FIELDS].index(field.name)
            columns.append(pa.repeat(pa.scalar(partition[place], pa.string()), count))
        else:
            columns.append(pa.nulls(count, field.type))
    return pa.table(columns, schema=schema)


def _expression(folder: str) -> Any:
    partition = partition_of(folder)
    assert partition is not None, "part_of has checked it"
    names = [field.name for field in PARTITION_FIELDS]
    pairs = zip(names, partition, strict=True)
    first, *rest = (pads.field(name) == pa.scalar(value) for name, value in pairs)
    for expression in rest:
        first = first & expression
    return first
