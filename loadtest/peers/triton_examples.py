"""Triton's Python examples, as they were published, against a running Vigil.

Take them from `src/python/examples` of github.com/triton-inference-server/client: no package ships
them. `python -m loadtest.peers.triton_examples DIRECTORY` builds the models, serves them, runs each
file with every option that it has for a way to ask, and prints a table. It ends with 1 when a file
fails.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from loadtest.home import bench_home
from loadtest.peers.example_repository import write
from loadtest.peers.tritonserver import make_venv
from loadtest.process import Server, free_ports, http_status, spawn, wait_ready
from loadtest.vigil import environment

REQUIREMENTS = ("tritonclient[all]==2.73.0", "attrdict==2.0.1", "pillow")
LIMIT_S = 120

# A file that has one of these words asks for what docs/what-vigil-does-not-do.md names.
EXCLUDED = {
    "shared_memory": "shared memory",
    "sequence_id": "sequences",
    "repeat_int32": "decoupled models",
    "load_model(model_name, config=": "load with config",
}
# How many models these want to find; each also unloads one, so each gets a server of its own.
COUNTED = {
    "simple_http_model_control": 7,
    "simple_http_aio_model_control": 7,
    "simple_grpc_model_control": 8,
    "simple_grpc_aio_model_control": 8,
}
# This one takes no address.
AT_FIXED_PORTS = "memory_growth_test"
FIXED_PORTS = (8000, 8001)

_HTTP = ("-u {http}", "-u {http} -v")
_GRPC = ("-u {grpc}", "-u {grpc} -v")
_HTTP_CODED = tuple(
    f"-u {{http}} --request-compression-algorithm {one} --response-compression-algorithm {other}"
    for one, other in (("gzip", "gzip"), ("deflate", "deflate"), ("gzip", "deflate"))
)
_GRPC_CODED = ("-u {grpc} -C gzip", "-u {grpc} -C deflate", "-u {grpc} -t 30")
_KEPT = (
    "-u {grpc} --grpc-keepalive-time 200 --grpc-keepalive-timeout 5000"
    " --grpc-keepalive-permit-without-calls --grpc-http2-max-pings-without-data 0"
)
_WAYS_GRPC = ("", " -a", " --streaming")
_IMAGES = (
    " -m inception_graphdef -s INCEPTION {image}",
    " -m inception_graphdef -x 1 -c 4 -b 3 {images}",
    " -m channels_first -s VGG -c 2 {images}",
    " -m grey -b 2 -v {images}",
)

# By file: its runs, each a line of options.
RUNS = {
    "ensemble_image_client": (
        "-u {http} {image}", "-u {http} -c 3 -v {images}",
        "-u {grpc} -i grpc {image}", "-u {grpc} -i grpc -c 3 -v {images}",
    ),
    "grpc_client": _GRPC,
    "grpc_explicit_byte_content_client": _GRPC,
    "grpc_explicit_int8_content_client": _GRPC,
    "grpc_explicit_int_content_client": _GRPC,
    "grpc_image_client": tuple(f"-u {{grpc}}{way}{i}" for way in _WAYS_GRPC for i in _IMAGES),
    "image_client": (
        *(f"-u {{http}}{way}{images}" for way in ("", " -a") for images in _IMAGES),
        *(f"-i grpc -u {{grpc}}{way}{images}" for way in _WAYS_GRPC for images in _IMAGES),
    ),
    "memory_growth_test": ("", "-i grpc", "-v -r 3"),
    "simple_grpc_aio_custom_args_client": _GRPC,
    "simple_grpc_aio_health_metadata": _GRPC,
    "simple_grpc_aio_infer_client": (*_GRPC, *_GRPC_CODED),
    "simple_grpc_aio_keepalive_client": (*_GRPC, _KEPT),
    "simple_grpc_aio_model_control": _GRPC[:1],
    "simple_grpc_aio_string_infer_client": _GRPC,
    "simple_grpc_async_infer_client": (*_GRPC, "-u {grpc} -t 30"),
    "simple_grpc_custom_args_client": _GRPC,
    "simple_grpc_health_metadata": _GRPC,
    "simple_grpc_infer_client": (*_GRPC, *_GRPC_CODED),
    "simple_grpc_keepalive_client": (*_GRPC, _KEPT),
    "simple_grpc_model_control": _GRPC[:1],
    "simple_grpc_string_infer_client": _GRPC,
    "simple_http_aio_health_metadata": _HTTP,
    "simple_http_aio_infer_client": (*_HTTP, *_HTTP_CODED, "-u {http} -H test:1 -H other:2"),
    "simple_http_aio_model_control": _HTTP[:1],
    "simple_http_aio_string_infer_client": _HTTP,
    "simple_http_async_infer_client": _HTTP,
    "simple_http_health_metadata": _HTTP,
    "simple_http_infer_client": (*_HTTP, *_HTTP_CODED, "-u {http} -H test:1 -H other:2"),
    "simple_http_model_control": _HTTP[:1],
    "simple_http_string_infer_client": _HTTP,
    "vllm_client": tuple(
        "-u {grpc} --model-name vllm --input-prompts {prompts} --results-file {results}" + more
        for more in ("", " -v --iterations 3 --offset 7")
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one file; `said` is empty unless it failed."""

    name: str
    outcome: str
    said: str = ""


