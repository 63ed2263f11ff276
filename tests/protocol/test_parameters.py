import pytest

from serving.errors import InvalidInput, Unsupported
from serving.protocol.grpc_parameters import decode_parameters, encode_parameters
from serving.protocol.parameters import checked_parameters
from serving.protocol.pb.open_inference_pb2 import InferParameter, ModelInferResponse


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"triton_x": 1}, "reserved"),
        ({"vigil_flags": "x"}, "reserved"),
        ({"timeout": -1}, "'timeout' must be an integer of 0 or more"),
        ({"timeout": "soon"}, "'timeout' must be an integer"),
        ({"timeout": 1.5}, "'timeout' must be an integer"),
        ({"priority": True}, "'priority' must be an integer"),
        ({"binary_data_output": 1}, "must be true or false"),
        ({"content_type": 1}, "must be a string"),
        ({"other": 2**64}, "64 bits"),
        ({"other": -(2**63) - 1}, "64 bits"),
    ],
)
def test_refused(parameters, words):
    with pytest.raises(InvalidInput, match=words):
        checked_parameters(parameters)


def test_shared_memory_is_not_offered():
    with pytest.raises(Unsupported, match="shared memory"):
        checked_parameters({"shared_memory_region": "r"})


def test_null_counts_as_absent():
    assert checked_parameters({"a": None, "timeout": None, "b": 1}) == {"b": 1}
    assert checked_parameters({"a": None}) is None
    assert checked_parameters({}) is None
    assert checked_parameters(None) is None


def test_grpc_round_trip():
    parameters = {"b": True, "i": -(2**63), "u": 2**64 - 1, "f": 0.5, "s": "text", "zero": 0}
    message = ModelInferResponse()
    encode_parameters({**parameters, "flags": ["a"]}, message.parameters)
    decoded = dict(decode_parameters(message.parameters))
    assert decoded.pop("flags") == '["a"]'
    assert decoded == parameters
    assert {k: type(v) for k, v in decoded.items()} == {k: type(v) for k, v in parameters.items()}


def test_grpc_parameter_without_value():
    with pytest.raises(InvalidInput, match="'a' has no value"):
        decode_parameters({"a": InferParameter()})
