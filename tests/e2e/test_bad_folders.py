"""What lies among the models and is none, or is broken, leaves the good ones alone."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import tritonclient.grpc

from serving.models.repository.manifest import write_folder_manifest

pytestmark = pytest.mark.e2e

OPTIONAL = "required: false\n"
Put = Callable[..., Path]
ONE = [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [21]}]


def unfinished(root: Path, name: str, config: str) -> None:
    (root / name).mkdir()
    (root / name / "model.yaml").write_text(config)


def spoil(root: Path, put: Put, doubling: str) -> dict[str, str]:
    """Put all kinds of things that cannot be served; returns a word of each one's sentence."""
    for stray in ("lost+found", "__pycache__", ".cache", "a b"):
        (root / stray).mkdir()
    (root / "README.md").write_text("models")
    os.mkfifo(root / "pipe")
    (root / "link").symlink_to("link")
    (root / "nowhere").symlink_to(root / "gone")
    Path(os.fsdecode(os.fsencode(root) + b"/\xff\xfe")).mkdir()
    put(root, "two words")
    (root / "empty").mkdir()
    unfinished(root, "no-version", "format: onnx\nrequired: false\n")
    unfinished(root, "typo", doubling.replace("format", "formatt"))
    unfinished(root, "no-yaml", "format: [onnx\n")
    unfinished(root, "junk", "format: onnx\nrequired: false\n")
    (root / "junk" / "1").mkdir()
    (root / "junk" / "1" / "model.onnx").write_bytes(b"no graph")
    put(root, "example", OPTIONAL + "example: gone.json\n")
    (root / "fifo-yaml").mkdir()
    os.mkfifo(root / "fifo-yaml" / "model.yaml")
    (root / "loop-yaml").mkdir()
    (root / "loop-yaml" / "model.yaml").symlink_to("model.yaml")
    (root / "socket-yaml").mkdir()
    # By way of its folder's descriptor, because a socket's path must be short.
    folder = os.open(root / "socket-yaml", os.O_PATH)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{folder}/model.yaml")
    os.close(folder)
    for name, kind in (("fifo-code", "net.py"), ("fifo-manifest", "manifest.json")):
        folder = put(root, name, OPTIONAL)
        (folder / "1" / kind).unlink()
        os.mkfifo(folder / "1" / kind)
    return {
        "link": "model.yaml",
        "nowhere": "model.yaml",
        "two words": "cannot be a model's name",
        "empty": "model.yaml: no such file",
        "no-version": "no version",
        "typo": "formatt",
        "no-yaml": "not YAML",
        "junk": "model.onnx",
        "example": "gone.json",
        "fifo-yaml": "no regular file",
        "loop-yaml": "symbolic links",
        "socket-yaml": "no regular file",
        "fifo-code": "no regular file",
        "fifo-manifest": "no regular file",
    }


@pytest.fixture(scope="module")
def repository(
    tmp_path_factory: pytest.TempPathFactory, put: Put, doubling: str
) -> tuple[Path, dict[str, str]]:
    root = tmp_path_factory.mktemp("bad") / "models"
    put(root, "good")
    broken = spoil(root, put, doubling)
    (root / "bare").mkdir()
    put(root, "spare", OPTIONAL + "example: gone.json\n")
    # Half a copy of a second version, and a first one that is whole.
    put(root, "half")
    (root / "half" / "2").mkdir()
    return root, broken


@pytest.fixture(scope="module")
def server(
    repository: tuple[Path, dict[str, str]],
    tmp_path_factory: pytest.TempPathFactory,
    running: Callable[..., Any],
) -> Iterator[Any]:
    with running(repository[0], tmp_path_factory.mktemp("run"), poll_models_s=0.2) as started:
        yield started


def rows(server: Any, name: str) -> list[tuple[str, str, str]]:
    found = httpx.post(f"{server.url}/v2/repository/index", timeout=60).json()
    return [(r["version"], r["state"], r["reason"]) for r in found if r["name"] == name]


def test_the_good_ones_answer_and_the_server_is_ready(server: Any) -> None:
    for name in ("good", "half"):
        assert server.infer(name, ONE).json()["outputs"][0]["data"] == [42.0]
    assert httpx.get(f"{server.url}/v2/health/ready", timeout=60).status_code == 200


def test_the_others_are_told_with_a_sentence(
    server: Any, repository: tuple[Path, dict[str, str]], eventually: Callable[..., Any]
) -> None:
    log = server.log.read_text()
    problems = httpx.get(f"{server.admin}/console/data", timeout=60).json()["problems"]
    told = " ".join(problem["text"] for problem in problems)
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
        index = client.get_model_repository_index().models
    by_grpc = {row.name: (row.state, row.reason) for row in index}
    for name, word in repository[1].items():

        def is_told(name: str = name, word: str = word) -> bool:
            ((_, state, reason),) = rows(server, name)
            return state == "UNAVAILABLE" and word in reason

        eventually(f"the sentence of {name}", is_told)
        assert name in by_grpc
        if name != "fifo-manifest":  # it is its replica that finds that out
            assert by_grpc[name][0] == "UNAVAILABLE"
            assert f"model '{name}'" in log
            assert f"model '{name}'" in told
    listed = {row.name for row in index}
    assert not listed & {"lost+found", "__pycache__", ".cache", "a b", "README.md", "pipe"}
    status = [sys.executable, "-m", "serving.cli", "status", "--url", server.admin]
    printed = subprocess.run(status, capture_output=True, text=True, check=True).stdout
    assert "typo: UNAVAILABLE (" in printed


