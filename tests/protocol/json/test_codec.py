import base64
import json
import uuid

import numpy as np
import pytest

from serving.errors import InvalidInput
from serving.protocol.json import codec as json_codec
from serving.protocol.json.codec import decode_request, encode_response
from serving.protocol.json.reader import RequestReader
from serving.protocol.messages import InferRequest, InferResponse, RequestedOutput, Tensor

BASE64 = {"content_type": "base64"}


def request(outputs=(), parameters=None):
    return InferRequest("m", "1", "id", (), tuple(outputs), parameters)


def response(datatype, data, parameters=None, **fields):
    tensor = Tensor("y", datatype, data.shape, data, parameters)
    return InferResponse("m", "1", "id", (tensor,), **fields)


def encoded(answer, asked=None):
    body, length = encode_response(answer, asked or request())
    assert length is None
    return json.loads(body)


def objects(*elements):
    array = np.empty(len(elements), dtype=np.object_)
    array[:] = elements
    return array


def test_decodes_everything_in_the_body(make_body):
    body = make_body(
        {"parameters": {"content_type": "np", "other": None}},
        id="mine",
        parameters={"timeout": 10, "note": "a:b"},
        outputs=[{"name": "y"}, {"name": "z", "parameters": {"classification": 2}}],
    )
    got = decode_request(body, None, "m", "7", "header")
    assert (got.model_name, got.model_version, got.id) == ("m", "7", "mine")
    assert got.parameters == {"timeout": 10, "note": "a:b"}
    assert got.outputs == (RequestedOutput("y"), RequestedOutput("z", {"classification": 2}))
    (x,) = got.inputs
    assert (x.name, x.datatype, x.shape) == ("x", "FP32", (1, 3))
    assert x.parameters == {"content_type": "np"}
    assert x.data.dtype == np.float32
    assert x.data.tolist() == [[1.0, 2.5, -3.0]]


def test_ids(make_body):
    assert decode_request(make_body(), None, "m", "1", "header").id == "header"
    assert decode_request(make_body(id=None), None, "m", "1", "header").id == "header"
    assert uuid.UUID(decode_request(make_body(id=""), None, "m", "1").id).version == 7


@pytest.mark.parametrize(
    "data",
    [
        b"[1,2,3,4,5,6]",
        b"[[1,2,3],[4,5,6]]",
        b" [ \n [1, 2, 3], [4, 5, 6] ] ",
        b"[1.0, 2e0, 3, 4, 5, 6]",
    ],
)
def test_flat_and_nested_data_are_the_same(decode, data):
    body = b'{"inputs":[{"data":%s,"shape":[2,3],"datatype":"FP64","name":"x"}]}' % data
    assert decode(body).inputs[0].data.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_deeper_nesting_and_many_dimensions(decode, make_body):
    values = np.arange(24).reshape(2, 1, 3, 4)
    body = make_body({"datatype": "INT8", "shape": [2, 1, 3, 4], "data": values.tolist()})
    assert (decode(body).inputs[0].data == values).all()


@pytest.mark.parametrize(
    ("datatype", "element", "value"),
    [
        ("FP32", "3.5", 3.5),
        ("FP64", " 3 ", 3.0),
        ("FP16", "null", np.nan),
        ("BF16", "null", 0x7FC0),
        ("BF16", "1.0", 0x3F80),
        ("INT64", "-3", -3),
        ("UINT8", "7", 7),
        ("BOOL", "true", True),
    ],
)
def test_the_only_element_of_a_scalar_needs_no_list(datatype, element, value):
    reader = RequestReader()
    for data in (element, f"[{element}]", element):
        body = b'{"inputs":[{"name":"x","shape":[],"datatype":"%b","data":%b}]}' % (
            datatype.encode(),
            data.encode(),
        )
        for got in (decode_request(body, None, "m", "1"), reader.read(body, None, "m", "1")):
            assert got.inputs[0].data.shape == ()
            np.testing.assert_array_equal(got.inputs[0].data, value)


