import numpy as np
import pytest

from monitors.reference.profile import ReferenceProfile
from monitors.reference.time_order import MOST_CELLS


def fitted(rows, times=None, **columns):
    values = {"x": np.arange(float(rows)), **columns}
    return ReferenceProfile.fit(values, times=np.arange(float(rows)) if times is None else times)


@pytest.mark.parametrize(
    ("rows", "cells"), [(49, 0), (50, 2), (5000, 200), (40_000, MOST_CELLS), (600_000, MOST_CELLS)]
)
def test_a_reference_is_cut_in_so_many_cells(rows, cells):
    profile = fitted(rows)
    assert len(profile.cells) == cells
    if cells:
        assert sum(cell.n for cell in profile.cells) == rows
        assert sum(cell.counts.sum() for cell in profile.cells) == rows


def test_cells_are_in_the_order_of_the_times():
    rng = np.random.default_rng(0)
    times = rng.permutation(1000).astype(float)
    profile = fitted(1000, times, y=times)
    spans = [(cell.first, cell.last) for cell in profile.cells]
    assert spans == sorted(spans)
    assert spans[0] == (0.0, 24.0)
    # The lowest values of y are all in the first cell.
    y = profile.columns["y"]
    assert profile.cells[0].counts[-y.bins :][:3].sum() == y.counts[:3].sum()


def test_a_time_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="times of a reference must be finite"):
        fitted(200, np.full(200, np.nan))
