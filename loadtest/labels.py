"""How fast labels are taken in: `python -m loadtest.labels [--rows N] [--write]`.

An instance answers N predictions, of which its monitor remembers 100,000; the others are in the
prediction log alone. Then each one's label is pushed over HTTP in random order, 1,000 a push: one
half by one client, the other half by four. An answer says that labels are on the disk and joined.
At the end the counts of clients and of `/metrics` must be exact.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np

from loadtest import facts, mlp, record, vigil
from loadtest.gateway_memory import processes
from loadtest.home import bench_home
from loadtest.process import (
    Server,
    ServerError,
    cpu_seconds,
    metric,
    only_one,
    stop_on_sigterm,
)

PUSH: Final = 1000
"""Labels of one push."""
ROWS: Final = 20
"""Rows of one request."""
REMEMBERED: Final = 100_000
"""Predictions of one version that a monitor keeps."""
CLIENTS: Final = (1, 4)
TARGET: Final = 20_000
"""Labels a second."""
LABELS: Final = f"/v2/models/{mlp.MODEL}/labels"
_PREDICTING: Final = 2
_LIMIT_S: Final = 60

Key = tuple[str, int]
"""A request's id, and a row in it."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What pushing so many labels by some clients at once has cost.

    Attributes:
        counts: what became of the labels, as the answers say.
        labels_per_s: that were acknowledged.
        p50_ms, p99_ms: from a push to its answer.
        monitor_ms, gateway_ms: processor time a push.
    """

    clients: int
    labels: int
    counts: dict[str, int]
    labels_per_s: float
    p50_ms: float
    p99_ms: float
    monitor_ms: float
    gateway_ms: float


def bodies(keys: Iterable[Key], seed: int = 0) -> list[bytes]:
    """Return pushes of labels, each of another class than the one before at random."""
    generator = random.Random(seed)
    labels = [
        {"id": ident, "index": index, "y_true": generator.choice("ab")} for ident, index in keys
    ]
    return [
        json.dumps({"labels": labels[at : at + PUSH]}).encode()
        for at in range(0, len(labels), PUSH)
    ]


def predict(port: int, rows: int) -> list[Key]:
    """Have rows answered; returns the keys of all."""
    x = mlp.rows(ROWS)
    idents = [f"prediction-{number}" for number in range(rows // ROWS)]

    def some(mine: Sequence[str]) -> None:
        with _connected(port) as connection:
            for ident in mine:
                body = mlp.binary_body(x, ident=ident)
                _answer(connection, mlp.INFER_PATH, body.data, body.headers)

    with ThreadPoolExecutor(_PREDICTING) as clients:
        list(clients.map(some, [idents[at::_PREDICTING] for at in range(_PREDICTING)]))
    return [(ident, row) for ident in idents for row in range(ROWS)]


def push(server: Server, pushes: Sequence[bytes], clients: int) -> Pushed:
    """Push labels by so many clients at once."""
    monitor, gateway = processes(server, "monitor"), processes(server, "gateway")

    def some(mine: Sequence[bytes]) -> list[tuple[float, dict[str, int]]]:
        told = []
        with _connected(server.http_port) as connection:
            for body in mine:
                begun = time.perf_counter()
                counts = json.loads(_answer(connection, LABELS, body, {}))
                told.append(((time.perf_counter() - begun) * 1000, counts))
        return told

    spent = _spent(monitor), _spent(gateway)
    begun = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        told = [each for mine in pool.map(some, _shares(pushes, clients)) for each in mine]
    took = time.perf_counter() - begun
    counts: Counter[str] = Counter()
    for _, each in told:
        counts.update(each)
    labels = counts.total()
    p50, p99 = np.percentile([ms for ms, _ in told], [50, 99])
    return Pushed(
        clients, labels, dict(counts), labels / took, float(p50), float(p99),
        (_spent(monitor) - spent[0]) / len(pushes) * 1000,
        (_spent(gateway) - spent[1]) / len(pushes) * 1000,
    )  # fmt: skip


def _shares(pushes: Sequence[bytes], clients: int) -> list[Sequence[bytes]]:
    return [pushes[at::clients] for at in range(clients)]


def _spent(pids: Iterable[int]) -> float:
    return sum(map(cpu_seconds, pids))


def _connected(port: int) -> contextlib.closing[http.client.HTTPConnection]:
    return contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=_LIMIT_S))


def _answer(
    connection: http.client.HTTPConnection, path: str, body: bytes, headers: dict[str, str]
) -> bytes:
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise ServerError(f"{path} was answered with {answer.status}: {content[:300]!r}")
    return content


def require(what: str, wanted: float, told: Callable[[], float], limit_s: float = 30) -> None:
    """Wait until a count is what it must be.

    Raises:
        ServerError: it is another one for too long.
    """
    end = time.monotonic() + limit_s
    while (now := told()) != wanted:
        if time.monotonic() > end:
            raise ServerError(f"{what}: {now:,.0f}, and not {wanted:,.0f}")
        time.sleep(0.2)


def measure(server: Server, rows: int) -> list[Pushed]:
    """Predict, and push all labels.

    Raises:
        ServerError: an answer is wrong, or a count is.
    """
    keys = predict(server.http_port, rows)
    require("rows of the log", len(keys), lambda: metric(server, "vigil_store_rows_total"))
    random.Random(0).shuffle(keys)
    pushes = bodies(keys)
    half = len(pushes) // 2
    found = [
        push(server, some, clients)
        for some, clients in zip((pushes[:half], pushes[half:]), CLIENTS, strict=True)
    ]
    if any(each.counts != _all_accepted(each.labels) for each in found):
        raise ServerError(f"not every label was accepted: {[each.counts for each in found]}")
    received = lambda: metric(server, "vigil_labels_received_total", 'outcome="accepted"')  # noqa: E731
    require("labels accepted", len(keys), received)
    require("coverage", 1.0, lambda: metric(server, "vigil_labels_coverage_ratio"))
    return found


def _all_accepted(labels: int) -> dict[str, int]:
    return {"accepted": labels, "duplicate": 0, "unknown": 0, "late": 0}


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Yield an instance that logs everything, in a folder of its own."""
    models = bench_home() / "vigil-models" / "record"
    server = vigil.start(folder, vigil.Variant("local", checks=True, record=True), models)
    try:
        yield server
    finally:
        server.stop()


