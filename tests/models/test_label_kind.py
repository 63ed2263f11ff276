import pytest

from serving.config import ModelConfig
from serving.models.label_kind import label_kind, label_measures

X = {"name": "x", "datatype": "FP32", "shape": [-1, 1]}


def configured(output, performance=None):
    return ModelConfig.model_validate({
        "format": "torch_export", "inputs": [X],
        "outputs": [{"name": "y", "datatype": "FP32", **output}],
        "monitors": {"performance": performance or {}},
    })  # fmt: skip


@pytest.mark.parametrize(
    ("output", "performance", "takes", "measures"),
    [
        ({"shape": [-1, 2]}, {}, "a class index from 0 to 1, or true or false", ["accuracy"]),
        (
            {"shape": [-1, 3], "classes": ["a", "b", "c"]},
            {},
            "a class name ('a', 'b', 'c') or a class index from 0 to 2",
            ["accuracy"],
        ),
        (
            {"shape": [-1], "datatype": "INT64"},
            {},
            "a class index, 0 or more, or true or false",
            ["accuracy"],
        ),
        (
            {"shape": [-1], "datatype": "BOOL"},
            {},
            "a class index from 0 to 1, or true or false",
            ["accuracy"],
        ),
        ({"shape": [-1]}, {}, "a number", ["mae", "rmse"]),
        ({"shape": [-1, 1]}, {}, "a number", ["mae", "rmse"]),
        ({"shape": [-1, 3]}, {"metric": "rmse"}, "a list of 3 numbers", ["mae", "rmse"]),
        (
            {"shape": [-1, 3]},
            {"metric": "mrr"},
            "a list of 3 relevances, each 0 or more, or the index of the chosen item, 0 to 2",
            ["mrr", "ndcg"],
        ),
    ],
)
def test_the_output_says_what_labels_are_and_how_they_score(output, performance, takes, measures):
    config = configured(output, performance)
    kind = label_kind(config)
    assert kind is not None
    assert kind.takes == takes
    assert [measure.name for measure in label_measures(config)] == measures


def test_text_takes_no_labels():
    config = configured({"shape": [-1], "datatype": "BYTES"})
    assert label_kind(config) is None
    assert label_measures(config) == ()