@contextlib.contextmanager
def serving(work: Path, models: Path, ports: tuple[int, int]) -> Iterator[Server]:
    """Serve `models` on the HTTP and the gRPC port until the block ends; files go to `work`."""
    work.mkdir()
    (admin_port,) = free_ports(1)
    listen = {"http_port": ports[0], "grpc_port": ports[1], "admin_port": admin_port}
    settings = {
        "models": str(models),
        "data_dir": str(work / "data"),
        "listen": {"host": "127.0.0.1", "server_name": "triton", **listen},
    }
    (work / "vigil.yaml").write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "serving.cli", "up", str(work / "vigil.yaml")]
    log = work / "log"
    server = Server("vigil", spawn(command, environment(), log), *ports, log)
    wait_ready(server, lambda: http_status(ports[0], "/v2/health/ready") == 200)
    try:
        yield server
    finally:
        server.stop()


def inputs(work: Path) -> dict[str, str]:
    """Write what the files read; return its paths by the names that `RUNS` has for them."""
    from PIL import Image

    images = work / "images"
    images.mkdir()
    for number, brightness in enumerate((20, 120, 240)):
        noise = np.random.default_rng(number).integers(0, 15, (50, 60, 3), np.uint8)
        Image.fromarray(noise + np.uint8(brightness)).save(images / f"{number}.png")
    (work / "prompts.txt").write_text("The sea is\nA lamp may\n")
    return {
        "images": str(images),
        "image": str(images / "0.png"),
        "prompts": str(work / "prompts.txt"),
        "results": str(work / "results.txt"),
    }


def excluded(source: str) -> str | None:
    """Return the kind of a file that asks for what Vigil does not do."""
    return next((kind for word, kind in EXCLUDED.items() if word in source), None)


def run(python: Path, file: Path, given: dict[str, str]) -> Verdict:
    """Run `file` in each way that `RUNS` has for it, until one fails.

    Some of them end with 0 after a failure. Those that print PASS must have printed it.
    """
    passes = 'print("PASS' in (source := file.read_text()) or "print('PASS" in source
    for options in RUNS[file.stem]:
        command = [str(python), str(file), *options.format(**given).split()]
        try:
            ended = subprocess.run(
                command, capture_output=True, text=True, timeout=LIMIT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return Verdict(file.stem, "failed", f"{options}: no end within {LIMIT_S} s")
        if ended.returncode or (passes and "PASS" not in ended.stdout):
            said = (ended.stdout + ended.stderr).strip()[-2000:]
            return Verdict(file.stem, "failed", f"{options}: {ended.returncode}\n{said}")
    return Verdict(file.stem, f"passed, runs: {len(RUNS[file.stem])}")


def run_all(python: Path, folder: Path, work: Path) -> Iterator[Verdict]:
    """Run the files of `folder`, each in a process of `python`, against servers of their own.

    Args:
        python: an interpreter that has `REQUIREMENTS`.
        folder: the examples.
        work: an empty folder.
    """
    given = inputs(work)
    shared: list[Path] = []
    apart: list[Path] = []
    for file in sorted(folder.glob("*.py")):
        if kind := excluded(file.read_text()):
            yield Verdict(file.stem, f"excluded: {kind}")
        elif file.stem not in RUNS:
            yield Verdict(file.stem, "failed", "nobody has written how it is run; see RUNS")
        else:
            (apart if file.stem in (*COUNTED, AT_FIXED_PORTS) else shared).append(file)
    groups = [(shared, None), *(([file], COUNTED.get(file.stem)) for file in apart)]
    for number, (files, count) in enumerate(groups):
        if not files:
            continue
        http_port, grpc_port = free_ports(2)
        if files[0].stem == AT_FIXED_PORTS:
            http_port, grpc_port = FIXED_PORTS
        models = write(work / f"models{number}", count)
        with serving(work / f"server{number}", models, (http_port, grpc_port)):
            at = {"http": f"localhost:{http_port}", "grpc": f"localhost:{grpc_port}"}
            for file in files:
                yield run(python, file, {**given, **at})


def main(folder: Path) -> int:
    """Print a line per file of `folder`, and what those that failed have said; return how many."""
    venv = bench_home() / "triton_examples"
    make_venv(venv, REQUIREMENTS, ".triton_examples")
    failed = 0
    with tempfile.TemporaryDirectory() as work:
        for verdict in run_all(venv / "bin" / "python", folder, Path(work)):
            print(f"{verdict.name:44} {verdict.outcome}", flush=True)
            if verdict.said:
                failed += 1
                print(verdict.said)
    return failed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Run Triton's Python examples against Vigil.")
    parser.add_argument("folder", type=Path, help="src/python/examples of Triton's client")
    sys.exit(min(main(parser.parse_args().folder), 1))