def test_half_a_version_leaves_the_one_before_in_its_place(server: Any) -> None:
    first, second = rows(server, "half")
    assert first[:2] == ("1", "READY")
    assert second[:2] == ("2", "UNAVAILABLE")
    assert "net.py: missing" in second[2]


def test_what_is_mended_can_be_loaded_and_is_followed(
    server: Any, repository: tuple[Path, dict[str, str]], eventually: Callable[..., Any], put: Put
) -> None:
    root, _ = repository
    put(root, "bare")
    eventually("followed", lambda: server.infer("bare", ONE).status_code == 200)
    assert rows(server, "bare") == [("1", "READY", "")]
    shutil.rmtree(root / "spare")
    put(root, "spare", OPTIONAL)
    load = f"{server.url}/v2/repository/models/spare/load"
    assert httpx.post(load, timeout=60).status_code == 200
    assert server.infer("spare", ONE).status_code == 200


def test_check_names_each_and_ends(repository: tuple[Path, dict[str, str]]) -> None:
    root, broken = repository
    check = [sys.executable, "-m", "serving.cli", "check", "--models", str(root)]
    done = subprocess.run(check, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    assert "good version 1: fine" in done.stdout
    lines = done.stderr.splitlines()
    for name in broken:
        assert any(name in line for line in lines), name
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "engine",
    ["local", pytest.param("ray", marks=(pytest.mark.ray, pytest.mark.long))],
)
def test_an_empty_folder_is_a_start_and_required_models_hold_readiness(
    tmp_path: Path, running: Callable[..., Any], engine: str, put: Put
) -> None:
    root = tmp_path / "models"
    root.mkdir()
    with running(root, tmp_path, engine) as instance:
        assert httpx.get(f"{instance.url}/v2/health/ready", timeout=60).status_code == 200
        assert httpx.post(f"{instance.url}/v2/repository/index", timeout=60).json() == []
        put(root, "late")
        load = httpx.post(f"{instance.url}/v2/repository/models/late/load", timeout=120)
        assert load.status_code == 200, load.text
        assert instance.infer("late", ONE).status_code == 200


def test_a_required_model_holds_readiness_and_the_others_answer(
    tmp_path: Path,
    running: Callable[..., Any],
    eventually: Callable[..., Any],
    put: Put,
    doubling: str,
) -> None:
    root = tmp_path / "models"
    put(root, "good")
    unfinished(root, "needed", doubling)
    unfinished(root, "typo", "required: true\nformatt: onnx\n")
    with running(root, tmp_path, until_ready=False) as instance:
        eventually("an answer", lambda: instance.infer("good", ONE).status_code == 200)
        answer = httpx.get(f"{instance.url}/v2/health/ready", timeout=60)
        assert answer.status_code == 503
        assert "model 'needed': " in answer.text
        assert "model 'typo': " in answer.text
        assert "no version" in httpx.get(f"{instance.admin}/readyz", timeout=60).text
        shutil.rmtree(root / "needed")
        put(root, "needed")
        shutil.rmtree(root / "typo")
        put(root, "typo")
        for name in ("needed", "typo"):
            load = f"{instance.url}/v2/repository/models/{name}/load"
            assert httpx.post(load, timeout=60).status_code == 200
        eventually(
            "ready", lambda: httpx.get(f"{instance.admin}/readyz", timeout=60).status_code == 200
        )


@pytest.mark.parametrize(
    "engine",
    ["local", pytest.param("ray", marks=(pytest.mark.ray, pytest.mark.long))],
)
def test_a_required_model_that_cannot_be_loaded_keeps_nothing_from_the_others(
    tmp_path: Path,
    running: Callable[..., Any],
    eventually: Callable[..., Any],
    engine: str,
    put: Put,
    doubling: str,
) -> None:
    root = tmp_path / "models"
    good = put(root, "good")
    (good / "model.yaml").write_text(doubling.replace("explain: null\n", ""))
    broken = put(root, "broken")
    (broken / "1" / "net.py").write_text("def build():\n    raise OSError\n")
    write_folder_manifest(broken / "1")
    with running(root, tmp_path, engine, until_ready=False) as instance:
        of = f"{instance.url}/v2/models/good"

        def status(route: str, **body: Any) -> int:
            method = "POST" if body else "GET"
            answer = httpx.request(method, f"{of}/{route}", json=body or None, timeout=60)
            return answer.status_code

        eventually("explained", lambda: status("explain", inputs=ONE) == 200, 120)
        eventually("findings", lambda: status("findings") == 200)
        assert httpx.get(f"{instance.url}/v2/health/ready", timeout=60).status_code == 503


def test_a_missing_folder_is_a_sentence(tmp_path: Path) -> None:
    for command in ("check", "up"):
        run = [sys.executable, "-m", "serving.cli", command, "--models", str(tmp_path / "gone")]
        done = subprocess.run(run, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 1
        assert "gone: no such folder; give the folder that holds the models" in done.stderr
