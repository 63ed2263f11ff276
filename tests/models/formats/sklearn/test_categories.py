"""Columns of pandas' categories: a served answer is that of the library with the same frame."""

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    VotingClassifier,
)
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from serving.config import ConfigError
from serving.errors import InvalidInput
from serving.models.formats.loader import load

ROWS = 400
PURPOSES, GRADES = ["car", "home", "boat"], [3, 1, 20]


def raw_frame():
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "purpose": random.choice(PURPOSES, ROWS),
            "amount": random.normal(size=ROWS),
            "grade": random.choice(GRADES, ROWS),
            "town": random.choice(["a", "b"], ROWS),
        }
    )


def typed(frame, **categories):
    """As people make it: pandas sorts what it sees, unless it is told the order."""
    frame = frame.copy()
    for name in ("purpose", "grade", "town"):
        frame[name] = frame[name].astype(categories.get(name, "category"))
    return frame


RAW = raw_frame()
FRAME = typed(RAW)
Y = ((RAW.purpose == "car") ^ (RAW.grade == 20) ^ (RAW.town == "a") ^ (RAW.amount > 1)).astype(int)

INPUTS = [
    {"name": "words", "datatype": "BYTES", "shape": [-1, 2],
     "features": [{"name": "town", "categories": ["a", "b"]},
                  {"name": "purpose", "categories": PURPOSES}]},
    {"name": "amount", "datatype": "FP64", "shape": [-1, 1], "features": [{"name": "amount"}]},
    {"name": "grade", "datatype": "INT64", "shape": [-1, 1], "features": [{"name": "grade"}]},
]  # fmt: skip
OUTPUTS = [{"name": "p", "datatype": "FP64", "shape": [-1, 2]}]


def tensors(frame, grade="int64"):
    words = frame[["town", "purpose"]].map(str.encode).to_numpy(object)
    numbers = {"amount": frame[["amount"]].to_numpy(), "grade": frame[["grade"]].to_numpy(grade)}
    return {"words": words, **numbers}


def lgbm(**more):
    return lightgbm.LGBMClassifier(n_estimators=20, min_child_samples=5, verbose=-1, **more)


def xgb(**more):
    return xgboost.XGBClassifier(n_estimators=20, enable_categorical=True, **more)


def hist():
    return HistGradientBoostingClassifier(max_iter=20)


def passing(estimator, verbose):
    columns = make_column_transformer(
        (StandardScaler(), ["amount"]), remainder="passthrough", verbose_feature_names_out=verbose
    )
    return make_pipeline(columns.set_output(transform="pandas"), estimator)


MADE = {
    "lightgbm": lgbm,
    "lightgbm behind named columns": lambda: passing(lgbm(), True),
    "lightgbm behind other columns": lambda: passing(lgbm(), False),
    "lightgbm of a search": lambda: GridSearchCV(lgbm(), {"num_leaves": [5, 31]}, cv=2),
    "lightgbm calibrated": lambda: CalibratedClassifierCV(lgbm(), cv=2),
    "xgboost": xgb,
    "xgboost behind named columns": lambda: passing(xgb(), True),
    "histograms": hist,
    "all of them": lambda: VotingClassifier(
        [("l", lgbm()), ("x", xgb()), ("h", hist())], voting="soft"
    ),
}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_categories_are_those_of_the_fit(make_sklearn, make):
    estimator = make().fit(FRAME, Y)
    expected = estimator.predict_proba(FRAME)
    assert len(np.unique(expected[:, 1])) > 5
    model = load(make_sklearn(estimator, INPUTS, OUTPUTS), "cpu")
    np.testing.assert_array_equal(model.predict(tensors(RAW))["p"], expected)
    # A batch that has one category only, which `astype("category")` would give the code 0.
    for row in range(5):
        found = model.predict(tensors(RAW[row : row + 1]))["p"]
        np.testing.assert_array_equal(found, expected[row : row + 1])


@pytest.mark.parametrize("make", [lgbm, hist])
def test_a_category_that_was_never_seen_is_what_the_library_makes_of_it(make_sklearn, make):
    estimator = make().fit(FRAME, Y)
    model = load(make_sklearn(estimator, INPUTS, OUTPUTS), "cpu")
    strange = RAW.copy()
    strange.loc[:9, "purpose"] = "plane"
    strange.loc[10:19, "purpose"] = ""
    strange.loc[20:29, "grade"] = 7
    found = model.predict(tensors(strange))["p"]
    np.testing.assert_array_equal(found, estimator.predict_proba(typed(strange)))