def test_the_only_text_of_a_scalar_needs_no_list(decode, make_body):
    for text in ("a:b", "", "[1]", "null"):
        one = decode(make_body({"datatype": "BYTES", "shape": [], "data": text})).inputs[0].data
        assert (one.shape, one.item()) == ((), text.encode())
    coded = {"datatype": "BYTES", "shape": [], "data": "/w==", "parameters": BASE64}
    assert decode(make_body(coded)).inputs[0].data.item() == b"\xff"


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "says"),
    [
        ("FP32", [1], 3.0, "Expected 'array', got 'float'"),
        ("FP32", [], "3", "Expected 'float', got 'str'"),
        ("FP32", [], {}, "Expected 'float', got 'object'"),
        ("FP32", [], [3.0, 4.0], "1 elements, but data has 2"),
        ("UINT8", [], 256, "out of range"),
        ("INT64", [], None, "Expected 'int', got 'null'"),
        ("BYTES", [], 3, "Expected 'str', got 'int'"),
    ],
)
def test_an_element_that_does_not_fit_is_told(decode, make_body, datatype, shape, data, says):
    with pytest.raises(InvalidInput, match=says):
        decode(make_body({"datatype": datatype, "shape": shape, "data": data}))


def test_unknown_and_null_keys_are_ignored(decode, make_body):
    got = decode(make_body(parameters=None, outputs=None, extra={"deep": [1, {"a": 1e5}]}))
    assert got.parameters is None
    assert got.outputs == ()


def test_text_and_base64(decode, make_body):
    text = {"datatype": "BYTES", "shape": [3], "data": ["http://a:1", "", "grün\u0000"]}
    got = decode(make_body(text)).inputs[0].data
    assert got.tolist() == [b"http://a:1", b"", "grün\0".encode()]
    binary = [b"\xff\0", b"", b"abc"]
    coded = {**text, "data": [base64.b64encode(b).decode() for b in binary]}
    coded["parameters"] = {"content_type": "base64"}
    assert decode(make_body(coded)).inputs[0].data.tolist() == binary


def test_many_colons_and_escapes_in_text_are_no_duplicate_keys(decode, make_body):
    body = make_body(
        {"datatype": "BYTES", "shape": [2, 1], "data": [[":::"], ['"inputs":"']]},
        id='a:"b":',
        parameters={"k:k": "v:v"},
    )
    assert decode(body).inputs[0].data.tolist() == [[b":::"], [b'"inputs":"']]


def test_response_fields_and_shortest_numbers():
    got = encoded(
        response("FP32", np.array([[0.1, 0.9]], dtype=np.float32), parameters={"note": 1}),
    )
    assert got == {
        "model_name": "m",
        "model_version": "1",
        "id": "id",
        "outputs": [
            {
                "name": "y",
                "datatype": "FP32",
                "shape": [1, 2],
                "parameters": {"note": 1},
                "data": [0.1, 0.9],
            }
        ],
    }
    flagged = InferResponse("m", "1", "id", (), {"vigil_flags": ["schema"]})
    assert encoded(flagged)["parameters"] == {"vigil_flags": ["schema"]}


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64"])
def test_what_is_not_finite_becomes_null(datatype):
    dtype = {"FP16": np.float16, "FP32": np.float32, "FP64": np.float64}[datatype]
    data = np.array([np.nan, np.inf, -np.inf, 1.0], dtype=dtype)
    assert encoded(response(datatype, data))["outputs"][0]["data"] == [None, None, None, 1.0]


def test_bf16_is_written_as_numbers():
    data = np.array([0x3F80, 0x7F80, 0x7FC0, 0xC020], dtype=np.uint16)
    assert encoded(response("BF16", data))["outputs"][0]["data"] == [1.0, None, None, -2.5]


