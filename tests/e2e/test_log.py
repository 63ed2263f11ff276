"""The log of a real server: what went wrong leaves a line, and no line holds a value."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.models.repository.manifest import write_folder_manifest

pytestmark = pytest.mark.e2e

SECRET = 4711.25
OFTEN = 9000.5
"""What one test alone sends, so that no line of another is counted with its own."""
NET = """
class Net:
    def predict(self, inputs):
        x = inputs["x"]
        {check}
        return {{"{output}": x * 2}}


def build():
    {build}
    return Net()
"""
RAISES = """if (x > 9000).any():
            raise LookupError(f"bad {x.tolist()}")
        if (x > 4000).any():
            try:
                raise ValueError(f"bad {x.tolist()}")
            except ValueError as error:
                error.add_note(f"it was {x.tolist()}")
                raise ExceptionGroup(f"{x.tolist()}", [error]) from error"""
CONFIG = """
format: python
factory: net:build
trust_code: true
inputs: [{{name: x, datatype: FP32, shape: [-1, 1]}}]
outputs: [{{name: {output}, datatype: FP32, shape: [-1, 1]}}]
example: example.json
explain: null
"""
EXAMPLE = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [21.5]}]}


def put(
    root: Path,
    name: str,
    version: str,
    check: str = "pass",
    build: str = "pass",
    output: str = "y",
) -> None:
    folder = root / name
    (folder / version).mkdir(parents=True, exist_ok=True)
    code = NET.format(check=check, build=build, output=output)
    (folder / version / "net.py").write_text(code)
    write_folder_manifest(folder / version)
    (folder / "example.json").write_text(json.dumps(EXAMPLE))
    (folder / "model.yaml").write_text(CONFIG.format(output=output))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("log") / "models"
    put(root, "m", "1", RAISES)
    for name in ("fails", "refused", "renamed", "killed"):
        put(root, name, "1")
    (root / "unreadable").mkdir()
    (root / "unreadable" / "model.yaml").write_text("format: nonsense\n")
    return root


# test_ray.py has what Ray does to lines of the log.
@pytest.fixture(
    scope="module",
    params=["local", pytest.param("ray", marks=(pytest.mark.ray, pytest.mark.long))],
    ids=str,
)
def server(
    root: Path,
    tmp_path_factory: pytest.TempPathFactory,
    running: Callable[..., Any],
    request: pytest.FixtureRequest,
) -> Iterator[Any]:
    with running(root, tmp_path_factory.mktemp("run"), engine=request.param) as started:
        yield started


def lines(server: Any) -> list[dict[str, Any]]:
    """Return every line of the log; one that is no JSON fails."""
    text = server.log.read_text()
    whole = text[: text.rfind("\n") + 1]
    return [json.loads(line) for line in whole.split("\n") if line]


def about(server: Any, event: str, **fields: Any) -> list[dict[str, Any]]:
    return [line for line in lines(server) if {"event": event, **fields}.items() <= line.items()]


def load(server: Any, name: str) -> httpx.Response:
    return httpx.post(f"{server.url}/v2/repository/models/{name}/load", json={}, timeout=100)


def ask(server: Any, value: float, ident: str, model: str = "m") -> httpx.Response:
    tensor = {**EXAMPLE["inputs"][0], "data": [value]}
    answer: httpx.Response = server.infer(model, [tensor], id=ident)
    return answer


def test_a_models_exception_leaves_its_frames_and_the_request(
    server: Any, eventually: Callable[..., Any]
) -> None:
    ident = "a\nb\x1b[31m"
    failed = ask(server, SECRET, ident)
    assert failed.status_code == 500
    line = eventually("a line", lambda: about(server, "model_failed", request_id=ident))[0]
    assert line["model"] == "m"
    assert line["version"] == "1"
    assert line["level"] == "error"
    assert line["error"] == "ExceptionGroup"
    assert line["location"].startswith("net.py:")
    assert "/m/1/net.py:" in line["exception"]
    assert "raise ValueError(f" in line["exception"]
    assert "ValueError" in line["exception"].splitlines()[-1]


def test_many_failures_of_one_cause_are_few_lines_that_count_them(
    server: Any, eventually: Callable[..., Any]
) -> None:
    def told() -> int:
        found = about(server, "model_failed", model="m", error="LookupError")
        return sum(1 + line.get("suppressed", 0) for line in found)

    assert told() == 0
    for number in range(30):
        assert ask(server, OFTEN, f"many-{number}").status_code == 500
    eventually("every failure is counted", lambda: told() >= 30)
    assert told() == 30
    assert len(about(server, "model_failed", model="m", error="LookupError")) < 15


def test_a_good_request_and_a_bad_one_leave_no_line(server: Any) -> None:
    before = len(lines(server))
    assert ask(server, 1, "good").status_code == 200
    refused = server.infer("m", [], id="bad")
    assert refused.status_code == 400
    assert httpx.get(f"{server.url}/v2/models/none", timeout=60).status_code == 404
    new = lines(server)[before:]
    assert not [line for line in new if line.get("request_id") in ("good", "bad")]
    assert not [line for line in new if line["event"].startswith("request_")]


def test_a_failed_load_leaves_the_frames_and_the_refused_version(
    server: Any, root: Path, eventually: Callable[..., Any]
) -> None:
    put(root, "fails", "2", build=f"raise OSError(str({int(SECRET * 4)} / 4))")
    assert load(server, "fails").is_error
    line = eventually("a line", lambda: about(server, "model_load_failed", model="fails"))[0]
    assert (line["version"], line["error"], line["role"]) == ("2", "OSError", "replica")
    assert "net.py" in line["exception"]
    eventually("a line", lambda: about(server, "version_refused", model="fails", version="2"))


def test_a_version_that_fails_on_its_example_is_told(
    server: Any, root: Path, eventually: Callable[..., Any]
) -> None:
    put(root, "refused", "2", check="return {'y': x * float('nan')}")
    assert load(server, "refused").is_error
    line = eventually("a line", lambda: about(server, "model_load_failed", model="refused"))[0]
    assert "NaN or infinite" in line["message"]
    eventually("a line", lambda: about(server, "version_refused", model="refused", version="2"))


def test_another_signature_is_refused_with_its_difference(
    server: Any, root: Path, eventually: Callable[..., Any]
) -> None:
    put(root, "renamed", "2", output="z")
    assert load(server, "renamed").is_error
    line = eventually("a line", lambda: about(server, "version_refused", model="renamed"))[0]
    assert "its signature is not that of version 1" in line["message"]


def test_an_unreadable_folder_and_a_load_that_works_are_told(
    server: Any, root: Path, eventually: Callable[..., Any]
) -> None:
    assert about(server, "version_refused", model="unreadable")
    put(root, "fresh", "1")
    assert load(server, "fresh").status_code == 200
    eventually("a line", lambda: about(server, "model_loaded", model="fresh", version="1"))
    eventually("a line", lambda: about(server, "version_served", model="fresh", version="1"))


def test_a_replica_that_died_is_told(server: Any, eventually: Callable[..., Any]) -> None:
    (pid,) = {each["pid"] for each in server.members("replica") if each["model"] == "killed"}
    os.kill(pid, signal.SIGKILL)
    found = eventually("a line", lambda: about(server, "process_replaced", model="killed"))
    assert found[0]["version"] == "1"
    if server.engine == "local":
        assert about(server, "process_ended", model="killed", code=-9)


LEAVES = "if (x > 4000).any(): import sys; sys.exit(f'it was {x.tolist()}')"


def test_a_model_that_would_leave_fails_one_request(
    server: Any, root: Path, eventually: Callable[..., Any]
) -> None:
    put(root, "leaves", "1", check=f"{LEAVES}\n        import logging; logging.warning('hello')")
    assert load(server, "leaves").status_code == 200
    failed = ask(server, SECRET, "leaver", model="leaves")
    assert failed.status_code == 500
    assert "SystemExit" in failed.text
    assert ask(server, 1, "stays", model="leaves").status_code == 200
    (line,) = eventually("a line", lambda: about(server, "model_failed", request_id="leaver"))
    assert (line["model"], line["version"], line["error"]) == ("leaves", "1", "SystemExit")
    own = eventually("a line", lambda: about(server, "library_log", message="hello"))[0]
    assert (own["model"], own["version"]) == ("leaves", "1")


def test_a_failed_explanation_is_one_line_that_names_the_request(
    server: Any, root: Path, eventually: Callable[..., Any], when_ready: Callable[..., Any]
) -> None:
    put(root, "explained", "1", check=LEAVES)
    config = root / "explained" / "model.yaml"
    config.write_text(config.read_text().replace("explain: null\n", ""))
    assert load(server, "explained").status_code == 200
    url = f"{server.url}/v2/models/explained/explain"

    def explain(value: float) -> httpx.Response:
        tensor = {**EXAMPLE["inputs"][0], "data": [value]}
        return httpx.post(url, json={"id": "explainer-1", "inputs": [tensor]}, timeout=60)

    failed = when_ready(lambda: explain(SECRET))
    assert failed.status_code == 500
    assert "SystemExit" in failed.text
    assert explain(2.0).status_code == 200
    (line,) = eventually("a line", lambda: about(server, "explainer_failed", model="explained"))
    assert (line["request_id"], line["error"]) == ("explainer-1", "SystemExit")
    assert line["version"] == "1"
    assert not about(server, "request_failed", model="explained")


def test_names_that_a_model_returns_are_not_told(
    server: Any, root: Path, eventually: Callable[..., Any]
) -> None:
    put(root, "names", "1", check="if (x > 4000).any(): return {f'of {x.tolist()}': x}")
    assert load(server, "names").status_code == 200
    failed = ask(server, SECRET, "namer", model="names")
    assert failed.status_code == 500
    assert str(SECRET) in failed.text
    (line,) = eventually("a line", lambda: about(server, "model_failed", request_id="namer"))
    assert "returned no output 'y'" in line["message"]


@pytest.mark.not_on("ray", reason="it tells nobody how a process ended")
def test_a_load_that_ends_the_process_is_told_by_the_registry(
    server: Any, root: Path, eventually: Callable[..., Any]
) -> None:
    put(root, "crashes", "1", build="import os; os._exit(9)")
    assert load(server, "crashes").is_error
    line = eventually("a line", lambda: about(server, "version_refused", model="crashes"))[0]
    assert "its process ended with" in line["message"]


def test_a_broken_example_is_told_by_its_file(
    server: Any, root: Path, eventually: Callable[..., Any]
) -> None:
    put(root, "example", "1")
    (root / "example" / "example.json").write_text('{"inputs": [')
    assert load(server, "example").is_error
    line = eventually("a line", lambda: about(server, "version_refused", model="example"))[0]
    assert "example/example.json: " in line["message"]
    assert not about(server, "model_load_failed", model="example")


def test_every_line_is_whole_and_none_holds_a_value(
    server: Any, eventually: Callable[..., Any]
) -> None:
    ask(server, SECRET, "last")
    roles = {"supervisor", "gateway", "replica"}
    eventually("every role", lambda: {line["role"] for line in lines(server)} >= roles)
    for line in lines(server):
        assert {"time", "level", "logger", "event", "message", "role", "pid"} <= line.keys()
    assert str(SECRET) not in server.log.read_text()
