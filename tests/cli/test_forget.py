"""`vigil forget` over a log in files, and the state of a monitor beside it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from typer.testing import CliRunner

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


def run(data_dir: Path, *arguments: str) -> str:
    config = data_dir.parent / "vigil.yaml"
    config.write_text(f"{{data_dir: '{data_dir}', log: {{url: '{data_dir / 'log'}'}}}}\n")
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


def test_what_is_wrong_is_told_and_nothing_changes(data_dir):
    for arguments, says in (
        (["--subject", "subject-7"], "say --yes where nobody can be asked"),
        (["--yes", "--subject", ""], "--subject is empty"),
        (["--yes", "--subject", "x", "--model", "n"], "no predictions of model 'n'"),
        (["--yes", "--subject", "x", "--by", "in_age"], "no file of the log has a column 'in_age'"),
    ):
        with pytest.raises(VigilError, match=says):
            run(data_dir, *arguments)
    with held(data_dir), pytest.raises(VigilError, match="an instance runs there; stop it first"):
        run(data_dir, "--yes", "--subject", "subject-7")
    assert len(holding(data_dir, b"subject-7")) == 2


def test_what_was_written_ahead_is_told(data_dir):
    (data_dir / "monitor.7.wal").write_bytes(b"...subject-7...")
    with pytest.raises(
        VigilError, match=r"monitor\.7\.wal still holds it: start the instance once"
    ):
        run(data_dir, "--yes", "--subject", "subject-7")
