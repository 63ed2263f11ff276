"""The prediction log of a real instance: others read exactly what clients were answered."""

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton

from serving.log.reader import LogReader
from serving.log.store import open_store

pytestmark = pytest.mark.e2e
MODEL = "lab"
REQUESTS = 1000
TRACE = "ab" * 16
GUARD = """
guards:
  - {name: schema, action: reject}
"""
READ = """
import json, sys
import duckdb

files = f"{sys.argv[1]}/predictions/model=lab/**/*.parquet"
found = duckdb.sql(
    "SELECT to_json(found) FROM (SELECT * REPLACE (hex(id) AS id) "
    f"FROM read_parquet('{files}', hive_partitioning=true, union_by_name=true)) found"
)
print("[" + ",".join(row for (row,) in found.fetchall()) + "]")
"""
"""What another process does: it knows nothing of Vigil."""
PAGE = Path(__file__).parents[2] / "docs" / "prediction-log.md"


@pytest.fixture(scope="module")
def logged(
    running: Callable[..., Any],
    make_lab: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Any, Path]]:
    """Serve `lab`, with a guard that rejects values above 1000, with two gateways."""
    models = make_lab()
    config = models / MODEL / "model.yaml"
    text = config.read_text().replace(
        "shape: [-1, 4]", "shape: [-1, 4], max: 1000, features: [{name: a}, {name: b}, {name: c}, "
        "{name: d}]"
    )  # fmt: skip
    config.write_text(text + GUARD)
    folder = tmp_path_factory.mktemp("log")
    with running(models, folder, gateways=2) as instance:
        yield instance, folder / "data" / "log"


def total(instance: Any, name: str, **labels: str) -> float:
    """Return a counter's sum over all its series that have these labels."""
    text = httpx.get(f"{instance.admin}/metrics", timeout=60).text
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if line.startswith((f"{name}{{", f"{name} ")) and all(each in line for each in wanted)
    )


def row_of(number: int) -> list[float]:
    return [number / 8, 0, -number, 0.5]


def ask_all(instance: Any) -> dict[str, tuple[str, list[list[float]], Any]]:
    """Send all requests; return outcome, inputs and outputs by id."""
    answered: dict[str, tuple[str, list[list[float]], Any]] = {}
    url = f"{instance.url}/v2/models/{MODEL}/infer"
    with httpx.Client(timeout=60) as http, triton.InferenceServerClient(instance.grpc) as grpc:
        for number in range(REQUESTS):
            rows = [row_of(number)] * (1 + number % 3)
            ident = f"request-{number}"
            if number % 2:
                tensor = triton.InferInput("x", [len(rows), 4], "FP32")
                tensor.set_data_from_numpy(np.array(rows, np.float32))
                said = grpc.infer(MODEL, [tensor], request_id=ident)
                answered[ident] = "ok", rows, said.as_numpy("y").tolist()
                continue
            if number % 100 == 50:
                rows = [[666, 0, 0, 0]]
            elif number % 100 == 60:
                rows = [*rows, [1001, 0, 0, 0]]
            shape = [len(rows), 4 if number % 100 != 70 else 3]
            tensor = {"name": "x", "datatype": "FP32", "shape": shape,
                      "data": [value for row in rows for value in row[: shape[1]]]}  # fmt: skip
            reply = http.post(
                url,
                json={"id": ident, "inputs": [tensor]},
                headers={"traceparent": f"00-{TRACE}-{'cd' * 8}-00"},
            )
            if reply.status_code == 200:
                outputs = np.array(reply.json()["outputs"][0]["data"]).reshape(-1, 3).tolist()
                answered[ident] = "ok", rows, outputs
            else:
                kind = {50: "failed", 60: "rejected", 70: "invalid"}[number % 100]
                answered[ident] = kind, rows, None
    return answered


def read(program: str, folder: Path) -> Any:
    """Return what a program prints that reads the log in another process."""
    argv = [sys.executable, "-c", program, str(folder)]
    said = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    assert said.returncode == 0, said.stderr
    return json.loads(said.stdout)


