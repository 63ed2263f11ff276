import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
import typer

from serving import questions
from serving.errors import VigilError

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


def test_what_a_message_quotes_is_no_markup(tmp_path: Path) -> None:
    file = tmp_path / "[red].yaml"
    file.write_text("engin: ray")
    said = f"{file}: engin: there is no such key; did you mean 'engine'?"
    done = vigil("check", str(file))
    assert done.returncode == 1
    assert done.stderr == f"vigil: {said}\n"


def test_a_server_that_does_not_start_says_so_in_its_log(tmp_path: Path) -> None:
    file = tmp_path / "vigil.yaml"
    file.write_text("engin: ray")
    done = vigil("up", str(file))
    assert done.returncode == 1
    (line,) = map(json.loads, done.stderr.splitlines())
    assert line["event"] == "start_refused"
    assert line["role"] == "supervisor"
    assert line["message"] == f"{file}: engin: there is no such key; did you mean 'engine'?"
    file.write_text("engine: local\nmodels: nowhere\ntelemetry: {log_format: text}")
    done = vigil("up", str(file))
    assert done.returncode == 1
    assert done.stderr.startswith(f"vigil: {tmp_path}/nowhere: no such folder")
    assert done.stderr.count("\n") == 1


def test_what_answers_there_may_be_something_else() -> None:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        done = vigil("findings", "m", "--url", f"http://127.0.0.1:{server.server_address[1]}")
        server.shutdown()
        thread.join()
    assert done.returncode == 1
    assert "is not Vigil" in done.stderr


def test_check_shows_names_that_a_terminal_would_obey_as_escapes(tmp_path: Path) -> None:
    folder = tmp_path / "two\nlines\x1b[2J"
    folder.mkdir()
    (folder / "model.yaml").write_text("format: onnx")
    done = vigil("check", "--models", str(tmp_path))
    assert done.returncode == 1
    assert r"two\nlines\x1b[2J" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "\x1b" not in done.stderr


def test_status_shows_what_a_terminal_would_obey_as_escapes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"name": "a\x1b[2J", "version": "1", "state": "UNAVAILABLE", "reason": "b\nc\x07"}
    answers = {
        "GET": httpx.Response(503, json={"error": "d\x1b[2Je"}),
        "POST": httpx.Response(200, json=[row]),
    }
    monkeypatch.setattr(questions, "_asked", lambda method, *_: answers[method])
    with pytest.raises(typer.Exit):
        questions.status("http://127.0.0.1:1")
    printed = capsys.readouterr()
    assert printed.out == "a\\x1b[2J version 1: UNAVAILABLE (b\\nc\\x07)\n"
    assert printed.err == "d\\x1b[2Je\n"


@pytest.mark.parametrize("url", ["nonsense", "http://[::1", "ftp://h"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(VigilError, match="write http://host:port"):
        questions.status(url)


def test_a_secret_is_never_an_argument() -> None:
    assert vigil("watch", "--upstream", "grpcs://127.0.0.1:1", "--token", "x").returncode == 2
    done = vigil("watch", "--upstream", "grpc://elsewhere:1", "--token-env", "HOME")
    assert done.returncode == 1
    assert "in the clear" in done.stderr


TOY_NET = """
import torch

def build():
    return torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
"""
TOY_CONFIG = """
format: safetensors
factory: net:build
trust_code: true
inputs: [{name: x, datatype: FP32, shape: [-1, 3]}]
outputs: [{name: y, datatype: FP32, shape: [-1, 2]}]
example: example.json
precision: int8-dynamic
"""
TOY_EXAMPLE = '{"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}'


def test_check_prints_what_a_conversion_changes_and_refuses_too_much(tmp_path: Path) -> None:
    import torch

    from serving.models.export import save_safetensors

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    (tmp_path / "net.py").write_text(TOY_NET)
    folder = tmp_path / "models" / "toy"
    save_safetensors(net, folder / "1", tmp_path / "net.py")
    (folder / "example.json").write_text(TOY_EXAMPLE)
    (folder / "model.yaml").write_text(TOY_CONFIG + "precision_tolerance: 0.5\n")
    done = vigil("check", "--models", str(tmp_path / "models"))
    assert done.returncode == 0
    assert "toy version 1: with precision int8-dynamic output 'y' deviates by" in done.stdout
    (folder / "model.yaml").write_text(TOY_CONFIG + "precision_tolerance: 1e-9\n")
    done = vigil("check", "--models", str(tmp_path / "models"))
    assert done.returncode == 1
    assert "1e-09 allowed; raise precision_tolerance" in done.stderr
    assert "Traceback" not in done.stderr
    (folder / "model.yaml").write_text(TOY_CONFIG)
    (tmp_path / "models" / "empty").mkdir()
    done = vigil("check", "--models", str(tmp_path / "models"))
    assert done.returncode == 1
    assert "model.yaml" in done.stderr  # of the empty one, and the other is checked all the same
    assert "toy version 1: fine" in done.stdout
