import numpy as np

from serving.config import ModelConfig
from serving.models.profile.columns import fixed_columns, input_columns


def config_of(*inputs):
    return ModelConfig.model_validate(
        {
            "format": "torch_export",
            "inputs": inputs,
            "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 1]}],
        }
    )


def columns_of(arrays, *inputs):
    return input_columns(arrays, config_of(*inputs))


def tensor(name, shape, datatype="FP32", **more):
    return {"name": name, "datatype": datatype, "shape": shape, **more}


def test_named_features():
    spec = tensor("t", [-1, 2], features=[{"name": "a"}, {"name": "b"}])
    columns = columns_of({"t": np.array([[1, 2], [3, 4]], np.float32)}, spec)
    assert {name: list(column) for name, column in columns.items()} == {"a": [1, 3], "b": [2, 4]}


def test_numbers_of_a_column_lie_side_by_side():
    array = np.arange(6, dtype=np.float32).reshape(3, 2)
    specs = tensor("t", [-1, 2], features=[{"name": "a"}, {"name": "b"}]), tensor("u", [-1, 2])
    columns = columns_of({"t": array, "u": array}, *specs)
    assert [column.tolist() for column in columns.values()] == [[0, 2, 4], [1, 3, 5]] * 2
    assert all(column.flags.c_contiguous for column in columns.values())


def test_features_of_the_same_name_are_told_apart():
    specs = [tensor(n, [-1, 1], features=[{"name": "a"}]) for n in ("s", "t")]
    array = np.zeros((1, 1), np.float32)
    assert list(columns_of({"s": array, "t": array}, *specs)) == ["s.a", "t.a"]


def test_elements_of_a_small_input():
    array = np.arange(8, dtype=np.float32).reshape(2, 1, 2, 2)
    columns = columns_of({"i": array}, tensor("i", [-1, 1, 2, 2]))
    assert list(columns) == ["i[0,0,0]", "i[0,0,1]", "i[0,1,0]", "i[0,1,1]"]
    assert list(columns["i[0,1,0]"]) == [2, 6]


def test_large_inputs_are_summarised():
    array = np.stack([np.zeros((3, 100)), np.full((3, 100), 2.0)]).astype(np.float32)
    columns = columns_of({"i": array}, tensor("i", [-1, 3, 100]))
    assert {name: list(column) for name, column in columns.items()} == {
        "i.mean": [0, 2],
        "i.std": [0, 0],
    }


def test_vectors_bfloat16_sensitive_and_missing_inputs():
    arrays = {"v": np.array([0x3F80], np.uint16), "sex": np.array([b"F"], object)}
    columns = columns_of(
        arrays,
        tensor("v", [-1], "BF16"),
        tensor("sex", [-1], "BYTES", sensitive=True),
        tensor("absent", [-1]),
    )
    assert {name: list(column) for name, column in columns.items()} == {"v": [1.0]}


def test_no_rows():
    columns = columns_of({"i": np.zeros((0, 2), np.float32)}, tensor("i", [-1, 2]))
    assert {name: len(column) for name, column in columns.items()} == {"i[0]": 0, "i[1]": 0}


def test_columns_that_every_request_has():
    config = config_of(
        tensor("x", [-1, 2]),
        tensor("any", [-1, -1]),
        tensor("wide", [-1, 300]),
        tensor("text", [-1], "BYTES"),
        tensor("sex", [-1, 1], "BYTES", sensitive=True),
    )
    assert fixed_columns(config) == {"x[0]", "x[1]", "wide.mean", "wide.std", "text"}
