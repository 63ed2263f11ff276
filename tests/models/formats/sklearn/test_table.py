"""What an estimator gets of a model's inputs: a data frame, texts, or the one array."""

from pathlib import Path
from types import SimpleNamespace

import lightgbm
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from serving.config import ConfigError, ModelConfig
from serving.errors import InvalidInput
from serving.models.formats.sklearn.nesting import takes_text
from serving.models.formats.sklearn.table import table_maker
from serving.models.repository.folder import ModelEntry
from serving.protocol.datatypes import fp32_to_bf16

TEXTS = ["cheap pills", "win money", "meeting at noon", "lunch with the team"]
Y = ["spam", "spam", "ham", "ham"]
ASKED = ["money for a meeting", "", "Grüße aus Köln"]
GIVEN = np.array([text.encode() for text in ASKED], object)


def spec(name, datatype, shape, *features, **more):
    columns = {"features": [{"name": each} for each in features]} if features else {}
    return {"name": name, "datatype": datatype, "shape": shape, **columns, **more}


def sensitive(name="sex"):
    return spec(name, "BYTES", [-1], sensitive=True)


def maker(estimator, *inputs):
    outputs = [spec("y", "FP64", [-1])]
    config = {"format": "sklearn", "inputs": list(inputs), "outputs": outputs}
    entry = ModelEntry("m", "1", Path("/models/m/1"), ModelConfig.model_validate(config))
    return table_maker(entry, estimator)


def refused(estimator, *inputs):
    with pytest.raises(ConfigError) as caught:
        maker(estimator, *inputs)
    weights, _, why = caught.value.message.partition(": ")
    assert weights == "/models/m/1/model.skops"
    return why


def fitted(**known):
    """An estimator that tells what it was fitted on, and nothing else."""
    return SimpleNamespace(**known)


def of_columns(*names):
    return fitted(feature_names_in_=np.array(names, object), n_features_in_=len(names))


def texts(*values):
    return np.array([value.encode() for value in values], object)


# One array


@pytest.mark.parametrize("datatype", ["float32", "float64", "int64", "bool"])
def test_an_array_is_passed_on_as_it_is(datatype):
    kinds = {"float32": "FP32", "float64": "FP64", "int64": "INT64", "bool": "BOOL"}
    make = maker(fitted(n_features_in_=2), spec("x", kinds[datatype], [-1, 2]))
    given = np.zeros((3, 2), datatype)
    assert make({"x": given}) is given


def test_bf16_becomes_float32():
    make = maker(fitted(n_features_in_=2), spec("x", "BF16", [-1, 2]))
    values = np.array([[1.5, -2], [np.nan, 0]], np.float32)
    found = make({"x": fp32_to_bf16(values)})
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, values)


def test_bytes_of_several_columns_become_an_array_of_text():
    encoder = OneHotEncoder().fit(np.array([["a", "x"], ["b", "y"]], object))
    make = maker(encoder, spec("x", "BYTES", [-1, 2]))
    found = make({"x": texts("a", "y", "b", "x").reshape(2, 2)})
    assert found.tolist() == [["a", "y"], ["b", "x"]]
    assert encoder.transform(found).toarray().tolist() == [[1, 0, 0, 1], [0, 1, 1, 0]]


def test_sensitive_inputs_are_no_part_of_the_table():
    make = maker(fitted(n_features_in_=2), sensitive(), spec("x", "FP32", [-1, 2]))
    given = np.zeros((1, 2), np.float32)
    assert make({"x": given, "sex": texts("f")}) is given


@pytest.mark.parametrize("size", [3, -1])
def test_what_tells_no_number_of_columns_takes_any(size):
    make = maker(fitted(), spec("x", "FP32", [-1, size]))
    given = np.zeros((1, 3), np.float32)
    assert make({"x": given}) is given


@pytest.mark.parametrize("shape", [[-1, 3], [-1, 5], [-1, -1]])
def test_another_number_of_columns_is_refused(shape):
    assert refused(fitted(n_features_in_=4), spec("x", "FP32", shape)) == (
        f"the estimator was fitted on 4 columns, model.yaml declares input 'x' as {shape}"
    )


@pytest.mark.parametrize(
    "inputs",
    [
        [spec("x", "FP32", [-1])],
        [spec("x", "FP32", [-1, 2, 2])],
        [spec("x", "FP32", [-1, 2]), spec("z", "FP32", [-1, 2])],
    ],
)
@pytest.mark.parametrize(("known", "wanted"), [({"n_features_in_": 4}, 4), ({}, "k")])
def test_what_is_no_single_table_is_refused(inputs, known, wanted):
    assert refused(fitted(**known), *inputs) == (
        f"the estimator takes one table, so model.yaml must declare one input [-1, {wanted}] that "
        f"is not sensitive; fit it on a data frame to serve several"
    )


