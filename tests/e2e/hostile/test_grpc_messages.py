"""gRPC messages that are whole but wrong: contents, counts, sizes, protobuf itself."""

from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

pytestmark = pytest.mark.e2e

INVALID = grpc.StatusCode.INVALID_ARGUMENT
ROW = np.array([1, 2, 3, 4], np.float32)
MAX_BODY = 16 << 20
SERVICE = "/inference.GRPCInferenceService/"
INFER = SERVICE + "ModelInfer"


def typed(target: Any) -> Any:
    message = target.message([1, 2, 3, 4])
    del message.raw_input_contents[:]
    message.inputs[0].contents.fp32_contents.extend([1, 2, 3, 4])
    return message


def test_typed_and_raw_answer_alike(target: Any) -> None:
    reply = service_pb2.ModelInferResponse.FromString(target.call(typed(target)))
    assert np.frombuffer(reply.raw_output_contents[0], np.float32).tolist() == [1, 2, 3, 4]
    assert not reply.outputs[0].HasField("contents")


@pytest.mark.parametrize("make", [typed, lambda target: target.message([1, 2, 3, 4])])
def test_typed_answers_are_for_those_who_ask(target: Any, make: Any) -> None:
    message = make(target)
    message.parameters["binary_data_output"].bool_param = False
    for _ in range(2):  # the second may be read by its likeness to the first
        reply = service_pb2.ModelInferResponse.FromString(target.call(message))
        assert list(reply.outputs[0].contents.fp32_contents) == [1, 2, 3, 4]
        assert not reply.raw_output_contents


@pytest.mark.parametrize("raw", [b"", b"\0" * 15, b"\0" * 16, b"\0" * 17])
def test_raw_and_typed_mixed(target: Any, raw: bytes) -> None:
    message = typed(target)
    message.raw_input_contents.append(raw)
    words = "contents field must not be specified when using raw_input_contents for 'x'"
    target.fails(INVALID, words, message)


def test_contents_that_are_there_but_empty_beside_raw_ones(target: Any) -> None:
    message = target.message([1, 2, 3, 4])
    message.inputs[0].contents.SetInParent()
    target.fails(INVALID, "must not be specified", message)


@pytest.mark.parametrize("buffers", [0, 2, 3, 4096, 100_000])
def test_count_of_raw_buffers(target: Any, buffers: int) -> None:
    message = target.message([1, 2, 3, 4])
    del message.raw_input_contents[:]
    message.raw_input_contents.extend([ROW.tobytes()] * buffers)
    target.fails(INVALID, "buffers|elements|tensors", message)


@pytest.mark.parametrize("size", [0, 1, 12, 15, 17, 32, 1 << 20])
def test_size_of_a_raw_buffer(target: Any, size: int) -> None:
    message = target.message([1, 2, 3, 4])
    message.raw_input_contents[0] = bytes(size)
    target.fails(INVALID, f"needs 16 bytes, not {size}", message)


@pytest.mark.parametrize(
    "field",
    ["bool", "int", "int64", "uint", "uint64", "fp64", "bytes"],
)
@pytest.mark.parametrize("also_right", [False, True])
def test_contents_in_the_field_of_another_datatype(
    target: Any, field: str, also_right: bool
) -> None:
    message = typed(target)
    contents = message.inputs[0].contents
    if not also_right:
        contents.Clear()
    getattr(contents, f"{field}_contents").extend([b"1"] if field == "bytes" else [1])
    target.fails(INVALID, "belongs in fp32_contents", message)


NOT_PROTOBUF = {
    "text": b"hello, world",
    "json": b'{"model_name":"echo"}',
    "zeros": bytes(100),
    "ones": b"\xff" * 100,
    "tag-0": b"\x00\x00",
    "wrong-wire-type": b"\x08\x01",
    "length-past-the-end": b"\x0a\x7fecho",
    "length-beyond-64-bits": b"\x0a" + b"\xff" * 10,
    "negative-length": b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    "open-group": b"\x0b" * 50,
    "deep-groups": b"\x0b" * 100_000 + b"\x0c" * 100_000,
    "not-utf-8": b"\x0a\x02\xff\xfe",
    "surrogate": b"\x0a\x03\xed\xa0\x80",
}


