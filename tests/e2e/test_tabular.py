"""Estimators of tables and texts behind the gateway answer as they do when called directly."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import lightgbm
import numpy as np
import pandas as pd
import pytest
import skops.io
import tritonclient.grpc
import tritonclient.http
import xgboost
import yaml
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from serving.models.repository.manifest import write_folder_manifest

pytestmark = pytest.mark.e2e

RANDOM = np.random.default_rng(0)
N = 300
X = RANDOM.normal(size=(N, 4))
Y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 1)
TEXTS = ["cheap pills", "win money", "meeting at noon", "lunch with the team"]
PURPOSES = ["boat", "car", "home"]
LOANS = pd.DataFrame(
    {
        "amount": X[:, 0],
        "purpose": RANDOM.choice(PURPOSES, N),
        "grade": RANDOM.choice([1, 3, 20], N),
    }
)
TYPED = LOANS.astype({"purpose": "category", "grade": "category"})
GOOD = ((LOANS.purpose == "car") ^ (LOANS.amount > 0) ^ (LOANS.grade == 3)).astype(int)

NUMBERS = {"x": X[:7]}
ASKED = ["money for a meeting", "", "Grüße aus Köln", "win"]
LOAN_INPUTS = {
    "purpose": np.array([[each.encode()] for each in LOANS.purpose[:9]], object),
    "amount": LOANS[["amount"]].to_numpy()[:9],
    "grade": LOANS[["grade"]].to_numpy()[:9],
}


def texts(*shape: int) -> dict[str, np.ndarray]:
    return {"text": np.array([text.encode() for text in ASKED], object).reshape(shape)}


Case = tuple[Any, dict[str, np.ndarray], Any, list[tuple[str, str, list[int], str | None, str]]]
"""Estimator, tensors, the table that they are, and the outputs: name, datatype, shape, the
method that model.yaml names, and the method that must answer."""

BOTH = [
    ("p", "FP64", [-1, 2], None, "predict_proba"),
    ("label", "INT64", [-1], "predict", "predict"),
]
CASES: dict[str, Case] = {
    "iso": (
        IsolationForest(n_estimators=20, random_state=0).fit(X), NUMBERS, X[:7],
        [("score", "FP64", [-1], "decision_function", "decision_function"),
         ("label", "INT64", [-1], None, "predict"),
         ("raw", "FP64", [-1], "score_samples", "score_samples")],
    ),
    "svm": (
        LinearSVC().fit(X, Y), NUMBERS, X[:7],
        [("scores", "FP64", [-1, 3], None, "decision_function")],
    ),
    "pca": (PCA(2).fit(X), NUMBERS, X[:7], [("y", "FP64", [-1, 2], None, "transform")]),
    "two_targets": (
        RandomForestClassifier(5).fit(X, np.c_[Y, Y > 0]), NUMBERS, X[:7],
        [("labels", "INT64", [-1, 2], None, "predict")],
    ),
    "spam": (
        make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TEXTS, [1, 1, 0, 0]),
        texts(4), ASKED, BOTH,
    ),
    "spam_column": (
        make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TEXTS, [1, 1, 0, 0]),
        texts(4, 1), ASKED, BOTH,
    ),
    "lightgbm": (
        lightgbm.LGBMClassifier(n_estimators=10, verbose=-1).fit(TYPED, GOOD),
        LOAN_INPUTS, TYPED[:9], BOTH,
    ),
    "xgboost": (
        xgboost.XGBClassifier(n_estimators=10, enable_categorical=True).fit(TYPED, GOOD),
        LOAN_INPUTS, TYPED[:9], [("p", "FP32", [-1, 2], None, "predict_proba"), BOTH[1]],
    ),
    "histograms": (
        HistGradientBoostingClassifier(max_iter=10).fit(TYPED, GOOD),
        LOAN_INPUTS, TYPED[:9], BOTH,
    ),
}  # fmt: skip
DATATYPES = {"float64": "FP64", "int64": "INT64", "object": "BYTES"}


def column(name: str) -> dict[str, Any]:
    return {"name": name, **({"categories": PURPOSES} if name == "purpose" else {})}


def inputs_of(case: Case) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "datatype": DATATYPES[array.dtype.name],
            "shape": [-1, *array.shape[1:]],
            **({"features": [column(name)]} if case[1] is LOAN_INPUTS else {}),
        }
        for name, array in case[1].items()
    ]


def write(root: Path, name: str, case: Case, **more: Any) -> Path:
    folder = root / name / "1"
    folder.mkdir(parents=True)
    skops.io.dump(case[0], folder / "model.skops")
    write_folder_manifest(folder)
    keys = ("name", "datatype", "shape", "method")
    config = {
        "format": "sklearn",
        "trust_code": True,
        "inputs": inputs_of(case),
        "outputs": [dict(zip(keys, output, strict=False)) for output in case[3]],
        "monitors": {"drift": {"reference": "live"}},
        **more,
    }
    (root / name / "model.yaml").write_text(yaml.safe_dump(config))
    return root / name


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, running: Callable[..., Any]) -> Iterator[Any]:
    root = tmp_path_factory.mktemp("tables") / "models"
    for name, case in CASES.items():
        request = {"inputs": as_json(case)}
        write(root, name, case, example="example.json")
        (root / name / "example.json").write_text(json.dumps(request))
    estimator, tensors, table, outputs = CASES["iso"]
    unnamed = [(*output[:3], None, "") for output in outputs]
    write(root, "unnamed", (estimator, tensors, table, unnamed), required=False)
    with running(root, tmp_path_factory.mktemp("run")) as started:
        yield started


def as_json(case: Case) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "datatype": DATATYPES[array.dtype.name],
            "shape": list(array.shape),
            "data": [v.decode() if isinstance(v, bytes) else v for v in array.ravel().tolist()],
        }
        for name, array in case[1].items()
    ]


@pytest.mark.parametrize("name", CASES)
def test_every_way_gives_the_answer_of_the_estimator(server: Any, name: str) -> None:
    estimator, tensors, table, outputs = CASES[name]
    wanted = {output: getattr(estimator, method)(table) for output, *_, method in outputs}

    answer = server.infer(name, as_json(CASES[name]))
    assert answer.status_code == 200, answer.text
    for output in answer.json()["outputs"]:
        found = np.array(output["data"]).reshape(output["shape"])
        np.testing.assert_allclose(found, wanted[output["name"]], rtol=1e-6)

    for library, address in (
        (tritonclient.http, f"127.0.0.1:{server.http_port}"),
        (tritonclient.grpc, server.grpc),
    ):
        with library.InferenceServerClient(address) as client:
            given = []
            for tensor, array in tensors.items():
                given.append(library.InferInput(tensor, array.shape, DATATYPES[array.dtype.name]))
                given[-1].set_data_from_numpy(array)
            result = client.infer(name, given)
            for output, expected in wanted.items():
                np.testing.assert_array_equal(result.as_numpy(output), expected)


def strange(name: str) -> list[dict[str, Any]]:
    request = as_json(CASES[name])
    (words,) = [tensor for tensor in request if tensor["name"] == "purpose"]
    words["data"][1] = "plane"
    return request


@pytest.mark.parametrize("name", ["lightgbm", "histograms"])
def test_a_category_that_was_never_seen_is_what_the_library_makes_of_it(
    server: Any, name: str
) -> None:
    table = LOANS[:9].copy()
    table.loc[1, "purpose"] = "plane"
    table = table.astype({"purpose": "category", "grade": "category"})
    answer = server.infer(name, strange(name))
    found = np.array(answer.json()["outputs"][0]["data"]).reshape(-1, 2)
    np.testing.assert_array_equal(found, CASES[name][0].predict_proba(table))


def test_what_the_library_refuses_is_the_clients_fault(server: Any) -> None:
    answer = server.infer("xgboost", strange("xgboost"))
    assert answer.status_code == 400
    assert "column 'purpose' holds a value" in answer.json()["error"]
    raw = b"\xff\xfe"
    described = {
        "name": "text", "datatype": "BYTES", "shape": [1],
        "parameters": {"binary_data_size": 4 + len(raw)},
    }  # fmt: skip
    head = json.dumps({"inputs": [described]}).encode()
    answer = httpx.post(
        f"{server.url}/v2/models/spam/infer",
        content=head + len(raw).to_bytes(4, "little") + raw,
        headers={"Inference-Header-Content-Length": str(len(head))},
        timeout=60,
    )
    assert answer.status_code == 400, answer.text
    assert "holds bytes that are no text" in answer.json()["error"]


def explained(server: Any, when_ready: Callable[..., Any], name: str) -> dict[str, Any]:
    """Return what is told of the case's rows, arrays by the names of the outputs."""
    url = f"{server.url}/v2/models/{name}/explain"
    asked = {"inputs": as_json(CASES[name])}
    answer = when_ready(lambda: httpx.post(url, json=asked, timeout=60))
    assert answer.status_code == 200, answer.text
    body = answer.json()
    return {o["name"]: np.array(o["data"]).reshape(o["shape"]) for o in body["outputs"]} | {
        "target": [int(target) for target in body["parameters"]["target"].split(",")]
    }


