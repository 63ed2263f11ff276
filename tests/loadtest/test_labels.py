import json
import random
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from loadtest import labels
from loadtest.labels import LABELS, PUSH, ROWS, bodies, predict, push, require, table
from loadtest.process import Server, ServerError, metric

METRICS = """# TYPE vigil_labels_received counter
vigil_labels_received_total{model="m",outcome="accepted"} 3.0
vigil_labels_received_total{model="n",outcome="accepted"} 4.0
vigil_labels_received_total{model="n",outcome="late"} 5.0
vigil_labels_received_total_other{outcome="accepted"} 9.0
vigil_store_rows_total 70.0
"""


class Peer(BaseHTTPRequestHandler):
    """Answers what an instance does, and remembers what it was sent."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer is one packet
    predicted: ClassVar[Counter[tuple[str, int]]] = Counter()
    labelled: ClassVar[Counter[tuple[str, int]]] = Counter()
    refuses = False
    lock = threading.Lock()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        told = {}
        with self.lock:
            if self.path == LABELS:
                pushed = json.loads(body)["labels"]
                self.labelled.update((each["id"], each["index"]) for each in pushed)
                told = {"accepted": len(pushed), "duplicate": 0, "unknown": 0, "late": 0}
            else:
                head = json.loads(body[: int(self.headers["inference-header-content-length"])])
                (rows, _) = head["inputs"][0]["shape"]
                self.predicted.update((head["id"], row) for row in range(rows))
        self._answer(503 if self.refuses else 200, json.dumps(told).encode())

    def do_GET(self):
        self._answer(200, METRICS.encode())

    def _answer(self, status, content):
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def peer(monkeypatch, http_servers) -> Iterator[Server]:
    monkeypatch.setattr(Peer, "predicted", Counter())
    monkeypatch.setattr(Peer, "labelled", Counter())
    monkeypatch.setattr(labels, "processes", lambda *_: [])
    with http_servers.in_thread(ThreadingHTTPServer(("127.0.0.1", 0), Peer)) as server:
        port = server.server_port
        yield Server("peer", None, port, None, Path(), admin_port=port)  # type: ignore[arg-type]


@pytest.mark.parametrize("clients", [1, 4])
def test_every_prediction_is_labelled_once(peer, clients):
    keys = predict(peer.http_port, 200 * ROWS)
    assert set(keys) == set(Peer.predicted)
    assert set(Peer.predicted.values()) == {1}
    random.Random(0).shuffle(keys)
    pushed = push(peer, bodies(keys), clients)
    assert set(keys) == set(Peer.labelled)
    assert set(Peer.labelled.values()) == {1}
    assert (pushed.clients, pushed.labels) == (clients, len(keys))
    assert pushed.counts["accepted"] == len(keys)
    assert 0 < pushed.p50_ms <= pushed.p99_ms
    (line,) = table([pushed], len(keys)).rows
    assert line[:2] == (str(clients), "4,000")


def test_pushes_hold_all_labels_in_order():
    keys = [(f"r{number}", number % 3) for number in range(2 * PUSH + 1)]
    pushes = [json.loads(body)["labels"] for body in bodies(keys)]
    assert [len(each) for each in pushes] == [PUSH, PUSH, 1]
    assert [(each["id"], each["index"]) for some in pushes for each in some] == keys
    assert {each["y_true"] for each in pushes[0]} == {"a", "b"}


def test_an_answer_that_is_none_ends_it(peer, monkeypatch):
    monkeypatch.setattr(Peer, "refuses", True)
    with pytest.raises(ServerError, match="answered with 503"):
        push(peer, bodies([("a", 0)]), 1)


def test_metrics_are_summed_and_counts_must_be_right(peer):
    assert metric(peer, "vigil_labels_received_total", 'outcome="accepted"') == 7
    assert metric(peer, "vigil_store_rows_total") == 70
    require("rows", 70, lambda: metric(peer, "vigil_store_rows_total"))
    with pytest.raises(ServerError, match="rows: 70, and not 71"):
        require("rows", 71, lambda: metric(peer, "vigil_store_rows_total"), limit_s=0)
