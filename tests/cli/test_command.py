import json
import subprocess
import sys
from pathlib import Path

import pytest


def test_an_error_is_one_sentence_and_exit_code_1(vigil_process, tmp_path: Path) -> None:
    done = vigil_process("up", "--engine", "local", "--models", str(tmp_path / "none"))
    assert done.returncode == 1
    assert "no such folder" in done.stderr
    assert "Traceback" not in done.stderr


def test_debug_shows_the_traceback(vigil_process, tmp_path: Path) -> None:
    done = vigil_process("--debug", "up", "--engine", "local", "--models", str(tmp_path / "none"))
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("arguments", [("fly",), ("up", "--http-port", "-1")])
def test_wrong_usage_is_exit_code_2(vigil, arguments: tuple[str, ...]) -> None:
    assert vigil(*arguments).returncode == 2


def test_what_a_message_quotes_is_no_markup(vigil, tmp_path: Path) -> None:
    file = tmp_path / "[red].yaml"
    file.write_text("engin: ray")
    said = f"{file}: engin: there is no such key; did you mean 'engine'?"
    done = vigil("check", str(file))
    assert done.returncode == 1
    assert done.stderr == f"vigil: {said}\n"


def test_a_server_that_does_not_start_says_so_in_its_log(vigil_process, tmp_path: Path) -> None:
    file = tmp_path / "vigil.yaml"
    file.write_text("engin: ray")
    done = vigil_process("up", str(file))
    assert done.returncode == 1
    (line,) = map(json.loads, done.stderr.splitlines())
    assert line["event"] == "start_refused"
    assert line["role"] == "supervisor"
    assert line["message"] == f"{file}: engin: there is no such key; did you mean 'engine'?"
    file.write_text("engine: local\nmodels: nowhere\ntelemetry: {log_format: text}")
    done = vigil_process("up", str(file))
    assert done.returncode == 1
    assert done.stderr.startswith(f"vigil: {tmp_path}/nowhere: no such folder")
    assert done.stderr.count("\n") == 1


def test_help_waits_for_no_configuration_and_no_arrays() -> None:
    code = (
        "import sys, serving.cli.command\n"
        "heavy = ('serving.config', 'pydantic', 'numpy', 'yaml', 'httpx', 'pyarrow', 'torch')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


LAST = """
import atexit, gc, sys
from serving.cli.command import main
# Of what is registered, the first comes last.
atexit.register(lambda: print("left to look at:", len(gc.get_objects())))
sys.argv = ["vigil", "--help"]
main()
"""


def test_at_its_end_it_leaves_nothing_for_the_garbage_collector() -> None:
    done = subprocess.run([sys.executable, "-c", LAST], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    left = int(done.stdout.rpartition(":")[2])
    assert left < 1000, done.stdout[-500:]
