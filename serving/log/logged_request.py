"""From logged rows back to the tensors of the request that they were; the inverse of `columns`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from serving.config import InputSpec, ModelConfig, OutputSpec
from serving.errors import NoLongerThere
from serving.log.columns import free_name
from serving.log.find import own_id
from serving.log.found_rows import INPUT, OUTPUT
from serving.protocol.datatypes import fp32_to_bf16, numpy_dtype
from serving.protocol.messages import Tensor

Spec = InputSpec | OutputSpec


def one_request(tables: Sequence[Any], identity: str) -> Any:
    """Return the rows of the last request that has the id, or of the batch whose own id it is.

    Args:
        tables: what `LogReader.find_tables` gives; at least one row.
        identity: what was asked for.
    """
    own = own_id(identity)
    if own is not None:
        for table in tables:
            of_batch = table.filter(pc.equal(table["id"], pa.scalar(own, pa.binary(16))))
            if of_batch.num_rows:
                return of_batch
    last = max(tables, key=lambda table: table["time"][-1].as_py())
    newest = last.slice(last.num_rows - 1)
    first = newest["row"][0].as_py() - newest["index"][0].as_py()
    same_batch = pc.equal(last["id"], newest["id"][0])
    same_request = pc.equal(pc.subtract(last["row"], last["index"]), pa.scalar(first, pa.int32()))
    return last.filter(pc.and_(same_batch, same_request))


def logged_inputs(rows: Any, config: ModelConfig) -> list[Tensor]:
    """Return the inputs of rows of one request, in the shapes that requests have.

    Raises:
        NoLongerThere: they were not captured, or not all of them.
    """
    return _tensors(rows, INPUT, [spec for spec in config.inputs if not spec.sensitive], config)


def logged_outputs(rows: Any, config: ModelConfig) -> list[Tensor]:
    """Return the outputs of rows of one request; errors as for `logged_inputs`."""
    return _tensors(rows, OUTPUT, config.outputs, config)


def _tensors(rows: Any, prefix: str, specs: Sequence[Spec], config: ModelConfig) -> list[Tensor]:
    taken: set[str] = set()
    found = []
    for spec in specs:
        array = _array(rows, prefix, spec, taken)
        if array is None:
            side = "input" if prefix == INPUT else "output"
            raise NoLongerThere(
                f"{side} '{spec.name}' of model '{rows['model'][0]}' was not captured for this "
                "request; `log: {capture: full}` in model.yaml keeps it for those to come"
            )
        rowless = isinstance(spec, InputSpec) and spec.rowless
        if rowless or not config.row_axis:
            array = array[0] if len(array) else array
        data = _of_datatype(np.ascontiguousarray(array), spec.datatype)
        found.append(Tensor(spec.name, spec.datatype, data.shape, data))
    return found


def _array(rows: Any, prefix: str, spec: Spec, taken: set[str]) -> np.ndarray | None:
    """Return [n, ...] of a tensor; None where a column of it is missing."""
    there = set(rows.column_names)
    if len(spec.shape) == 2 and (names := _column_names(spec)):
        columns: list[str] = []
        for name in names:
            columns.append(free_name(taken.union(columns), prefix + name, prefix + spec.name))
        if there.issuperset(columns):
            taken.update(columns)
            return np.stack([_values(rows[column]) for column in columns], axis=1)
    column = free_name(taken, prefix + spec.name, prefix + spec.name)
    if column not in there:
        return None
    taken.add(column)
    array = _values(rows[column], spec.shape)
    # One value per row stands in no list, whether its tensor was [n] or [n, 1].
    return array.reshape(-1, 1) if array.ndim == 1 and len(spec.shape) > 1 else array


def _column_names(spec: Spec) -> list[str]:
    if isinstance(spec, InputSpec):
        return [feature.name for feature in spec.features or ()]
    return spec.classes or []


def _values(column: Any, declared: Sequence[int] = ()) -> np.ndarray:
    """Return a column as an array: [n], or [n, a, b, …] of lists of lists.

    `declared` is the tensor's shape, which lists without elements do not tell.
    """
    array: Any = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):  # of no chunk, or of more than one can hold
        array = pa.concat_arrays(array.chunks) if array.num_chunks else array.type.array([])
    shape = [len(array)]
    while pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        lengths = pc.list_value_length(array)
        unseen = declared[len(shape)] if len(shape) < len(declared) else 0
        shape.append(lengths[0].as_py() if len(lengths) else max(0, unseen))
        array = array.flatten()
    if pa.types.is_string(array.type) or pa.types.is_binary(array.type):
        flat = np.empty(len(array), object)
        flat[:] = array.cast(pa.binary()).to_pylist()
        return flat.reshape(shape)
    values: np.ndarray = array.to_numpy(zero_copy_only=False)
    return values.reshape(shape)


_BITS: Final = np.dtype(np.uint16)


def _of_datatype(array: np.ndarray, datatype: str) -> np.ndarray:
    """Return values as the protocol carries the datatype; the log holds them exactly."""
    if datatype == "BF16" and array.dtype != _BITS:
        return fp32_to_bf16(array)
    return array if datatype == "BYTES" else array.astype(numpy_dtype(datatype), copy=False)
