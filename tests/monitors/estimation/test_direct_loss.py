import numpy as np
import pytest

from monitors.estimation.direct_loss import dle, fit_dle
from monitors.estimation.figures import realised_number_figures


def test_it_knows_which_rows_have_large_errors(regression):
    reference = regression(0, 1, 4000)
    usual = realised_number_figures(reference)
    for shift in (-1.0, 1.0):
        live = regression(1, 1, 2000, shift=shift)
        truth, found = realised_number_figures(live), fit_dle(reference)(live.predictions)
        for name in ("mae", "rmse"):
            assert abs(found[name] - truth[name]) < 0.4 * abs(usual[name] - truth[name])


def test_bands_cover(regression):
    estimator = dle(regression(0, 20, 100), chunk_rows=100)
    inside = []
    for seed in range(1, 21):
        live = regression(seed, 1, 100)
        truth, found = realised_number_figures(live), estimator.estimate(live.predictions)
        inside += [found[name].low <= truth[name] <= found[name].high for name in truth]
    assert np.mean(inside) >= 0.85


def test_columns_that_differ_are_named(regression):
    reference = regression(0, 1, 100)
    figures = fit_dle(reference)
    rows = reference.predictions
    with pytest.raises(ValueError, match="column region of the reference is missing"):
        figures(type(rows)(features={"x0": rows.predicted, "x1": rows.predicted},
                           predicted=rows.predicted))  # fmt: skip
