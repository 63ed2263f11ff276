from pathlib import Path

import pytest

from serving.config import ConfigError
from serving.models.signature import (
    MOST_TENSORS,
    Signature,
    Tensor,
    declared,
    is_features,
    placeholders,
)

PATH = Path("model.any")
X = Tensor("x", "FP32", [None, 3])


def inputs(*tensors: Tensor, **more) -> list[dict]:
    return declared(PATH, "inputs", Signature(list(tensors), []), **more)


def test_a_free_first_axis_is_the_row():
    named = X._replace(more={"features": [{"name": "a"}]})
    assert inputs(named) == [
        {"name": "x", "datatype": "FP32", "shape": [-1, 3], "features": [{"name": "a"}]}
    ]


@pytest.mark.parametrize("shape", [[], [2], [2, 3]])
def test_beside_rows_an_input_without_a_free_axis_has_none(shape):
    _, other = inputs(X, Tensor("t", "INT64", shape))
    assert (other["shape"], other["rowless"]) == ([-1, *shape], True)


@pytest.mark.parametrize("shape", [[], [2, 3]])
def test_without_any_row_the_mend_is_told(shape):
    with pytest.raises(ConfigError, match=r"fixed number of rows.*`batching: \{row_axis: false\}`"):
        inputs(X._replace(shape=shape))
    (found,) = inputs(X._replace(shape=shape), row_axis=False)
    assert found == {"name": "x", "datatype": "FP32", "shape": [-1, *shape]}


def test_rows_of_outputs_may_be_no_more_than_an_example():
    outputs = [Tensor("y", "FP32", [2, 5])]
    assert declared(PATH, "outputs", Signature([X], outputs, output_rows_told=False)) == [
        {"name": "y", "datatype": "FP32", "shape": [-1, 5]}
    ]
    with pytest.raises(ConfigError, match="output 'y' has a fixed number of rows"):
        declared(PATH, "outputs", Signature([X], outputs))


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ([], "has 0 inputs, and 1 to 256 can be served; declare `inputs`"),
        ([X] * (MOST_TENSORS + 1), "has 257 inputs"),
        ([X, X], "two of its inputs have one name"),
        ([X._replace(name="")], "a name has 1 to 256 characters"),
        ([X._replace(name="x" * 257)], "a name has 1 to 256 characters"),
        ([X._replace(datatype=None)], "input 'x' is no tensor that can be served"),
        ([X._replace(shape=None)], "input 'x' tells no shape; declare `inputs`"),
        ([X._replace(shape=[None] * 33)], "a shape that no tensor has"),
        ([X._replace(shape=[None, -2])], "a shape that no tensor has"),
        ([X._replace(shape=[None, 1 << 48])], "a shape that no tensor has"),
    ],
)
def test_what_cannot_be_declared_is_one_sentence(tensors, says):
    with pytest.raises(ConfigError, match=f"^model.any: .*{says}"):
        inputs(*tensors)


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        (Tensor("features", "FP32", [None, 8]), True),
        (Tensor("features", "INT64", [None, 8]), False),
        (Tensor("features", "FP32", [None]), False),
        (Tensor("features", "FP32", None), False),
        (Tensor("y", "FP32", [None, 8]), False),
    ],
)
def test_features_are_a_table_of_that_name(tensor, expected):
    assert is_features(tensor) is expected


def test_outputs_without_names_are_numbered_where_they_are_several():
    assert placeholders(1) == ("output",)
    assert placeholders(3) == ("output_0", "output_1", "output_2")