def test_views_of_any_layout_are_written_in_c_order():
    data = np.arange(12, dtype=np.float32).reshape(3, 4)
    unaligned = np.frombuffer(b"\0" + data.tobytes(), np.uint8)[1:].view(np.float32).reshape(3, 4)
    for one in (data.T, data[::2], unaligned, np.float32(3).reshape(())):
        assert encoded(response("FP32", one))["outputs"][0]["data"] == one.ravel().tolist()


def test_bytes_that_are_no_text_need_base64_or_binary():
    answer = response("BYTES", objects(b"\xff", b"a"))
    with pytest.raises(InvalidInput, match=r"output 'y'.*binary_data or with content_type base64"):
        encode_response(answer, request())
    asked = request([RequestedOutput("y", {"content_type": "base64"})])
    got = encoded(answer, asked)["outputs"][0]
    assert got["data"] == ["/w==", "YQ=="]
    assert got["parameters"] == {"content_type": "base64"}
    marked = response("BYTES", objects(b"\xff", b"a"), {"content_type": "base64"})
    assert encoded(marked)["outputs"][0] == got


@pytest.mark.parametrize(
    ("asked", "binary"),
    [
        (request(), False),
        (request(parameters={"binary_data_output": True}), True),
        (request(parameters={"binary_data_output": False}), False),
        (request([RequestedOutput("y", {"binary_data": True})]), True),
        (request([RequestedOutput("y", {"binary_data": False})], {"binary_data_output": True}), 0),
        (request([RequestedOutput("y", {"classification": 1})], {"binary_data_output": True}), 1),
        (request([RequestedOutput("y")], {"binary_data_output": True}), True),
    ],
)
def test_who_gets_binary(asked, binary):
    data = np.array([1, 2], dtype=np.int16)
    body, length = encode_response(response("INT16", data), asked)
    if not binary:
        assert length is None
        assert json.loads(body)["outputs"][0]["data"] == [1, 2]
        return
    described = json.loads(body[:length])["outputs"][0]
    assert described["parameters"] == {"binary_data_size": 4}
    assert "data" not in described
    assert body[length:] == data.tobytes()


def test_binary_and_json_outputs_in_one_answer():
    big = np.arange(5000, dtype=np.float64)
    outputs = (
        Tensor("a", "BYTES", (2,), objects(b"x", b"")),
        Tensor("b", "INT8", (1,), np.array([3], dtype=np.int8)),
        Tensor("c", "FP64", big.shape, big),
    )
    asked = request([RequestedOutput("b", {"binary_data": False})], {"binary_data_output": True})
    body, length = encode_response(InferResponse("m", "1", "id", outputs), asked)
    a, b, c = json.loads(body[:length])["outputs"]
    assert a["parameters"] == {"binary_data_size": 9}
    assert b["data"] == [3]
    assert c["parameters"] == {"binary_data_size": 40_000}
    assert body[length:] == b"\1\0\0\0x\0\0\0\0" + big.tobytes()


def test_a_head_that_came_before_is_read_alike_and_ids_stay_new() -> None:
    head = (
        b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],'
        b'"parameters":{"binary_data_size":8,"mine":1}}]}'
    )
    seen = set()
    for value in (1.0, 2.0, 3.0):
        body = head + np.array([value, 0], "<f4").tobytes()
        request = decode_request(body, len(head), "m", "")
        assert request.inputs[0].data.tolist() == [[value, 0]]
        assert request.inputs[0].parameters == {"mine": 1}
        seen.add(request.id)
    assert len(seen) == 3


def test_heads_that_are_kept_are_bounded() -> None:
    for number in range(1000):
        head = b'{"id":"%d","inputs":[{"name":"x","datatype":"INT8","shape":[1],' % number
        head += b'"parameters":{"binary_data_size":1}}]}'
        assert decode_request(head + b"\x07", len(head), "m", "").id == str(number)
    assert json_codec._heads.kept <= 2 * json_codec._KEPT_HEADS
