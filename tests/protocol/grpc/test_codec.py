import uuid

import numpy as np
import pytest

from serving.errors import InvalidInput, Unsupported
from serving.protocol.grpc import codec as grpc_codec
from serving.protocol.messages import InferRequest, InferResponse, RequestedOutput, Tensor
from serving.protocol.pb.open_inference_pb2 import ModelInferRequest

REQUEST = InferRequest("m", "1", "id", ())


def one(name="x", datatype="FP32", shape=(2,), **fields):
    return ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=shape, **fields)


def message(*inputs, **fields):
    return ModelInferRequest(model_name="m", inputs=inputs, **fields)


def raw(*inputs, buffers=None):
    return message(*inputs, raw_input_contents=buffers or [bytes(8)] * len(inputs))


def typed(datatype, shape=(2,), **contents):
    return message(one(datatype=datatype, shape=shape, contents=contents))


def test_decodes_everything_in_the_message():
    given = raw(one(), buffers=[np.array([1.5, -2], np.float32).tobytes()])
    given.model_version = "3"
    given.id = "mine"
    given.parameters["timeout"].int64_param = 5
    given.inputs[0].parameters["content_type"].string_param = "np"
    given.outputs.add(name="y").parameters["classification"].int64_param = 2
    for form in (given, given.SerializeToString()):
        got = grpc_codec.decode_request(form, "header")
        assert (got.model_name, got.model_version, got.id) == ("m", "3", "mine")
        assert got.parameters == {"timeout": 5}
        assert got.outputs == (RequestedOutput("y", {"classification": 2}),)
        assert got.inputs[0].parameters == {"content_type": "np"}
        assert got.inputs[0].data.tolist() == [1.5, -2.0]


def test_ids():
    assert grpc_codec.decode_request(raw(one()), "header").id == "header"
    assert uuid.UUID(grpc_codec.decode_request(raw(one())).id).version == 7


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\xff", b"\x0a\x01\xff", b"{}"])
def test_bytes_that_are_no_message(data):
    with pytest.raises(InvalidInput, match="not a valid ModelInferRequest"):
        grpc_codec.decode_request(data)


MIXED = "contents field must not be specified when using raw_input_contents for 'b' for model 'm'"
FULL = {"contents": {"fp32_contents": [1, 2]}}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (message(), "no inputs"),
        (raw(one("a"), one("b", **FULL)), f"^{MIXED}$"),
        (raw(one("a"), one("b", **FULL), buffers=[bytes(8)]), f"^{MIXED}$"),
        (raw(one("b", contents={})), f"^{MIXED}$"),
        (raw(one(), buffers=[bytes(8)] * 2), "2 buffers for 1 inputs"),
        (raw(one("a"), one("b"), buffers=[bytes(8)]), "1 buffers for 2 inputs"),
        (raw(one(), buffers=[bytes(7)]), "needs 8 bytes, not 7"),
        (raw(one("a"), one("a")), "input 'a' is given twice"),
        (raw(one("")), "1 to 256 characters"),
        (raw(one(datatype="FP31")), "unknown datatype"),
        (raw(one(shape=(-1, -2))), "dimension below 0"),
        (raw(one(shape=(0,))), "needs 0 bytes"),
        (raw(one(shape=(2**32, 2**32, 16))), "needs"),
        (raw(one(shape=(1,) * 33)), "more than 32"),
        (raw(one(datatype="BOOL"), buffers=[b"\0\2"]), "0 or 1"),
        (raw(one(datatype="BYTES"), buffers=[b"\1\0\0\0a"]), "ends before element 1|too few"),
        (message(one()), "shape .* has 2 elements, but contents has 0"),
        (typed("FP32", fp32_contents=[1]), "but contents has 1"),
        (typed("FP32", fp32_contents=[1, 2, 3]), "but contents has 3"),
        (typed("FP32", fp64_contents=[1, 2]), "belongs in fp32_contents, not in fp64_contents"),
        (typed("FP32", fp32_contents=[1, 2], int_contents=[1]), "not in int_contents"),
        (typed("INT64", int_contents=[1, 2]), "belongs in int64_contents"),
        (typed("INT8", int_contents=[1, 300]), "out of range for INT8"),
        (typed("UINT16", uint_contents=[1, 65536]), "out of range for UINT16"),
        (typed("FP16", fp32_contents=[1, 2]), "FP16 has no typed contents"),
        (typed("BF16", fp32_contents=[1, 2]), "BF16 has no typed contents"),
        (typed("FP31", fp32_contents=[1, 2]), "unknown datatype"),
        (typed("FP32", (2**32, 2**32, 16), fp32_contents=[1]), "but contents has 1"),
    ],
)
def test_wrong_messages(given, words):
    with pytest.raises(InvalidInput, match=words):
        grpc_codec.decode_request(given.SerializeToString())