def main() -> int:
    """Measure and print; 1 when a rate is below what is promised."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.labels", description=__doc__)
    parser.add_argument("--rows", type=int, default=500_000, help="predictions, and labels")
    parser.add_argument("--write", action="store_true", help="into loadtest/results")
    options = parser.parse_args()
    stop_on_sigterm()
    known = facts.machine() | {"command": facts.command("loadtest.labels", None)}
    with only_one(bench_home()), tempfile.TemporaryDirectory(prefix="vigil-labels-") as name:
        vigil.prepare(bench_home())
        with serving(Path(name)) as server:
            found = measure(server, options.rows)
    tables = [table(found, options.rows)]
    record.show("labels", known, tables)
    if options.write:
        record.write("labels", known, tables, [asdict(each) for each in found])
    return int(any(each.labels_per_s < TARGET for each in found))


def table(found: Sequence[Pushed], rows: int) -> record.Table:
    """Return the results as a table."""
    columns = (
        "clients", "labels", "labels per second", "p50 ms of a push", "p99 ms",
        "monitor's processor ms a push", "gateway's",
    )  # fmt: skip
    lines = [
        (
            str(each.clients), f"{each.labels:,}", f"{each.labels_per_s:,.0f}",
            *(f"{ms:.1f}" for ms in (each.p50_ms, each.p99_ms, each.monitor_ms, each.gateway_ms)),
        )
        for each in found
    ]  # fmt: skip
    note = (
        f"{PUSH:,} labels a push, in random order, of {rows:,} predictions, of which the monitor "
        f"remembers {REMEMBERED:,}. All were accepted, each once, and are on the disk. Clients "
        f"share the machine. At least {TARGET:,} labels a second are promised."
    )
    return record.Table("Labels", columns, lines, note)


if __name__ == "__main__":
    raise SystemExit(main())