def test_xgboost_refuses_a_category_that_was_never_seen(make_sklearn):
    estimator = xgb().fit(FRAME, Y)
    model = load(make_sklearn(estimator, INPUTS, OUTPUTS), "cpu")
    strange = RAW[:3].copy()
    strange.loc[1, "purpose"] = "plane"
    with pytest.raises(xgboost.core.XGBoostError, match="not in the training set"):
        estimator.predict_proba(typed(strange))
    says = "input 'words': column 'purpose' holds a value .* send one of 'boat', 'car', 'home'"
    with pytest.raises(InvalidInput, match=says):
        model.predict(tensors(strange))
    np.testing.assert_array_equal(
        model.predict(tensors(RAW[:3]))["p"], estimator.predict_proba(FRAME[:3])
    )


@pytest.mark.parametrize("make", [lgbm, xgb, hist])
def test_missing_numbers_and_floats_are_the_categories_they_are(make_sklearn, make):
    estimator = make().fit(FRAME, Y)
    inputs = [*INPUTS[:2], {**INPUTS[2], "datatype": "FP32"}]
    model = load(make_sklearn(estimator, inputs, OUTPUTS), "cpu")
    holes = RAW.astype({"grade": "float64"})
    holes.loc[:9, "grade"] = np.nan
    directly = typed(holes.astype({"grade": "Int64"}), grade=FRAME["grade"].dtype)
    found = model.predict(tensors(holes, "float32"))["p"]
    np.testing.assert_array_equal(found, estimator.predict_proba(directly))


def test_names_with_blanks_behind_other_steps(make_sklearn):
    frame = FRAME.rename(columns={"purpose": "the purpose"})
    estimator = passing(lgbm(), True).fit(frame, Y)
    words = {**INPUTS[0], "features": [{"name": "town"}, {"name": "the purpose"}]}
    model = load(make_sklearn(estimator, [words, *INPUTS[1:]], OUTPUTS), "cpu")
    np.testing.assert_array_equal(model.predict(tensors(RAW))["p"], estimator.predict_proba(frame))


ORDERED = pd.CategoricalDtype(["home", "car", "boat"], ordered=True)


def test_ordered_categories_are_numbers_in_their_order(make_sklearn):
    frame = typed(RAW, purpose=ORDERED)
    estimator = lgbm().fit(frame, Y)
    model = load(make_sklearn(estimator, INPUTS, OUTPUTS), "cpu")
    np.testing.assert_array_equal(model.predict(tensors(RAW))["p"], estimator.predict_proba(frame))


def test_integers_that_are_treated_as_categories_stay_numbers(make_sklearn):
    frame = FRAME.astype({"grade": "int64"})
    estimator = lgbm().fit(frame, Y, categorical_feature=["grade", "purpose", "town"])
    model = load(make_sklearn(estimator, INPUTS, OUTPUTS), "cpu")
    np.testing.assert_array_equal(model.predict(tensors(RAW))["p"], estimator.predict_proba(frame))


def test_columns_that_cannot_be_told_are_refused(make_sklearn):
    grades = pd.CategoricalDtype(sorted(GRADES), ordered=True)
    estimator = lgbm().fit(typed(RAW, grade=grades), Y)
    with pytest.raises(ConfigError, match="does not tell for sure which these are"):
        load(make_sklearn(estimator, INPUTS, OUTPUTS), "cpu")


@pytest.mark.parametrize("make", [xgb, hist])
@pytest.mark.parametrize(
    ("datatypes", "says"),
    [
        ({"words": "FP64"}, r"column '(town|purpose)' are .*so its input must be of BYTES"),
        ({"grade": "BYTES"}, r"column 'grade' are 1, 3, 20, so its input must be of numbers"),
    ],
)
def test_another_kind_than_the_categories_is_refused(make_sklearn, make, datatypes, says):
    features = [{"name": "town"}, {"name": "purpose"}]
    inputs = [{**INPUTS[0], "features": features}, *INPUTS[1:]]
    inputs = [
        {**each, "datatype": datatypes.get(each["name"], each["datatype"])} for each in inputs
    ]
    with pytest.raises(ConfigError, match=says):
        load(make_sklearn(make().fit(FRAME, Y), inputs, OUTPUTS), "cpu")