def test_outputs_given_twice():
    given = raw(one())
    given.outputs.add(name="y")
    given.outputs.add(name="y")
    with pytest.raises(InvalidInput, match="output 'y' is given twice"):
        grpc_codec.decode_request(given)


def test_wrong_parameters():
    given = raw(one())
    given.parameters["vigil_x"].bool_param = True
    with pytest.raises(InvalidInput, match="reserved"):
        grpc_codec.decode_request(given)


def test_shared_memory_is_not_offered():
    given = message(one())
    given.inputs[0].parameters["shared_memory_region"].string_param = "r"
    with pytest.raises(Unsupported):
        grpc_codec.decode_request(given)


def asking(parameters=None, **outputs):
    named = tuple(RequestedOutput(name, said) for name, said in outputs.items())
    return InferRequest("m", "1", "id", (), named, parameters)


@pytest.mark.parametrize(
    ("request_", "raw"),
    [
        (asking(), True),
        (asking({"priority": 1}, y=None), True),
        (asking({"binary_data_output": True}, y={"binary_data": True}), True),
        (asking({"binary_data_output": False}), False),
        (asking({"binary_data_output": False}, y=None), False),
        (asking(None, x=None, y={"binary_data": False}), False),
        (
            asking({"binary_data_output": True}, y={"binary_data": False, "classification": 1}),
            False,
        ),
    ],
)
def test_who_gets_raw(request_, raw):
    assert grpc_codec.answers_raw(request_) is raw


def test_typed_contents_are_answered_raw():
    request = grpc_codec.decode_request(typed("FP32", fp32_contents=[1, 2]))
    got = grpc_codec.encode_response(answer(FLOATS), request)
    assert list(got.raw_output_contents) == [FLOATS.data.tobytes()]


def answer(*outputs, **fields):
    return InferResponse("m", "1", "id", outputs, **fields)


FLOATS = Tensor("y", "FP32", (1, 2), np.array([[0.5, 2]], np.float32), {"note": 1})
TYPED = asking({"binary_data_output": False})
HALVES = Tensor("h", "FP16", (1,), np.array([1], np.float16))


def test_raw_response():
    got = grpc_codec.encode_response(answer(FLOATS, parameters={"flag": True}), REQUEST)
    assert (got.model_name, got.model_version, got.id) == ("m", "1", "id")
    assert got.parameters["flag"].bool_param is True
    assert [(o.name, o.datatype, list(o.shape)) for o in got.outputs] == [("y", "FP32", [1, 2])]
    assert got.outputs[0].parameters["note"].int64_param == 1
    assert not got.outputs[0].HasField("contents")
    assert list(got.raw_output_contents) == [FLOATS.data.tobytes()]


def test_typed_response():
    got = grpc_codec.encode_response(answer(FLOATS), TYPED)
    assert list(got.outputs[0].contents.fp32_contents) == [0.5, 2]
    assert got.outputs[0].parameters["note"].int64_param == 1
    assert not got.raw_output_contents


def test_an_output_without_a_typed_form_makes_all_of_them_raw():
    got = grpc_codec.encode_response(answer(FLOATS, HALVES), TYPED)
    assert list(got.raw_output_contents) == [o.data.tobytes() for o in (FLOATS, HALVES)]
    assert not any(o.HasField("contents") for o in got.outputs)


def test_large_outputs():
    big = Tensor("y", "FP64", (3000,), np.arange(3000.0))
    got = grpc_codec.encode_response(answer(big), REQUEST)
    assert got.raw_output_contents[0] == big.data.tobytes()


def test_messages_of_a_stream():
    got = grpc_codec.stream_response(answer(FLOATS), REQUEST)
    assert got.error_message == ""
    assert got.infer_response.id == "id"
    failed = grpc_codec.stream_error("it failed", "mine")
    assert (failed.error_message, failed.infer_response.id) == ("it failed", "mine")
    # Clients that count answers look for it, after an error too.
    for message in (got, failed):
        assert message.infer_response.parameters["triton_final_response"].bool_param is True
