"""The command as a process, and instances that answer what a test says."""

import http.server
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.channel.messages.causes import Cause
from serving.channel.messages.incidents import Evidence, Incident, Measured
from serving.cli.command import main
from serving.models.profile.dataset import Dataset

CHECKOUT = Path(__file__).parents[2]
Vigil = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def vigil(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Vigil:
    """Runs the command in this process: one of its own takes a second to begin."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["vigil", *arguments])
        capfd.readouterr()
        code: Any = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
        out, err = capfd.readouterr()
        return subprocess.CompletedProcess(arguments, code, out, err)

    return run


@pytest.fixture
def vigil_process() -> Vigil:
    """Runs the command in a process of its own, for what the command changes in its process."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "serving.cli", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=CHECKOUT,
            env={**os.environ, "COLUMNS": "200"},
        )

    return run


class Instance:
    """Answers any request as `answers` says: by path, a status and a body."""

    def __init__(self, answers: dict[str, tuple[int, bytes]]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        """Method, path, headers and body of every request."""
        self.headers: dict[str, str] = {}
        """Of every answer."""
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        instance = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer()

            def do_POST(self) -> None:
                self._answer()

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                instance.asked.append((self.command, self.path, headers, body))
                status, content = instance.answers.get(self.path, (404, b'{"error": "none"}'))
                self.send_response(status)
                for name, value in instance.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@pytest.fixture
def instance(http_servers: ModuleType) -> Iterator[Callable[..., Instance]]:
    """Starts instances that end with the test."""
    with ExitStack() as started:

        def start(answers: dict[str, tuple[int, bytes]]) -> Instance:
            made = Instance(answers)
            started.enter_context(http_servers.in_thread(made.server))
            return made

        yield start


NUMBERS = ("income", "loan_amount", "term_months", "credit_history_years", "debt_ratio")


@pytest.fixture(scope="session")
def write_loans() -> Callable[[Path, Dataset, np.ndarray], Path]:
    """Writes applicants to the demo's model `loans` as a Parquet file with a column `when`."""

    def write(folder: Path, rows: Dataset, when: np.ndarray) -> Path:
        numbers, words = rows.inputs["numeric"], rows.inputs["categorical"]
        columns = {name: numbers[:, at] for at, name in enumerate(NUMBERS)} | {
            "purpose": [each.decode() for each in words[:, 0]],
            "home_ownership": [each.decode() for each in words[:, 1]],
            "sex": rows.sensitive["sex"],
            "y_true": rows.y_true,
            "when": when,
        }
        path = folder / "loans.parquet"
        pq.write_table(pa.table(columns), path)
        return path

    return write


@pytest.fixture
def make_incident(make_incident: Callable[..., Incident]) -> Callable[..., Incident]:
    """Makes incidents whose cause is known."""
    cause = Cause(summary="concept shift: other truths", known=True)
    evidence = Evidence(leading=Measured(metric="accuracy"), since=0.0, cause=cause)
    return partial(
        make_incident,
        id="k7m2p9qd",
        first=evidence,
        evidence=evidence,
    )
