"""Moments of a reference."""

import json

import numpy as np
import pytest

from monitors.alarms.cell import Cell
from monitors.alarms.reference import ReferenceMoments


def cells_of(rows, size):
    return tuple(
        Cell(
            first=float(at),
            last=float(at + size),
            n=size,
            counts=np.full(rows.shape[1], float(size)),
            sums=rows[at : at + size].sum(0),
            squares=(rows[at : at + size] ** 2).sum(0),
        )
        for at in range(0, len(rows), size)
    )


def test_cells_have_the_moments_of_their_rows():
    rows = np.random.default_rng(0).random((120, 4))
    reference = ReferenceMoments.of_cells(cells_of(rows, 20))
    np.testing.assert_allclose(reference.mean, rows.mean(0))
    np.testing.assert_allclose(reference.variance, rows.var(0))
    np.testing.assert_array_equal(reference.n, 120)
    assert len(reference.cells) == 6


def test_a_statistic_that_no_row_defines_has_no_moments():
    zero = np.zeros(1)
    reference = ReferenceMoments.of_cell(
        Cell(first=0, last=0, n=9, counts=zero, sums=zero, squares=zero)
    )
    assert (reference.mean[0], reference.variance[0], reference.n[0]) == (0, 0, 0)


def test_its_state_is_json_and_comes_back():
    rows = np.random.default_rng(0).random((40, 2))
    reference = ReferenceMoments.of_cells(cells_of(rows, 10))
    again = ReferenceMoments.from_state(json.loads(json.dumps(reference.state())))
    assert again.state() == reference.state()


@pytest.mark.parametrize(
    ("mean", "variance", "n", "sentence"),
    [
        ([0.0], [1.0, 1.0], [1.0], "one entry per statistic"),
        ([np.nan], [1.0], [1.0], "finite"),
        ([0.0], [-1.0], [1.0], "negative"),
    ],
)
def test_it_refuses_what_are_no_moments(mean, variance, n, sentence):
    with pytest.raises(ValueError, match=sentence):
        ReferenceMoments(mean=np.array(mean), variance=np.array(variance), n=np.array(n))


def test_it_refuses_cells_with_other_statistics_and_no_cells():
    rows = np.random.default_rng(0).random((40, 2))
    with pytest.raises(ValueError, match="one entry per statistic"):
        ReferenceMoments(
            mean=np.zeros(3), variance=np.ones(3), n=np.ones(3), cells=cells_of(rows, 10)
        )
    with pytest.raises(ValueError, match="at least one cell"):
        ReferenceMoments.of_cells(())
