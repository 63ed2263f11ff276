"""Fixtures of the differential fuzz: the same models behind `direct` and behind Envoy."""

import contextlib
import importlib.util
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from serving.models.export import save_files

ECHO_NET = """
class Echo:
    def predict(self, inputs):
        return {"x_out": inputs["x"]}


def build():
    return Echo()
"""
ECHO_CONFIG = """
format: python
factory: net:build
trust_code: true
monitors: {drift: null}
explain: null
inputs: [{name: x, datatype: FP32, shape: [-1, 4]}]
outputs: [{name: x_out, datatype: FP32, shape: [-1, 4]}]
"""
# Short, for a case that is never whole ends by them.
LIMITS = {"headers_timeout_s": 1.5, "request_timeout_s": 1.5, "idle_timeout_s": 2.0}


def _load(file: str) -> ModuleType:
    # No packages in tests: helpers are loaded by path, once.
    name = f"vigil_fuzz_{file}"
    if name not in sys.modules:
        path = Path(__file__).with_name(f"{file}.py")
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def load() -> Callable[[str], ModuleType]:
    """Loads a helper of this folder by its name."""
    return _load


class Both:
    """An instance of either ingress, and proof that both are alive and right."""

    def __init__(self, direct: Any, envoy: Any) -> None:
        self.direct, self.envoy = direct, envoy
        self._log_seen = dict.fromkeys(("direct", "envoy"), 0)
        self._gateways = {m["pid"] for each in (direct, envoy) for m in each.members("gateway")}

    def still_right(self) -> None:
        """The same processes answer rightly, and none has logged an error of its own."""
        for instance in (self.direct, self.envoy):
            row = [random.random(), 2.0, 3.0, 4.0]
            tensor = {"name": "x", "datatype": "FP64", "shape": [1, 4], "data": row}
            answer = instance.infer("echo", [tensor | {"datatype": "FP32"}])
            assert answer.status_code == 200, answer.text
            assert answer.json()["outputs"][0]["data"] == pytest.approx(row)
            log = instance.log.read_bytes()
            said = log[self._log_seen[instance.ingress] :]
            self._log_seen[instance.ingress] = len(log)
            for sign in (b"Traceback", b'"event":"internal_error"'):
                assert sign not in said, said.decode(errors="replace")[-5000:]
        assert all(Path(f"/proc/{pid}").exists() for pid in self._gateways), "a gateway died"


@pytest.fixture(scope="module")
def both(running: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    root = tmp_path_factory.mktemp("fuzz")
    version = root / "models" / "echo" / "1"
    version.mkdir(parents=True)
    (version / "net.py").write_text(ECHO_NET)
    save_files(version, version / "net.py")
    (version.parent / "model.yaml").write_text(ECHO_CONFIG)
    with contextlib.ExitStack() as stack:
        instances = []
        for ingress in ("direct", "envoy"):
            workdir = root / ingress
            workdir.mkdir()
            instances.append(
                stack.enter_context(
                    running(root / "models", workdir, "local", ingress, listen=LIMITS)
                )
            )
        yield Both(*instances)
