"""NaN, infinity and too large numbers that a model does not take are the client's fault."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, PolynomialFeatures

from serving.errors import InvalidInput, ModelFailed
from serving.models.formats.loader import load
from serving.protocol.datatypes import fp32_to_bf16

RANDOM = np.random.default_rng(0)
X = RANDOM.uniform(1, 2, size=(30, 3))
Y = X.sum(axis=1)
OUTPUT = {"name": "y", "datatype": "FP64", "shape": [-1]}
NAMES = [{"name": name} for name in ("age", "height", "weight")]
NAN, INF = "holds NaN (null in JSON)", "holds infinity"
LARGE = "holds a number that is too large"


def table(datatype="FP64", **more):
    return {"name": "x", "datatype": datatype, "shape": [-1, 3], **more}


def batch(rows, value, column=1, dtype=np.float64):
    array = np.full((rows, 3), 1.5, dtype)
    array[-1, column] = value
    return array


def refused(model, **inputs):
    with pytest.raises(InvalidInput) as error:
        model.predict(inputs)
    return error.value.message


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize(
    ("value", "says", "advice"),
    [
        (np.nan, NAN, "; send numbers"),
        (np.inf, INF, "; send finite numbers"),
        (-np.inf, INF, "; send finite numbers"),
    ],
)
def test_the_input_is_named(make_sklearn, rows, value, says, advice):
    model = load(make_sklearn(LinearRegression().fit(X, Y), [table()], [OUTPUT]), "cpu")
    for _ in range(2):  # found, and then remembered
        told = refused(model, x=batch(rows, value))
        assert told.startswith(f"model '{model._name}': input 'x' {says}")
        assert told.endswith(advice)
    assert model.predict({"x": batch(rows, 2.0)})["y"].shape == (rows,)


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "BF16"])
def test_every_floating_datatype(make_sklearn, datatype):
    model = load(make_sklearn(LinearRegression().fit(X, Y), [table(datatype)], [OUTPUT]), "cpu")
    for value, says in ((np.nan, NAN), (np.inf, INF)):
        array = batch(2, value, dtype=np.float16 if datatype == "FP16" else np.float32)
        assert says in refused(model, x=fp32_to_bf16(array) if datatype == "BF16" else array)


def test_numbers_that_are_too_large_for_the_estimator(make_sklearn):
    forest = RandomForestRegressor(3, random_state=0).fit(X, Y)
    model = load(make_sklearn(forest, [table()], [OUTPUT]), "cpu")
    assert f"input 'x' {LARGE}" in refused(model, x=batch(2, 1e300))


def test_squares_that_are_too_large(make_sklearn):
    squares = make_pipeline(PolynomialFeatures(2), LinearRegression()).fit(X, Y)
    model = load(make_sklearn(squares, [table("FP32")], [OUTPUT]), "cpu")
    assert LARGE in refused(model, x=batch(2, 1e30, dtype=np.float32))
    assert np.isfinite(model.predict({"x": batch(2, 1e3, dtype=np.float32)})["y"]).all()


@pytest.mark.parametrize("column", [0, 1, 2])
def test_the_column_is_named(make_sklearn, column):
    inputs = [table(features=NAMES)]
    model = load(make_sklearn(LinearRegression().fit(X, Y), inputs, [OUTPUT]), "cpu")
    told = refused(model, x=batch(3, np.nan, column))
    assert f"input 'x': column '{NAMES[column]['name']}' {NAN}" in told


def imputing(given):
    """An estimator that takes no missing height only."""
    frame = pd.DataFrame(given, columns=[each["name"] for each in NAMES])
    columns = make_column_transformer(
        (SimpleImputer(), ["age", "weight"]), ("passthrough", ["height"])
    )
    return make_pipeline(columns, LinearRegression()).fit(frame, Y)


def test_values_that_the_model_takes_are_not_blamed(make_sklearn):
    inputs = [{"name": each["name"], "datatype": "FP64", "shape": [-1]} for each in NAMES]
    model = load(make_sklearn(imputing(X), inputs, [OUTPUT]), "cpu")
    gaps = {"age": np.array([np.nan, 1]), "weight": np.array([np.nan, 1e30])}
    assert np.isfinite(model.predict({**gaps, "height": np.ones(2)})["y"]).all()
    for _ in range(2):
        told = refused(model, **gaps, height=np.array([1, np.nan]))
        assert f"input 'height' {NAN}" in told


def at_least_one(x):
    if (x < 1).any():
        raise ValueError("too small")
    return x


def test_another_fault_beside_nan_stays_the_models(make_sklearn):
    picky = make_pipeline(SimpleImputer(), FunctionTransformer(at_least_one), LinearRegression())
    entry = make_sklearn(picky.fit(X, Y), [table()], [OUTPUT])
    given = batch(2, np.nan)
    given[0, 0] = 0
    with pytest.raises(ModelFailed, match="ValueError: too small"):
        load(entry, "cpu").predict({"x": given})
