"""Rows of a model's inputs, labels and sensitive attributes in Parquet and CSV files.

A column is a feature of an input that names its features, or a whole input: as a list of fixed
size (an image, flattened), or as one column per element, `x[0]`, `x[1]`, which CSV can hold too.
`y_true` holds class names or values, and every attribute that `fairness.sensitive` names has a
column of text. Other columns are left alone. A missing text is an empty one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from serving.config import ConfigError, InputSpec, ModelConfig
from serving.models.profile.tables import element_names, epoch_seconds, read_table
from serving.protocol.datatypes import NUMPY_OF

LABEL: Final = "y_true"


@dataclass(frozen=True, slots=True)
class DataColumns:
    """What columns of a file are that are no inputs.

    Attributes:
        time: of the event time of each row; empty: the rows are in no order.
        label: of what is true.
        sensitive: of sensitive attributes, beside those of the configuration.
    """

    time: str = ""
    label: str = LABEL
    sensitive: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dataset:
    """n rows, as struct of arrays.

    Attributes:
        inputs: arrays [n, ...] by input name, with the dtypes of their OIP datatypes. Sensitive
            inputs are among them when the file has their columns.
        y_true: class names (object array of str) or values [n]; None without a label column. A row
            without a label has None or NaN.
        sensitive: object arrays of str or None [n] by attribute; those that the file has.
        time: seconds since the epoch, float64 [n]; None without a time column.
    """

    inputs: dict[str, np.ndarray]
    y_true: np.ndarray | None = None
    sensitive: dict[str, np.ndarray] = field(default_factory=dict)
    time: np.ndarray | None = None

    @property
    def rows(self) -> int:
        """Number of rows n."""
        return len(next(iter(self.inputs.values())))

    @property
    def labelled(self) -> np.ndarray:
        """Which rows have a label, bool [n]."""
        if self.y_true is None:
            return np.zeros(self.rows, np.bool_)
        # NaN is the one label that differs from itself.
        known = [each is not None and each == each for each in self.y_true.tolist()]
        return np.array(known, np.bool_)

    def take(self, rows: np.ndarray) -> Dataset:
        """Return the rows with the given indices [m], in that order."""
        return Dataset(
            {name: array[rows] for name, array in self.inputs.items()},
            None if self.y_true is None else self.y_true[rows],
            {name: array[rows] for name, array in self.sensitive.items()},
            None if self.time is None else self.time[rows],
        )


def read_dataset(path: Path, config: ModelConfig, columns: DataColumns | None = None) -> Dataset:
    """Read the columns that `config` knows.

    Args:
        path: a file whose name ends in `.csv`, or a Parquet file.
        config: of the model.
        columns: what other columns are; None: as the defaults of `DataColumns` say.

    Raises:
        ConfigError: the file is missing or cannot be read, has no rows, or lacks a column of an
            input that the model needs, or one that `columns` names; or a column cannot be
            converted.
    """
    wanted = columns or DataColumns()
    table = read_table(path, config, wanted.sensitive)
    if table.num_rows == 0:
        raise ConfigError(f"{path}: has no rows")
    named = [wanted.time, *wanted.sensitive, wanted.label if wanted.label != LABEL else ""]
    for name in filter(None, named):
        if name not in table.column_names:
            raise ConfigError(f"{path}: has no column '{name}'; {_has(table)}")
    inputs = {}
    for spec in config.inputs:
        names = _columns(spec, table)
        missing = [name for name in names if name not in table.column_names]
        if not missing:
            inputs[spec.name] = _read_input(path, table, spec, names)
        elif not spec.sensitive:
            raise ConfigError(
                f"{path}: has no column '{missing[0]}' for input '{spec.name}'; name its columns "
                f"under `features` of the input in model.yaml"
            )
    attributes = dict.fromkeys(
        (*(config.fairness.sensitive if config.fairness else []), *wanted.sensitive)
    )
    label = wanted.label
    return Dataset(
        inputs,
        _objects(table, label) if label in table.column_names else None,
        {name: _text(table, name) for name in attributes if name in table.column_names},
        epoch_seconds(path, table, wanted.time) if wanted.time else None,
    )


def _has(table: pa.Table) -> str:
    names = table.column_names
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"it has {', '.join(map(str, names[:10]))}{more}"


def write_dataset(path: Path, dataset: Dataset, config: ModelConfig) -> None:
    """Write `dataset` so that `read_dataset` gives it back. The same rows give the same bytes."""
    columns: dict[str, pa.Array] = {}
    for spec in config.inputs:
        if spec.name in dataset.inputs:
            columns.update(_write_input(dataset.inputs[spec.name], spec))
    columns.update({name: pa.array(values) for name, values in dataset.sensitive.items()})
    if dataset.y_true is not None:
        columns[LABEL] = pa.array(dataset.y_true)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, compression="zstd")


def _columns(spec: InputSpec, table: pa.Table) -> list[str]:
    """Return the names of the columns that hold an input in this file."""
    if spec.features:
        return [feature.name for feature in spec.features]
    elements = element_names(spec)
    if spec.name not in table.column_names and set(elements) <= set(table.column_names):
        return elements
    return [spec.name]


def _read_input(path: Path, table: pa.Table, spec: InputSpec, names: list[str]) -> np.ndarray:
    dtype = NUMPY_OF[spec.datatype]
    try:
        if not spec.features and names == [spec.name]:
            column = table[spec.name].combine_chunks()
            _require_whole(path, column, spec.name, dtype)
            return _whole(column, dtype).reshape(table.num_rows, *spec.shape[1:])
        array = np.empty((table.num_rows, len(names)), dtype)
        for index, name in enumerate(names):
            column = table[name]
            _require_whole(path, column, name, dtype)
            array[:, index] = (
                _encoded(column.to_pylist()) if spec.datatype == "BYTES" else column.to_numpy()
            )
    except (ValueError, TypeError, AttributeError, pa.ArrowException) as error:
        raise ConfigError(
            f"{path}: input '{spec.name}' cannot be read as {spec.datatype} {spec.shape}: {error}"
        ) from None
    return array if spec.features else array.reshape(table.num_rows, *spec.shape[1:])


def _require_whole(path: Path, column: Any, name: str, dtype: np.dtype[Any]) -> None:
    """Refuse missing values where the datatype has none: they would become some number."""
    if column.null_count and dtype.kind in "iub":
        raise ConfigError(
            f"{path}: column '{name}' has {column.null_count} missing values, which {dtype} cannot "
            f"hold; fill them, or make the input a floating-point one"
        )


def _whole(column: pa.Array, dtype: np.dtype[Any]) -> np.ndarray:
    """Return all elements of a column, of lists or of one value per row, flat."""
    values = column.flatten() if pa.types.is_nested(column.type) else column
    if dtype == np.object_:
        return _encoded(values.to_pylist())
    flat: np.ndarray = values.to_numpy(zero_copy_only=False)
    return flat.astype(dtype)


def _encoded(values: list[Any]) -> np.ndarray:
    encoded = np.empty(len(values), dtype=object)
    texts = ("" if each is None else each for each in values)
    encoded[:] = [each if isinstance(each, bytes) else str(each).encode() for each in texts]
    return encoded


def _write_input(array: np.ndarray, spec: InputSpec) -> dict[str, pa.Array]:
    if spec.features:
        return {
            feature.name: _column(array[:, index], spec)
            for index, feature in enumerate(spec.features)
        }
    width = int(np.prod(array.shape[1:]))
    return {spec.name: pa.FixedSizeListArray.from_arrays(_column(array.ravel(), spec), width)}


def _column(values: np.ndarray, spec: InputSpec) -> pa.Array:
    if spec.datatype == "BYTES":
        try:
            return pa.array([value.decode() for value in values])
        except UnicodeDecodeError:  # pictures, for example
            return pa.array(values.tolist(), type=pa.binary())
    return pa.array(np.ascontiguousarray(values))


def _objects(table: pa.Table, name: str) -> np.ndarray:
    column: Any = table[name]
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return _text(table, name)
    values: np.ndarray = column.to_numpy()
    return values


def _text(table: pa.Table, name: str) -> np.ndarray:
    values = table[name].to_pylist()
    return np.array([None if each is None else str(each) for each in values], dtype=object)
