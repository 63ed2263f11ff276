"""Files of rows as tables: Parquet and CSV, and their columns of times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from serving.config import ConfigError, InputSpec, ModelConfig

MOST_ELEMENTS: Final = 1024
"""Elements of an input that may have a column each."""


def read_table(path: Path, config: ModelConfig, text: Sequence[str] = ()) -> pa.Table:
    """Read a file of rows: CSV with a header if its name ends in `.csv`, else Parquet.

    In CSV the columns of text inputs and of sensitive attributes are text, whatever they look
    like; of others the values tell.

    Args:
        path: the file.
        config: of the model whose inputs it holds.
        text: more columns that are text.

    Raises:
        ConfigError: it cannot be read.
    """
    if path.suffix.lower() != ".csv":
        try:
            return pq.read_table(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise ConfigError(f"{path}: not a readable Parquet file: {error}") from None
    texts = {name for spec in config.inputs if spec.datatype == "BYTES" for name in _names(spec)}
    texts |= {*text, *(config.fairness.sensitive if config.fairness else [])}
    convert = pacsv.ConvertOptions(
        column_types=dict.fromkeys(texts, pa.string()), strings_can_be_null=True
    )
    try:
        return pacsv.read_csv(path, convert_options=convert)
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(f"{path}: not a readable CSV file: {error}") from None


def element_names(spec: InputSpec) -> list[str]:
    """Return a name for each element of a row, `x[0,1]` for example.

    An input whose rows are of a free or a large shape has its own name instead.
    """
    shape = spec.shape[1:]
    if not shape or -1 in shape or math.prod(shape) > MOST_ELEMENTS:
        return [spec.name]
    return [f"{spec.name}[{','.join(map(str, at))}]" for at in product(*map(range, shape))]


def _names(spec: InputSpec) -> list[str]:
    if spec.features:
        return [feature.name for feature in spec.features]
    return [spec.name, *element_names(spec)]


def epoch_seconds(path: Path, table: pa.Table, name: str) -> np.ndarray:
    """Return a column of times as seconds since the epoch, float64 [rows].

    Times are timestamps, dates, text in ISO 8601 (without an offset: UTC), or numbers that are
    seconds since the epoch.

    Raises:
        ConfigError: a row has none, or the column holds something else.
    """
    column = table[name]
    try:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            column = _parsed(column)
        if pa.types.is_date(column.type):
            column = column.cast(pa.timestamp("us"))
        if pa.types.is_timestamp(column.type):
            seconds = column.cast(pa.timestamp("us", column.type.tz)).cast(pa.int64()).to_numpy()
            times = seconds / 1e6
        else:
            times = column.cast(pa.float64()).to_numpy()
    except (pa.ArrowException, ValueError) as error:
        raise ConfigError(
            f"{path}: column '{name}' cannot be read as times: {error}; give timestamps, ISO 8601 "
            f"text, or seconds since the epoch"
        ) from None
    lacking = int((~np.isfinite(times)).sum())
    if lacking:
        raise ConfigError(f"{path}: column '{name}' has no time in {lacking} rows; leave them out")
    return np.asarray(times, np.float64)


def _parsed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return text in ISO 8601 as timestamps; all of it has an offset, or none has."""
    try:
        return column.cast(pa.timestamp("us"))
    except pa.ArrowInvalid:
        return column.cast(pa.timestamp("us", "UTC"))
