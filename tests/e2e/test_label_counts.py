"""Ten thousand predictions over both transports, and labels in any order: every count is exact."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc

from serving.log.reader import LogReader
from serving.log.store import open_store
from serving.protocol.pb import vigil_pb2 as pb

pytestmark = pytest.mark.e2e
REQUESTS, ROWS = 200, 50
SOME = 100
"""How many duplicates, corrections and unknown ids there are each: one in a hundred."""
PUSHED = 1000
EARLY, LATER = "2026-01-31T12:00:00Z", "2026-01-31T13:00:00Z"
"""When labels became known, and when their corrections did."""


@pytest.fixture(scope="module")
def labelled(
    running: Callable[..., Any],
    make_lab: Callable[..., Path],
    eventually: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Any, Path]]:
    """Serves `lab` and judges its accuracy; with the folder of its log."""
    folder = tmp_path_factory.mktemp("label_counts")
    with running(make_lab(), folder) as instance:
        findings = f"{instance.url}/v2/models/lab/findings"
        eventually("the monitor", lambda: httpx.get(findings, timeout=60).status_code == 200)
        yield instance, folder / "data" / "log"


def predict(instance: Any, rng: np.random.Generator) -> dict[tuple[str, int], int]:
    """Have rows predicted over HTTP and gRPC in turn; returns their classes by id and row."""
    predicted = {}
    with tritonclient.grpc.InferenceServerClient(instance.grpc) as client:
        for number in range(REQUESTS):
            x = rng.standard_normal((ROWS, 4), np.float32)
            x[:, 1] = 0  # the model would sleep for it
            ident = f"r{number}"
            if number % 2:
                tensor = {"name": "x", "datatype": "FP32", "shape": [ROWS, 4], "data": x.tolist()}
                answer = instance.infer("lab", [tensor], id=ident, timeout_s=60).json()
                scores = np.array(answer["outputs"][0]["data"]).reshape(ROWS, 3)
            else:
                given = tritonclient.grpc.InferInput("x", x.shape, "FP32")
                given.set_data_from_numpy(x)
                scores = client.infer("lab", [given], request_id=ident).as_numpy("y")
            predicted |= {(ident, row): int(at) for row, at in enumerate(scores.argmax(1))}
    return predicted


Label = tuple[tuple[str, int], int, str]


def mixed(predicted: dict[tuple[str, int], int], rng: np.random.Generator) -> list[Label]:
    """Return labels in random order: three in four rows were predicted right."""
    truths = {key: (y + int(rng.random() < 0.25)) % 3 for key, y in predicted.items()}
    keys = list(truths)
    chosen = [keys[at] for at in rng.permutation(len(keys))[: 2 * SOME]]
    labels = [(key, truth, EARLY) for key, truth in truths.items()]
    labels += [(key, truths[key], EARLY) for key in chosen[:SOME]]
    labels += [(key, (truths[key] + 1) % 3, LATER) for key in chosen[SOME:]]
    labels += [((f"no-{ident}", row), 0, EARLY) for ident, row in chosen[:SOME]]
    return [labels[at] for at in rng.permutation(len(labels))]


def expected(
    predicted: dict[tuple[str, int], int], labels: list[Label]
) -> tuple[Counter[str], float, dict[tuple[str, int], int]]:
    """Return what becomes of each label in this order, the accuracy by the last ones, and these."""
    known: dict[tuple[str, int], tuple[int, str]] = {}
    counts: Counter[str] = Counter(accepted=0, duplicate=0, unknown=0, late=0, corrected=0)
    for key, truth, at in labels:
        before = known.get(key)
        if key not in predicted:
            counts["unknown"] += 1
        elif before is not None and (before[0] == truth or at < before[1]):
            counts["duplicate"] += 1
        else:
            counts["accepted"] += 1
            counts["corrected"] += before is not None
            known[key] = truth, at
    right = sum(predicted[key] == truth for key, (truth, _) in known.items())
    assert known.keys() == predicted.keys()
    return counts, right / len(known), {key: truth for key, (truth, _) in known.items()}


def push(instance: Any, labels: list[Label]) -> Counter[str]:
    """Push labels over HTTP and gRPC in turn; returns what the answers count together."""
    told: Counter[str] = Counter()
    with grpc.insecure_channel(instance.grpc) as channel:
        over_grpc = channel.unary_unary(
            "/vigil.Labels/Push",
            request_serializer=pb.LabelsPushRequest.SerializeToString,
            response_deserializer=pb.LabelsPushResponse.FromString,
        )
        for start in range(0, len(labels), PUSHED):
            part = labels[start : start + PUSHED]
            if start // PUSHED % 2:
                messages = [
                    pb.Label(id=ident, index=row, number=truth, timestamp=at)
                    for (ident, row), truth, at in part
                ]
                request = pb.LabelsPushRequest(model_name="lab", labels=messages)
                answer = over_grpc(request, timeout=60)
                told.update({name: getattr(answer, name) for name in OUTCOMES})
            else:
                body = [
                    {"id": ident, "index": row, "y_true": truth, "timestamp": at}
                    for (ident, row), truth, at in part
                ]
                url = f"{instance.url}/v2/models/lab/labels"
                told.update(httpx.post(url, json={"labels": body}, timeout=60).json())
    return told


OUTCOMES = ("accepted", "duplicate", "unknown", "late")


def test_every_label_is_counted_as_what_it_is(
    labelled: tuple[Any, Path], eventually: Callable[..., Any]
) -> None:
    instance, folder = labelled
    rng = np.random.default_rng(0)
    predicted = predict(instance, rng)
    assert len(predicted) == 10_000
    labels = mixed(predicted, rng)
    counts, accuracy, truths = expected(predicted, labels)
    assert counts["corrected"] > SOME / 4  # some corrections come before what they correct
    told = push(instance, labels)
    assert told == {name: counts[name] for name in OUTCOMES if counts[name] or name in told}

    def metric(name: str, **attributes: str) -> float:
        return float(instance.metric(f"vigil_{name}", model="lab", **attributes))

    eventually(
        "all labels on the metrics page",
        lambda: (
            sum(metric("labels_received_total", outcome=name) for name in OUTCOMES) == len(labels)
        ),
    )
    for name in OUTCOMES:
        assert metric("labels_received_total", outcome=name) == counts[name]
    assert metric("labels_corrected_total") == counts["corrected"]
    assert metric("labels_delay_seconds_count") == len(predicted)
    assert metric("labels_coverage_ratio") == 1
    overall = metric("performance_overall", metric="accuracy")
    assert overall == pytest.approx(accuracy, abs=1e-12)
    stored = "vigil_store_labels_total"
    eventually("all of them in the log", lambda: instance.metric(stored) == counts["accepted"])
    reader = LogReader(open_store(str(folder)), folder / "open")
    rows = reader.scan("lab", "label != predicted OR true").read_all().to_pylist()
    assert {(row["client_id"], row["index"]): row["label"] for row in rows} == truths
    (ident, at), truth = next(iter(truths.items()))
    url = f"{instance.url}/v2/models/lab/predictions/{ident}?index={at}"
    (row,) = httpx.get(url, timeout=60).json()["rows"]
    assert (row["label"], row["label_time"] > row["time"]) == (truth, True)
