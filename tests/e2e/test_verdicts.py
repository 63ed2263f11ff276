"""What a server says of its models where little is known: no threshold, no rows, no labels."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from serving.models.export import save_files
from serving.models.repository.manifest import verify_all

pytestmark = pytest.mark.e2e

NET = '''
import numpy as np


class Net:
    """Says class 1 where x[:, 0] is positive; as a number, or as scores."""

    def __init__(self, scores):
        self.scores = scores

    def predict(self, inputs):
        first = next(iter(inputs.values()))
        if first.dtype == object:
            return {"y": first}
        positive = (first[:, :1] > 0).astype(np.float32)
        return {"y": np.concatenate([1 - positive, positive], 1) if self.scores else positive}


def scores():
    return Net(True)


def number():
    return Net(False)
'''
X = {"name": "x", "datatype": "FP32", "shape": [-1, 2]}
FEATURES = [{"name": "income"}, {"name": "debt"}]
SCORES = {"name": "y", "datatype": "FP32", "shape": [-1, 2], "classes": ["no", "yes"]}
NUMBER = {"name": "y", "datatype": "FP32", "shape": [-1, 1]}
LIVE = {"reference": "live", "reference_rows": 100, "window": 50}
FAIR = {"sensitive": ["sex"], "favorable": "yes", "window": 100}
MODELS: dict[str, dict[str, Any]] = {
    "plain": {"outputs": [SCORES], "monitors": {"drift": None}},
    "strict": {
        "outputs": [SCORES],
        "monitors": {"drift": None, "performance": {"metric": "accuracy", "min": 0.9}},
    },
    "killed": {"outputs": [SCORES], "monitors": {"drift": None}},
    "deaf": {"outputs": [SCORES], "monitors": {"drift": None, "performance": None}},
    "price": {"outputs": [NUMBER], "monitors": {"drift": None}},
    "fair": {
        "outputs": [SCORES],
        "monitors": {"drift": None, "stale_after_s": 5},
        "fairness": FAIR,
    },
    "idle": {"outputs": [SCORES], "monitors": {"drift": LIVE, "stale_after_s": 3}},
    "words": {
        "inputs": [{"name": "x", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [{"name": "y", "datatype": "BYTES", "shape": [-1]}],
        "monitors": {"drift": LIVE},
    },
    # Its rows are all in range: the guard that is stated to flag half of them flags none.
    "guarded": {
        "inputs": [{**X, "min": -5, "max": 5}],
        "outputs": [SCORES],
        "guards": [{"name": "schema", "expected_rate": 0.5}],
        "monitors": {"drift": LIVE, "guard_rate": {"window": 100}},
        "log": {"capture": "none"},
    },
    "profiled": {"inputs": [{**X, "features": FEATURES}], "outputs": [SCORES]},
}


def vigil(*arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "serving.cli", *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
        env={**os.environ, "COLUMNS": "200"},
    ).stdout


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def server(
    running: Callable[..., Any],
    eventually: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
    data_dir: Path,
) -> Iterator[Any]:
    """Serves `MODELS`; the state that it finds is unreadable."""
    root = tmp_path_factory.mktemp("verdicts")
    models = root / "models"
    (root / "net.py").write_text(NET)
    for name, more in MODELS.items():
        save_files(models / name / "1", root / "net.py")
        kind = "number" if more["outputs"] == [NUMBER] else "scores"
        config = {"format": "python", "factory": f"net:{kind}", "trust_code": True, "inputs": [X]}
        text = yaml.safe_dump({**config, "explain": None, **more}, sort_keys=False)
        (models / name / "model.yaml").write_text(text)
    rng = np.random.default_rng(0)
    rows = {feature["name"]: rng.normal(size=500) for feature in FEATURES}
    pq.write_table(pa.table(rows), root / "rows.parquet")
    vigil("profile", "profiled", "--data", str(root / "rows.parquet"), "--models", str(models))
    (data_dir / "monitor.json").write_bytes(b'{"of": "another time"')
    with running(models, tmp_path_factory.mktemp("run"), data_dir=str(data_dir)) as started:
        url = f"{started.url}/v2/models/plain/findings"
        eventually("the monitor", lambda: httpx.get(url, timeout=60).status_code == 200)
        yield started


def ask(server: Any, model: str, idents: list[str], x: np.ndarray, **parameters: str) -> None:
    """One request of one row for each id."""
    words = x.dtype.kind in "OU"
    with httpx.Client(base_url=server.url, timeout=60) as client:
        for ident, row in zip(idents, x, strict=True):
            tensor = {
                "name": "x",
                "datatype": "BYTES" if words else "FP32",
                "shape": [1] if words else [1, 2],
                "data": [row] if words else row.tolist(),
            }
            body = {"id": ident, "inputs": [tensor], "parameters": parameters}
            answer = client.post(f"/v2/models/{model}/infer", json=body)
            assert answer.status_code == 200, answer.text


def push(server: Any, model: str, idents: list[str], truth: object) -> httpx.Response:
    labels = [{"id": ident, "y_true": truth} for ident in idents]
    url = f"{server.url}/v2/models/{model}/labels"
    return httpx.post(url, json={"labels": labels}, timeout=60)


def found(server: Any, model: str) -> dict[str, Any]:
    answer = httpx.get(f"{server.url}/v2/models/{model}/findings", timeout=60)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def one(server: Any, model: str, metric: str) -> dict[str, Any] | None:
    matching = [f for f in found(server, model)["findings"] if f["metric"] == metric]
    return matching[-1] if matching else None


def names(prefix: str, n: int) -> list[str]:
    return [f"{prefix}{number}" for number in range(n)]


POSITIVE = np.ones((200, 2), np.float32)


def all_joined(answer: httpx.Response, n: int) -> bool:
    """Whether all labels were accepted, at once or by an earlier try."""
    counts = answer.json()
    assert sum(counts.values()) == n
    return bool(counts["accepted"] + counts["duplicate"] == n and not counts["unknown"])


@pytest.mark.parametrize(("model", "verdict"), [("plain", None), ("strict", True)])
def test_without_a_threshold_accuracy_has_no_verdict(
    server: Any, eventually: Callable[..., Any], model: str, verdict: bool | None
) -> None:
    idents = names(f"{model}-", 200)
    ask(server, model, idents, POSITIVE)
    eventually("the joins", lambda: all_joined(push(server, model, idents, "no"), 200))
    finding = eventually("the finding", lambda: one(server, model, "accuracy"))
    assert (finding["value"], finding["breached"]) == (0, verdict)
    assert finding["threshold"] == (0.9 if verdict else None)
    assert finding["reason"] == ("" if verdict else "no threshold set")
    assert 0 <= finding["age_s"] < 300
    shown = vigil("findings", model, "--url", server.url)
    row = next(row for row in shown.splitlines() if "accuracy" in row)
    assert "fine" not in row
    assert ("breached" if verdict else "unknown: no threshold set") in row
    assert "< 2 min" in row


def test_a_guard_that_flags_nothing_is_found_and_what_is_watched_is_said(
    server: Any, eventually: Callable[..., Any]
) -> None:
    x = np.random.default_rng(4).uniform(-1, 1, size=(200, 2)).astype(np.float32)
    ask(server, "guarded", names("guarded-", 200), x)
    finding = eventually("the finding", lambda: one(server, "guarded", "flagged_share"))
    assert (finding["subject"], finding["value"], finding["breached"]) == ("schema", 0, True)
    assert (finding["severity"], finding["detail"]["dead"]) == ("ticket", True)

    answer = httpx.get(f"{server.url}/v2/models/guarded/monitors", timeout=60).json()
    told = {each["monitor"]: each for each in answer["monitors"]}
    assert {"drift", "prediction_drift", "data_quality", "quality", "performance", "guard_rate"} \
        == told.keys()  # fmt: skip
    assert {each["subject"] for each in told["drift"]["items"]} >= {"x[0]", "x[1]"}
    assert told["guard_rate"]["false_alarms_per_quarter"] == 3
    shown = vigil("monitors", "guarded", "--url", server.url)
    assert "guarded: at most 1 false pages in 90 days are expected" in shown
    assert "guard rate (ticket), version 1" in shown


@pytest.mark.parametrize(
    ("model", "reason"),
    [("deaf", "monitors.performance is null"), ("words", "labels are of classes")],
)
def test_labels_that_nobody_can_use_are_refused(server: Any, model: str, reason: str) -> None:
    answer = push(server, model, ["a"], 1)
    assert answer.status_code == 501
    assert f"model '{model}' takes no labels" in answer.json()["error"]
    assert reason in answer.json()["error"]


def test_a_disparity_that_becomes_unknown_is_no_series_any_more(
    server: Any, eventually: Callable[..., Any]
) -> None:
    def disparities() -> list[str]:
        text = httpx.get(f"{server.admin}/metrics", timeout=60).text
        return [line for line in text.splitlines() if line.startswith("vigil_fairness_disparity{")]

    for sex, x in (("F", POSITIVE[:100]), ("M", -POSITIVE[:100])):
        asked = json.dumps({"sex": [sex]})
        ask(server, "fair", names(sex, 100), x, sensitive_features=asked)
    eventually("the finding", lambda: one(server, "fair", "demographic_parity_difference"))
    eventually("the gauge", lambda: len(disparities()) == 2)
    metric = "demographic_parity_difference"
    eventually(
        "staleness",
        lambda: "stale: no rows for" in one(server, "fair", metric)["reason"],  # type: ignore[index]
    )
    eventually("no gauge", lambda: not disparities())
    row = next(
        r for r in vigil("findings", "fair", "--url", server.url).splitlines() if metric in r
    )
    assert "unknown" in row


def test_a_breach_of_an_idle_model_is_no_problem_for_ever(
    server: Any, eventually: Callable[..., Any]
) -> None:
    x = np.random.default_rng(1).normal(size=(100, 2)).astype(np.float32)
    ask(server, "idle", names("i", 100), x)
    ask(server, "idle", names("j", 50), x[:50] + 20)
    eventually("the breach", lambda: one(server, "idle", "drifted_features"))
    eventually(
        "staleness",
        lambda: "stale: no rows for" in one(server, "idle", "drifted_features")["reason"],  # type: ignore[index]
    )
    finding = one(server, "idle", "drifted_features")
    assert finding is not None
    assert finding["breached"] is None
    assert finding["age_s"] >= 3
    assert finding["reason"].endswith("breached before that")

    def console() -> dict[str, Any]:
        return dict(httpx.get(f"{server.admin}/console/data", timeout=60).json())

    def settled() -> bool:
        mine = [item for item in console()["findings"] if item["model"] == "idle"]
        return bool(mine) and all(item["breached"] is None and item["age_s"] >= 3 for item in mine)

    eventually("the console", settled)
    assert not [item for item in console()["problems"] if "'idle'" in item["text"]]
    eventually("no gauge", lambda: server.metric("vigil_drift_score", model="idle") == 0)


def test_texts_that_are_no_categories_are_watched_by_their_length(
    server: Any, eventually: Callable[..., Any]
) -> None:
    x = np.array([f"text {number:03}" for number in range(200)])
    ask(server, "words", names("w", 150), x[:150])
    total = "drifted_features"
    finding = eventually("the finding", lambda: one(server, "words", total))
    assert (finding["monitor"], finding["breached"]) == ("drift", False)
    ask(server, "words", names("v", 50), np.array([f"{text}, and more of it" for text in x[150:]]))
    eventually("the breach", lambda: one(server, "words", total)["breached"])  # type: ignore[index]
    shown = vigil("findings", "words", "--url", server.url)
    assert "breached" in shown


def test_a_model_that_was_profiled_has_a_drift_report(
    server: Any, eventually: Callable[..., Any]
) -> None:
    x = np.random.default_rng(2).normal(size=(60, 2)).astype(np.float32)
    ask(server, "profiled", names("p", 60), x)
    url = f"{server.url}/v2/models/profiled/reports/drift?format=json"

    def report() -> Any:
        answer = httpx.get(url, timeout=100)
        assert answer.status_code != 501, answer.text
        return answer.status_code == 200 and answer.json()

    body = eventually("the report", report, 120)
    assert body["reference_rows"] == 500
    verify_all(server.models / "profiled" / "1")


def test_the_console_tells_that_nobody_judges(server: Any, eventually: Callable[..., Any]) -> None:
    expected = "drift of model 'deaf' is not watched: its monitors.drift is null"

    def told() -> str:
        data = httpx.get(f"{server.admin}/console/data", timeout=60).json()
        return "\n".join(data["not_judged"])

    eventually("the monitor has told", lambda: expected in told())


def test_an_unreadable_state_was_set_aside(server: Any, data_dir: Path) -> None:
    (kept,) = data_dir.glob("monitor.json.*.unreadable")
    assert kept.read_bytes() == b'{"of": "another time"'
    assert kept.name in server.log.read_text()


def test_accepted_labels_outlive_kill_9(
    server: Any, eventually: Callable[..., Any], data_dir: Path
) -> None:
    idents = names("kept-", 50)
    ask(server, "killed", idents, POSITIVE[:50])
    eventually("the joins", lambda: all_joined(push(server, "killed", idents[:30], "yes"), 30))

    def saved() -> int:
        path = data_dir / "monitor.json"
        return path.stat().st_mtime_ns if path.exists() else 0

    for _ in range(2):  # the first save may have begun before the labels came
        before = saved()
        eventually("a save", lambda before=before: saved() > before)
    (monitor,) = server.members("monitor")
    os.kill(monitor["pid"], signal.SIGKILL)
    eventually("another monitor", lambda: server.members("monitor")[0]["pid"] != monitor["pid"])
    eventually("its findings", lambda: found(server, "killed"))
    answer = push(server, "killed", idents, "yes").json()
    assert answer == {"accepted": 20, "duplicate": 30, "unknown": 0, "late": 0}
