"""The compiled wheel, where `make test-compiled` runs the end-to-end tests against it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

COMPILED = os.environ.get("VIGIL_COMPILED")
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(COMPILED is None, reason="no VIGIL_COMPILED; `make test-compiled` sets it"),
]

# Each by itself tells where it comes from; `serving.gateway.app` has imported most of them.
ASK = """
import importlib, sys, serving.gateway.app
for name in sys.argv[1:]:
    print(importlib.import_module(name).__file__)
"""


@pytest.fixture
def folder() -> Path:
    return Path(str(COMPILED)).resolve()


def test_compiled_modules_go_before_their_sources(folder: Path) -> None:
    files = sorted(str(path) for path in (folder / "serving").rglob("*.so"))
    names = [
        str(Path(file).relative_to(folder)).partition(".")[0].replace("/", ".") for file in files
    ]
    assert "serving.gateway.direct.http1.connection" in names
    assert [file for file in files if not Path(f"{file.partition('.')[0]}.py").exists()] == []
    told = subprocess.run(
        [sys.executable, "-c", ASK, *names],
        env={**os.environ, "PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split() == files


def test_the_gateway_process_runs_them(
    folder: Path, running: Callable[..., Any], make_lab: Callable[..., Path], tmp_path: Path
) -> None:
    (linked,) = folder.glob("vigil__mypyc*.so")  # what all of them are in
    with running(make_lab(), tmp_path) as instance:
        gateways = instance.members("gateway")
        assert gateways
        for gateway in gateways:
            assert str(linked) in Path(f"/proc/{gateway['pid']}/maps").read_text()
