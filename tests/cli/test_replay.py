"""`vigil replay` with a log in files, and models in a folder or behind a gateway."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from serving.cli.command import app
from serving.control.served_model import served_model
from serving.models.repository.folder import ModelRepository
from serving.models.repository.manifest import write_folder_manifest

NOBODY = "http://127.0.0.1:9"
CODE = """
import numpy as np


class Sum:
    def predict(self, inputs):
        x = inputs["x"]
        return {"y": np.stack([x.sum(axis=1), x.max(axis=1)], axis=1) * np.float32(FACTOR)}


def build():
    return Sum()
"""
CONFIG = """
format: python
factory: net:build
trust_code: true
inputs:
  - {name: x, datatype: FP32, shape: [-1, 2], features: [{name: age}, {name: debt}]}
outputs: [{name: y, datatype: FP32, shape: [-1, 2], classes: [sum, most]}]
"""
X = np.array([[0.1, 0.2], [3, np.nan]], np.float32)
Y = np.stack([X.sum(axis=1), X.max(axis=1)], axis=1)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """The model `m`; version 1 answered, and version 2 is served."""
    root = tmp_path / "models"
    for version, factor in (("1", 1), ("2", 2)):
        folder = root / "m" / version
        folder.mkdir(parents=True)
        (folder / "net.py").write_text(CODE.replace("FACTOR", str(factor)))
        (root / "m" / "model.yaml").write_text(CONFIG)
        write_folder_manifest(folder)
    return root


@pytest.fixture
def columns() -> dict:
    return {
        "in_age": X[:, 0], "in_debt": X[:, 1], "out_sum": Y[:, 0], "out_most": Y[:, 1],
    }  # fmt: skip


@pytest.fixture
def revision(models) -> str:
    return served_model(ModelRepository(models).version("m", "1")).revision


@pytest.fixture
def run(tmp_path, models):
    def run(*arguments: str, url: str = NOBODY) -> tuple[int, str]:
        command = [
            "replay", *arguments, "--log", str(tmp_path / "log"), "--models", str(models),
            "--url", url,
        ]  # fmt: skip
        result = CliRunner().invoke(app, command, catch_exceptions=False)
        return result.exit_code, " ".join(result.output.split())

    return run


def test_a_version_that_is_not_served_is_loaded_and_gives_the_same_bits(
    run, tmp_path, log_request, columns, revision
):
    log_request(tmp_path / "log", "r1", columns, revision=revision)
    code, printed = run("r1")
    assert code == 0
    assert "does not serve version 1 of model 'm'; it is loaded here" in printed
    assert "│ y │ equal │ 4 │ 0 │ 0 │" in printed
    assert "revision" not in printed
    assert run("r1", "--index", "1", "--model", "m")[0] == 0


def test_other_outputs_are_told_with_their_difference(run, tmp_path, log_request, columns):
    columns["out_sum"] = columns["out_sum"] + np.float32(0.5)
    log_request(tmp_path / "log", "r1", columns, revision="")
    code, printed = run("r1", "--index", "0")
    assert code == 1
    assert "│ y │ different │ 2 │ 1 │ 0.5 │" in printed


def test_files_that_have_changed_are_told(run, tmp_path, log_request, columns, revision, models):
    log_request(tmp_path / "log", "r1", columns, revision=revision)
    os.utime(models / "m" / "1" / "net.py", (1, 1))
    code, printed = run("r1")
    assert code == 0
    assert f"are not those that answered: revision {revision} then" in printed


def test_a_gateway_that_serves_the_version_is_asked(
    run, tmp_path, log_request, columns, revision, instance
):
    log_request(tmp_path / "log", "r1", columns, revision=revision)
    outputs = [{"name": "y", "datatype": "FP32", "shape": [2, 2], "data": [0.5, 1, 2, 3]}]
    body = msgspec.json.encode({"model_name": "m", "outputs": outputs})
    gateway = instance({"/v2/models/m/versions/1/infer": (200, body)})
    code, printed = run("r1", url=gateway.url)
    assert code == 1
    assert "│ y │ different │ 4 │ 4 │ inf │" in printed
    [(method, _, headers, sent)] = gateway.asked
    length = int(headers["inference-header-content-length"])
    assert (method, sent[length:]) == ("POST", X.tobytes())
    assert headers["x-request-id"].startswith("replay-")
    assert run("r1", "--local", url=gateway.url)[0] == 0
    assert len(gateway.asked) == 1


def test_a_gateway_that_has_another_version_is_not_compared_with(
    run, tmp_path, log_request, columns, instance
):
    log_request(tmp_path / "log", "r1", columns)
    gateway = instance({})
    code, printed = run("r1", url=gateway.url)
    assert (code, len(gateway.asked)) == (0, 1)
    assert "it is loaded here" in printed


def test_why_a_request_cannot_be_asked_again(run, tmp_path, log_request, columns, instance):
    log = tmp_path / "log"
    log_request(log, "failed", columns | {"outcome": ["failed"] * 2})
    log_request(log, "bare", {"out_sum": Y[:, 0], "out_most": Y[:, 1]})
    log_request(log, "gone", columns, version="7")
    log_request(log, "twice", columns)
    log_request(log, "twice", columns, model="n")
    log_request(log, "r1", columns)
    refusing = instance({"/v2/models/m/versions/1/infer": (422, b'{"error": "a guard says no"}')})
    for arguments, url, says in (
        (["unknown"], NOBODY, "the log has no request 'unknown'"),
        (["r1", "--index", "5"], NOBODY, "the log has no request 'r1' with such a row"),
        (["r1", "--model", "n"], NOBODY, "no request 'r1' of model 'n'"),
        (["failed"], NOBODY, "it was not answered (failed)"),
        (["bare"], NOBODY, "input 'x' of model 'm' was not captured"),
        (["gone"], NOBODY, "holds no version '7'"),
        (["twice"], NOBODY, "requests of several models have the id 'twice': m, n; name one"),
        (["r1"], refusing.url, "a guard says no"),
    ):
        code, printed = run(*arguments, url=url)
        assert (code, says in printed) == (2, True), (arguments, printed)
