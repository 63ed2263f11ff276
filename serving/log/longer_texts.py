"""Whether a text stands in a file of the log only because longer ones of others contain it."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from serving.log.roll import ROW_GROUP


def only_in_longer_texts(file: Any, column: str, text: str) -> bool:
    """Whether `text`, which stands in a part's bytes, is part of longer values of a column alone.

    Such as `user-1` where `user-12` is a client: they are another subject's. A value of another
    column that contains it is none.

    Args:
        file: the part, a `pyarrow.parquet.ParquetFile`.
        column: that is allowed to have longer ones.
        text: what was found.
    """
    longer = False
    for batch in file.iter_batches(ROW_GROUP):
        for name, values in zip(batch.schema.names, batch.columns, strict=True):
            found = _containing(values, text)
            if len(found):
                if name != column or pc.any(pc.equal(found, _like(found, text))).as_py():
                    return False
                longer = True
    return longer


def _containing(values: Any, text: str) -> Any:
    while pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        values = values.flatten()
    if not (pa.types.is_string(values.type) or pa.types.is_binary(values.type)):
        return pa.nulls(0)
    pattern = text if pa.types.is_string(values.type) else text.encode()
    return values.filter(pc.match_substring(values, pattern))


def _like(values: Any, text: str) -> Any:
    return pa.scalar(text if pa.types.is_string(values.type) else text.encode(), values.type)
