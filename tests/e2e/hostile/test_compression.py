"""Compressed bodies: bombs end at the limit, broken ones and unknown encodings are refused."""

import gzip
import json
import zlib
from typing import Any

import grpc
import pytest

pytestmark = pytest.mark.e2e

BODY = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}]}'
MIB = 1 << 20
MAX_BODY = 16 * MIB


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """A gibibyte of blanks in four and a half megabytes."""
    piece = zlib.compressobj(1, zlib.DEFLATED, -15)
    blanks = piece.compress(b" " * (16 * MIB)) + piece.flush(zlib.Z_FULL_FLUSH)
    # The same blocks again and again; nobody gets as far as to the checksum.
    return gzip.compress(b"")[:10] + blanks * 64


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP"])
def test_a_bomb_is_stopped_at_the_limit(target: Any, bomb: bytes, encoding: str) -> None:
    before = target.gateway_rss()
    target.refused(target.post(bomb, {"content-encoding": encoding}), 413, "grows beyond")
    assert target.gateway_rss() - before < 100 * MIB


def test_bombs_in_a_row_leave_nothing_behind(target: Any, bomb: bytes) -> None:
    target.post(bomb, {"content-encoding": "gzip"})
    before = target.gateway_rss()
    for _ in range(10):
        target.refused(target.post(bomb, {"content-encoding": "gzip"}), 413)
    assert target.gateway_rss() - before < 50 * MIB


def test_a_deflated_bomb(target: Any) -> None:
    packed = zlib.compress(b" " * (MAX_BODY + 1))
    target.refused(target.post(packed, {"content-encoding": "deflate"}), 413, "grows beyond")


def test_what_just_fits_is_answered(target: Any) -> None:
    packed = gzip.compress(BODY + b" " * (MAX_BODY - len(BODY)), 1)
    answer = target.post(packed, {"content-encoding": "gzip"})
    assert answer.status_code == 200, answer.text
    packed = gzip.compress(BODY + b" " * (MAX_BODY - len(BODY) + 1), 1)
    target.refused(target.post(packed, {"content-encoding": "gzip"}), 413)


@pytest.mark.parametrize(
    "encoding",
    [
        "br",
        "zstd",
        "compress",
        "lz4",
        "gzip, gzip",
        "gzip, br",
        "x",
        "a" * 5000,
        "gzip;q=1",
        "../x",
    ],
)
def test_unknown_encodings(target: Any, encoding: str) -> None:
    answer = target.post(gzip.compress(BODY), {"content-encoding": encoding})
    target.refused(answer, 415, "gzip, deflate")


PACKED = gzip.compress(BODY)
BROKEN = {
    "empty": b"",
    "not-packed": BODY,
    "cut": PACKED[:-1],
    "cut-in-the-header": PACKED[:5],
    "header-only": PACKED[:10],
    "wrong-checksum": PACKED[:-8] + b"\0\0\0\0" + PACKED[-4:],
    "wrong-length": PACKED[:-4] + b"\xff\xff\xff\xff",
    "damaged": PACKED[:20] + bytes(len(PACKED) - 28) + PACKED[-8:],
    "two-members": PACKED + PACKED,
    "something-behind": PACKED + b"{}",
    "deflate-inside": zlib.compress(BODY),
    "raw-deflate": zlib.compress(BODY)[2:-4],
    "gzip-in-gzip": gzip.compress(PACKED),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_gzip(target: Any, case: str) -> None:
    target.refused(target.post(BROKEN[case], {"content-encoding": "gzip"}), 400)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity", ""])
def test_known_encodings_answer_as_plain_json_does(target: Any, encoding: str) -> None:
    pack = {"gzip": gzip.compress, "deflate": zlib.compress}.get(encoding, bytes)
    answer = target.post(pack(BODY), {"content-encoding": encoding})
    assert answer.json()["outputs"][0]["data"] == [1, 2, 3, 4]


def test_lengths_count_what_was_decompressed(target: Any) -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4]}
    head = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": 16}}]}).encode()
    headers = {"content-encoding": "gzip", "inference-header-content-length": str(len(head))}
    answer = target.post(gzip.compress(head + bytes(16)), headers)
    assert answer.json()["outputs"][0]["data"] == [0, 0, 0, 0]
    target.refused(target.post(gzip.compress(head), headers), 400)


@pytest.mark.parametrize("path", ["/v2/models/echo/labels", "/v2/models/echo/explain"])
def test_other_routes_refuse_what_is_not_packed_as_it_says(target: Any, path: str) -> None:
    answer = target.http.post(path, content=BODY, headers={"content-encoding": "gzip"})
    target.refused(answer, 400)


@pytest.mark.parametrize("pack", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_a_bomb_over_grpc(target: Any, pack: grpc.Compression) -> None:
    before = target.gateway_rss()
    message = target.message([1, 2, 3, 4])
    message.raw_input_contents[0] = bytes(MAX_BODY * 4)
    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    target.fails(code, "limit|larger", message, compression=pack)
    assert target.gateway_rss() - before < 200 * MIB


def test_compression_over_grpc_answers_as_plain_does(target: Any) -> None:
    for pack in (grpc.Compression.Gzip, grpc.Compression.Deflate):
        assert target.call(target.message([1, 2, 3, 4]), compression=pack)
