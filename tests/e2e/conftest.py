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

from loadtest.peers import example_repository
from serving.models.repository.manifest import write_folder_manifest


def _load(file: str) -> ModuleType:
    # No packages in tests: helper modules are loaded by path, once.
    name = f"vigil_e2e_{file}"
    if name not in sys.modules:
        path = Path(__file__).with_name(f"{file}.py")
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


e2e, echo, lab, watcher = (_load(file) for file in ("instance", "echo", "lab", "watcher"))

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
    following = getattr(nextitem, "fixturenames", ())
    if "triton_server" in item.fixturenames and "triton_server" not in following:
        item._fixtureinfo.name2fixturedefs["triton_server"][-1].finish(item._request)
    for name in ("instance", "shared_lab", "shared_target"):
        used, wanted = (
            getattr(each, "callspec", None) and each.callspec.params.get(name)
            for each in (item, nextitem)
        )
        if used and used[0] == "ray" and used != wanted:
            # pytest does the same, by itself, when another parameter follows.
            item._fixtureinfo.name2fixturedefs[name][-1].finish(item._request)
    if is_behind_serve(item) and not is_behind_serve(nextitem):
        for each in item.session._fixturemanager.getfixturedefs("behind_serve", item) or ():
            each.finish(item._request)
    return result


def is_behind_serve(item: pytest.Item | None) -> bool:
    """Whether a test uses the one instance behind Serve that several fixtures share."""
    callspec = getattr(item, "callspec", None)
    if callspec is None:
        return False
    return (
        callspec.params.get("instance") == SERVE_HANDLE
        or callspec.params.get("shared_target") == SERVE_HANDLE[:2]
    )


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
def when_ready() -> Callable[..., httpx.Response]:
    """Asks until an answer is not 503; see `instance.when_ready`."""
    return e2e.when_ready


@pytest.fixture(scope="session")
def make_lab(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a repository with the model `lab`; see `lab.write` for what may be said about it."""

    def make(**how: Any) -> Path:
        return lab.write(tmp_path_factory.mktemp("lab"), **how)

    return make


@pytest.fixture(scope="session")
def echo_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of models that answer with what they are asked; see `echo.py`."""
    return echo.write(tmp_path_factory.mktemp("hostile") / "models")


@pytest.fixture(scope="session")
def hostile_limits() -> dict[str, Any]:
    """What `listen` is where the hostile tests ask."""
    return dict(echo.LIMITS)


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


@pytest.fixture(scope="session")
def triton_server(
    triton_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[object]:
    """An instance with the models of Triton's examples, which calls itself as Triton does."""
    workdir = tmp_path_factory.mktemp("triton-run")
    with e2e.running(triton_models, workdir, listen={"server_name": "triton"}) as started:
        yield started


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


@pytest.fixture(scope="session")
def make_watcher() -> Callable[..., object]:
    """Has an instance watch a service, or itself by an empty name; see `watcher.py`."""
    return lambda instance, service: watcher.Watcher(instance.grpc, service)


# Each start of Ray takes long. What the last three have in particular, other combinations and
# test_control.py cover; together they are only worth it in `make test-all`.
SERVE_HANDLE = ("ray", "serve", "handle")
RARE = (pytest.mark.ray, pytest.mark.long)
COMBINATIONS = [
    pytest.param(("local", "direct", "channel"), id="local-direct-channel"),
    pytest.param(("local", "envoy", "channel"), id="local-envoy-channel"),
    pytest.param(("ray", "direct", "channel"), id="ray-direct-channel", marks=pytest.mark.ray),
    pytest.param(SERVE_HANDLE, id="ray-serve-handle", marks=RARE),
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
    if request.param == SERVE_HANDLE:
        yield request.getfixturevalue("behind_serve")
        return
    root = tmp_path_factory.mktemp("models") / "all"
    put_all(root, demo_root, make_lab)
    workdir = tmp_path_factory.mktemp("run")
    # What a test holds open while it is told to stop is not cut before the test has looked.
    with e2e.running(root, workdir, *request.param, drain_timeout_s=e2e.HANGS_S) as running:
        await_monitor(running)
        yield running


def put_all(root: Path, demo_root: Path, make_lab: Callable[..., Path]) -> None:
    """Put the demo models and the lab model into a repository."""
    shutil.copytree(demo_root, root)
    # Long enough for a test that stops a batch until something else has happened.
    shutil.copytree(make_lab(hang_timeout_s=e2e.HANGS_S + 100, of_torch=True) / "lab", root / "lab")


def await_monitor(instance: Any) -> None:
    """Wait for what no request waits for, so that it starts last: events before it are dropped."""
    findings = f"{instance.url}/v2/models/cancer/findings"
    e2e.eventually("the monitor", lambda: httpx.get(findings, timeout=60).status_code == 200, 200)


@pytest.fixture(scope="session")
def behind_serve(
    demo_root: Path,
    make_lab: Callable[..., Path],
    echo_root: Path,
    hostile_limits: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[object]:
    """The one instance behind Serve's proxy, for `instance` and for the hostile tests.

    Ray takes long to start, and the models of both do not know of each other.
    """
    root = tmp_path_factory.mktemp("models") / "all"
    put_all(root, demo_root, make_lab)
    shutil.copytree(echo_root, root, dirs_exist_ok=True)
    workdir = tmp_path_factory.mktemp("run")
    with e2e.running(root, workdir, *SERVE_HANDLE, listen=hostile_limits) as running:
        await_monitor(running)
        yield running


@pytest.fixture(
    scope="session",
    params=[
        pytest.param(("local", "direct"), id="direct"),
        pytest.param(("local", "envoy"), id="envoy"),
        pytest.param(("ray", "serve"), id="serve", marks=RARE),
    ],
)
def shared_lab(
    request: pytest.FixtureRequest,
    make_lab: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[object]:
    """An instance with `lab` alone. Who uses it leaves one replica of it, and no request.

    At its stop it would wait for what is open far longer than a test waits for its end.
    """
    workdir = tmp_path_factory.mktemp("run")
    with e2e.running(make_lab(), workdir, *request.param, drain_timeout_s=300) as running:
        yield running
