"""Parameters in messages: every kind of scalar comes back as it was, and lists become JSON."""

import pytest

from serving.errors import InvalidInput
from serving.protocol.grpc.parameters import decode_parameters, encode_parameters
from serving.protocol.pb.open_inference_pb2 import InferParameter, ModelInferResponse


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


def test_a_long_name_is_quoted_in_part_and_no_parameters_are_none():
    with pytest.raises(InvalidInput, match=f"'{'n' * 80}' has no value"):
        decode_parameters({"n" * 999: InferParameter()})
    assert decode_parameters({}) is None


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (2**63 - 1, "int64_param"),
        (2**63, "uint64_param"),
        (False, "bool_param"),
        ("", "string_param"),
        (0.0, "double_param"),
    ],
)
def test_the_field_of_a_value(value, field):
    message = ModelInferResponse()
    encode_parameters({"p": value}, message.parameters)
    assert message.parameters["p"].WhichOneof("parameter_choice") == field