def test_texts_for_what_was_fitted_on_a_table_are_refused():
    why = refused(fitted(n_features_in_=1), spec("x", "BYTES", [-1]))
    assert why.startswith("the estimator takes one table, so model.yaml must declare one input [-1")


# Texts


@pytest.mark.parametrize("shape", [[-1], [-1, 1]])
def test_texts_are_an_array_of_rows(shape):
    make = maker(CountVectorizer(), spec("text", "BYTES", shape), sensitive())
    given = GIVEN.reshape(-1, *shape[1:])
    assert make({"text": given}).tolist() == ASKED
    assert make({"text": given[:0]}).shape == (0,)


class Lengths(FunctionTransformer):
    """Takes texts, and tells nothing of it."""

    def transform(self, texts):
        return np.array([[len(each)] for each in texts], float)


def test_what_tells_of_no_columns_gets_texts_where_they_are_declared():
    estimator = make_pipeline(Lengths(), Ridge()).fit(TEXTS, np.arange(4.0))
    assert not takes_text(estimator)
    make = maker(estimator, spec("text", "BYTES", [-1]))
    assert make({"text": GIVEN}).tolist() == ASKED


@pytest.mark.parametrize(
    "inputs",
    [
        [spec("text", "BYTES", [-1, 2])],
        [spec("text", "BYTES", [-1, -1])],
        [spec("text", "FP32", [-1])],
        [spec("text", "BYTES", [-1]), spec("more", "BYTES", [-1])],
    ],
)
def test_other_inputs_than_one_text_a_row_are_refused(inputs):
    estimator = make_pipeline(TfidfVectorizer(), LogisticRegression())
    assert refused(estimator, *inputs) == (
        "the estimator takes one text a row, so model.yaml must declare one input, of BYTES [-1] "
        "or [-1, 1], that is not sensitive"
    )


@pytest.mark.parametrize(
    ("estimator", "declared", "shape"),
    [
        (CountVectorizer(), spec("t", "BYTES", [-1]), (1,)),
        (fitted(n_features_in_=1), spec("t", "BYTES", [-1, 1]), (1, 1)),
        (of_columns("t"), spec("t", "BYTES", [-1]), (1,)),
    ],
    ids=["texts", "array", "frame"],
)
def test_bytes_that_are_no_text_are_the_clients_fault(estimator, declared, shape):
    make = maker(estimator, declared)
    with pytest.raises(
        InvalidInput, match=r"^input 't': holds bytes that are no text; send UTF-8$"
    ):
        make({"t": np.array([b"\xff"], object).reshape(shape)})


@pytest.mark.parametrize("reads", ["file", "filename"])
def test_a_client_cannot_choose_files(reads):
    reader = TfidfVectorizer(input=reads)
    columns = make_column_transformer((reader, "body"))
    for estimator in (reader, make_pipeline(reader, Ridge()), make_pipeline(columns, Ridge())):
        assert refused(estimator, spec("body", "BYTES", [-1])) == (
            "TfidfVectorizer reads the files that its input names, which clients may not choose; "
            "fit it on texts (`input='content'`)"
        )


def test_what_has_an_input_of_another_kind_reads_no_files():
    make = maker(fitted(input="filename", predict=None), spec("t", "BYTES", [-1]))
    assert make({"t": texts("/etc/passwd")}).tolist() == ["/etc/passwd"]


# A data frame


def test_columns_come_by_name_in_the_order_of_the_fit():
    make = maker(
        of_columns("size", "from", "body", "age"),
        spec("text", "BYTES", [-1, 2], "from", "body"),
        sensitive(),
        spec("n", "FP32", [-1, 2], "age", "size"),
    )
    given = {
        "text": texts("ann", "hi", "bob", "Grüße").reshape(2, 2),
        "n": np.array([[1, 2], [3, 4]], np.float32),
        "sex": texts("f", "m"),
    }
    found = make(given)
    assert list(found) == ["size", "from", "body", "age"]
    assert found.to_numpy().tolist() == [[2, "ann", "hi", 1], [4, "bob", "Grüße", 3]]
    assert found.dtypes["age"] == np.float32
    empty = make({name: array[:0] for name, array in given.items()})
    assert list(empty) == list(found)
    assert len(empty) == 0


@pytest.mark.parametrize(("one", "other"), [([-1], [-1, 1]), ([-1, 1], [-1])])
def test_an_input_of_one_column_may_be_called_like_it(one, other):
    make = maker(of_columns("b", "a"), spec("a", "FP64", one), spec("b", "INT64", other))
    given = {
        "a": np.array([1.0, 2.0]).reshape(-1, *one[1:]),
        "b": np.array([3, 4]).reshape(-1, *other[1:]),
    }
    assert make(given).to_dict("list") == {"b": [3, 4], "a": [1.0, 2.0]}


