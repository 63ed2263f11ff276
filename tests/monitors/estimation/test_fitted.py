"""What a profile keeps for estimates: which method, why, and that a file gives it back."""

import io

import numpy as np
import pytest

from monitors.estimation.fitted import FittedEstimation, fit_estimation
from monitors.estimation.predictions import Predictions


def fit(given, columns=None, most=1000):
    predictions = given.predictions
    bare = Predictions(features={}, scores=predictions.scores, predicted=predictions.predicted)
    columns = predictions.features if columns is None else columns
    return fit_estimation(columns, bare, given.labels, given.time, most)


def test_pape_is_taken_where_inputs_are_seen_and_it_is_as_good(stream):
    fitted = fit(stream(0, 20, 60))
    assert (fitted.method, fitted.chunk_rows, fitted.reference.n) == ("PAPE", 60, 1200)
    assert "mean error on the reference" in fitted.why
    assert len(fitted.errors["accuracy"]) == 20
    assert len(fitted.apart["accuracy"]) == 10


@pytest.mark.parametrize(
    ("rows", "columns", "why"), [(60, {}, "inputs are not watched"), (30, None, "30 rows")]
)
def test_cbpe_is_taken_where_a_shift_cannot_be_seen(stream, rows, columns, why):
    fitted = fit(stream(0, 20, rows), columns)
    assert fitted.method == "CBPE"
    assert why in fitted.why


def test_dle_is_taken_of_numbers(regression):
    fitted = fit(regression(0, 20, 40))
    assert fitted.method == "DLE"
    assert set(fitted.errors) == {"mae", "rmse"}


def test_chunks_are_no_longer_than_wanted(stream):
    fitted = fit(stream(0, 40, 50), {}, most=50)
    assert fitted.chunk_rows == 50
    assert len(fitted.errors["accuracy"]) == 40


def test_labels_of_some_rows_are_further_from_estimates_of_others(regression):
    """The band for labels of some rows has the sampling error of both sides."""
    fitted = fit(regression(0, 100, 50), most=50)
    same, apart = (np.abs(each["mae"]).mean() for each in (fitted.errors, fitted.apart))
    assert apart > same


def test_a_file_gives_it_back(stream):
    fitted = fit(stream(0, 20, 60))
    buffer = io.BytesIO()
    np.savez(buffer, **fitted.to_arrays())
    with np.load(io.BytesIO(buffer.getvalue()), allow_pickle=False) as arrays:
        again = FittedEstimation.from_arrays(dict(arrays))
    assert (again.method, again.why, again.chunk_rows) == (
        fitted.method, fitted.why, fitted.chunk_rows,
    )  # fmt: skip
    rows = fitted.reference.predictions.take(np.arange(60))
    assert again.figures().estimate(rows) == fitted.figures().estimate(rows)


def test_a_file_of_something_else_is_refused(stream):
    arrays = fit(stream(0, 20, 30)).to_arrays()
    with pytest.raises(KeyError):
        FittedEstimation.from_arrays({name: a for name, a in arrays.items() if name != "labels"})
    told = arrays["told"].tobytes().replace(b'"CBPE"', b'"OTHR"')
    with pytest.raises(ValueError, match="there is no estimate OTHR"):
        FittedEstimation.from_arrays({**arrays, "told": np.frombuffer(told, np.uint8)})


def test_too_few_rows_are_told_with_what_to_do(stream):
    with pytest.raises(ValueError, match=r"400 held-out rows .* 500 are needed; profile with more"):
        fit(stream(0, 20, 20))


def test_one_class_and_constant_scores_are_told(stream):
    given = stream(0, 20, 30)
    scores = given.predictions.scores
    none = np.zeros(given.n, np.int64)
    with pytest.raises(ValueError, match="labels are all of class 0"):
        fit_estimation({}, Predictions(features={}, scores=scores), none, None, 100)
    flat = Predictions(features={}, scores=np.full_like(scores, 0.5))
    with pytest.raises(ValueError, match=r"the score of class 0 is 0\.5 in every row"):
        fit_estimation({}, flat, given.labels, None, 100)
