"""Vigil itself as a contender, in every combination that the race compares."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from loadtest import compiled
from loadtest.home import ROOT
from loadtest.process import Server, free_ports, http_status, spawn, wait_ready


@dataclass(frozen=True, slots=True)
class Variant:
    """What differs between two entries of Vigil.

    `checks`: guards (schema, Mahalanobis), drift monitor and the Prometheus endpoint.
    `guards`: false leaves the guards out of `record`.
    `record`: the prediction log (everything of all requests), fairness, and traces of 1 % of the
    requests, which go to `collector`.
    `asleep`: without checks, and with `batching.busy_poll_us: 0`.
    `compiled`: the files of the compiled wheel, which `compiled.build` makes, and not the checkout.
    """

    engine: Literal["local", "ray"]
    checks: bool
    ingress: Literal["direct", "envoy", "serve"] = "direct"
    transport: Literal["channel", "handle"] = "channel"
    asleep: bool = False
    compiled: bool = False
    record: bool = False
    collector: str = ""
    guards: bool = True

    @property
    def name(self) -> str:
        """How tables call it."""
        checks = "checks on" if self.checks else "checks off"
        checks += ", all recorded" if self.record else ""
        checks += "" if self.guards else ", no guards"
        asleep = ", no busy poll" if self.asleep else ""
        built = "compiled" if self.compiled else "interpreted"
        return f"vigil {self.engine} {self.ingress}+{self.transport}, {checks}{asleep}, {built}"


def prepare(home: Path) -> Path:
    """Build the model folders anew (their format follows the code); return their parent."""
    models = home / "vigil-models"
    command = [sys.executable, "-m", "loadtest.vigil_model", str(models.resolve())]
    subprocess.run(command, cwd=ROOT, env=environment(), check=True)
    return models


def start(home: Path, variant: Variant, models: Path | None = None) -> Server:
    """Start `vigil up` for `variant` with the raced models, or others; wait until it is ready."""
    http_port, grpc_port, admin_port = free_ports(3)
    name = f"{variant.name} {models.name}" if models else variant.name
    slug = "".join(c if c.isalnum() else "-" for c in name)
    work = (home / "vigil" / slug).resolve()
    work.mkdir(parents=True, exist_ok=True)
    configuration = work / "vigil.yaml"
    ports = {"http_port": http_port, "grpc_port": grpc_port, "admin_port": admin_port}
    folder = "asleep" if variant.asleep else "on" if variant.checks else "off"
    if variant.record:
        folder = "record" if variant.guards else "record-unguarded"
    traces = {"endpoint": variant.collector} if variant.collector else {}
    models = models or home / "vigil-models" / folder
    configuration.write_text(
        yaml.safe_dump(
            {
                "engine": variant.engine,
                "ingress": variant.ingress,
                "transport": variant.transport,
                "listen": {"host": "127.0.0.1", **ports},
                "models": str(models.resolve()),
                "data_dir": str(work / "data"),
                "log": {"capture": "full"} if variant.record else None,
                "telemetry": {"prometheus": variant.checks, "traces": traces},
            },
            sort_keys=False,
        )
    )
    command = [sys.executable, "-m", "serving.cli", "up", str(configuration)]
    log = home / "logs" / f"{slug}.log"
    env = environment(compiled.unpacked(home) if variant.compiled else ROOT)
    process = spawn(command, env, log)
    server = Server(variant.name, process, http_port, grpc_port, log, admin_port=admin_port)
    return wait_ready(server, lambda: http_status(http_port, "/v2/health/ready") == 200)


def environment(files: Path = ROOT) -> dict[str, str]:
    """Return the environment in which Vigil is started from `files`."""
    # A Ray that the caller's shell points to is none of ours: Vigil starts its own.
    env = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    # Whatever the current folder is: `python -m` would look there first.
    env["PYTHONSAFEPATH"] = "1"
    env["PYTHONPATH"] = f"{files}{os.pathsep}{env.get('PYTHONPATH', '')}".rstrip(os.pathsep)
    return env
