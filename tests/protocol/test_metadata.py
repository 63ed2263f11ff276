import json

from serving.protocol.grpc.metadata import model_metadata, server_metadata
from serving.protocol.metadata import (
    ModelMetadata,
    ServerMetadata,
    TensorMetadata,
    encode_metadata,
)

MODEL = ModelMetadata(
    "m",
    ("1", "2"),
    "torch",
    (TensorMetadata("x", "FP32", (-1, 30)),),
    (TensorMetadata("y", "BYTES", (-1,)),),
)
SERVER = ServerMetadata("vigil", "1.0", ("binary_tensor_data",))


def test_model_as_json():
    assert json.loads(encode_metadata(MODEL)) == {
        "name": "m",
        "versions": ["1", "2"],
        "platform": "torch",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 30]}],
        "outputs": [{"name": "y", "datatype": "BYTES", "shape": [-1]}],
    }


def test_server_as_json():
    assert json.loads(encode_metadata(SERVER)) == {
        "name": "vigil",
        "version": "1.0",
        "extensions": ["binary_tensor_data"],
    }


def test_model_as_message():
    message = model_metadata(MODEL)
    assert (message.name, list(message.versions), message.platform) == ("m", ["1", "2"], "torch")
    assert [(t.name, t.datatype, list(t.shape)) for t in message.inputs] == [
        ("x", "FP32", [-1, 30])
    ]
    assert [(t.name, t.datatype, list(t.shape)) for t in message.outputs] == [("y", "BYTES", [-1])]


def test_server_as_message():
    message = server_metadata(SERVER)
    assert (message.name, message.version) == ("vigil", "1.0")
    assert list(message.extensions) == ["binary_tensor_data"]
