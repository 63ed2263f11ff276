"""What Vigil sees beside the request path: guards, drift, fairness, labels, explanations."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from serving.config import load_model
from serving.demo.loans import sample_applicants
from serving.models.profile.dataset import Dataset, read_dataset
from serving.protocol.pb import open_inference_pb2, open_inference_pb2_grpc, vigil_pb2
from serving.telemetry.export.prometheus import prometheus_name
from serving.telemetry.metrics.cloudevents import (
    CLOUDEVENTS_DROPPED,
    CLOUDEVENTS_PAIRED,
    SINK_DROPPED,
    SINK_POSTED,
)
from serving.telemetry.metrics.cost import COST, ENERGY_JOULES, MODEL_GPU_TIME
from serving.telemetry.metrics.declared import METRICS
from serving.telemetry.metrics.events import EVENTS_DROPPED, STORE_DROPPED
from serving.telemetry.metrics.findings import (
    DRIFT_P_VALUE,
    DRIFT_SCORE,
    FAIRNESS_CI_LOWER,
    FAIRNESS_CI_UPPER,
    FAIRNESS_DISPARITY,
    FAIRNESS_SUPPRESSED,
    FINDING_BREACHED,
    FINDING_CI_LOWER,
    FINDING_CI_UPPER,
    FINDING_ROWS,
    FINDING_VALUE,
    PERFORMANCE_ESTIMATED,
    PERFORMANCE_ESTIMATION_ERROR,
    PERFORMANCE_OVERALL,
    PERFORMANCE_SCORE,
)
from serving.telemetry.metrics.incidents import (
    INCIDENT_STORE_FAILURES,
    INCIDENTS_OPENED,
    WEBHOOK_DELIVERIES,
    WEBHOOK_FAILURES,
    WEBHOOK_WAITING,
)
from serving.telemetry.metrics.inference import REJECTED, SLO_GOOD, SLO_OBJECTIVE, SLO_TOTAL
from serving.telemetry.metrics.labels import (
    LABELS_COVERAGE,
    LABELS_COVERAGE_BY_GROUP,
    LABELS_DELAY_BY_GROUP,
)
from serving.telemetry.metrics.models import MODEL_LOAD_FAILURES, UPSTREAM_UP
from serving.telemetry.metrics.process import (
    LINES_DROPPED,
    SPANS_DROPPED,
    SPANS_SENT,
    TELEMETRY_EXPORT_FAILURES,
    TRACES_LIMITED,
)

pytestmark = pytest.mark.e2e
Eventually = Callable[..., Any]
WhenReady = Callable[..., httpx.Response]


def tensor(name: str, data: np.ndarray) -> dict[str, Any]:
    return {
        "name": name,
        "datatype": "FP32",
        "shape": list(data.shape),
        "data": data.ravel().tolist(),
    }


def rows_of(demo_root: Path, model: str, name: str) -> np.ndarray:
    folder = demo_root / model
    return read_dataset(folder / "1" / "test.parquet", load_model(folder)).inputs[name]


def flagged(instance: Any, model: str) -> float:
    return instance.metric(
        "vigil_guard_decisions_total", model=model, guard="mahalanobis", action="flag"
    )


def send_all(instance: Any, model: str, name: str, data: np.ndarray) -> None:
    for start in range(0, len(data), 50):
        answer = instance.infer(model, [tensor(name, data[start : start + 50])])
        assert answer.status_code == 200, answer.text


@pytest.mark.once
def test_a_foreign_image_is_flagged_and_a_digit_is_not(
    instance: Any, demo_root: Path, eventually: Eventually
) -> None:
    instance.settle()  # tests before this one have sent foreign images too
    before = flagged(instance, "digits")
    digit = rows_of(demo_root, "digits", "image")[:1]
    assert instance.infer("digits", [tensor("image", digit)]).status_code == 200
    checkers = (np.indices((8, 8)).sum(0) % 2 * 16).astype(np.float32).reshape(1, 1, 8, 8)
    assert instance.infer("digits", [tensor("image", checkers)]).status_code == 200
    eventually("one flag", lambda: flagged(instance, "digits") == before + 1)


@pytest.mark.once
def test_the_schema_guard_rejects_what_cannot_be(instance: Any, demo_root: Path) -> None:
    rows = rows_of(demo_root, "cancer", "x")[:2].copy()
    rows[1, 0] = -1
    answer = instance.infer("cancer", [tensor("x", rows)])
    assert answer.status_code == 422
    assert "mean radius" in answer.json()["error"]


def findings(instance: Any, model: str) -> list[dict[str, Any]]:
    answer = httpx.get(f"{instance.url}/v2/models/{model}/findings", timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()["findings"]


class Windows:
    """Sends rows of `cancer` until windows close; other tests may have begun one."""

    def __init__(self, instance: Any, eventually: Eventually) -> None:
        self._instance = instance
        eventually("the monitor", lambda: findings(instance, "cancer") is not None)
        self._last = self._closed()

    def _closed(self) -> dict[str, Any] | None:
        # What was answered before this question is in what it answers.
        for item in findings(self._instance, "cancer"):
            if item["metric"] == "drifted_features":
                return item
        return None

    def next(self, rows: np.ndarray) -> dict[str, Any]:
        """Send `rows` again and again, 50 at a time, until the next window has closed."""
        for start in range(0, 1000, 50):
            part = np.take(rows, range(start, start + 50), axis=0, mode="wrap")
            send_all(self._instance, "cancer", "x", part)
            found = self._closed()
            # Not as a whole: its age grows whatever comes.
            if found is not None and (not self._last or found["window"] != self._last["window"]):
                self._last = found
                return found
        raise AssertionError("1000 rows closed no window of 200")


def test_shifted_rows_raise_drift_and_clean_ones_do_not(
    instance: Any, demo_root: Path, eventually: Eventually
) -> None:
    # Rows that the model was not trained on; more than a window, so that none comes twice in it.
    folder = demo_root / "cancer"
    clean = np.concatenate(
        [
            read_dataset(folder / "1" / f"{part}.parquet", load_model(folder)).inputs["x"]
            for part in ("heldout", "test")
        ]
    )
    clean = np.random.default_rng(0).permutation(clean)
    assert len(clean) >= 250
    windows = Windows(instance, eventually)
    windows.next(clean)  # may hold rows of other tests
    verdict = windows.next(clean)
    assert verdict["n_current"] == 200
    assert verdict["breached"] is False, verdict
    shifted = clean.copy()
    shifted[:, 0] += 3 * shifted[:, 0].std()
    windows.next(shifted)  # may hold clean rows as well
    verdict = windows.next(shifted)
    assert verdict["breached"] is True
    radius = [
        item
        for item in findings(instance, "cancer")
        if (item["metric"], item["subject"]) == ("psi", "mean radius")
    ]
    assert radius[0]["breached"] is True
    assert radius[0]["p_value"] < 0.001
    eventually(
        "the alarm's metric",
        lambda: instance.metric("vigil_drift_alarms_total", model="cancer") >= 1,
    )


def apply_for_loans(instance: Any, sample: Dataset, name: str) -> None:
    """Send all applicants, 200 in each request `NAME-0`, `NAME-200` and so on."""
    for start in range(0, len(sample.inputs["numeric"]), 200):
        part = slice(start, start + 200)
        numeric, categorical = sample.inputs["numeric"][part], sample.inputs["categorical"][part]
        words = {
            "name": "categorical",
            "datatype": "BYTES",
            "shape": list(categorical.shape),
            "data": [value.decode() for value in categorical.ravel()],
        }
        answer = instance.infer(
            "loans",
            [tensor("numeric", numeric), words],
            id=f"{name}-{start}",
            parameters={
                "sensitive_features": json.dumps({"sex": sample.sensitive["sex"][part].tolist()})
            },
        )
        assert answer.status_code == 200, answer.text


@pytest.mark.once
def test_a_planted_disparity_is_measured_with_its_interval(
    instance: Any, eventually: Eventually
) -> None:
    apply_for_loans(instance, sample_applicants(2400, 11), "loans")

    def disparity() -> dict[str, Any] | None:
        for item in findings(instance, "loans"):
            if item["metric"] == "demographic_parity_difference" and item["ci"]:
                return item
        return None

    item = eventually("a fairness finding", disparity)
    lower, upper = item["ci"]
    # The population's disparity is 12 points; the interval of 1000 rows must hold it.
    assert lower < 0.12 < upper
    assert lower < item["value"] < upper
    eventually(
        "the disparity's metric",
        lambda: instance.metric("vigil_fairness_disparity", model="loans", attribute="sex") > 0,
    )
    labels = {
        "labels": [
            {"id": "loans-0", "index": 0, "y_true": "approved"},
            {"id": "loans-0", "index": 0, "y_true": "approved"},
            {"id": "nobody", "y_true": "approved"},
        ]
    }
    answer = httpx.post(f"{instance.url}/v2/models/loans/labels", json=labels, timeout=60)
    assert answer.json() == {"accepted": 1, "duplicate": 1, "unknown": 1, "late": 0}
    text = httpx.get(f"{instance.admin}/metrics", timeout=60).text
    assert '"F"' not in text  # sensitive values stay in counters
    assert '"M"' not in text


# What starts an explainer and asks it does not look at the method, and each start costs an instance
# of Ray as much as a replica's.
@pytest.mark.parametrize(
    ("model", "name"),
    [("cancer", "x"), pytest.param("digits", "image", marks=pytest.mark.once)],
)
def test_an_explanation_adds_up(
    instance: Any, demo_root: Path, when_ready: WhenReady, model: str, name: str
) -> None:
    data = rows_of(demo_root, model, name)[:3]
    url = f"{instance.url}/v2/models/{model}/explain"
    body = {"inputs": [tensor(name, data)]}
    answer = when_ready(lambda: httpx.post(url, json=body, timeout=90))
    assert answer.status_code == 200, answer.text
    body = answer.json()
    by_name = {output["name"]: output for output in body["outputs"]}
    assert body["parameters"]["method"] == "integrated_gradients"
    assert by_name[f"attribution:{name}"]["shape"] == list(data.shape)
    assert by_name[f"baseline:{name}"]["shape"] == list(data.shape)
    values = np.array(by_name[f"attribution:{name}"]["data"]).reshape(len(data), -1)
    baseline = np.array(by_name[f"baseline:{name}"]["data"], np.float32).reshape(data.shape)
    target = [int(text) for text in body["parameters"]["target"].split(",")]
    outputs = [
        np.array(instance.infer(model, [tensor(name, rows)]).json()["outputs"][0]["data"]).reshape(
            len(data), -1
        )[range(len(data)), target]
        for rows in (data, baseline)
    ]
    # The gateway's answers and the explanation come from different processes and must agree.
    np.testing.assert_allclose(values.sum(1), outputs[0] - outputs[1], atol=0.05)


@pytest.mark.once
def test_grpc_explains_as_http_does(instance: Any, demo_root: Path, when_ready: WhenReady) -> None:
    data = rows_of(demo_root, "cancer", "x")[:2]
    request = open_inference_pb2.ModelInferRequest(model_name="cancer", id="why")
    request.inputs.add(name="x", datatype="FP32", shape=data.shape)
    request.raw_input_contents.append(data.tobytes())
    request.parameters["n_steps"].int64_param = 64
    body = {"inputs": [tensor("x", data)], "parameters": {"n_steps": 64}}
    url = f"{instance.url}/v2/models/cancer/explain"
    by_http = when_ready(lambda: httpx.post(url, json=body, timeout=90)).json()

    with grpc.insecure_channel(instance.grpc) as channel:
        explain = channel.unary_unary(
            "/vigil.Explain/Explain",
            request_serializer=type(request).SerializeToString,
            response_deserializer=open_inference_pb2.ModelInferResponse.FromString,
        )

        answer = explain(request, timeout=90)
        request.parameters["method"].string_param = "guessing"
        with pytest.raises(grpc.RpcError, match="guessing") as caught:
            explain(request, timeout=60)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (answer.id, answer.model_version) == ("why", "1")
    assert answer.parameters["method"].string_param == "integrated_gradients"
    over_http = {out["name"]: out for out in by_http["outputs"]}
    for output, raw in zip(answer.outputs, answer.raw_output_contents, strict=True):
        if output.datatype == "FP64":
            assert list(output.shape) == over_http[output.name]["shape"]
            np.testing.assert_allclose(np.frombuffer(raw), over_http[output.name]["data"])
    assert "attribution:x" in {output.name for output in answer.outputs}


@pytest.mark.once
def test_grpc_takes_labels(instance: Any, demo_root: Path) -> None:
    rows = rows_of(demo_root, "cancer", "x")[:2]
    assert instance.infer("cancer", [tensor("x", rows)], id="over-grpc").status_code == 200
    label = vigil_pb2.Label(id="over-grpc", index=1, text="benign")
    request = vigil_pb2.LabelsPushRequest(
        model_name="cancer", labels=[label, label, vigil_pb2.Label(id="nobody", number=0)]
    )
    with grpc.insecure_channel(instance.grpc) as channel:
        push = channel.unary_unary(
            "/vigil.Labels/Push",
            request_serializer=type(request).SerializeToString,
            response_deserializer=vigil_pb2.LabelsPushResponse.FromString,
        )
        told = push(request, timeout=60)
        assert (told.accepted, told.duplicate, told.unknown, told.late) == (1, 1, 1, 0)
        request.labels[0].text = "purple"
        with pytest.raises(grpc.RpcError, match="y_true") as caught:
            push(request, timeout=60)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.once
def test_a_model_with_categories_is_explained(instance: Any, when_ready: WhenReady) -> None:
    sample = sample_applicants(3, 5)
    numeric, words = sample.inputs["numeric"], sample.inputs["categorical"]
    categorical = {
        "name": "categorical",
        "datatype": "BYTES",
        "shape": list(words.shape),
        "data": [value.decode() for value in words.ravel()],
    }
    question = {"inputs": [tensor("numeric", numeric), categorical]}
    question["parameters"] = {"target": "approved"}

    url = f"{instance.url}/v2/models/loans/explain"
    answer = when_ready(lambda: httpx.post(url, json=question, timeout=60))
    assert answer.status_code == 200, answer.text
    body = answer.json()
    by_name = {output["name"]: output for output in body["outputs"]}
    assert body["parameters"]["method"] == "kernel_shap"
    assert by_name["attribution:categorical"]["shape"] == [3, 2]
    assert by_name["baseline:categorical"]["data"][:2] == ["car", "rent"]
    total = sum(
        np.array(by_name[f"attribution:{name}"]["data"]).reshape(3, -1).sum(axis=1)
        for name in ("numeric", "categorical")
    )
    baseline = [
        {key: output[key] for key in ("datatype", "shape", "data")} | {"name": name}
        for name, output in ((n, by_name[f"baseline:{n}"]) for n in ("numeric", "categorical"))
    ]
    approved = [
        np.array(instance.infer("loans", inputs).json()["outputs"][0]["data"])[1::2]
        for inputs in (question["inputs"], baseline)
    ]
    np.testing.assert_allclose(total, approved[0] - approved[1], atol=1e-5)


@pytest.mark.once
def test_the_drift_report_is_served_by_url(instance: Any, demo_root: Path) -> None:
    send_all(instance, "cancer", "x", rows_of(demo_root, "cancer", "x")[:100])
    url = f"{instance.url}/v2/models/cancer/reports/drift"
    # test_openapi.py asks for the same as JSON; a report is made in a process of its own.
    page = httpx.get(url, params={"format": "html"}, timeout=120)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert b"mean radius" in page.content
    assert httpx.get(f"{instance.url}/v2/models/cancer/reports/none", timeout=60).status_code == 404


@pytest.mark.once
def test_reports_are_made_of_what_was_logged(instance: Any, eventually: Eventually) -> None:
    sample = sample_applicants(200, 12)
    apply_for_loans(instance, sample, "reported")
    assert sample.y_true is not None
    labels = [
        {"id": "reported-0", "index": at, "y_true": truth}
        for at, truth in enumerate(sample.y_true[:100].tolist())
    ]
    url = f"{instance.url}/v2/models/loans"
    pushed = httpx.post(f"{url}/labels", json={"labels": labels}, timeout=60)
    assert pushed.json()["accepted"] == 100

    def fairness() -> dict[str, Any] | None:
        answer = httpx.get(f"{url}/reports/fairness?last=1h&format=json", timeout=120)
        found: dict[str, Any] = answer.json()
        return found if answer.status_code == 200 and found["labelled"] >= 100 else None

    found = eventually("the labels", fairness)
    assert {each["group"] for each in found["groups"]} == {"F", "M"}
    # Other tests apply for loans too, and some of theirs say nothing about a person.
    assert 200 <= sum(each["rows"] for each in found["groups"]) <= found["rows"]
    page = httpx.get(f"{url}/reports/performance", timeout=120)
    assert page.status_code == 200, page.text
    assert "Confusion matrix" in page.text
    listed = httpx.get(f"{url}/reports", timeout=60).json()
    assert [each["impossible_because"] for each in listed["reports"]] == [None] * 4
    # Of a model without sensitive attributes nobody says that it is fair.
    unfair = httpx.get(f"{instance.url}/v2/models/cancer/reports/fairness", timeout=60)
    assert (unfair.status_code, "no section `fairness`" in unfair.text) == (501, True)


UNKNOWN_UNTIL = {
    "a window is full": {FINDING_VALUE, FINDING_BREACHED, FINDING_CI_LOWER, FINDING_CI_UPPER,
                         FINDING_ROWS, DRIFT_SCORE, DRIFT_P_VALUE, FAIRNESS_DISPARITY,
                         FAIRNESS_CI_LOWER, FAIRNESS_CI_UPPER, FAIRNESS_SUPPRESSED,
                         PERFORMANCE_ESTIMATED},
    "labels come": {PERFORMANCE_SCORE, PERFORMANCE_OVERALL, PERFORMANCE_ESTIMATION_ERROR,
                    LABELS_COVERAGE,
                    LABELS_COVERAGE_BY_GROUP, LABELS_DELAY_BY_GROUP},
    "a request is refused": {REJECTED},
    "an event is lost": {EVENTS_DROPPED, STORE_DROPPED},
    "CloudEvents come, or are posted": {CLOUDEVENTS_PAIRED, CLOUDEVENTS_DROPPED, SINK_POSTED,
                                        SINK_DROPPED},
    "the configuration asks for it": {SLO_GOOD, SLO_TOTAL, SLO_OBJECTIVE, UPSTREAM_UP, SPANS_SENT,
                                      SPANS_DROPPED, TRACES_LIMITED, LINES_DROPPED,
                                      TELEMETRY_EXPORT_FAILURES},
    "a version fails to load": {MODEL_LOAD_FAILURES},
    "an incident opens": {INCIDENTS_OPENED},
    "there are receivers": {WEBHOOK_DELIVERIES, WEBHOOK_FAILURES, WEBHOOK_WAITING},
    "the store of incidents fails": {INCIDENT_STORE_FAILURES},
    "a device tells, or a price is configured": {ENERGY_JOULES, MODEL_GPU_TIME, COST},
}  # fmt: skip


def test_every_metric_that_is_known_is_there(
    instance: Any, eventually: Eventually, when_ready: WhenReady
) -> None:
    later = {metric.name for metrics in UNKNOWN_UNTIL.values() for metric in metrics}
    wanted = {
        prometheus_name(metric.name, metric.kind, metric.unit)
        for metric in METRICS.values()
        if metric.name not in later
    }
    row = tensor("x", np.ones((1, 30), np.float32))
    assert instance.infer("cancer", [row]).status_code == 200
    # The first question starts the explainer, which then has series of its own.
    url = f"{instance.url}/v2/models/cancer/explain"
    explained = when_ready(lambda: httpx.post(url, json={"inputs": [row]}, timeout=120))
    assert explained.status_code == 200, explained.text

    with grpc.insecure_channel(instance.grpc) as channel:
        stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        assert stub.ServerLive(open_inference_pb2.ServerLiveRequest(), timeout=60).live

    def none_missing() -> bool:
        text = httpx.get(f"{instance.admin}/metrics", timeout=60).text
        families = re.findall(r"^# TYPE (\S+) (\S+)", text, re.MULTILINE)
        names = {name.removesuffix("_total") if kind == "counter" else name
                 for name, kind in families}  # fmt: skip
        assert not wanted - names
        return True

    eventually("all metrics", none_missing)


def test_the_console_answers(instance: Any) -> None:
    page = httpx.get(f"{instance.admin}/console", timeout=60)
    assert page.status_code == 200
    assert "Vigil" in page.text
