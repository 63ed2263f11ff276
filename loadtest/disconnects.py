"""What clients that leave make a gateway hold: `python -m loadtest.disconnects [--write]`.

Clients send a request of some size to one path and hang up: behind its head, in the middle of its
body, or behind all of it while the gateway works on it. What the gateway holds when it has become
idle, beside what it held before, is what it keeps of people who are gone. Each case has an instance
of its own, for memory that one case set free would hide what the next one holds.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import time
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

import hpack
import numpy as np

from loadtest import facts, mlp, record, vigil
from loadtest.gateway_memory import Memory, gateways, memory, wait_idle
from loadtest.home import bench_home
from loadtest.link import Closed, Link
from loadtest.process import Server, only_one, stop_on_sigterm
from loadtest.verify import check
from serving.gateway.spare_memory import INTERVAL_S
from serving.http2 import frames as f

Point = Literal["head", "half", "whole"]
POINTS: Final[tuple[Point, ...]] = ("head", "half", "whole")
EXPLAIN: Final = f"/v2/models/{mlp.MODEL}/explain"
LABELS: Final = f"/v2/models/{mlp.MODEL}/labels"
GRPC_EXPLAIN: Final = "/vigil.Explain/Explain"
GRPC_STREAM: Final = "/inference.GRPCInferenceService/ModelStreamInfer"
TARGET_MIB: Final = 64.0
"""A gateway should hold at most so much more when its clients have gone."""
MB: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Case:
    """`count` clients, one after the other, send `megabytes` to `path` and leave at `point`.

    `delay_s`: how long they wait before they hang up.
    """

    name: str
    protocol: Literal["http1", "http2", "grpc"]
    path: str
    point: Point
    megabytes: float = 20
    count: int = 20
    delay_s: float = 0.03
    body: Literal["json", "binary", "bomb", "grpc", "labels"] = "json"


def cases() -> list[Case]:
    """Return every path in every protocol at every point, and the two that held most."""
    paths = [("infer", mlp.INFER_PATH, "json"), ("infer, binary", mlp.INFER_PATH, "binary"),
             ("explain", EXPLAIN, "json"), ("labels", LABELS, "labels")]  # fmt: skip
    found = [
        Case(name, protocol, path, point, body=body)  # type: ignore[arg-type]
        for name, path, body in paths
        for protocol in ("http1", "http2")
        for point in POINTS
    ]
    calls = [("infer", mlp.GRPC_PATH), ("explain", GRPC_EXPLAIN), ("stream", GRPC_STREAM)]
    found += [
        Case(name, "grpc", path, point, body="grpc") for name, path in calls for point in POINTS
    ]
    return [
        *found,
        Case("explain, 50 MB", "http1", EXPLAIN, "whole", megabytes=50),
        Case(
            "infer, gzip bombs of 60 MiB", "http1", mlp.INFER_PATH, "whole", 62.9, 30, 0.15, "bomb"
        ),
        Case(
            "infer, gzip bombs of 60 MiB", "http2", mlp.INFER_PATH, "whole", 62.9, 30, 0.15, "bomb"
        ),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when an instance died, did not become idle or answered wrongly."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.disconnects", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few small requests in a few cases")
    parser.add_argument(
        "--only", help="cases whose name and protocol hold this, as `explain http1`"
    )
    parser.add_argument("--write", action="store_true", help="keep the results")
    options = parser.parse_args(arguments)
    stop_on_sigterm()
    chosen = [c for c in cases() if _wanted(c, options.only)]
    if options.quick:
        chosen = [replace(c, megabytes=min(c.megabytes, 2), count=3) for c in chosen]
        chosen = [c for c in chosen if c.point == "whole"]
    known = {"command": facts.command("loadtest.disconnects", arguments)} | facts.machine()
    home = bench_home()
    samples = []
    with only_one(home):
        vigil.prepare(home)
        for case in chosen:
            server = vigil.start(home, vigil.Variant("local", checks=True))
            try:
                samples.append(asdict(case) | measure(server, case))
            finally:
                server.stop()
            print(samples[-1], flush=True)
    tables = [_table(samples)]
    record.show("disconnects", known, tables)
    if options.write:
        record.write("disconnects", known, tables, samples)
    return int(not samples or any(not sample["idle"] for sample in samples))


def _wanted(case: Case, words: str | None) -> bool:
    return all(
        word in f"{case.name} {case.protocol} {case.point}" for word in (words or "").split()
    )


def measure(server: Server, case: Case) -> dict[str, Any]:
    """Let the clients come and go; return what the gateways held before, at most and after."""
    pids = gateways(server)
    body = make_body(case)
    small = replace(case, megabytes=0.01, point="whole", delay_s=0.5)
    for _ in range(3):  # what a gateway needs for this path anyway, it has by then
        leave(server, small, make_body(small))
    for _ in range(20):
        check(server, "json")
    wait_idle(pids)
    before = most = memory(pids)
    for _ in range(case.count):
        leave(server, case, body)
        now = memory(pids)
        most = max(most, now, key=lambda each: each.pss)
    idle = wait_idle(pids)
    for _ in range(20):
        check(server, "json")
    after = _settled(pids, before.pss + TARGET_MIB)
    return {
        "before": asdict(before),
        "most": asdict(most),
        "after": asdict(after),
        "held_pss_mib": after.pss - before.pss,
        "held_rss_mib": after.rss - before.rss,
        "idle": idle,
    }


def _settled(pids: Sequence[int], enough: float) -> Memory:
    """Return what is held once it is little, or once a gateway has had time to give it back."""
    ends = time.monotonic() + 1.5 * INTERVAL_S
    while (held := memory(pids)).pss > enough and time.monotonic() < ends:
        time.sleep(0.5)
    return held


def leave(server: Server, case: Case, body: bytes) -> None:
    """Be one client: send as much as the case says, wait, and hang up."""
    ends = time.monotonic() + 30
    port = server.grpc_port if case.protocol == "grpc" else server.http_port
    assert port is not None
    sent = {"head": 0, "half": len(body) // 2, "whole": len(body)}[case.point]
    headers = _headers(case, len(body))
    with contextlib.suppress(Closed), Link(port, ends, case.protocol != "http1") as link:
        if case.protocol == "http1":
            lines = [f"POST {case.path} HTTP/1.1", "host: 127.0.0.1"]
            lines += [f"{name}: {value}" for name, value in headers]
            link.send("\r\n".join([*lines, "", ""]).encode() + body[:sent])
        else:
            pseudo = [(":method", "POST"), (":scheme", "http"), (":path", case.path),
                      (":authority", "127.0.0.1")]  # fmt: skip
            block = hpack.Encoder().encode([*pseudo, *headers])
            link.send(f.frame(f.HEADERS, f.END_HEADERS, 1, block))
            link.body(1, body[:sent], end=case.point == "whole")
        link.pause(case.delay_s)


def make_body(case: Case) -> bytes:
    """Return a right body of about the size of the case; for a bomb, that is what it grows to."""
    size = int(case.megabytes * MB)
    if case.body == "labels":
        entry = b'{"id":"%08d","y_true":0},'
        count = size // len(entry % 0)
        return b'{"labels":[' + b"".join(entry % n for n in range(count))[:-1] + b"]}"
    width = mlp.WIDTHS[0]
    if case.body in ("binary", "grpc"):
        x = np.zeros((size // (4 * width), width), np.float32)
        return mlp.binary_body(x).data if case.body == "binary" else mlp.grpc_frame(
            mlp.grpc_message(x)
        )  # fmt: skip
    if case.body == "bomb":
        plain = mlp.json_body(mlp.rows(1)).data
        return gzip.compress(plain + b" " * (size - len(plain)), zlib.Z_BEST_COMPRESSION)
    rows = size // (4 * width)
    head = f'{{"inputs":[{{"name":"{mlp.INPUT}","shape":[{rows},{width}],"datatype":"FP32","data":['
    return head.encode() + b"0.5," * (rows * width - 1) + b"0.5]}]}"


def _headers(case: Case, size: int) -> list[tuple[str, str]]:
    if case.body == "grpc":
        return [("content-type", "application/grpc"), ("te", "trailers")]
    headers = [("content-length", str(size))]
    if case.body == "binary":
        rows = int(case.megabytes * MB) // (4 * mlp.WIDTHS[0])
        x = np.zeros((rows, mlp.WIDTHS[0]), np.float32)
        given = mlp.binary_body(x).headers
        headers += [(name.lower(), value) for name, value in given.items()]
    elif case.body == "bomb":
        headers.append(("content-encoding", "gzip"))
    return headers


def _table(samples: Sequence[dict[str, Any]]) -> record.Table:
    groups: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for sample in samples:
        groups.setdefault((sample["name"], sample["protocol"]), {})[sample["point"]] = sample
    rows = []
    for (name, protocol), by_point in groups.items():
        one = next(iter(by_point.values()))
        cells = [_cell(by_point.get(point)) for point in POINTS]
        rows.append((f"{name}, {protocol}", f"{one['count']} x {one['megabytes']:g} MB", *cells))
    columns = ("path, protocol", "sent", *(f"behind {point}" for point in POINTS))
    note = (
        "MiB of PSS (RSS in brackets) that the gateway holds more when its clients have left and "
        f"it is idle. At most {TARGET_MIB:.0f} is the target. `whole`: while it worked."
    )
    return record.Table("Held for clients that have gone", columns, rows, note)


def _cell(sample: dict[str, Any] | None) -> str:
    if sample is None:
        return "-"
    held = sample["held_pss_mib"]
    text = f"{held:.0f} ({sample['held_rss_mib']:.0f})"
    text += "" if held <= TARGET_MIB else " over the target"
    return text if sample["idle"] else f"{text}, not idle"


if __name__ == "__main__":
    raise SystemExit(main())
