"""Tensors as a table for people: a column per tensor, a line per row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from rich.table import Column, Table

from serving.cli.console import cell
from serving.protocol.datatypes import bf16_to_fp32
from serving.protocol.messages import Tensor

_MOST: Final = 16
"""Values of one row that are shown; of more, as many from both ends."""


def tensor_table(tensors: Sequence[Tensor]) -> Table:
    """Return the table; rows are along the first axis, and a scalar is a row."""
    heads = [f"{tensor.name} {tensor.datatype} {list(tensor.shape)}" for tensor in tensors]
    columns = [_rows(tensor) for tensor in tensors]
    table = Table("row", *(Column(cell(head), overflow="fold") for head in heads))
    for index in range(max(map(len, columns), default=0)):
        cells = (_text(rows[index]) if index < len(rows) else "" for rows in columns)
        table.add_row(str(index), *map(cell, cells))
    return table


def _rows(tensor: Tensor) -> np.ndarray:
    data = bf16_to_fp32(tensor.data) if tensor.datatype == "BF16" else tensor.data
    rows = np.atleast_1d(data)
    return rows.reshape(len(rows), -1) if rows.size else rows.reshape(len(rows), 0)


def _text(row: np.ndarray) -> str:
    values = row.tolist()
    if len(values) <= _MOST:
        return ", ".join(map(_value, values))
    half = _MOST // 2
    return ", ".join([*map(_value, values[:half]), "…", *map(_value, values[-half:])])


def _value(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return f"{value:.6g}" if isinstance(value, float) else str(value)
