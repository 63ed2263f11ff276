"""A model's configuration in Triton's words: formats, labels, priorities, dims."""

from __future__ import annotations

import json
from typing import Any

import pytest

from serving.config import ModelConfig
from serving.errors import InvalidInput
from serving.gateway.extensions.model_configuration import TritonConfig, model_config
from serving.gateway.metadata import model_metadata
from serving.protocol.json.codec import decode_request

IMAGE = {"name": "x", "datatype": "FP32", "shape": [-1, 3, 224, 224]}
SCORES = {"name": "y", "datatype": "FP32", "shape": [-1, 2]}


@pytest.fixture
def describe(serve: Any) -> Any:
    def describe(**keys: Any) -> TritonConfig:
        return model_config(serve(**keys), "m", "")

    return describe


@pytest.mark.parametrize("layout", ["FORMAT_NHWC", "FORMAT_NCHW"])
async def test_the_format_of_an_image_is_told(describe: Any, layout: str) -> None:
    (told,) = describe(inputs=[{**IMAGE, "format": layout}]).input
    assert (told.format, told.dims) == (layout, [3, 224, 224])


@pytest.mark.parametrize("shape", [[-1], [-1, 224], [-1, 3, 224], [-1, 1, 3, 224, 224]])
def test_a_format_is_for_images(shape: list[int]) -> None:
    spec = {**IMAGE, "shape": shape, "format": "FORMAT_NCHW"}
    with pytest.raises(ValueError, match="four axes"):
        ModelConfig.model_validate({"format": "onnx", "inputs": [spec], "outputs": [SCORES]})


async def test_labels_are_told_of_outputs_that_have_them(describe: Any) -> None:
    plain = {**SCORES, "name": "z"}
    told = describe(outputs=[{**SCORES, "classes": ["cat", "dog"]}, plain])
    assert [output.label_filename for output in told.output] == ["model.yaml", ""]
    assert told.parameters.keys() == {"y.classes"}
    assert json.loads(told.parameters["y.classes"].string_value) == ["cat", "dog"]


@pytest.mark.parametrize(
    ("batching", "levels"),
    [({}, (0, 0)), ({"priority_levels": 3}, (3, 3)),
     ({"priority_levels": 3, "default_priority_level": 2}, (3, 2))],
)  # fmt: skip
async def test_priority_levels_are_told(describe: Any, batching: Any, levels: Any) -> None:
    told = describe(batching={**batching, "max_queue_rows": 7}).dynamic_batching
    assert (told.priority_levels, told.default_priority_level) == levels
    assert told.default_queue_policy.max_queue_size == 7


async def test_one_value_per_row_has_a_dim_as_with_triton(serve: Any) -> None:
    x = {"name": "x", "datatype": "FP32", "shape": [-1]}
    plane = serve(inputs=[x], outputs=[{**x, "name": "y"}])
    told = model_config(plane, "m", "")
    for tensor in (*told.input, *told.output):
        assert (tensor.dims, tensor.reshape.shape) == ([1], [])
    # Tools send what the metadata say; answers have the shape that the model gives.
    metadata = model_metadata(plane, "m", "")
    assert metadata.inputs[0].shape == (-1, 1)
    assert metadata.outputs[0].shape == (-1,)
    binder = plane.resolve("m").binder
    for shape in ([2, 1], [2]):
        tensor = {"name": "x", "datatype": "FP32", "shape": shape, "data": [1, 2]}
        body = json.dumps({"inputs": [tensor]}).encode()
        (array,) = binder.bind(decode_request(body, None, "m", "")).arrays
        assert array.tolist() == [1, 2]
    for shape in ([1, 2], [2, 1, 1]):
        tensor = {"name": "x", "datatype": "FP32", "shape": shape, "data": [1, 2]}
        body = json.dumps({"inputs": [tensor]}).encode()
        with pytest.raises(InvalidInput, match="has shape"):
            binder.bind(decode_request(body, None, "m", ""))