@pytest.mark.parametrize("method", ["ModelInfer", "ModelMetadata", "ModelReady"])
@pytest.mark.parametrize("case", NOT_PROTOBUF)
def test_what_is_no_message(target: Any, case: str, method: str) -> None:
    if (case, method) == ("wrong-wire-type", "ModelReady"):  # a field that is not known
        answer = target.call(NOT_PROTOBUF[case], SERVICE + method)
        assert not service_pb2.ModelReadyResponse.FromString(answer).ready
        return
    with pytest.raises(grpc.RpcError) as caught:
        target.call(NOT_PROTOBUF[case], SERVICE + method)
    allowed = {INVALID, grpc.StatusCode.NOT_FOUND}
    if target.differs("own-parser"):
        allowed |= {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}
    assert caught.value.code() in allowed
    assert "Traceback" not in caught.value.details()


def test_unknown_fields_are_left_alone(target: Any) -> None:
    later = b"\xfa\x3e\x03abc"  # field 1007, a text
    message = target.message([1, 2, 3, 4]).SerializeToString() + later
    reply = service_pb2.ModelInferResponse.FromString(target.call(message))
    assert np.frombuffer(reply.raw_output_contents[0], np.float32).tolist() == ROW.tolist()


def test_an_empty_message_names_no_model(target: Any) -> None:
    target.fails(INVALID, "no inputs", b"")


@pytest.mark.parametrize("over", [1, 1000, 1 << 24])
def test_a_message_over_the_limit(target: Any, over: int) -> None:
    message = target.message([1, 2, 3, 4])
    message.raw_input_contents[0] = bytes(MAX_BODY + over)
    target.fails(grpc.StatusCode.RESOURCE_EXHAUSTED, "limit", message)


def test_a_message_just_below_the_limit_is_read(target: Any) -> None:
    message = target.message([1, 2, 3, 4])
    message.raw_input_contents[0] = bytes(MAX_BODY - 100)
    target.fails(INVALID, "needs 16 bytes", message)


def test_a_small_message_that_declares_much(target: Any) -> None:
    before = target.gateway_rss()
    for shape in ([2**38, 4], [2**62, 4], [2**31, 2**31]):
        message = target.message([1, 2, 3, 4])
        message.inputs[0].shape[:] = shape
        target.fails(INVALID, "'x'", message)
    assert target.gateway_rss() - before < 50 << 20


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (SERVICE + "NoSuchMethod", grpc.StatusCode.UNIMPLEMENTED),
        ("/no.such.Service/ModelInfer", grpc.StatusCode.UNIMPLEMENTED),
        (SERVICE.lower() + "ModelInfer", grpc.StatusCode.UNIMPLEMENTED),
        ("/inference.GRPCInferenceService", grpc.StatusCode.UNIMPLEMENTED),
        ("/", grpc.StatusCode.UNIMPLEMENTED),
        (SERVICE + "x" * 5000, grpc.StatusCode.UNIMPLEMENTED),
        (SERVICE + "SystemSharedMemoryRegister", grpc.StatusCode.UNIMPLEMENTED),
        ("/__import__/os.system", grpc.StatusCode.UNIMPLEMENTED),
    ],
)
def test_methods_that_are_not_there(target: Any, path: str, code: grpc.StatusCode) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        target.call(target.message([1, 2, 3, 4]), path)
    assert caught.value.code() is code


def test_metadata_with_names_that_grpc_allows(target: Any) -> None:
    assert target.call(target.message([1, 2, 3, 4]), metadata=[("x_y.z-1", "a")])


@pytest.mark.parametrize(
    "metadata",
    [
        [("x-evil", "a" * 100_000)],
        [(f"x-{number}", "a") for number in range(2000)],
        [("x-bin-bin", bytes(range(256)))],
        [("authorization", "Bearer " + "." * 5000)],
    ],
    ids=["a-large-one", "thousands", "binary", "token"],
)
def test_metadata(target: Any, metadata: list[tuple[str, Any]]) -> None:
    call = target.channel.unary_unary(INFER)
    payload = target.message([1, 2, 3, 4]).SerializeToString()
    code = call.future(payload, timeout=60, metadata=metadata).code()
    # Ignored where it fits, refused where it does not; never an end of the connection's others.
    assert code in {
        grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN,
    }  # fmt: skip
