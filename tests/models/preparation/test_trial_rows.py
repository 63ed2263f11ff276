"""The rows that a model is tried with: which sets there are, how they are told, what varies."""

import json
from pathlib import Path

import numpy as np
import pytest

from serving.config import ModelConfig
from serving.errors import InvalidInput
from serving.models.preparation.trial_rows import trial_rows
from serving.models.repository.folder import ModelEntry
from serving.protocol.datatypes import bf16_to_fp32, fp32_to_bf16

INTEGERS = {
    "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64,
    "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64,
}  # fmt: skip
FLOATS = {"FP16": np.float16, "FP32": np.float32, "FP64": np.float64}


def spec(datatype="FP32", columns=3, name="x", **more):
    return {"name": name, "datatype": datatype, "shape": [-1, columns], **more}


def tensor(data, datatype="FP32", name="x"):
    shape = list(np.shape(data))
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def binary(rows):
    """A request of floats that JSON does not have."""
    array = np.array(rows, np.float32)
    given = {"name": "x", "datatype": "FP32", "shape": list(array.shape)}
    head = json.dumps({"inputs": [{**given, "parameters": {"binary_data_size": array.nbytes}}]})
    return head.encode() + array.tobytes()


def entry_of(*inputs, example=None):
    config = {
        "format": "onnx",
        "inputs": list(inputs),
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1]}],
    }
    content = json.dumps({"inputs": example}).encode() if isinstance(example, list) else example
    return ModelEntry("m", "1", Path("/m/1"), ModelConfig.model_validate(config), content)


def trials(*inputs, rows=4, example=None):
    found = list(trial_rows(entry_of(*inputs, example=example), rows))
    for trial in found:
        for array in trial.inputs.values():
            assert len(array) >= 2
            same = all(repr(row) == repr(array[0]) for row in array)
            assert trial.differ or same
    return found


def told(found):
    return [(trial.what, trial.differ) for trial in found]


def made(*inputs, rows=4, example=None):
    """The rows that are made of the one there is."""
    (trial,) = [
        each for each in trials(*inputs, rows=rows, example=example) if " made of " in each.what
    ]
    return trial.inputs


COPIES = ("4 copies of the example", False)


def test_without_an_example_they_are_made_of_zeros():
    found = trials(spec())
    assert told(found) == [("4 rows made of zeros", True), ("4 copies of one row", False)]
    varied, copies = (trial.inputs["x"] for trial in found)
    assert varied[0].tolist() == [0, 0, 0]
    assert len(np.unique(varied)) == 1 + 3 * 3
    assert copies.tolist() == [[0, 0, 0]] * 4


def test_an_example_without_a_row_is_none():
    found = trials(spec(), example=[tensor(np.zeros((0, 3)).tolist()) | {"shape": [0, 3]}])
    assert told(found) == [("4 rows made of zeros", True), ("4 copies of one row", False)]


def test_one_row_of_an_example_is_varied_and_copied():
    found = trials(spec(), example=[tensor([[1, 2, 3]])])
    assert told(found) == [("4 rows made of the example", True), COPIES]
    for trial in found:
        assert trial.inputs["x"][0].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ([1, 2], [1, 2]),
        ([1, 1, 2, 1, 2, 3], [1, 2, 3]),
        ([5, 4, 3, 2, 1], [5, 4, 3, 2]),
        ([0.0, -0.0], [0.0, -0.0]),  # the model may tell them apart
        ([1, np.nan, np.nan], [1, np.nan]),
    ],
)
def test_rows_of_the_example_that_differ_come_first(given, taken):
    found = trials(spec(columns=1), example=binary([[value] for value in given]))
    assert told(found)[0] == (f"{len(taken)} rows of the example", True)
    np.testing.assert_array_equal(found[0].inputs["x"][:, 0], taken)
    assert told(found)[1:] == [("4 rows made of the example", True), COPIES]
    assert found[1].inputs["x"][0] == given[0]


def test_an_example_of_one_row_again_and_again_has_none_that_differ():
    found = trials(spec(), example=[tensor([[1, 2, 3]] * 3)])
    assert told(found) == [("4 rows made of the example", True), COPIES]


def test_rows_differ_if_one_input_does():
    example = [tensor([[1], [1], [1]]), tensor([["a"], ["b"], ["a"]], "BYTES", "t")]
    found = trials(spec(columns=1), spec("BYTES", 1, "t"), example=example)
    assert told(found)[0] == ("2 rows of the example", True)
    assert found[0].inputs["t"].tolist() == [[b"a"], [b"b"]]
    assert found[0].inputs["x"].tolist() == [[1], [1]]


@pytest.mark.parametrize("values", [["a", "b"], ["a", ""], ["a'", 'a"']])
def test_texts_of_an_example_are_told_apart(values):
    found = trials(spec("BYTES", 1), example=[tensor([[value] for value in values], "BYTES")])
    assert told(found) == [("2 rows of the example", True), COPIES]
    assert found[1].inputs["x"].tolist() == [[values[0].encode()]] * 4


