"""What happened to a request: it is found, explained, replayed and forgotten on a real instance."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.e2e
ROWS = [[1.5, 0, -2.25, 0.1], [0.1, 0, 3.5, 1e-9]]
PATIENCE_S = 60


def vigil(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command that reads the log of the instance in that folder."""
    argv = [sys.executable, "-m", "serving.cli", *arguments, "--config", f"{folder}/vigil.yaml"]
    return subprocess.run(argv, capture_output=True, text=True, timeout=120)


def test_a_request_is_found_replayed_explained_and_forgotten(
    running: Callable[..., Any],
    make_lab: Callable[..., Path],
    eventually: Callable[..., Any],
    when_ready: Callable[..., httpx.Response],
    tmp_path: Path,
) -> None:
    models = make_lab()
    config = models / "lab" / "model.yaml"
    config.write_text(config.read_text().replace("explain: null", "explain: {method: kernel_shap}"))
    tensor = {
        "name": "x", "datatype": "FP32", "shape": [2, 4], "data": [v for row in ROWS for v in row],
    }  # fmt: skip
    with running(models, tmp_path) as instance:
        model = f"{instance.url}/v2/models/lab"
        for ident in ("find/me", "find-other"):
            said = httpx.post(
                f"{model}/infer", json={"id": ident, "inputs": [tensor]}, timeout=PATIENCE_S
            )
            assert said.status_code == 200, said.text
        outputs = said.json()["outputs"][0]["data"]

        def find() -> httpx.Response | None:
            answer = httpx.get(f"{model}/predictions?id=find/me", timeout=PATIENCE_S)
            return answer if answer.status_code == 200 else None

        found = eventually("the monitor has logged it", find)
        rows = found.json()["rows"]
        assert [row["inputs"]["x"] for row in rows] == ROWS
        assert [value for row in rows for value in row["outputs"]["y"]] == outputs
        batch = f"{model}/predictions/{rows[0]['id']}?index={rows[1]['row']}"
        assert httpx.get(batch, timeout=PATIENCE_S).json()["rows"] == [rows[1]]
        nobody = httpx.get(f"{model}/predictions/nobody", timeout=PATIENCE_S)
        assert (nobody.status_code, "'nobody'" in nobody.json()["error"]) == (404, True)

        explained = [
            when_ready(functools.partial(httpx.post, f"{model}/explain", json=body, timeout=100))
            for body in ({"request_id": "find/me"}, {"inputs": [tensor]})
        ]
        assert [each.status_code for each in explained] == [200, 200], explained[0].text
        by_id, by_inputs = (each.json()["outputs"] for each in explained)
        assert [each["name"] for each in by_id] == [each["name"] for each in by_inputs]
        for one, other in zip(by_id, by_inputs, strict=True):
            assert one["data"] == pytest.approx(other["data"], abs=1e-5)

        replayed = vigil(tmp_path, "replay", "find/me", "--url", instance.url)
        assert replayed.returncode == 0, replayed.stdout + replayed.stderr
        forgotten = vigil(tmp_path, "forget", "--subject", "find/me", "--yes")
        assert forgotten.returncode == 0, forgotten.stdout + forgotten.stderr
        assert "2 rows of predictions" in forgotten.stdout
        assert find() is None
        listed = vigil(
            tmp_path, "predictions", "lab", "--output", "csv", "--columns", "client_id", "--where",
            "starts_with(client_id, 'find')",
        )  # fmt: skip
        assert listed.stdout.split() == ['"client_id"', '"find-other"', '"find-other"']

    replayed = vigil(tmp_path, "replay", "find-other", "--url", "http://127.0.0.1:9")
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    assert "it is loaded here" in replayed.stdout
    assert "revision" not in replayed.stderr
    forgotten = vigil(tmp_path, "forget", "--subject", "find-other", "--yes")
    assert forgotten.returncode == 0, forgotten.stdout + forgotten.stderr
    assert "2 rows of predictions" in forgotten.stdout
    left = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert left
    assert not [path for path in left if b"find-other" in path.read_bytes()]