def test_a_named_method_is_what_is_explained(server: Any, when_ready: Callable[..., Any]) -> None:
    estimator, _tensors, x, _outputs = CASES["iso"]
    found = explained(server, when_ready, "iso")
    np.testing.assert_allclose(
        found["attribution:x"].sum(axis=1),
        estimator.decision_function(x) - estimator.decision_function(found["baseline:x"]),
        atol=1e-6,
    )


def test_categories_are_explained(server: Any, when_ready: Callable[..., Any]) -> None:
    estimator, tensors, table, _outputs = CASES["lightgbm"]
    found = explained(server, when_ready, "lightgbm")
    base = pd.DataFrame({name: found[f"baseline:{name}"].ravel() for name in TYPED.columns})
    base["amount"] = base["amount"].astype(float)
    for name in ("purpose", "grade"):  # a grade of 0 was never seen, so it is missing
        kind = TYPED[name].dtype
        codes = kind.categories.get_indexer(pd.Index(base[name]))
        base[name] = pd.Categorical.from_codes(codes, dtype=kind)
    rows = np.arange(len(table)), found["target"]
    gained = estimator.predict_proba(table)[rows] - estimator.predict_proba(base)[rows]
    np.testing.assert_allclose(
        sum(found[f"attribution:{name}"].sum(axis=1) for name in tensors), gained, atol=1e-6
    )


def test_a_text_is_explained_as_a_whole(server: Any, when_ready: Callable[..., Any]) -> None:
    estimator, _tensors, asked, _outputs = CASES["spam"]
    found = explained(server, when_ready, "spam")
    rows = np.arange(len(asked)), found["target"]
    base = found["baseline:text"].ravel().tolist()
    np.testing.assert_allclose(
        found["attribution:text"].reshape(len(asked)),
        estimator.predict_proba(asked)[rows] - estimator.predict_proba(base)[rows],
        atol=1e-6,
    )


def test_a_score_without_a_method_is_refused_and_the_rest_is_served(
    server: Any, eventually: Callable[..., Any]
) -> None:
    def reason() -> str:
        index = httpx.post(f"{server.url}/v2/repository/index", timeout=60).json()
        (unnamed,) = [entry for entry in index if entry["name"] == "unnamed"]
        assert unnamed["state"] == "UNAVAILABLE"
        return str(unnamed["reason"])

    eventually("the sentence", lambda: "write `method` for the output" in reason())
    assert server.infer("pca", as_json(CASES["pca"])).status_code == 200
    assert server.infer("unnamed", as_json(CASES["iso"])).status_code != 200
