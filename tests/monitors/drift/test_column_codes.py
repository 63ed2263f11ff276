import numpy as np
import pytest

from monitors.drift.column_codes import ColumnCodes, ColumnSpec
from monitors.reference.profile import CategoricalColumn, NumericColumn

ODD = [np.nan, np.inf, -np.inf, -0.0, 3.4e38, -3.4e38]


def numeric(edges: int, seed: int) -> NumericColumn:
    inner = np.unique(np.random.default_rng(seed).normal(scale=3, size=edges))
    return NumericColumn(inner, np.zeros(len(inner) + 4, dtype=np.int64))


def some(rng: np.random.Generator, shape: tuple[int, ...], column: NumericColumn, dtype: type):
    values = rng.normal(scale=3, size=shape)
    at = rng.random(shape) < 0.3
    values[at] = rng.choice([*ODD, *column.edges[:5]], size=int(at.sum()))
    return values.astype(dtype)


@pytest.mark.parametrize("rows", [1, 7, 700])
@pytest.mark.parametrize("dtypes", [(np.float32, np.float32), (np.float64, np.float32)])
def test_each_value_has_the_bin_that_its_column_gives_it(rows, dtypes):
    rng = np.random.default_rng(rows)
    columns = [numeric(20, 1), numeric(20, 2), numeric(5, 3), numeric(90, 4), numeric(20, 5)]
    columns.append(CategoricalColumn(("a", "b"), np.zeros(4, dtype=np.int64)))
    x = np.stack([some(rng, (rows,), columns[at], dtypes[0]) for at in (0, 1)], axis=1)
    given = {"x": x.reshape(rows, 1, 2), "c": rng.choice(np.array(["a", "b", "c", None]), rows)}
    given |= {f"v{at}": some(rng, (rows,), columns[at], dtypes[1]) for at in (2, 3)}
    given["left_out"] = np.zeros(rows)
    specs = [
        ColumnSpec("x", 0, "x0"), ColumnSpec("x", 1, "x1"), ColumnSpec("v2", 0, "v2"),
        ColumnSpec("v3", 0, "v3"), ColumnSpec("absent", 0, "absent"),
        ColumnSpec("c", 0, "c", categorical=True),
    ]  # fmt: skip
    starts = np.concatenate(([0], np.cumsum([column.bins for column in columns])))
    before = {name: array.copy() for name, array in given.items()}
    codes = ColumnCodes(specs, columns, starts).of(given, rows)
    assert codes.dtype == np.int64
    shown = [x[:, 0], x[:, 1], given["v2"], given["v3"], None, given["c"]]
    for at, (column, values) in enumerate(zip(columns, shown, strict=True)):
        expected = np.full(rows, column.bins - 1) if values is None else column.codes(values)
        np.testing.assert_array_equal(codes[at], expected + starts[at])
    assert all(np.array_equal(given[name], before[name], equal_nan=name != "c") for name in given)


@pytest.mark.parametrize("dtype", [np.int64, np.bool_, np.float16])
def test_other_numbers_are_widened(dtype):
    column = numeric(20, 1)
    values = np.arange(-9, 9).astype(dtype)
    codes = ColumnCodes([ColumnSpec("v", 0, "v")], [column], np.array([0, column.bins]))
    expected = column.codes(values.astype(np.float64))
    np.testing.assert_array_equal(codes.of({"v": values}, len(values))[0], expected)
