"""Tensors that went into the log come out of it as they were."""

from __future__ import annotations

from uuid import UUID

import numpy as np
import pytest

from serving.config import ModelConfig
from serving.errors import NoLongerThere
from serving.log.columns import free_name
from serving.log.logged_request import logged_inputs, logged_outputs, one_request
from serving.log.rows import ModelLog


def config_of(inputs, outputs=({"name": "y", "datatype": "FP32", "shape": [-1, 2]},), **more):
    described = {"format": "torch_export", "inputs": list(inputs), "outputs": list(outputs)}
    return ModelConfig.model_validate(described | more)


def spec(name, datatype, *shape, **more):
    return {"name": name, "datatype": datatype, "shape": list(shape), **more}


TENSORS = {
    "numbers": (spec("a", "FP32", -1, 2, features=[{"name": "age"}, {"name": "debt"}]),
                np.array([[1, np.nan], [-np.inf, 3]], np.float32)),
    "one feature": (spec("a", "INT64", -1, 1, features=[{"name": "n"}]),
                    np.array([[2**62 + 1], [-1]])),
    "vector": (spec("a", "FP64", -1), np.array([0.1, np.inf])),
    "column": (spec("a", "UINT8", -1, 1), np.array([[255], [0]], np.uint8)),
    "free column": (spec("a", "BOOL", -1, -1), np.array([[True], [False]])),
    "image": (spec("a", "FP32", -1, 2, 3, 4),
              np.arange(48, dtype=np.float32).reshape(2, 2, 3, 4)),
    "no elements": (spec("a", "FP32", -1, -1, 3), np.zeros((2, 0, 3), np.float32)),
    "half": (spec("a", "FP16", -1, 2), np.array([[1, 0.1], [65504, 6e-8]], np.float16)),
    "text": (spec("a", "BYTES", -1, 2),
             np.array([[b"car", b""], ["größe".encode(), b"x"]], object)),
    "bytes": (spec("a", "BYTES", -1), np.array([b"\xff\x00", b"x"], object)),
    "bits": (spec("a", "BF16", -1, 2), np.array([[0x3F80, 1], [0x7FC0, 0xFF80]], np.uint16)),
}  # fmt: skip


@pytest.mark.parametrize(("described", "array"), TENSORS.values(), ids=TENSORS.keys())
def test_a_tensor_comes_back_bit_by_bit(log, rows, described, array):
    features = [each["name"] for each in described.get("features", [])]
    names = {"a": features} if features else {}
    writer = log.writer(models={"m": ModelLog(features=names)})
    writer.offer(rows(2, inputs={"a": array}))
    writer.close()
    table = one_request(log.reader().find_tables("m", "r0"), "r0")
    [tensor] = logged_inputs(table, config_of([described]))
    assert (tensor.name, tensor.datatype, tensor.shape) == ("a", described["datatype"], array.shape)
    assert tensor.data.dtype == array.dtype
    if array.dtype == object:
        assert tensor.data.tolist() == array.tolist()
    else:
        assert tensor.data.tobytes() == array.tobytes()


def test_widened_bits_come_back_as_bits(log, rows):
    writer = log.writer()
    writer.offer(rows(1, inputs={"a": np.array([[1.0, -2.5]], np.float32)}))
    writer.close()
    table = log.reader().find_tables("m", "r0")[0]
    [tensor] = logged_inputs(table, config_of([spec("a", "BF16", -1, 2)]))
    assert tensor.data.tolist() == [[0x3F80, 0xC020]]


def test_tensors_with_features_of_one_name_are_told_apart(log, rows):
    one, other = np.array([[1.0, 2.0]], np.float32), np.array([[3.0, 4.0]], np.float32)
    names = {"a": ["n", "m"], "b": ["n", "m"]}
    writer = log.writer(models={"m": ModelLog(features=names)})
    writer.offer(rows(1, inputs={"a": one, "b": other}))
    writer.close()
    features = [{"name": "n"}, {"name": "m"}]
    described = [spec(each, "FP32", -1, 2, features=features) for each in "ab"]
    table = log.reader().find_tables("m", "r0")[0]
    first, second = logged_inputs(table, config_of(described))
    assert (first.data.tolist(), second.data.tolist()) == (one.tolist(), other.tolist())


@pytest.mark.parametrize(
    ("taken", "name"),
    [((), "x"), (("y",), "x"), (("x",), "a_x"), (("x", "a_x"), "a_x_2"),
     (("x", "a_x", "a_x_2", "a_x_4"), "a_x_3"), (("a_x",), "x")],
)  # fmt: skip
def test_a_name_that_is_taken_gets_the_tensors_before_it_and_then_a_number(taken, name):
    assert free_name(taken, "x", "a") == name


def test_outputs_come_back_by_class_or_as_lists(log, rows):
    outputs = {"y": np.array([[0.25, 0.75]], np.float32), "z": np.array([7], np.int64)}
    described = [spec("y", "FP32", -1, 2, classes=["no", "yes"]), spec("z", "INT64", -1)]
    for names in ({"y": ["no", "yes"]}, {}):
        writer = log.writer(models={"m": ModelLog(features=names)})
        given = rows(1, outputs=outputs)
        writer.offer(given)
        writer.close()
        ident = given.requests.client_ids[0]
        config = config_of([spec("x", "FP32", -1)], described)
        found = logged_outputs(log.reader().find_tables("m", ident)[0], config)
        assert [each.data.tolist() for each in found] == [[[0.25, 0.75]], [7]]


def test_models_without_rows_get_tensors_without_their_axis(log, rows):
    writer = log.writer()
    writer.offer(rows(1, inputs={"a": np.array([[1.0, 2.0]], np.float32)}))
    writer.close()
    config = config_of([spec("a", "FP32", -1, 2)], batching={"row_axis": False})
    [tensor] = logged_inputs(log.reader().find_tables("m", "r0")[0], config)
    assert (tensor.shape, tensor.data.tolist()) == ((2,), [1.0, 2.0])


def test_what_was_not_captured_is_gone(log, rows):
    writer = log.writer(models={"m": ModelLog("features")})
    writer.offer(rows(1, inputs={"a": np.ones((1, 4), np.float32)}))
    writer.close()
    with pytest.raises(NoLongerThere, match="input 'a' of model 'm' was not captured"):
        logged_inputs(log.reader().find_tables("m", "r0")[0], config_of([spec("a", "FP32", -1, 4)]))


def test_of_two_requests_with_one_id_the_last_is_meant(log, rows, small):
    writer = log.writer(limits=small(max_rows=1))
    for time, value in ((200.0, 1), (100.0, 2)):
        writer.offer(
            rows(
                1, 2, 1, time=time,
                inputs={"x": np.full(4, value, np.float32)},
                requests={"client_ids": ["other", "same", "other"]},
            )
        )  # fmt: skip
    writer.close()
    tables = log.reader().find_tables("m", "same")
    assert sum(table.num_rows for table in tables) == 4
    found = one_request(tables, "same")
    assert found["in_x"].to_pylist() == [1, 1]
    assert found["row"].to_pylist() == [1, 2]
    batch = str(UUID(bytes=found["id"][0].as_py()))
    assert one_request(log.reader().find_tables("m", batch), batch).num_rows == 4
