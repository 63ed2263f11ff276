"""Rows of a model's inputs, labels and sensitive attributes in Parquet files.

A column is a feature of an input that names its features, or a whole input as a list of fixed
size (an image, flattened). `y_true` holds class names or values, and every attribute that
`fairness.sensitive` names has a column of text. Other columns are left alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from serving.config import ConfigError, InputSpec, ModelConfig
from serving.protocol.datatypes import NUMPY_OF

LABEL: Final = "y_true"


@dataclass(frozen=True, slots=True)
class Dataset:
    """n rows, as struct of arrays.

    Attributes:
        inputs: arrays [n, ...] by input name, with the dtypes of their OIP datatypes. Sensitive
            inputs are among them when the file has their columns.
        y_true: class names (object array of str) or values [n]; None without a label column.
        sensitive: object arrays of str [n] by attribute; those that the file has.
    """

    inputs: dict[str, np.ndarray]
    y_true: np.ndarray | None = None
    sensitive: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Number of rows n."""
        return len(next(iter(self.inputs.values())))

    def take(self, rows: np.ndarray) -> Dataset:
        """Return the rows with the given indices [m], in that order."""
        return Dataset(
            {name: array[rows] for name, array in self.inputs.items()},
            None if self.y_true is None else self.y_true[rows],
            {name: array[rows] for name, array in self.sensitive.items()},
        )


def read_dataset(path: Path, config: ModelConfig) -> Dataset:
    """Read the columns that `config` knows.

    Raises:
        ConfigError: the file is missing or not Parquet, has no rows, or lacks a column of an
            input that the model needs; or a column cannot be converted.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise ConfigError(f"{path}: not a readable Parquet file: {error}") from None
    if table.num_rows == 0:
        raise ConfigError(f"{path}: has no rows")
    inputs = {}
    for spec in config.inputs:
        missing = [name for name in _columns(spec) if name not in table.column_names]
        if not missing:
            inputs[spec.name] = _read_input(path, table, spec)
        elif not spec.sensitive:
            raise ConfigError(
                f"{path}: has no column '{missing[0]}' for input '{spec.name}'; name its columns "
                f"under `features` of the input in model.yaml"
            )
    attributes = config.fairness.sensitive if config.fairness else []
    return Dataset(
        inputs,
        _objects(table, LABEL) if LABEL in table.column_names else None,
        {name: _text(table, name) for name in attributes if name in table.column_names},
    )


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


def _columns(spec: InputSpec) -> list[str]:
    return [feature.name for feature in spec.features] if spec.features else [spec.name]


def _read_input(path: Path, table: pa.Table, spec: InputSpec) -> np.ndarray:
    dtype = NUMPY_OF[spec.datatype]
    try:
        if not spec.features:
            return _whole(table[spec.name].combine_chunks(), dtype).reshape(
                table.num_rows, *spec.shape[1:]
            )
        array = np.empty((table.num_rows, len(spec.features)), dtype)
        for index, feature in enumerate(spec.features):
            column = table[feature.name]
            array[:, index] = (
                _encoded(column.to_pylist()) if spec.datatype == "BYTES" else column.to_numpy()
            )
    except (ValueError, TypeError, AttributeError, pa.ArrowException) as error:
        raise ConfigError(
            f"{path}: input '{spec.name}' cannot be read as {spec.datatype} {spec.shape}: {error}"
        ) from None
    return array


def _whole(column: pa.Array, dtype: np.dtype[Any]) -> np.ndarray:
    """Return all elements of a column, of lists or of one value per row, flat."""
    values = column.flatten() if pa.types.is_nested(column.type) else column
    if dtype == np.object_:
        return _encoded(values.to_pylist())
    flat: np.ndarray = values.to_numpy(zero_copy_only=False)
    return flat.astype(dtype)


def _encoded(values: list[Any]) -> np.ndarray:
    encoded = np.empty(len(values), dtype=object)
    encoded[:] = [each if isinstance(each, bytes) else str(each).encode() for each in values]
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
    return np.array([str(value) for value in table[name].to_pylist()], dtype=object)