def test_text_of_lightgbm_that_is_declared_as_numbers_is_refused(make_sklearn):
    inputs = [
        {**INPUTS[0], "datatype": "FP64", "features": [{"name": "town"}, {"name": "purpose"}]}
    ]
    with pytest.raises(ConfigError, match="declare those of text as BYTES"):
        load(make_sklearn(lgbm().fit(FRAME, Y), [*inputs, *INPUTS[1:]], OUTPUTS), "cpu")


def test_floats_as_categories_need_all_their_digits(make_sklearn):
    frame = pd.DataFrame({"rate": np.array([0.1, 0.2, 0.7] * 100), "n": np.arange(300.0)})
    y = (frame.rate == 0.2).astype(int)
    rates = frame.assign(rate=frame.rate.astype("category"))
    estimator = lgbm().fit(rates, y)
    features = [{"name": "rate"}, {"name": "n"}]
    table = {"name": "x", "datatype": "FP64", "shape": [-1, 2], "features": features}
    model = load(make_sklearn(estimator, [table], OUTPUTS), "cpu")
    np.testing.assert_array_equal(
        model.predict({"x": frame.to_numpy()})["p"], estimator.predict_proba(rates)
    )
    with pytest.raises(ConfigError, match=r"are 0\.1, 0\.2, 0\.7, so its input must be of FP64"):
        load(make_sklearn(estimator, [{**table, "datatype": "FP32"}], OUTPUTS, "narrow"), "cpu")


def test_a_model_of_an_older_xgboost_is_refused(make_sklearn, monkeypatch):
    estimator = xgb().fit(FRAME, Y)
    entry = make_sklearn(estimator, INPUTS, OUTPUTS)
    monkeypatch.delattr(xgboost.Booster, "get_categories")
    with pytest.raises(ConfigError, match=r"fit it with XGBoost 3\.1 or newer"):
        load(entry, "cpu")


def test_two_estimators_may_have_the_categories_in_another_order(make_sklearn):
    fitted = [
        each.fit(typed(RAW, purpose=order), Y)
        for each, order in (
            (xgb(), pd.CategoricalDtype(PURPOSES)),
            (lgbm(), "category"),
            (hist(), "category"),
        )
    ]
    vote = VotingClassifier([("x", xgb()), ("l", lgbm()), ("h", hist())], voting="soft")
    vote.fit(FRAME, Y).estimators_ = fitted
    model = load(make_sklearn(vote, INPUTS, OUTPUTS), "cpu")
    found = model.predict(tensors(RAW))["p"]
    np.testing.assert_array_equal(found, vote.predict_proba(FRAME))


def test_two_estimators_of_other_categories_are_refused(make_sklearn):
    vote = VotingClassifier([("x", xgb()), ("y", xgb())], voting="soft").fit(FRAME, Y)
    other = typed(RAW.replace("boat", "ship"))
    vote.estimators_[1] = xgb().fit(other, Y)
    with pytest.raises(ConfigError, match="different categories of the column 'purpose'"):
        load(make_sklearn(vote, INPUTS, OUTPUTS), "cpu")


@pytest.mark.parametrize("make", [lightgbm.LGBMRegressor, HistGradientBoostingRegressor])
def test_regressors_alike(make_sklearn, make):
    options = {"verbose": -1} if make is lightgbm.LGBMRegressor else {}
    estimator = make(**options).fit(FRAME, RAW.amount + Y)
    output = [{"name": "y", "datatype": "FP64", "shape": [-1]}]
    model = load(make_sklearn(estimator, INPUTS, output), "cpu")
    np.testing.assert_array_equal(model.predict(tensors(RAW))["y"], estimator.predict(FRAME))


@pytest.mark.parametrize("make", [lgbm, lambda: xgboost.XGBClassifier(n_estimators=5)])
def test_without_a_frame_there_are_no_categories(make_sklearn, make):
    table = RAW[["amount", "grade"]].to_numpy(float)
    estimator = make().fit(table, Y)
    inputs = [{"name": "x", "datatype": "FP64", "shape": [-1, 2]}]
    outputs = [*OUTPUTS, {"name": "label", "datatype": "INT64", "shape": [-1]}]
    found = load(make_sklearn(estimator, inputs, outputs), "cpu").predict({"x": table})
    np.testing.assert_array_equal(found["p"], estimator.predict_proba(table))
    np.testing.assert_array_equal(found["label"], estimator.predict(table))
