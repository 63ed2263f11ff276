"""`vigil infer` against a server that runs."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.once]


def infer(instance: Any, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "serving.cli", "infer", *arguments, "--url", instance.url],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "COLUMNS": "200"},
    )


@pytest.mark.parametrize("model", ["digits", "cancer", "loans"])
def test_a_model_s_example_is_answered_as_by_post(
    instance: Any, demo_root: Path, model: str
) -> None:
    example = demo_root / model / "example.json"
    done = infer(instance, model, "--data", str(example), "--json")
    assert done.returncode == 0, done.stderr
    posted = httpx.post(
        f"{instance.url}/v2/models/{model}/infer", content=example.read_bytes(), timeout=60
    ).json()
    assert json.loads(done.stdout) | {"id": ""} == posted | {"id": ""}
    shown = infer(instance, model, "--data", str(example), "--version", "1")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith(f"model {model} version 1, request ")
    assert all(output["name"] in shown.stdout for output in posted["outputs"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("cats",), "Request for unknown model: 'cats' is not found"),
        (("a b?",), "Request for unknown model: 'a b?' is not found"),
        (("loans", "--version", "9"), "version '9'"),
        (("digits",), "input 'image' of model 'digits' is missing"),
    ],
)
def test_what_the_server_refuses_is_its_own_sentence(
    instance: Any, demo_root: Path, given: tuple[str, ...], said: str
) -> None:
    done = infer(instance, *given, "--data", str(demo_root / "loans" / "example.json"))
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.startswith("vigil: ")
    assert done.stderr.count("\n") == 1


def test_a_row_that_a_guard_refuses(instance: Any, demo_root: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "yacht.json"
    example = json.loads((demo_root / "loans" / "example.json").read_text())
    for given in example["inputs"]:
        if given["datatype"] == "BYTES":
            given["data"][0] = "yacht"
    wrong.write_text(json.dumps(example))
    done = infer(instance, "loans", "--data", str(wrong))
    assert done.returncode == 1
    assert "rejected by guard 'schema'" in done.stderr
