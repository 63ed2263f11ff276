"""The compiled wheel, where `make test-compiled` runs the end-to-end tests against it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

COMPILED = os.environ.get("VIGIL_COMPILED")
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(COMPILED is None, reason="no VIGIL_COMPILED; `make test-compiled` sets it"),
]


def test_the_gateway_runs_every_compiled_module(
    running: Callable[..., Any], make_lab: Callable[..., Path], tmp_path: Path
) -> None:
    folder = Path(str(COMPILED)).resolve()
    modules = {str(path) for path in folder.rglob("*.so")}
    assert any(path.endswith("/direct/http1.cpython-311-x86_64-linux-gnu.so") for path in modules)
    with running(make_lab(), tmp_path) as instance:
        gateways = instance.members("gateway")
        assert gateways
        for gateway in gateways:
            maps = Path(f"/proc/{gateway['pid']}/maps").read_text().splitlines()
            mapped = {line.split(maxsplit=5)[5] for line in maps if line.endswith(".so")}
            assert sorted(modules - mapped) == []
        row = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 0, 0, 2.5]}
        assert instance.infer("lab", [row]).status_code == 200
