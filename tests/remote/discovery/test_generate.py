"""What becomes of what another server tells: a model.yaml, or a sentence."""

import numpy as np
import pytest

from serving.config import ModelConfig
from serving.errors import Unsupported
from serving.protocol.json.codec import decode_request
from serving.protocol.messages import Tensor
from serving.protocol.metadata import ModelMetadata, TensorMetadata
from serving.remote.discovery.discover import Found
from serving.remote.discovery.generate import generate
from serving.remote.wire import Told

URL = "grpc://127.0.0.1:8001"
EXAMPLE = b'{"inputs": [{"name": "x", "shape": [2, 3], "datatype": "FP32", "data": [1,2,3,4,5,6]}]}'


def found(inputs=(-1, 3), outputs=(-1, 2), told=None, answered=None, **more):
    def tensors(name, shape):
        return (TensorMetadata(name, "FP32", shape),) if shape is not None else ()

    fields = {"name": "m", "version": "3", **more}
    metadata = ModelMetadata("m", (), "", tensors("x", inputs), tensors("y", outputs))
    return Found(fields["name"], fields["version"], metadata, told, answered)


def made(model, example=None):
    said = []
    config = ModelConfig.model_validate(generate(model, {"url": URL}, example, said.append))
    return config, " ".join(said)


def test_a_batching_model_is_joined():
    config, said = made(found(told=Told(max_batch_size=16)))
    assert (config.remote.url, config.remote.row_axis, config.remote.join) == (URL, True, True)
    assert config.batching.max_batch_size == 16
    assert config.inputs[0].shape == [-1, 3]
    assert config.guards[0].action == "flag"
    assert said == ""


def test_without_batches_each_request_goes_alone():
    config, said = made(found(told=Told(max_batch_size=0)))
    assert (config.remote.row_axis, config.remote.join) == (True, False)
    assert "each request goes alone" in said


def test_a_fixed_first_axis_is_no_row():
    config, said = made(found(inputs=(3, 4)))
    assert (config.remote.row_axis, config.remote.join) == (False, False)
    assert config.inputs[0].shape == [-1, 3, 4]
    assert config.outputs[0].shape == [-1, -1, 2]
    assert "no row axis" in said


def test_sequences_are_not_joined():
    assert not made(found(told=Told(max_batch_size=4, stateful=True)))[0].remote.join


def test_an_example_tells_what_the_server_does_not():
    example = decode_request(EXAMPLE, None, "m", "")
    answered = (Tensor("p", "INT64", (2, 1), np.zeros((2, 1), np.int64)),)
    config, _ = made(found(None, None, answered=answered), example)
    assert [(s.name, s.datatype, s.shape) for s in (*config.inputs, *config.outputs)] == [
        ("x", "FP32", [-1, 3]),
        ("p", "INT64", [-1, 1]),
    ]
    assert config.remote.join
    assert config.example == "example.json"


def test_versions_that_are_no_numbers_are_mentioned():
    assert "its version 'v0.1.0' is called 1" in made(found(version="v0.1.0"))[1]


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (found(None), "--example m=request.json"),
        (found(told=Told(decoupled=True)), "decoupled"),
        (found(name="a/b"), "name cannot be one here"),
    ],
)
def test_what_cannot_be_served(model, why):
    with pytest.raises(Unsupported, match=why):
        made(model)


@pytest.mark.parametrize(("mirror", "guards"), [("observe", []), ("ask", ["schema"])])
def test_a_mirror_computes_only_what_it_asks_for(mirror, guards):
    remote = {"url": URL, "mirror": mirror}
    config = ModelConfig.model_validate(generate(found(), remote, None, print))
    assert config.remote.mirror == mirror
    assert [guard.name for guard in config.guards] == guards
    assert config.replicated == (mirror == "ask")
    assert (config.explain is None) == (mirror == "observe")
