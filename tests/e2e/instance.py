"""Not a test: starts real instances of Vigil for the tests of this folder."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from loadtest.process import free_ports

# Ray took 190 s on a machine that had much else to do; so may every answer take long there.
START_TIMEOUT_S = 400
ANSWER_S = 60
HANGS_S = 300.0
"""Only what will never be costs as much; Ray took 150 s to replace a replica there."""
CHECKOUT = Path(__file__).parents[2]
PORTS = ("http_port", "grpc_port", "admin_port")
COMPILED = os.environ.get("VIGIL_COMPILED")
"""A folder with the compiled wheel's files: instances then run these, and not the checkout."""


def eventually(what: str, holds: Callable[[], Any], timeout_s: float = HANGS_S) -> Any:
    """Wait until `holds()` is true and return its value; it may raise while it is not."""
    deadline = time.monotonic() + timeout_s
    last: Exception | None = None
    while time.monotonic() < deadline:
        try:
            if value := holds():
                return value
        except Exception as error:
            last = error
        time.sleep(0.05)
    raise AssertionError(f"not within {timeout_s} s: {what}; last error: {last!r}")


def when_ready(ask: Callable[[], httpx.Response]) -> httpx.Response:
    """Ask until the answer is not 503, as a client that is told to retry later does.

    The first question starts an explainer, and is refused after a minute.
    """
    answers: list[httpx.Response] = []

    def answered() -> bool:
        answers[:] = [ask()]
        return answers[0].status_code != 503

    with contextlib.suppress(AssertionError):  # what it was refused with tells more
        eventually("an answer", answered)
    return answers[0]


