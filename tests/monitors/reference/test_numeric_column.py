import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from monitors.reference.numeric_column import NumericColumn, fit_numeric, tail_share


def test_midranks_are_the_share_below_and_half_of_the_bin():
    column = NumericColumn(np.array([0.0, 1.0]), np.array([0, 10, 20, 10, 0, 5]))
    assert_allclose(column.midranks(), [0, 0.125, 0.5, 0.875, 1, np.nan])
    assert_array_equal(column.centred_ranks(), [-64, -48, 0, 48, 64, 0])


def test_ranks_of_a_column_without_values_are_unknown():
    column = fit_numeric(np.full(10, np.nan), 20)
    assert np.isnan(column.midranks()).all()
    assert not column.centred_ranks().any()


@pytest.mark.parametrize(("rows", "share"), [(200, 0.05), (1000, 0.01), (5000, 0.005)])
def test_tails_begin_at_half_a_percent_or_ten_rows(rows, share):
    assert tail_share(rows) == share
    column = fit_numeric(np.random.default_rng(0).normal(size=rows), 20)
    least = round(share * rows)
    finite = column.counts[1:-2]
    assert (finite[0], finite[-1]) == (0, 0)
    assert (finite[1], finite[-2]) == (least, least)
    assert finite.sum() == rows


def test_few_rows_have_no_tails():
    assert tail_share(199) == 0


def test_what_the_reference_never_had_lies_beyond_its_ends():
    column = fit_numeric(np.arange(1000.0), 20)
    below, first, last, above = column.codes(np.array([-0.001, 0.0, 999.0, 999.001]))
    assert (below, above) == (1, column.bins - 3)
    assert (first, last) == (2, column.bins - 4)
