"""Fixtures of the end-to-end tests: models made for testing, and instances that serve them."""

import importlib.util
import shutil
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
import torch

from loadtest.peers import example_repository
from serving.models.export import save_files, save_safetensors
from serving.models.repository.manifest import write_folder_manifest


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

TIMEOUT_S = 600
"""For what hangs. Ray alone has taken three minutes to start where there was much else to do."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test of this folder time: whichever comes first starts an instance."""
    folder = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(folder):
            item.add_marker(pytest.mark.timeout(TIMEOUT_S))
            if item.get_closest_marker("once") and "local-direct" not in item.name:
                item.add_marker(pytest.mark.long)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, Any, Any]:
    """End an instance of Ray with its last test: idle, it takes a third of a core from the rest.

    Without this it would live until another takes its place or the session ends.
    """
    result = yield
    for name in ("instance", "shared_target"):
        used, wanted = (
            getattr(each, "callspec", None) and each.callspec.params.get(name)
            for each in (item, nextitem)
        )
        if used and used[0] == "ray" and used != wanted:
            # pytest does the same, by itself, when another parameter follows.
            item._fixtureinfo.name2fixturedefs[name][-1].finish(item._request)
    return result


LAB_NET = '''
"""A model for tests: y = softmax(x W), sleeps x[:, 1] milliseconds, raises when x[:, 0] is 666.

Where x[:, 0] is a key of `DEADLY`, the process ends.

Where x[:, 1] is -1, -2 and so on, it waits for as long as a file `hold1`, `hold2` and so on lies
beside model.yaml; `held1` says that it has begun to wait.
"""
import ctypes
import os
import signal
import time
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parents[1]
LONGEST_S = 100
DEADLY = {
    667: lambda: os._exit(3),
    668: lambda: ctypes.string_at(0),
    669: lambda: os.kill(os.getpid(), signal.SIGKILL),
}


def hold(gate):
    closed = FOLDER / f"hold{gate}"
    until = time.monotonic() + LONGEST_S
    while closed.exists() and time.monotonic() < until:
        (FOLDER / f"held{gate}").touch()
        time.sleep(0.005)


def behave(x):
    if not len(x):
        return
    if (x[:, 0] == 666).any():
        raise ValueError("poison row")
    for value, end in DEADLY.items():
        if (x[:, 0] == value).any():
            end()
    if x[:, 1].max() > 0:
        time.sleep(float(x[:, 1].max()) / 1000)
    if x[:, 1].min() <= -1:
        hold(-int(x[:, 1].min()))
'''
LAB_PYTHON = (
    LAB_NET
    + """

class Lab:
    weights = np.random.default_rng(0).uniform(-0.5, 0.5, (4, 3)).astype(np.float32)

    def predict(self, inputs):
        x = inputs["x"]
        behave(x)
        scores = np.exp(x @ self.weights - (x @ self.weights).max(1, keepdims=True))
        return {"y": scores / scores.sum(1, keepdims=True)}


def build():
    return Lab()
"""
)
LAB_TORCH = (
    LAB_NET
    + """
import torch


class Lab(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 3)

    def forward(self, x):
        behave(x.cpu().numpy())
        return torch.softmax(self.linear(x), 1)


def build():
    return Lab()
"""
)

LAB_CONFIG = """
format: {format}
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
    """Makes a repository with the model `lab`, of Python's format, or with weights and of torch.

    An instance without a torch model starts in half the time.
    """

    def make(
        replicas: int = 1,
        hang_timeout_s: float = 30,
        max_queue_rows: int = 4096,
        *,
        of_torch: bool = False,
    ) -> Path:
        root = tmp_path_factory.mktemp("lab")
        source, version = root / "net.py", root / "models" / "lab" / "1"
        source.write_text(LAB_TORCH if of_torch else LAB_PYTHON)
        version.parent.mkdir(parents=True)
        (version.parent / "model.yaml").write_text(
            LAB_CONFIG.format(
                format="safetensors" if of_torch else "python",
                replicas=replicas,
                hang_timeout_s=hang_timeout_s,
                max_queue_rows=max_queue_rows,
            )
        )
        if of_torch:
            torch.manual_seed(0)
            network = torch.nn.Module()
            network.linear = torch.nn.Linear(4, 3)
            save_safetensors(network, version, source)
        else:
            save_files(version, source)
        return root / "models"

    return make


DOUBLE = """
class Double:
    def predict(self, inputs):
        return {"y": inputs["x"] * 2}


def build():
    return Double()
"""
DOUBLING = """
format: python
factory: net:build
trust_code: true
inputs: [{name: x, datatype: FP32, shape: [-1, 1]}]
outputs: [{name: y, datatype: FP32, shape: [-1, 1]}]
monitors: {drift: null}
explain: null
"""


@pytest.fixture(scope="session")
def doubling() -> str:
    """What `put` configures a model with."""
    return DOUBLING


@pytest.fixture(scope="session")
def put() -> Callable[..., Path]:
    """Puts a model that doubles into a repository, and returns its folder."""

    def put(root: Path, name: str, more: str = "", version: str = "1") -> Path:
        folder = root / name
        (folder / version).mkdir(parents=True)
        (folder / version / "net.py").write_text(DOUBLE)
        write_folder_manifest(folder / version)
        (folder / "model.yaml").write_text(DOUBLING + more)
        return folder

    return put


@pytest.fixture(scope="session")
def triton_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the models that Triton's examples ask, under their names."""
    return example_repository.write(tmp_path_factory.mktemp("triton") / "models")


class Gate:
    """Stops batches of `lab` in its replica: those with a row whose x[1] is the gate's `row`."""

    def __init__(self, instance: Any, number: int) -> None:
        self.row = float(-number)
        folder = instance.models / "lab"
        self._closed, self._reached = folder / f"hold{number}", folder / f"held{number}"
        self._reached.unlink(missing_ok=True)
        self._closed.touch()

    def reached(self) -> bool:
        """Whether a batch stands before the gate, or has."""
        return self._reached.exists()

    def open(self) -> None:
        """Let them go on."""
        self._closed.unlink(missing_ok=True)


@pytest.fixture
def close_gate() -> Iterator[Callable[..., Gate]]:
    """Closes a gate of an instance's `lab`, by its number; open again when the test has ended."""
    gates: list[Gate] = []

    def close(instance: Any, number: int = 1) -> Gate:
        gates.append(Gate(instance, number))
        return gates[-1]

    yield close
    for gate in gates:
        gate.open()


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
    # Long enough for a test that stops a batch until something else has happened.
    shutil.copytree(make_lab(hang_timeout_s=120, of_torch=True) / "lab", root / "lab")
    with e2e.running(root, tmp_path_factory.mktemp("run"), engine, ingress, transport) as running:
        # No request waits for the monitor, so it starts last; events before it are dropped.
        findings = f"{running.url}/v2/models/cancer/findings"
        e2e.eventually(
            "the monitor", lambda: httpx.get(findings, timeout=60).status_code == 200, 200
        )
        yield running
