"""`vigil forget` over a log in files, and the state of a monitor beside it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from serving.cli import forget_running
from serving.cli.command import app
from serving.engines.data_folder import held
from serving.errors import VigilError
from serving.monitoring.checkpoint import Checkpoint


@pytest.fixture
def data_dir(tmp_path: Path, log_request) -> Path:
    """An instance that was stopped, and has logged two requests."""
    folder = tmp_path / "data"
    log_request(folder / "log", "subject-7", {"in_x": [1.0, 2.0]}, principal="somebody")
    log_request(folder / "log", "other", {"in_x": [3.0]}, principal="anybody")
    entries = [("m", [0, "subject-7", 0, 1]), ("m", [1, "other", 0, 1])]
    checkpoint = Checkpoint(folder, "monitor", lambda: iter(entries))
    checkpoint.prepare({}, [])()
    checkpoint.close()
    return folder


def run(data_dir: Path, *arguments: str, port: int = 0) -> str:
    config = data_dir.parent / "vigil.yaml"
    config.write_text(
        f"{{data_dir: '{data_dir}', log: {{url: '{data_dir / 'log'}'}}, "
        f"listen: {{admin_port: {port}}}}}\n"
    )
    command = ["forget", "--config", str(config), *arguments]
    result = CliRunner().invoke(app, command, catch_exceptions=False, standalone_mode=False)
    return result.output


def holding(data_dir: Path, text: bytes) -> list[str]:
    found = data_dir.rglob("*")
    return [path.name for path in found if path.is_file() and text in path.read_bytes()]


@pytest.mark.parametrize("arguments", [("subject-7",), ("somebody", "--by", "principal")])
def test_a_subject_is_nowhere_any_more(data_dir, arguments):
    assert len(holding(data_dir, b"subject-7")) == 2
    printed = run(data_dir, "--yes", "--subject", *arguments)
    assert holding(data_dir, b"subject-7") == []
    assert len(holding(data_dir, b"other")) == 2
    assert "deleted: predictions/model=m/version=1/" in printed
    digest = hashlib.sha256(arguments[0].encode()).hexdigest()
    audit = printed.splitlines()[-1]
    assert f"forgotten: subject sha256:{digest} by" in audit
    assert "2 rows of predictions, 0 rows of sensitive, 1 entries of the monitor" in audit
    assert arguments[0] not in audit.replace("--by", "")
    assert "0 rows of predictions" in run(data_dir, "--yes", "--subject", *arguments)


@pytest.mark.parametrize(
    "arguments",
    [("subject-7",), ("somebody", "--by", "principal"), ("subject-7", "--model", "m")],
)
def test_another_model_has_a_request_of_the_same_id(data_dir, log_request, arguments):
    log_request(data_dir / "log", "subject-7", {"in_x": [1.0]}, model="n", principal="anybody")
    entries = [(f"{model}/1", [1, "subject-7", 0, 1]) for model in "mn"]
    checkpoint = Checkpoint(data_dir, "monitor-1", lambda: iter(entries))
    checkpoint.prepare({}, [])()
    checkpoint.close()
    printed = run(data_dir, "--yes", "--subject", *arguments)
    everywhere = len(arguments) == 1
    assert f"{3 if everywhere else 2} entries of the monitor" in printed
    left = holding(data_dir, b"subject-7")
    assert any(name.endswith(".journal") for name in left) is not everywhere
    assert any(name.endswith(".parquet") for name in left) is not everywhere


def test_whoever_is_interrupted_finds_the_requests_again(data_dir, monkeypatch):
    arguments = ("--yes", "--subject", "somebody", "--by", "principal")
    with monkeypatch.context() as full:

        def write(*_: Any, **__: Any) -> None:
            raise OSError(28, "No space left on device")

        full.setattr(Checkpoint, "prepare", write)
        with pytest.raises(VigilError, match=r"it is not finished, do it again: .* No space left"):
            run(data_dir, *arguments)
    assert "1 entries of the monitor" in run(data_dir, *arguments)
    assert holding(data_dir, b"subject-7") == []


def test_what_is_wrong_is_told_and_nothing_changes(data_dir):
    for arguments, says in (
        (["--subject", "subject-7"], "say --yes where nobody can be asked"),
        (["--yes", "--subject", ""], "--subject is empty"),
        (["--yes", "--subject", "x", "--model", "n"], "no predictions of model 'n'"),
        (["--yes", "--subject", "x", "--by", "in_age"], "no file of the log has a column 'in_age'"),
    ):
        with pytest.raises(VigilError, match=says):
            run(data_dir, *arguments)
    with held(data_dir), pytest.raises(VigilError, match="write another log than that of --log"):
        run(data_dir, "--yes", "--subject", "subject-7", "--log", str(data_dir / "other"))
    with pytest.raises(VigilError, match="--subject is no text in UTF-8"):
        run(data_dir, "--yes", "--subject", "subject-\udcff")
    assert len(holding(data_dir, b"subject-7")) == 2


def test_what_was_written_ahead_is_told(data_dir):
    (data_dir / "monitor.7.wal").write_bytes(b"...subject-7...")
    with pytest.raises(
        VigilError, match=r"monitor\.7\.wal still holds it: start the instance once"
    ):
        run(data_dir, "--yes", "--subject", "subject-7")


class Script(dict[str, tuple[int, bytes]]):
    """What an instance answers, one after the other; the last again and again."""

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self.left = list(answers)

    def get(self, _path: str, _default: Any = None) -> Any:
        status, content = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        return status, json.dumps(content).encode()


RUNNING = (200, {"finished": False, "what": "rewriting files", "done": 1, "of": 3})
AWAY = (503, {"error": "the monitor is not there; retry later"})
DONE = (
    200,
    {
        "finished": True, "rows": {"predictions": 2}, "rewritten": ["predictions/p"],
        "deleted": ["sensitive/q"], "entries": 1, "searched": 9,
    },
)  # fmt: skip


@pytest.fixture
def asked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forget_running, "PAUSE_S", 0)


@pytest.mark.usefixtures("asked_at_once")
@pytest.mark.parametrize("named", [True, False])
def test_an_instance_that_runs_does_it(data_dir, instance, named):
    running = instance(Script(RUNNING, AWAY, RUNNING, DONE))
    port = int(running.url.rpartition(":")[2])
    arguments = ("--yes", "--subject", "subject-7", "--by", "principal", "--model", "m")
    if named:
        printed = run(data_dir, *arguments, "--admin", running.url)
    else:
        with held(data_dir):
            printed = run(data_dir, *arguments, port=port)
    assert printed.splitlines()[:2] == ["rewritten: predictions/p", "deleted: sensitive/q"]
    assert "by principal of m; 2 rows of predictions, 0 rows of sensitive, 1 entries" in printed
    assert "9 files searched again, none holds it" in printed
    assert {(method, path) for method, path, _, _ in running.asked} == {("POST", "/forget")}
    (order,) = {body for *_, body in running.asked}  # who repeats one repeats all of it
    told = json.loads(order)
    assert len(told.pop("order")) > 30
    assert told == {"subject": "subject-7", "by": "principal", "model": "m"}
    assert len(holding(data_dir, b"subject-7")) == 2  # nothing was done here


@pytest.mark.usefixtures("asked_at_once")
def test_what_an_instance_that_runs_refuses_is_told(data_dir, instance, monkeypatch):
    busy = (503, {"error": "another order to forget is being carried out; wait"})
    failed = (500, {"error": "it is not finished, do it again: the disk is full"})
    monkeypatch.setattr(forget_running, "PATIENCE_S", -1)
    for answers, says in (
        ((busy,), "^another order to forget is being carried out; wait$"),
        ((RUNNING, failed), "^it is not finished, do it again: the disk is full$"),
        ((RUNNING, AWAY), "^it is not finished, do it again: the monitor is not there"),
    ):
        running = instance(Script(*answers))
        with pytest.raises(VigilError, match=says):
            run(data_dir, "--yes", "--subject", "x", "--admin", running.url)
    with held(data_dir), pytest.raises(VigilError, match="name its admin listener with --admin"):
        run(data_dir, "--yes", "--subject", "x")
