"""One tensor, sent in every form, is the same tensor; and answered in every form as well."""

import base64
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serving.protocol.bytes_tensor import object_array
from serving.protocol.datatypes import NUMPY_OF, bf16_to_fp32
from serving.protocol.grpc import codec as grpc_codec
from serving.protocol.grpc.contents import encode_contents, has_typed_form
from serving.protocol.json import codec as json_codec
from serving.protocol.messages import InferRequest, InferResponse, Tensor
from serving.protocol.pb.open_inference_pb2 import ModelInferRequest
from serving.protocol.tensors import tensor_from_buffer, tensor_to_buffer

SHAPES = hnp.array_shapes(min_dims=1, max_dims=3, max_side=4)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
DATATYPES = sorted(NUMPY_OF)


def arrays(datatype):
    dtype = NUMPY_OF[datatype]
    if datatype == "BYTES":
        return SHAPES.flatmap(
            lambda shape: st.lists(
                TEXT.map(str.encode), min_size=math.prod(shape), max_size=math.prod(shape)
            ).map(lambda elements: object_array(elements, shape))
        )
    elements = None
    if datatype == "BF16":
        elements = st.integers(0, 0xFFFF).filter(lambda bits: bits & 0x7F80 != 0x7F80)
    elif dtype.kind == "f":
        elements = st.floats(width=8 * dtype.itemsize, allow_nan=False, allow_infinity=False)
    return hnp.arrays(dtype, SHAPES, elements=elements)


def tensors(datatype):
    return arrays(datatype).map(lambda data: Tensor("x", datatype, data.shape, data))


def plain(tensor, nested):
    """Return the elements as a client would put them into JSON."""
    data = tensor.data
    if tensor.datatype == "BF16":
        data = bf16_to_fp32(data)
    if tensor.datatype == "BYTES":
        data = object_array([e.decode() for e in data.ravel()], data.shape)
    return (data if nested else data.ravel()).tolist()


def through_json(tensor, nested):
    body = {"inputs": [{**head(tensor), "data": plain(tensor, nested)}]}
    return json_codec.decode_request(json.dumps(body).encode(), None, "m", "").inputs[0]


def through_base64(tensor):
    data = [base64.b64encode(e).decode() for e in tensor.data.ravel()]
    one = {**head(tensor), "data": data, "parameters": {"content_type": "base64"}}
    body = json.dumps({"inputs": [one]}).encode()
    return json_codec.decode_request(body, None, "m", "").inputs[0]


def through_binary(tensor):
    rest = bytes(tensor_to_buffer(tensor))
    one = {**head(tensor), "parameters": {"binary_data_size": len(rest)}}
    text = json.dumps({"inputs": [one]}).encode()
    return json_codec.decode_request(text + rest, len(text), "m", "").inputs[0]


def head(tensor):
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}


def through_grpc(tensor, raw):
    message = ModelInferRequest(model_name="m")
    one = message.inputs.add(**head(tensor))
    if raw:
        message.raw_input_contents.append(bytes(tensor_to_buffer(tensor)))
    else:
        one.contents.CopyFrom(encode_contents(tensor))
    return grpc_codec.decode_request(message.SerializeToString()).inputs[0]


def assert_same(got, tensor):
    assert (got.name, got.datatype, got.shape) == (tensor.name, tensor.datatype, tensor.shape)
    assert got.data.shape == tensor.shape
    assert got.data.dtype == tensor.data.dtype
    if tensor.datatype == "BYTES":
        assert got.data.tolist() == tensor.data.tolist()
    else:
        assert got.data.tobytes() == tensor.data.tobytes()


@pytest.mark.parametrize("datatype", DATATYPES)
@given(st.data())
@settings(max_examples=40, deadline=None)
def test_every_way_in_gives_the_same_tensor(datatype, data):
    tensor = data.draw(tensors(datatype))
    assert_same(through_json(tensor, nested=False), tensor)
    assert_same(through_json(tensor, nested=True), tensor)
    assert_same(through_binary(tensor), tensor)
    assert_same(through_grpc(tensor, raw=True), tensor)
    if has_typed_form(datatype):
        assert_same(through_grpc(tensor, raw=False), tensor)
    if datatype == "BYTES":
        assert_same(through_base64(tensor), tensor)


@pytest.mark.parametrize("datatype", DATATYPES)
@given(st.data())
@settings(max_examples=40, deadline=None)
def test_every_way_out_gives_the_same_tensor(datatype, data):
    tensor = data.draw(tensors(datatype))
    response = InferResponse("m", "1", "id", (tensor,))
    request = InferRequest("m", "1", "id", ())
    binary = InferRequest("m", "1", "id", (), (), {"binary_data_output": True})

    text, length = json_codec.encode_response(response, request)
    assert length is None
    # What we write as an answer is a valid input, so our own reader can judge it.
    body = json.dumps({"inputs": json.loads(text)["outputs"]}).encode()
    assert_same(json_codec.decode_request(body, None, "m", "").inputs[0], tensor)

    body, length = json_codec.encode_response(response, binary)
    assert_same(tensor_from_buffer("x", datatype, tensor.shape, body[length:]), tensor)

    message = grpc_codec.encode_response(response, request)
    (buffer,) = message.raw_output_contents
    assert_same(tensor_from_buffer("x", datatype, tensor.shape, buffer), tensor)
