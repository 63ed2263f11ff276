"""Fixtures of the end-to-end tests: models made for testing, and instances that serve them."""

import importlib.util
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import httpx
import pytest
import torch

from serving.models.export import save_safetensors


def _load_helper() -> ModuleType:
    # No packages in tests: the helper module is loaded by path, once.
    name = "vigil_e2e_instance"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("instance.py"))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


e2e = _load_helper()

LAB_NET = '''
"""A model for tests: y = x W, sleeps x[:, 1] milliseconds, raises when x[:, 0] is 666."""
import time

import torch


class Lab(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 3)

    def forward(self, x):
        if x.shape[0] and bool((x[:, 0] == 666).any()):
            raise ValueError("poison row")
        if x.shape[0] and float(x[:, 1].max()) > 0:
            time.sleep(float(x[:, 1].max()) / 1000)
        return torch.softmax(self.linear(x), 1)


def build():
    return Lab()
'''

LAB_CONFIG = """
format: safetensors
factory: net:build
trust_code: true
inputs:
  - {{name: x, datatype: FP32, shape: [-1, 4]}}
outputs:
  - {{name: y, datatype: FP32, shape: [-1, 3]}}
replicas: {{min: {replicas}, hang_timeout_s: {hang_timeout_s}}}
batching: {{max_queue_rows: {max_queue_rows}}}
monitors: {{drift: null}}
explain: null
"""


@pytest.fixture(scope="session")
def running() -> Callable[..., object]:
    """Context manager that starts an instance; see `instance.running`."""
    return e2e.running


@pytest.fixture(scope="session")
def watching() -> Callable[..., object]:
    """Context manager that starts `vigil watch`; see `instance.watching`."""
    return e2e.watching


@pytest.fixture(scope="session")
def eventually() -> Callable[..., object]:
    """Waits for a condition; see `instance.eventually`."""
    return e2e.eventually


@pytest.fixture(scope="session")
def make_lab(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a repository with the model `lab`."""

    def make(replicas: int = 1, hang_timeout_s: float = 30, max_queue_rows: int = 4096) -> Path:
        root = tmp_path_factory.mktemp("lab")
        source = root / "net.py"
        source.write_text(LAB_NET)
        (root / "models" / "lab").mkdir(parents=True)
        (root / "models" / "lab" / "model.yaml").write_text(
            LAB_CONFIG.format(
                replicas=replicas, hang_timeout_s=hang_timeout_s, max_queue_rows=max_queue_rows
            )
        )
        torch.manual_seed(0)
        network = torch.nn.Module()
        network.linear = torch.nn.Linear(4, 3)
        save_safetensors(network, root / "models" / "lab" / "1", source)
        return root / "models"

    return make


# Each start of Ray takes long. What the last two have in particular, other combinations and
# test_control.py cover; together they are only worth it in `make test-all`.
RARE = (pytest.mark.ray, pytest.mark.long)
COMBINATIONS = [
    pytest.param(("local", "direct", "channel"), id="local-direct-channel"),
    pytest.param(("local", "envoy", "channel"), id="local-envoy-channel"),
    pytest.param(("ray", "direct", "channel"), id="ray-direct-channel", marks=pytest.mark.ray),
    pytest.param(("ray", "serve", "handle"), id="ray-serve-handle", marks=pytest.mark.ray),
    pytest.param(("ray", "envoy", "channel"), id="ray-envoy-channel", marks=RARE),
    pytest.param(("ray", "serve", "channel"), id="ray-serve-channel", marks=RARE),
]


@pytest.fixture(scope="session", params=COMBINATIONS)
def instance(
    request: pytest.FixtureRequest,
    demo_root: Path,
    make_lab: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[object]:
    """An instance with the demo models and the lab model, in every combination that exists."""
    engine, ingress, transport = request.param
    root = tmp_path_factory.mktemp("models") / "all"
    shutil.copytree(demo_root, root)
    shutil.copytree(make_lab() / "lab", root / "lab")
    with e2e.running(root, tmp_path_factory.mktemp("run"), engine, ingress, transport) as running:
        # No request waits for the monitor, so it starts last; events before it are dropped.
        findings = f"{running.url}/v2/models/cancer/findings"
        e2e.eventually("the monitor", lambda: httpx.get(findings, timeout=5).status_code == 200, 90)
        yield running