@dataclass
class Instance:
    """A running instance; ports are its own."""

    process: subprocess.Popen[bytes]
    http_port: int
    grpc_port: int
    admin_port: int
    log: Path
    engine: str
    ingress: str
    models: Path | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def grpc(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def admin(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    def members(self, role: str) -> list[dict[str, Any]]:
        """Return the members of a role as the control plane sees them now."""
        states = httpx.get(f"{self.admin}/status", timeout=ANSWER_S).json()["members"]
        return [state["member"] for state in states if state["member"]["role"] == role]

    def stops(self) -> bool:
        """Whether it has taken up the order to stop: nobody new is let in, or it says so."""
        try:
            socket.create_connection(("127.0.0.1", self.http_port), ANSWER_S).close()
            return httpx.get(f"{self.admin}/readyz", timeout=ANSWER_S).status_code != 200
        except (OSError, httpx.TransportError):
            return True

    def settle(self) -> None:
        """Wait until every member has reported what it had counted when this was called.

        Counts reach `/metrics` with a member's next report. Whoever compares one with an earlier
        one must settle first, or finds in the later one what was done before.
        """
        begun = time.monotonic()

        def reported() -> bool:
            asked = time.monotonic()
            states = httpx.get(f"{self.admin}/status", timeout=ANSWER_S).json()["members"]
            ages = [state["age_s"] for state in states]
            return all(age is not None and age < asked - begun for age in ages)

        eventually("a report of every member", reported)

    def linked(self, model: str, replicas: int) -> bool:
        """Whether every gateway can send to so many replicas of a model, of two slots each.

        An instance is ready as soon as there is one.
        """
        self.settle()
        slots = 2 * replicas * len(self.members("gateway"))
        return self.metric("vigil_replica_slots_total", model=model) == slots

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels; 0 when there are none.

        It may lag behind; see `settle`.
        """
        from prometheus_client.parser import text_string_to_metric_families

        text = httpx.get(f"{self.admin}/metrics", timeout=ANSWER_S).text
        # The parser takes much longer for all of them than the instance for writing them.
        lines = [line for line in text.splitlines() if line.startswith(name)]
        return sum(
            sample.value
            for family in text_string_to_metric_families("\n".join(lines))
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def statistics(self, model: str) -> dict[str, Any]:
        """Return the statistics extension's numbers of a model, as they are at this moment.

        Unlike metrics they need no time to get here, but they are those of one gateway.
        """
        answer = httpx.get(f"{self.url}/v2/models/{model}/stats", timeout=ANSWER_S)
        (found,) = answer.json()["model_stats"]
        return dict(found)

    def infer(self, model: str, inputs: list[dict[str, Any]], **more: Any) -> httpx.Response:
        """POST a JSON inference."""
        timeout = more.pop("timeout_s", ANSWER_S)
        return httpx.post(
            f"{self.url}/v2/models/{model}/infer",
            content=json.dumps({"inputs": inputs, **more}),
            timeout=timeout,
        )


@contextlib.contextmanager
def running(
    models: Path,
    workdir: Path,
    engine: str = "local",
    ingress: str = "direct",
    transport: str = "channel",
    host: str = "127.0.0.1",
    until_ready: bool = True,
    sources: Path | None = None,
    **config: Any,
) -> Iterator[Instance]:
    """Start an instance, wait until it is ready, and end it and all its children.

    It runs the files in the folder `sources`, where that is given, and else the checkout's.
    """
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    settings = {
        "engine": engine,
        "ingress": ingress,
        "transport": transport,
        "models": str(models),
        "data_dir": str(workdir / "data"),
        **config,
        "listen": {"host": host, **config.get("listen", {}), **ports},
    }
    path = workdir / "vigil.yaml"
    path.write_text(yaml.safe_dump(settings))
    argv = ["up", str(path)]
    with _started(argv, workdir, ports, engine, ingress, until_ready, sources) as instance:
        instance.models = models
        yield instance


@contextlib.contextmanager
def watching(upstream: str, workdir: Path, *options: str) -> Iterator[Instance]:
    """Start `vigil watch`, wait until it is ready, and end it and all its children."""
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    given = [f"--{name.replace('_', '-')}={port}" for name, port in ports.items()]
    argv = ["watch", "--upstream", upstream, "--data-dir", str(workdir / "data"), *given, *options]
    engine = "ray" if "--engine=ray" in options else "local"
    with _started(argv, workdir, ports, engine, "envoy") as instance:
        yield instance


@contextlib.contextmanager
def _started(
    argv: list[str],
    workdir: Path,
    ports: dict[str, int],
    engine: str,
    ingress: str,
    until_ready: bool = True,
    sources: Path | None = None,
) -> Iterator[Instance]:
    log = workdir / "log"
    # Apart, because standard error is the log, and every line of it is JSON.
    with log.open("wb") as err, (workdir / "out").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "serving.cli", *argv],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=CHECKOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **_sources(sources)},
        )
    instance = Instance(process, **ports, log=log, engine=engine, ingress=ingress)
    try:
        if until_ready:
            _wait_ready(instance)
        yield instance
    except BaseException:
        # Shown beside what failed: the folder may be gone when somebody looks.
        print(f"the log of {' '.join(argv)} ends with:", log.read_text()[-8000:], sep="\n")
        raise
    finally:
        stop(instance)


def _sources(sources: Path | None) -> dict[str, str]:
    """Return what has a process run other files than the checkout's, if that is wanted."""
    folder = sources or (COMPILED and Path(COMPILED).resolve())
    if not folder:
        return {}
    # Without the second, `python -m` would look into the current folder first: the checkout.
    return {"PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"}


def _wait_ready(instance: Instance) -> None:
    # One client for all attempts: reading the certificates for each takes more than the attempt.
    with httpx.Client(base_url=instance.admin, timeout=ANSWER_S, verify=False) as client:

        def ready() -> bool:
            if instance.process.poll() is not None:  # it will never be
                return True
            return client.get("/readyz").status_code == 200

        try:
            eventually("ready", ready, START_TIMEOUT_S)
            assert instance.process.poll() is None, "it ended"
        except AssertionError as error:
            raise AssertionError(f"{error}\n{instance.log.read_text()[-5000:]}") from None


def stop(instance: Instance, timeout_s: float = HANGS_S + ANSWER_S) -> int:
    """SIGTERM, and SIGKILL if that is not enough; returns the exit code."""
    if instance.process.poll() is None:
        instance.process.send_signal(signal.SIGTERM)
        try:
            instance.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            instance.process.kill()
            instance.process.wait(60)
    return instance.process.returncode