@pytest.mark.parametrize("example", [False, True])
def test_sensitive_inputs_are_never_shown_to_the_model(example):
    sensitive = spec("BYTES", 1, "sex", sensitive=True)
    given = [tensor([[1, 2, 3], [4, 5, 6]]), tensor([["f"], ["m"]], "BYTES", "sex")]
    found = trials(spec(), sensitive, example=given if example else None)
    assert len(found) == 2 + example
    for trial in found:
        assert list(trial.inputs) == ["x"]


def test_only_sensitive_ones_differ():
    sensitive = spec("BYTES", 1, "sex", sensitive=True)
    given = [tensor([[1, 2, 3]] * 2), tensor([["f"], ["m"]], "BYTES", "sex")]
    found = trials(spec(), sensitive, example=given)
    assert told(found) == [("4 rows made of the example", True), COPIES]


def test_an_example_that_is_no_request_is_refused():
    entry = entry_of(spec())
    broken = ModelEntry(entry.name, entry.version, entry.directory, entry.config, b'{"inputs": 3}')
    with pytest.raises(InvalidInput):
        next(trial_rows(broken, 4))


def test_what_is_made_is_the_same_every_time():
    one, other = (made(spec(), example=[tensor([[1, 2, 3]])])["x"] for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_a_value_without_rows_is_the_same_in_all():
    limit = {"name": "limit", "datatype": "FP32", "shape": [1]}
    example = [tensor([[1, 2, 3]]), tensor([0.5], "FP32", "limit")]
    found = made(spec(), limit, example=example)
    assert found["limit"].tolist() == [[0.5]] * 4
    assert len(np.unique(found["x"], axis=0)) == 4


# Floating point


@pytest.mark.parametrize("datatype", FLOATS)
def test_numbers_move_around_those_of_the_example(datatype):
    given = [[100, -8, 0]]
    x = made(spec(datatype), rows=16, example=[tensor(given, datatype)])["x"]
    assert x.dtype == FLOATS[datatype]
    assert x.shape == (16, 3)
    assert x[0].tolist() == given[0]
    assert len(np.unique(x, axis=0)) == 16
    share = x[1:, :2] / np.array([100, -8], x.dtype)
    assert (abs(share - 1) < 1.5).all()
    assert 0.1 < (share - 1).std() < 0.5
    assert 0.5 < x[1:, 2].std() < 2  # of zero, as much as one


def test_bf16_is_moved_as_the_number_that_it_is():
    given = fp32_to_bf16(np.array([[100, -8, 0]], np.float32))
    x = made(spec("BF16"), rows=16, example=[tensor([100, -8, 0], "BF16") | {"shape": [1, 3]}])
    assert x["x"].dtype == np.uint16
    np.testing.assert_array_equal(x["x"][:1], given)
    values = bf16_to_fp32(x["x"])
    assert (abs(values[:, 0] / 100 - 1) < 1.5).all()
    assert len(np.unique(values, axis=0)) == 16


@pytest.mark.parametrize(
    "limits", [{"min": 1, "max": 2}, {"features": [{"name": n, "min": 1, "max": 2} for n in "abc"]}]
)
def test_numbers_stay_within_the_limits(limits):
    x = made(spec(**limits), rows=16, example=[tensor([[1, 2, 1]])])["x"]
    assert x.min() == 1
    assert x.max() == 2
    assert len(np.unique(x, axis=0)) > 8


def test_each_column_has_its_own_limits():
    features = [{"name": "a", "max": 10}, {"name": "b"}, {"name": "c", "min": -1}]
    x = made(spec(features=features), rows=16, example=[tensor([[10, 10, -1]])])["x"]
    assert x[:, 0].max() == 10
    assert x[:, 1].max() > 10
    assert x[:, 2].min() == -1


def test_limits_that_leave_one_value_leave_copies_only():
    found = trials(spec(min=2, max=2), example=[tensor([[2, 2, 2]])])
    assert told(found) == [COPIES]


@pytest.mark.parametrize("datatype", [*FLOATS, "BF16"])
@pytest.mark.parametrize("sign", [1, -1])
def test_what_the_datatype_does_not_hold_is_not_made(datatype, sign):
    largest = bf16_to_fp32(np.array([0x7F7F], np.uint16))[0]
    if datatype in FLOATS:
        largest = np.finfo(FLOATS[datatype]).max
    given = [sign * float(largest), 1.0, 0.0]
    x = made(spec(datatype), rows=16, example=[tensor(given, datatype) | {"shape": [1, 3]}])["x"]
    x = bf16_to_fp32(x) if datatype == "BF16" else x
    assert np.isfinite(x).all()
    assert len(np.unique(x[:, 0])) > 2


def test_what_is_not_finite_stays_so():
    x = made(spec(), example=binary([[np.nan, np.inf, 1]]))["x"]
    assert np.isnan(x[:, 0]).all()
    assert np.isposinf(x[:, 1]).all()
    assert len(np.unique(x[:, 2])) == 4


# Integers


@pytest.mark.parametrize("datatype", INTEGERS)
def test_indices_stay_at_or_below_those_of_the_example(datatype):
    most = int(np.iinfo(INTEGERS[datatype]).max)
    x = made(spec(datatype), rows=16, example=[tensor([[7, 0, most]], datatype)])["x"]
    assert x.dtype == INTEGERS[datatype]
    assert x[:5, 0].tolist() == [7, 6, 6, 4, 5]
    assert x[6:, 0].tolist() == [7, *[0] * 9]
    assert not x[:, 1].any()
    assert x[0, 2] == most
    assert x[:, 2].min() > most - 16


@pytest.mark.parametrize("datatype", ["INT8", "INT64"])
def test_a_negative_integer_stays(datatype):
    x = made(spec(datatype), example=[tensor([[-1, 7, -100]], datatype)])["x"]
    assert x.tolist() == [[-1, 7, -100], [-1, 6, -100], [-1, 6, -100], [-1, 4, -100]]


@pytest.mark.parametrize(
    "limits",
    [
        {"min": 5},
        {"features": [{"name": "a", "min": 5}, {"name": "b", "min": 5}, {"name": "c", "min": 5}]},
    ],
)
@pytest.mark.parametrize("datatype", ["INT64", "UINT64"])
def test_indices_stay_above_the_limit(limits, datatype):
    x = made(spec(datatype, **limits), rows=16, example=[tensor([[7, 5, 6]], datatype)])["x"]
    assert x.min() == 5
    assert x[:4].tolist() == [[7, 5, 6], [6, 5, 6], [6, 5, 6], [7, 5, 6]]


def test_one_column_may_have_a_limit_alone():
    features = [{"name": "a", "min": 1}, {"name": "b"}]
    x = made(spec("INT32", 2, features=features), rows=9, example=[tensor([[3, 3]], "INT32")])["x"]
    assert x[:, 0].min() == 2
    assert x[:, 1].min() == 0


@pytest.mark.parametrize("datatype", ["INT64", "UINT16"])
def test_of_integers_without_an_example_zero_and_one_are_sure(datatype):
    x = made(spec(datatype), rows=16)["x"]
    assert x[0].tolist() == [0, 0, 0]
    assert set(x.ravel().tolist()) == {0, 1}


@pytest.mark.parametrize("example", [None, [tensor([[7, 9, 200]], "UINT8")]])
def test_bytes_are_pixels(example):
    x = made(spec("UINT8"), rows=16, example=example)["x"]
    assert x.dtype == np.uint8
    assert x.max() > 200
    assert len(np.unique(x)) > 16


def test_bytes_with_names_are_indices():
    features = [{"name": "a"}, {"name": "b"}, {"name": "c"}]
    example = [tensor([[7, 9, 200]], "UINT8")]
    x = made(spec("UINT8", features=features), rows=16, example=example)["x"]
    assert (x <= [7, 9, 200]).all()


@pytest.mark.parametrize("example", [None, [tensor([[True, True, True]], "BOOL")]])
def test_truth_is_varied_both_ways(example):
    x = made(spec("BOOL"), rows=16, example=example)["x"]
    assert x.dtype == np.bool_
    assert x[0].tolist() == [example is not None] * 3
    assert 8 < x[1:].sum() < 37


def test_made_integers_stay_within_the_limits():
    x = made(spec("UINT8", min=10, max=12), rows=16, example=[tensor([[11, 11, 11]], "UINT8")])
    assert set(np.unique(x["x"])) <= {10, 11, 12}


# Text


def test_text_is_copied_only():
    assert told(trials(spec("BYTES"))) == [("4 copies of one row", False)]
    found = trials(spec("BYTES"), example=[tensor([["a", "b", "c"]], "BYTES")])
    assert told(found) == [COPIES]


@pytest.mark.parametrize("example", [None, [tensor([["b", "word"]], "BYTES")]])
def test_declared_categories_take_each_others_place(example):
    features = [{"name": "kind", "categories": ["a", "b", "c"]}, {"name": "free"}]
    x = made(spec("BYTES", 2, features=features), rows=5, example=example)["x"]
    free = b"" if example is None else b"word"
    first = b"a" if example is None else b"b"
    assert x.tolist() == [[each, free] for each in (first, b"b", b"c", b"a", b"b")]


def test_columns_of_categories_are_not_in_step():
    features = [{"name": n, "categories": ["a", "b", "c"]} for n in ("one", "two")]
    x = made(spec("BYTES", 2, features=features))["x"]
    assert x[1:].tolist() == [[b"b", b"c"], [b"c", b"a"], [b"a", b"b"]]


def test_one_category_is_no_choice():
    features = [{"name": "kind", "categories": ["Köln"]}]
    found = trials(spec("BYTES", 1, features=features))
    assert told(found) == [("4 copies of one row", False)]
    assert found[0].inputs["x"][0, 0] == "Köln".encode()
