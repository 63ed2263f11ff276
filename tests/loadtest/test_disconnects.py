import gzip
import json
from dataclasses import replace
from math import prod
from pathlib import Path

import pytest
from tritonclient.grpc import service_pb2

from loadtest.disconnects import POINTS, Case, _headers, _table, cases, leave, make_body
from loadtest.process import Server

CASES = {f"{case.name} {case.protocol} {case.point}": case for case in cases()}


def small(case: Case) -> Case:
    return replace(case, megabytes=0.3, delay_s=0)


def test_every_case_is_there_once():
    assert len(CASES) == len(cases())
    held_most = CASES["explain, 50 MB http1 whole"]
    assert (held_most.megabytes, held_most.count, held_most.delay_s) == (50, 20, 0.03)
    bomb = CASES["infer, gzip bombs of 60 MiB http1 whole"]
    assert (bomb.count, bomb.delay_s) == (30, 0.15)
    assert len(gzip.decompress(make_body(bomb))) == pytest.approx(60 << 20, rel=0.01)
    assert len(make_body(bomb)) < 100_000


@pytest.mark.parametrize("case", [c for c in CASES.values() if c.point == "whole"])
def test_bodies_are_right_and_of_their_size(case):
    case = small(case)
    body = make_body(case)
    size = len(gzip.decompress(body)) if case.body == "bomb" else len(body)
    assert size == pytest.approx(300_000, rel=0.1)
    headers = dict(_headers(case, len(body)))
    if case.body == "grpc":
        (tensor,) = service_pb2.ModelInferRequest.FromString(body[5:]).inputs
        assert prod(tensor.shape) * 4 == pytest.approx(size, rel=0.1)
        return
    assert headers["content-length"] == str(len(body))
    if case.body == "binary":
        size = int(headers["inference-header-content-length"])
        (tensor,) = json.loads(body[:size])["inputs"]
        assert tensor["parameters"]["binary_data_size"] == len(body) - size
        return
    message = json.loads(gzip.decompress(body) if case.body == "bomb" else body)
    if case.body == "json":
        (tensor,) = message["inputs"]
        assert len(tensor["data"]) == prod(tensor["shape"])
    assert case.body != "labels" or len(message["labels"]) > 10_000


@pytest.mark.parametrize("point", POINTS)
def test_clients_leave_where_the_case_says(sink, point):
    case = small(CASES[f"infer http1 {point}"])
    body = make_body(case)
    server = sink()
    leave(Server("sink", None, server.port, None, Path()), case, body)  # type: ignore[arg-type]
    server.close()
    got = bytes(server.received[0]).partition(b"\r\n\r\n")[2]
    assert len(got) == {"head": 0, "half": len(body) // 2, "whole": len(body)}[point]


def test_the_table_tells_what_was_held():
    sample = {"name": "infer", "protocol": "http1", "point": "half", "count": 3, "megabytes": 20.0,
              "held_pss_mib": 70.4, "held_rss_mib": 80.0, "idle": False}  # fmt: skip
    (row,) = _table([sample]).rows
    held = "70 (80) over the target, not idle"
    assert row == ("infer, http1", "3 x 20 MB", "-", held, "-")