def test_others_read_exactly_what_clients_were_answered(
    logged: tuple[Any, Path], eventually: Callable[..., Any], tmp_path: Path
) -> None:
    instance, folder = logged
    eventually("the monitor", lambda: instance.members("monitor"))
    answered = ask_all(instance)
    outcomes = {outcome for outcome, _, _ in answered.values()}
    assert outcomes == {"ok", "failed", "rejected", "invalid"}
    expected = sum(
        len(rows) if outcome != "invalid" else 1 for outcome, rows, _ in answered.values()
    )
    eventually("all rows stored", lambda: total(instance, "vigil_store_rows_total") == expected)
    assert total(instance, "vigil_store_dropped_total") == 0
    assert total(instance, "vigil_events_lost_total") == 0
    # Streams become files when they are old or large, and when the monitor leaves.
    instance.process.terminate()
    instance.process.wait(60)
    found = read(READ, folder)
    assert len(found) == expected
    assert len({(row["id"], row["row"]) for row in found}) == expected
    by_request: dict[str, list[Any]] = {}
    for row in sorted(found, key=lambda row: row["index"]):
        by_request.setdefault(row["client_id"], []).append(row)
    assert by_request.keys() == answered.keys()
    for ident, (outcome, rows, outputs) in answered.items():
        of_it = by_request[ident]
        assert {row["outcome"] for row in of_it} == {outcome}, ident
        assert [row["index"] for row in of_it] == list(range(len(of_it)))
        decided = ["schema:reject"] if outcome == "rejected" else []
        assert {tuple(row["decisions"]) for row in of_it} == {tuple(decided)}
        over_http = int(ident.removeprefix("request-")) % 2 == 0
        assert {row["trace_id"] for row in of_it} == {TRACE if over_http else None}
        assert {row["version"] for row in of_it} == {1}
        inputs = [[row[f"in_{name}"] for name in "abcd"] for row in of_it]
        # An invalid request has another shape here, and so no input that is the model's.
        assert inputs == ([[None] * 4] if outcome == "invalid" else rows)
        if outputs is None:
            assert {row["out_y"] for row in of_it} == {None}
        else:
            found_outputs = np.array([row["out_y"] for row in of_it], np.float32)
            assert np.array_equal(found_outputs, np.array(outputs, np.float32)), ident
    counted = Counter(row["outcome"] for row in found)
    table, count = shown(folder, tmp_path)
    for outcome, rows_of_it in counted.items():
        assert re.search(rf"\b{outcome} +│ +{rows_of_it}\b", table), table
    assert count == str(expected)


def shown(folder: Path, cwd: Path) -> list[str]:
    """Run what the page shows of predictions, where it would be run; return what it prints."""
    (cwd / ".vigil").symlink_to(folder.parent)
    blocks = re.findall(r"^```py\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    said = []
    for block in blocks[:2]:
        program = block.replace("loans", MODEL) + "print(len(rows))\n"
        run = subprocess.run([sys.executable, "-c", program], cwd=cwd, capture_output=True,
                             text=True, timeout=120)  # fmt: skip
        assert run.returncode == 0, run.stderr
        said.append(run.stdout)
    return [said[0], said[1].strip()]


@pytest.mark.long  # tests/monitoring and tests/log kill what is asked here as a whole
def test_killing_the_monitor_loses_nothing_and_doubles_nothing(
    running: Callable[..., Any],
    make_lab: Callable[..., Path],
    tmp_path: Path,
    eventually: Callable[..., Any],
) -> None:
    def push(client: httpx.Client, numbers: range, more: int) -> None:
        """Push a label of each request, until the monitor says that it has them."""
        url = f"{instance.url}/v2/models/{MODEL}/labels"
        labels = [{"id": f"request-{each}", "y_true": (each + more) % 3} for each in numbers]
        eventually(
            "labels are taken",
            lambda: client.post(url, json={"labels": labels}).status_code == 200,
        )

    with running(make_lab(), tmp_path) as instance:
        killed: list[int] = []
        with httpx.Client(timeout=60) as client:
            for number in range(REQUESTS):
                tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": row_of(number)}
                reply = client.post(
                    f"{instance.url}/v2/models/{MODEL}/infer",
                    json={"id": f"request-{number}", "inputs": [tensor]},
                )
                assert reply.status_code == 200
                if number in (300, 650):
                    (monitor,) = eventually("a monitor", lambda: alive(instance, killed))
                    os.kill(monitor, signal.SIGKILL)
                    killed.append(monitor)
                if number % 50 == 49:
                    push(client, range(number - 49, number + 1), 0)
                    push(client, range(number - 9, number + 1), 1)
        folder = tmp_path / "data" / "log"
        reader = LogReader(open_store(str(folder)), folder / "open")
        eventually("all rows", lambda: reader.scan(MODEL).read_all().num_rows >= REQUESTS)
        truth = {
            f"request-{number}": (number + (number % 50 >= 40)) % 3 for number in range(REQUESTS)
        }
        eventually("their labels", lambda: labels_of(reader) == truth)
        assert total(instance, "vigil_events_lost_total") == 0
    found = reader.scan(MODEL).read_all().to_pylist()
    assert Counter(row["client_id"] for row in found) == Counter(
        f"request-{number}" for number in range(REQUESTS)
    )
    assert len({(row["id"], row["row"]) for row in found}) == REQUESTS
    told = LogReader(open_store(str(folder)), folder / "open", "labels").scan(MODEL).read_all()
    pairs = zip(told["client_id"].to_pylist(), told["label"].to_pylist(), strict=True)
    assert set(Counter(pairs).values()) == {1}


def labels_of(reader: LogReader) -> dict[str, int]:
    """Return what is true of each request."""
    rows = reader.scan(MODEL, "label IS NOT NULL", columns=["client_id", "label"]).read_all()
    return dict(zip(rows["client_id"].to_pylist(), rows["label"].to_pylist(), strict=True))


def alive(instance: Any, killed: list[int]) -> list[int]:
    """Return the monitor's process, if it is another one than those that were killed."""
    return [member["pid"] for member in instance.members("monitor") if member["pid"] not in killed]
