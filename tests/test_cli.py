import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]


def vigil(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "serving.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=CHECKOUT,
        env={**os.environ, "COLUMNS": "200"},
    )


def test_an_error_is_one_sentence_and_exit_code_1(tmp_path: Path) -> None:
    done = vigil("up", "--engine", "local", "--models", str(tmp_path / "none"))
    assert done.returncode == 1
    assert "no such folder" in done.stderr
    assert "Traceback" not in done.stderr


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = vigil("--debug", "up", "--engine", "local", "--models", str(tmp_path / "none"))
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("arguments", [("fly",), ("up", "--http-port", "-1")])
def test_wrong_usage_is_exit_code_2(arguments: tuple[str, ...]) -> None:
    assert vigil(*arguments).returncode == 2


def test_a_bind_beyond_loopback_is_refused_without_insecure(tmp_path: Path) -> None:
    done = vigil("up", "--engine", "local", "--models", str(tmp_path), "--host", "0.0.0.0")
    assert done.returncode == 1
    assert "--insecure" in done.stderr
