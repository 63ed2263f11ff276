import json
import random
from itertools import chain

import hpack
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from loadtest import mlp, unique


def parse(request: bytes) -> tuple[dict[str, str], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    return dict(line.split(": ", 1) for line in lines[1:]), body


def block(call: unique.Call) -> bytes:
    return call[1][: int.from_bytes(call[0][:3], "big")]


def message(call: unique.Call) -> bytes:
    """What the call's DATA frames hold, without gRPC's prefix."""
    frames, body = (7).to_bytes(4, "big").join(call), b""
    while frames:
        size, kind = int.from_bytes(frames[:3], "big"), frames[3]
        body += frames[9 : 9 + size] if kind == 0 else b""
        frames = frames[9 + size :]
    assert len(body) == 5 + int.from_bytes(body[1:5], "big")
    return body[5:]


@pytest.mark.parametrize("protocol", ["json", "binary"])
def test_no_two_http_requests_are_alike(protocol):
    pool = [parse(request) for request in unique.http_pool(protocol, count=50)]
    for name in ("x-request-id", "traceparent"):
        assert len({headers[name] for headers, _ in pool}) == 50
    assert len({body for _, body in pool}) == 50
    assert all(int(headers["Content-Length"]) == len(body) for headers, body in pool)


def test_json_bodies_have_an_id_and_differ_in_length():
    bodies = [parse(request)[1] for request in unique.http_pool("json", rows=2, count=50)]
    parsed = [json.loads(body) for body in bodies]
    assert len({body["id"] for body in parsed}) == 50
    assert all(np.shape(body["inputs"][0]["data"]) == (60,) for body in parsed)
    assert len({len(body) for body in bodies}) > 20


def test_binary_bodies_have_an_id_and_whole_rows():
    for headers, body in map(parse, unique.http_pool("binary", rows=2, count=3)):
        size = int(headers["Inference-Header-Content-Length"])
        head = json.loads(body[:size])
        assert len(head["id"]) == 36
        assert head["inputs"][0]["parameters"]["binary_data_size"] == len(body) - size == 240


def test_a_ring_of_calls_can_be_repeated_for_ever():
    (first, ring), (_, other) = unique.grpc_rings(2, count=300)
    decoder = hpack.Decoder()
    seen = [dict(decoder.decode(block(call))) for call in chain(first, ring, ring, ring)]
    constant = {name: value for name, value in seen[0].items() if name not in unique._VOLATILE}
    assert constant[":path"] == mlp.GRPC_PATH
    assert all(headers.items() >= constant.items() for headers in seen)
    idents = [headers["x-request-id"] for headers in seen]
    assert len(set(idents)) == len(first) + len(ring)
    assert idents[len(first) : len(first) + len(ring)] == idents[-len(ring) :]
    assert not {block(call) for call in ring} & {block(call) for call in other}


def test_calls_are_messages_as_clients_write_them():
    _, ring = unique.grpc_rings(1, count=300)[0]
    parsed = [service_pb2.ModelInferRequest.FromString(message(call)) for call in ring[:50]]
    assert len({request.id for request in parsed}) == 50
    assert len({request.raw_input_contents[0] for request in parsed}) == 50
    assert {len(request.raw_input_contents[0]) for request in parsed} == {120}
    # In the order in which protobuf writes them: a server may count on it.
    assert parsed[0].SerializeToString() == message(ring[0])


def test_a_large_call_has_several_frames():
    x = mlp.rows(200)
    generator = random.Random(1)
    body = mlp.grpc_frame(unique.unique_message(x, generator))
    call = unique.grpc_call(b"block", body)
    parsed = service_pb2.ModelInferRequest.FromString(message(call))
    assert parsed.raw_input_contents[0] == x.tobytes()
    assert len(call) == 4
