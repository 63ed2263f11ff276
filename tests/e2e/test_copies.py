"""Two instances: what one posts of its answers, the other judges as if it had given them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from loadtest.process import free_ports
from serving.protocol.pb import open_inference_pb2 as pb

pytestmark = pytest.mark.e2e
REQUESTS, ROWS = 45, 50
MOST_S = 60


def finding(instance: Any, monitor: str) -> dict[str, Any]:
    told = httpx.get(f"{instance.url}/v2/models/lab/findings", timeout=MOST_S).json()
    found = [each for each in told["findings"] if each["monitor"] == monitor]
    assert found, told
    return dict(found[0])


def test_a_mirror_judges_what_another_instance_has_answered(
    running: Callable[..., Any],
    watching: Callable[..., Any],
    make_lab: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
    eventually: Callable[..., Any],
) -> None:
    [port] = free_ports(1)
    events = {"url": f"http://127.0.0.1:{port}/v2/cloudevents", "interval_s": 0.1}
    models = make_lab()
    # So that everything is published there although nothing is judged.
    config = models / "lab" / "model.yaml"
    config.write_text(config.read_text().replace("{drift: null}", "{drift: {reference: live}}"))
    with (
        running(models, tmp_path_factory.mktemp("source"), cloudevents=events) as source,
        watching(
            source.grpc, tmp_path_factory.mktemp("mirror"), "--mirror", f"--http-port={port}"
        ) as mirror,
    ):
        mirror.http_port = port
        assert mirror.members("replica") == []
        eventually("the monitors", lambda: source.members("monitor") and mirror.members("monitor"))
        for each in (source, mirror):
            eventually("its connection", lambda each=each: finding_or_none(each) is not None)
        rng = np.random.default_rng(0)
        truth = {}
        for number in range(REQUESTS):
            x = rng.standard_normal((ROWS, 4), np.float32)
            x[:, 1] = 0  # the model would sleep for it
            tensor = {"name": "x", "datatype": "FP32", "shape": [ROWS, 4], "data": x.tolist()}
            answer = httpx.post(
                f"{source.url}/v2/models/lab/infer",
                json={"id": f"c-{number}", "inputs": [tensor]},
                timeout=MOST_S,
            )
            assert answer.status_code == 200, answer.text
            truth[number] = np.array(answer.json()["outputs"][0]["data"]).reshape(ROWS, 3)
        eventually(
            "every pair",
            lambda: mirror.metric("vigil_cloudevents_paired_total", model="lab") == REQUESTS,
        )
        # Counted once the answer is there, so later than the other side has counted it.
        posted = "vigil_cloudevents_posted_total"
        eventually("all are posted", lambda: source.metric(posted) == REQUESTS)
        assert source.metric("vigil_cloudevents_unposted_total") == 0
        mirror.settle()
        assert mirror.metric("vigil_cloudevents_dropped_total") == 0
        assert mirror.metric("vigil_inference_rows_total", model="lab") == REQUESTS * ROWS
        # Clients' ids find the predictions there; half of what is said to be true is wrong.
        labels = [
            {"id": f"c-{number}", "index": row, "y_true": int((scores.argmax() + row % 2) % 3)}
            for number, answered in truth.items()
            for row, scores in enumerate(answered)
        ]
        told = httpx.post(
            f"{mirror.url}/v2/models/lab/labels", json={"labels": labels}, timeout=MOST_S
        ).json()
        assert told == {"accepted": len(labels), "duplicate": 0, "unknown": 0, "late": 0}
        drift = eventually("a window of drift", lambda: finding(mirror, "drift"))
        assert drift["n_current"] == 1000
        assert finding(mirror, "performance")["value"] == 0.5

        # A mesh's copy of a request gets an answer at once, in which nothing is.
        answer = mirror.infer("lab", [tensor], id="shadow")
        assert (answer.status_code, answer.json()["outputs"]) == (200, [])
        request = pb.ModelInferRequest(model_name="lab", id="shadow")
        given = request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
        given.contents.fp32_contents.extend([1, 0, 1, 1])
        with grpc.insecure_channel(mirror.grpc) as channel:
            ask = channel.unary_unary(
                "/inference.GRPCInferenceService/ModelInfer",
                pb.ModelInferRequest.SerializeToString,
                pb.ModelInferResponse.FromString,
            )
            assert list(ask(request, timeout=MOST_S).outputs) == []
        told = httpx.get(f"{mirror.url}/v2/models/lab/findings", timeout=MOST_S).json()
        assert "outputs of model 'lab' are not judged where only requests came" in told["notes"]


@pytest.mark.long
def test_halves_that_come_to_different_gateways_are_joined(
    running: Callable[..., Any],
    make_lab: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
    eventually: Callable[..., Any],
) -> None:
    pairs = 24
    with running(make_lab(), tmp_path_factory.mktemp("two"), gateways=2) as instance:
        eventually("two gateways", lambda: len(instance.members("gateway")) == 2)
        url = f"{instance.url}/v2/cloudevents"

        def post(number: int, kind: str, body: dict[str, Any]) -> int:
            headers = {
                "ce-specversion": "1.0",
                "ce-id": str(number),
                "ce-source": "test",
                "ce-type": f"org.kubeflow.serving.inference.{kind}",
                "ce-inferenceservicename": "lab",
            }
            # A connection of its own, so that the kernel chooses a gateway for it.
            return httpx.post(url, json=body, headers=headers, timeout=MOST_S).status_code

        one = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 0, 1, 1]}
        output = httpx.get(f"{instance.url}/v2/models/lab", timeout=MOST_S).json()["outputs"][0]
        answer = {**output, "shape": [1, 3], "data": [0.25, 0.25, 0.5]}
        # A monitor that is still starting, or not known to a gateway yet, refuses.
        for number in range(pairs):
            for kind, body in (("request", {"inputs": [one]}), ("response", {"outputs": [answer]})):
                eventually("taken", lambda n=number, k=kind, b=body: post(n, k, b) == 200)
        eventually(
            "every pair",
            lambda: instance.metric("vigil_cloudevents_paired_total", model="lab") == pairs,
        )
        instance.settle()
        assert instance.metric("vigil_cloudevents_received_total") == 2 * pairs


def finding_or_none(instance: Any) -> Any:
    answer = httpx.get(f"{instance.url}/v2/models/lab/findings", timeout=MOST_S)
    return answer.json() if answer.status_code == 200 else None
