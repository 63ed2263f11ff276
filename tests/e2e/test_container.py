"""Life in a container: as PID 1, and without a folder for temporary files."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from loadtest.process import free_ports

pytestmark = pytest.mark.e2e

NAMESPACE = ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child"]


def _may_unshare() -> bool:
    try:
        return subprocess.run([*NAMESPACE, "true"], capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


needs_namespaces = pytest.mark.skipif(not _may_unshare(), reason="needs the right to unshare(1)")


def children(pid: int) -> dict[int, tuple[str, str]]:
    """Return the children of a process: state and command line."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            line = (folder / "cmdline").read_bytes().rstrip(b"\0").decode()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found[int(folder.name)] = (fields[0], line)
    return found


@pytest.fixture
def pid1(
    make_lab: Callable[..., Path], eventually: Callable[..., Any], tmp_path: Path
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """`vigil up` as PID 1 of a namespace, once it is ready; and its pid out here."""
    names = ("http_port", "grpc_port", "admin_port")
    ports = dict(zip(names, free_ports(3), strict=True))
    settings = {
        "engine": "local", "models": str(make_lab()), "data_dir": str(tmp_path / "data"),
        "listen": ports,
    }  # fmt: skip
    config = tmp_path / "vigil.yaml"
    config.write_text(yaml.safe_dump(settings))
    with (tmp_path / "log").open("wb") as log:
        outer = subprocess.Popen(
            [*NAMESPACE, sys.executable, "-m", "serving.cli", "up", str(config)],
            stdout=log,
            stderr=log,
            cwd=Path(__file__).parents[2],
        )
    try:
        ready = f"http://127.0.0.1:{ports['admin_port']}/readyz"
        eventually("ready", lambda: httpx.get(ready, timeout=60).status_code == 200, 200)
        (init,) = children(outer.pid)
        yield outer, init
    finally:
        outer.kill()
        outer.wait(60)


@needs_namespaces
def test_as_pid_1_it_reaps_orphans_and_stops_in_order(
    pid1: tuple[subprocess.Popen[bytes], int], eventually: Callable[..., Any], tmp_path: Path
) -> None:
    outer, init = pid1
    (command,) = children(init).values()
    assert command[1] == "vigil: supervisor"
    inside = ["nsenter", "-t", str(init), "-p", "-m"]
    for _ in range(5):
        subprocess.run([*inside, "sh", "-c", "(sleep 0.2 &); exit 0"], check=True, timeout=60)
    # They were there, and each is gone once its sleep is over.
    eventually("no orphan and no zombie", lambda: len(children(init)) == 1)
    assert all(state != "Z" for state, _ in children(init).values())
    os.kill(init, signal.SIGTERM)
    assert outer.wait(60) == 0, (tmp_path / "log").read_text()[-5000:]


READ_ONLY = """
mount --make-rprivate / || exit 90
for folder in $(findmnt -rno TARGET); do
    case $folder in /proc*|/sys*|/dev*) ;; *) mount -o remount,bind,ro "$folder" || exit 91 ;; esac
done
mount -t tmpfs tmpfs "$1" || exit 92
mount -t tmpfs tmpfs /dev/shm 2>/dev/null
shift
exec "$@"
"""


def _read_only(writable: Path, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command where nothing but `writable` can be written to, not even its folder.

    That is an empty one: the checkout may have models of a demo, or data of a server.
    """
    folder = writable.parent / "empty"
    folder.mkdir(exist_ok=True)
    command = ["unshare", "--mount", "sh", "-c", READ_ONLY, "sh", str(writable)]
    return subprocess.run(
        [*command, sys.executable, "-m", "serving.cli", *argv],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=folder,
        env={**os.environ, **env},
    )


@needs_namespaces
@pytest.mark.parametrize("engine", ["local", pytest.param("ray", marks=pytest.mark.ray)])
def test_a_read_only_root_without_tmp_is_one_sentence(
    engine: str, make_lab: Callable[..., Path], tmp_path: Path
) -> None:
    data = tmp_path / "d"
    data.mkdir()
    ports = ["--http-port=0", "--grpc-port=0", "--admin-port=0"]
    argv = ["up", "--engine", engine, "--models", str(make_lab()), *ports, "--data-dir"]
    done = _read_only(data, *argv, str(data / "v"))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "set TMPDIR" in done.stderr.splitlines()[-1]
    done = _read_only(data, *argv, str(tmp_path / "elsewhere"), TMPDIR=str(data))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert json.loads(done.stderr.splitlines()[-1])["message"].startswith("data_dir: ")


@needs_namespaces
def test_the_demo_says_what_it_cannot_write(tmp_path: Path) -> None:
    data = tmp_path / "d"
    data.mkdir()
    ports = ["--engine=local", "--http-port=0", "--grpc-port=0", "--admin-port=0"]
    models = ("--models", str(data / "models"))
    for argv, env, said in (
        ((), {}, "set TMPDIR"),
        (models, {}, "set TMPDIR"),
        ((), {"TMPDIR": str(data)}, "--models"),
    ):
        done = _read_only(data, "demo", *ports, *argv, **env)
        assert done.returncode == 1, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert said in done.stderr.splitlines()[-1]


@needs_namespaces
def test_a_read_only_root_is_enough_to_check_models(
    make_lab: Callable[..., Path], tmp_path: Path
) -> None:
    data = tmp_path / "d"
    data.mkdir()
    done = _read_only(data, "check", "--models", str(make_lab()))
    assert done.returncode == 0, done.stderr
    assert "fine" in done.stdout
