"""A cell: sums that can be added and stored."""

import json

import numpy as np
import pytest

from monitors.alarms.cell import Cell


def cell_of(rows, first=0.0, last=1.0):
    return Cell(
        first=first,
        last=last,
        n=len(rows),
        counts=np.full(rows.shape[1], float(len(rows))),
        sums=rows.sum(0),
        squares=(rows**2).sum(0),
    )


def test_merged_cells_are_the_cell_of_all_rows():
    rows = np.random.default_rng(0).random((50, 3))
    merged = cell_of(rows[20:], 5, 9).merged(cell_of(rows[:20], 1, 5))
    whole = cell_of(rows, 1, 9)
    assert (merged.first, merged.last, merged.n) == (1, 9, 50)
    np.testing.assert_allclose(merged.sums, whole.sums)
    np.testing.assert_allclose(merged.squares, whole.squares)
    np.testing.assert_array_equal(merged.counts, whole.counts)


def test_its_state_is_json_and_comes_back():
    cell = cell_of(np.random.default_rng(1).random((5, 2)), 3, 7)
    again = Cell.from_state(json.loads(json.dumps(cell.state())))
    assert again.state() == cell.state()
    assert again.middle == 5


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("field", ["counts", "sums", "squares"])
def test_it_refuses_what_is_not_finite(bad, field):
    arrays = {name: np.ones(2) for name in ("counts", "sums", "squares")}
    arrays[field] = np.array([1.0, bad])
    with pytest.raises(ValueError, match="finite"):
        Cell(first=0, last=1, n=1, **arrays)


def test_it_refuses_arrays_of_different_lengths_and_times_in_the_wrong_order():
    with pytest.raises(ValueError, match="one entry per statistic"):
        Cell(first=0, last=1, n=1, counts=np.ones(2), sums=np.ones(3), squares=np.ones(2))
    with pytest.raises(ValueError, match="begin before it ends"):
        Cell(first=1, last=0, n=1, counts=np.ones(2), sums=np.ones(2), squares=np.ones(2))
