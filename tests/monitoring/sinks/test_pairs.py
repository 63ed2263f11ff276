"""Messages of events written as KServe's pairs."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from serving.channel.messages.observation import (
    BatchColumns,
    EventMeta,
    Position,
    RequestColumns,
)
from serving.config import ModelConfig
from serving.errors import InvalidInput
from serving.monitoring.sinks.pairs import pairs
from serving.protocol.cloudevents import REQUEST, RESPONSE
from serving.protocol.messages import Tensor

CONFIG: dict[str, Any] = {
    "format": "torch_export",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1]}],
}
X = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
TENSORS = [
    Tensor("in:x", "FP32", (3, 2), X),
    Tensor("out:y", "FP32", (3,), np.array([1, np.nan, 3], np.float32)),
]
IDS = bytes(range(16)) + bytes(range(16, 32))


def message(**changed: Any) -> EventMeta:
    known: dict[str, Any] = {
        "position": Position("g", 7, 3, 0, 0), "model": "m", "version": "2", "timestamp": 50.0,
        "ids": ["a", "b"], "rows": [2, 1], "sensitive": {"sex": ["f", "m", None]},
    }  # fmt: skip
    return EventMeta(**{**known, **changed})


def read(event: Any) -> Any:
    return json.loads(event.data)


def config(**changed: Any) -> ModelConfig:
    return ModelConfig.model_validate({**CONFIG, **changed})


def test_each_request_is_a_pair_with_one_id_and_its_own_rows() -> None:
    [(asked, answered), (second, third)] = pairs(message(), TENSORS, config())
    assert (asked.type, answered.type, asked.id) == (REQUEST, RESPONSE, answered.id)
    assert second.id == third.id != asked.id
    assert asked.extensions == {"inferenceservicename": "m", "component": "predictor"}
    assert read(asked) == {
        "id": "a",
        "inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]}],
    }
    assert read(answered) == {
        "model_name": "m",
        "model_version": "2",
        "id": "a",
        "outputs": [{"name": "y", "shape": [2], "datatype": "FP32", "data": [1, None]}],
    }
    assert read(second)["inputs"][0]["data"] == [5, 6]
    assert read(third)["outputs"][0]["data"] == [3]


def test_sensitive_attributes_stay_here() -> None:
    for pair in pairs(message(), TENSORS, config()):
        for event in pair:
            assert b"sex" not in event.data
            assert "sex" not in str(event.extensions)


def test_what_the_log_is_told_makes_ids_and_times() -> None:
    batches = BatchColumns(IDS, [1, 1], [10.0, 20.0], [0, 0], [0, 0])
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    requests = RequestColumns([4, 0], [0.0, 0.0], [0.5, 0.25], traces={1: trace})
    found = list(pairs(message(batches=batches, requests=requests), TENSORS, config()))
    assert found[0][0].id == "00010203-0405-0607-0809-0a0b0c0d0e0f:4"
    assert found[1][0].id == "10111213-1415-1617-1819-1a1b1c1d1e1f:0"
    assert [(asked.time, answered.time) for asked, answered in found] == [
        (9.5, 10.0),
        (19.75, 20.0),
    ]
    assert "traceparent" not in found[0][0].extensions
    assert found[1][1].extensions["traceparent"] == trace


def test_a_message_that_comes_again_has_the_same_ids() -> None:
    first, again = ([pair[0].id for pair in pairs(message(), TENSORS, config())] for _ in range(2))
    assert first == again == ["g-7-3-0", "g-7-3-1"]


def test_the_version_is_that_of_whoever_answered() -> None:
    [(_, answered), _] = pairs(message(upstream="v9"), TENSORS, config())
    assert read(answered)["model_version"] == "v9"


def test_a_model_without_a_row_axis_is_written_as_its_clients_write() -> None:
    without = config(batching={"row_axis": False})
    tensors = [
        Tensor("in:x", "FP32", (1, 2), X[:1]),
        Tensor("out:y", "FP32", (1,), np.array([1], np.float32)),
    ]
    [(asked, answered)] = pairs(message(ids=["a"], rows=[1], sensitive={}), tensors, without)
    assert read(asked)["inputs"][0]["shape"] == [2]
    assert read(answered)["outputs"][0] == {
        "name": "y",
        "shape": [],
        "datatype": "FP32",
        "data": [1],
    }


def test_an_input_without_rows_is_written_once() -> None:
    inputs = [*CONFIG["inputs"], {"name": "scale", "datatype": "FP32", "shape": [1]}]
    scale = np.broadcast_to(np.array([9], np.float32), (3, 1))
    tensors = [*TENSORS, Tensor("in:scale", "FP32", (3, 1), scale)]
    for asked, _ in pairs(message(), tensors, config(inputs=inputs)):
        written = read(asked)["inputs"][1]
        assert (written["shape"], written["data"]) == ([1], [9])


def test_bytes_that_are_no_text_are_base64() -> None:
    inputs = [{"name": "x", "datatype": "BYTES", "shape": [-1]}]
    values = np.array([b"ab", b"\xff", b""], np.object_)
    tensors = [Tensor("in:x", "BYTES", (3,), values), TENSORS[1]]
    [(first, _), (second, _)] = pairs(message(rows=[1, 2]), tensors, config(inputs=inputs))
    assert read(first)["inputs"][0]["data"] == ["ab"]
    assert read(second)["inputs"][0]["parameters"] == {"content_type": "base64"}
    assert read(second)["inputs"][0]["data"] == ["/w==", ""]


@pytest.mark.parametrize("kept", [0, 1])
def test_a_message_without_all_columns_is_no_pair(kept: int) -> None:
    with pytest.raises(InvalidInput, match="holds no"):
        list(pairs(message(), TENSORS[kept : kept + 1], config()))