def test_names_of_features_are_before_that_of_the_input():
    make = maker(of_columns("a"), spec("x", "FP32", [-1, 1], "a"))
    assert make({"x": np.ones((1, 1), np.float32)}).to_dict("list") == {"a": [1.0]}
    assert "was fitted on the column 'x'" in refused(
        of_columns("x"), spec("x", "FP32", [-1, 1], "a")
    )


def test_bf16_columns_become_float32():
    make = maker(of_columns("b", "a"), spec("x", "BF16", [-1, 2], "a", "b"))
    found = make({"x": fp32_to_bf16(np.array([[1.5, -2]], np.float32))})
    assert found.to_dict("list") == {"b": [-2.0], "a": [1.5]}
    assert set(found.dtypes) == {np.dtype(np.float32)}


FP64 = ("FP64", [-1])


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        (
            [spec("x", "FP32", [-1, 4], "a", "b", "c", "z")],
            "was fitted on the column 'd', which no input in model.yaml has in `features`",
        ),
        (
            [spec("x", "FP32", [-1, 4])],
            "was fitted on the column 'a', which no input in model.yaml has in `features`",
        ),
        (
            [spec("x", "FP32", [-1, 4], *"abcd"), spec("c1", *FP64), spec("c2", *FP64)],
            "does not know the feature 'c1', which model.yaml declares",
        ),
        (
            [spec("x", "FP32", [-1, 4], *"abcd"), spec("n", "FP64", [-1, 3])],
            "takes columns by name, and input 'n' has no `features` that name its own",
        ),
        (
            [spec("x", "FP32", [-1, 4], *"abcd"), spec("y", "FP64", [-1, 1], "c")],
            "two inputs have the column 'c'",
        ),
        (
            [spec("x", "FP32", [-1, 4], *"abcd"), spec("b", *FP64)],
            "two inputs have the column 'b'",
        ),
    ],
)
def test_columns_that_are_not_those_of_the_fit_are_refused(inputs, says):
    assert refused(of_columns("a", "b", "c", "d"), *inputs).removeprefix("the estimator ") == says


def test_a_sensitive_input_gives_no_column():
    assert "was fitted on the column 'sex'" in refused(
        of_columns("a", "sex"), spec("a", *FP64), sensitive("sex")
    )


@pytest.fixture(scope="module")
def categorical():
    frame = pd.DataFrame({"n": np.arange(40.0), "kind": pd.Categorical(["car", "boat"] * 20)})
    return lightgbm.LGBMRegressor(n_estimators=1, verbose=-1).fit(frame, frame["n"])


def test_columns_of_categories_are_typed(categorical):
    make = maker(categorical, spec("w", "BYTES", [-1, 1], "kind"), spec("n", *FP64))
    found = make({"w": texts("boat", "car", "bus").reshape(3, 1), "n": np.zeros(3)})
    assert isinstance(found.dtypes["kind"], pd.CategoricalDtype)
    assert found["kind"].cat.codes.tolist() == [0, 1, -1]
    assert found.dtypes["n"] == np.float64


def test_a_category_that_is_refused_is_told_with_input_and_column():
    xgboost = pytest.importorskip("xgboost", reason="needs xgboost, from the group dev")
    frame = pd.DataFrame({"kind": pd.Categorical(["car", "boat"] * 10)})
    model = xgboost.XGBRegressor(n_estimators=1, enable_categorical=True).fit(frame, np.arange(20))
    make = maker(model, spec("w", "BYTES", [-1, 1], "kind"))
    with pytest.raises(InvalidInput, match=r"^input 'w': column 'kind' holds a value that the mod"):
        make({"w": texts("bus").reshape(1, 1)})


def test_a_column_of_texts_in_a_frame_stays_a_column():
    frame = pd.DataFrame({"body": TEXTS, "from": ["a", "b", "a", "b"], "size": np.arange(4.0)})
    columns = make_column_transformer(
        (TfidfVectorizer(), "body"), (OneHotEncoder(), ["from"]), remainder="passthrough"
    )
    estimator = make_pipeline(columns, LogisticRegression()).fit(frame, Y)
    assert not takes_text(estimator)
    make = maker(
        estimator,
        spec("text", "BYTES", [-1, 2], "from", "body"),
        spec("n", "FP64", [-1, 1], "size"),
    )
    words = frame[["from", "body"]].map(str.encode).to_numpy(object)
    found = make({"text": words, "n": frame[["size"]].to_numpy()})
    pd.testing.assert_frame_equal(found, frame, check_dtype=False)
    np.testing.assert_array_equal(estimator.predict_proba(found), estimator.predict_proba(frame))
