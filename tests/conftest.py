"""Fixtures that several folders share."""

from __future__ import annotations

import asyncio
import fcntl
import functools
import gc
import gzip
import importlib.util
import logging
import os
import re
import socket
import sys
import threading
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any
from uuid import UUID

import grpc
import msgspec
import numpy as np
import pytest
import torch
from _pytest import logging as pytest_logging
from httpx._transports import default as httpx_transports
from hypothesis import HealthCheck, settings
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from threadpoolctl import threadpool_limits

from serving.channel.messages.control import DeadlyMeta, EndedMeta
from serving.channel.messages.directory import Directory, Member, RoleName, ServedModel
from serving.channel.messages.findings import FindingRecord
from serving.channel.messages.incidents import Evidence, Incident, Measured
from serving.channel.messages.reports import (
    ExplainerStatus,
    GatewayStatus,
    MonitorStatus,
    ReplicaStatus,
    Report,
    RoleStatus,
)
from serving.channel.registry_client import RegistryClient
from serving.config import InputSpec, ModelConfig, OutputSpec
from serving.control.registry import Registry
from serving.demo.build import build_demo
from serving.protocol.grpc.codec import decode_request, encode_response
from serving.protocol.messages import InferRequest, InferResponse, Tensor
from serving.protocol.pb import open_inference_pb2 as pb
from serving.telemetry.logs.collected import ENDPOINT, PROTOCOL
from serving.telemetry.logs.report import Reporter, use
from serving.telemetry.logs.setup import FORMAT, LEVEL, QUIET, StderrHandler

# A busy machine takes longer for an example, and for making it, than hypothesis allows.
for profile, examples in {"first": 30, "all": 100}.items():
    settings.register_profile(
        profile,
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
settings.load_profile("all")


def pytest_configure(config: pytest.Config) -> None:
    """Try fewer examples of what hypothesis makes up where what takes long is left out."""
    if "not long" in config.option.markexpr:
        settings.load_profile("first")


# What compiles would start a pool of processes that import PyTorch, for one function each.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")

# Each `httpx.get` would read all certificates that there are, which takes ten times as long as the
# rest of it; tests ask hundreds of times whether something has happened.
httpx_transports.create_ssl_context = functools.cache(httpx_transports.create_ssl_context)


class CatchingAtRoot(pytest_logging.catching_logs[logging.Handler]):
    """Takes lines where they end up, at the root.

    pytest goes through all loggers to attach to those that pass nothing on, six times a test:
    hundreds of them, of which dozens are PyTorch's own. That took longer than most tests.
    """

    def __enter__(self) -> logging.Handler:
        if self.level is not None:
            return super().__enter__()
        logging.getLogger().addHandler(self.handler)
        self.attached_loggers.append(logging.getLogger())
        return self.handler


pytest_logging.catching_logs = CatchingAtRoot  # type: ignore[misc]


# What the fixtures with parameters are called after that tests of many files share.
SHARED = re.compile(r"\[((?:local|ray)-\w+-\w+|direct|envoy|serve|ray)\b")


# The tests of the instance `behind_serve`.
BEHIND_SERVE = re.compile(r"\[ray-serve-handle\b|/hostile/.*\[serve\b")


LONGEST = (
    "ray", "instance local-direct-channel", "hostile direct", "instance direct",
    "tests/models/execution/test_core_limit.py",
    "tests/gateway/direct/memory/test_left_behind.py",
    "tests/models/execution/test_index_errors.py",
    "tests/monitoring/test_monitor_process.py",
    "tests/models/test_names.py",
    "tests/engines/local/test_zygote.py",
    "tests/models/repository/test_complete.py",
)  # fmt: skip
"""The groups that take longest, in this order: one that begins last keeps one worker busy alone."""


TOGETHER = {"tests/e2e/test_perf_analyzer.py": "tests/e2e/test_clients.py"}
"""Files that share an instance with another one, and are a group with it."""


GZIP_HEAD = b"\x1f\x8b\x08"


def group_of(nodeid: str) -> str:
    """Return the group of a test: one worker runs it as a whole where several work (`-n`).

    What shares an instance is a group, and so is all that starts Ray, for two that start at once
    only take longer; else a file is. Whoever deals the tests out knows no more than their names.
    """
    file, _, name = nodeid.partition("::")
    if not file.startswith("tests/e2e/"):
        return file
    shared = SHARED.search(name)
    if file.endswith("/test_ray.py") or (shared and shared[1].startswith(("ray", "serve"))):
        return "ray"
    if shared is None:
        return TOGETHER.get(file, file)
    return f"{'hostile' if '/hostile/' in file else 'instance'} {shared[1]}"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Deal groups out, in their order."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    config.option.loadscopereorder = False
    return Scheduling(config, log)


def makes_sense(item: pytest.Item) -> bool:
    """Whether a case can be there: no mark `not_on` names one of its parameters.

    A skip says that something is missing. What cannot be, as a stream over a proxy that has none,
    is no case.
    """
    callspec = getattr(item, "callspec", None)
    given = callspec.params.values() if callspec else ()
    parameters = {each for value in given for each in (value if type(value) is tuple else [value])
                  if isinstance(each, str)}  # fmt: skip
    return not any(mark.args[0] in parameters for mark in item.iter_markers("not_on"))


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name compressed bytes by their length: they hold the time at which they were made.

    Names have to be the same in all processes that run tests.
    """
    if isinstance(val, bytes) and GZIP_HEAD in val:
        return f"gzip-{len(val)}"
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put groups that take long first; within a group the order stays random.

    What ends a shared instance is last in its group.
    """
    cases = {item: makes_sense(item) for item in items}
    if nonsense := [item for item, sense in cases.items() if not sense]:
        config.hook.pytest_deselected(items=nonsense)
        items[:] = [item for item, sense in cases.items() if sense]
    for item in items:
        starts_ray = item.get_closest_marker("ray") and item.get_closest_marker("e2e")
        if starts_ray and group_of(item.nodeid) != "ray":
            raise pytest.UsageError(f"{item.nodeid} starts Ray, and its name does not say so")

    groups = {
        group: at for at, group in enumerate(dict.fromkeys(group_of(i.nodeid) for i in items))
    }

    def place(item: pytest.Item) -> tuple[int, bool, int, bool, bool]:
        group = group_of(item.nodeid)
        longest = LONGEST.index(group) if group in LONGEST else len(LONGEST)
        # Together, or a process that runs them all would start what they share more than once.
        last = item.get_closest_marker("ends_instance") is not None
        # One instance of Ray after the other.
        behind_serve = group == "ray" and BEHIND_SERVE.search(item.nodeid) is not None
        return longest, not item.get_closest_marker("e2e"), groups[group], behind_serve, last

    items.sort(key=place)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep what collecting makes out of every later look for garbage.

    It makes millions of objects, of which none goes before the end: sixteen thousand tests and
    the libraries they import. To look through them takes more than a second each time.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
        # Workers share the cores: threads of each for all of them would wait for one another.
        threadpool_limits(1)
        torch.set_num_threads(1)


Wait = Callable[[Callable[[], object]], Awaitable[None]]


NOTHING_TO_SAY: dict[RoleName, RoleStatus] = {
    "gateway": GatewayStatus(),
    "replica": ReplicaStatus(),
    "explainer": ExplainerStatus(),
    "monitor": MonitorStatus(),
}


class Role:
    """A role's end: what it reports is an attribute, what it was told is kept."""

    def __init__(self, address: str, member: Member) -> None:
        self.report = Report(True, (), NOTHING_TO_SAY[member.role])
        self.directories: list[Directory] = []
        self.ended: list[EndedMeta] = []
        self.deadly: list[DeadlyMeta] = []
        self.client = RegistryClient(
            address,
            None,
            member,
            lambda: self.report,
            on_directory=self.directories.append,
            on_ended=self.ended.append,
            on_deadly=self.deadly.append,
            interval_s=0.02,
        )
        self.client.start()


Join = Callable[[Member], Role]


@pytest.fixture
def eventually() -> Wait:
    async def wait(condition: Callable[[], object]) -> None:
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110 - the condition is in other objects' state
                await asyncio.sleep(0.005)

    return wait


@pytest.fixture(scope="session")
def make_finding() -> Callable[..., FindingRecord]:
    """Makes a finding, of a drift that is over its threshold; `changes` are of its fields."""

    def make(**changes: Any) -> FindingRecord:
        fields: dict[str, Any] = {
            "model": "m", "version": "1", "monitor": "drift", "metric": "psi", "subject": "",
            "value": 0.4, "threshold": 0.05, "direction": "above", "breached": True, "reason": "",
            "n_reference": 100, "n_current": 10, "window": (0.0, 1.0), "age_s": 5.0,
            "p_value": None, "ci": None, "severity": "info", "segment": "", "window_id": "",
        }  # fmt: skip
        return FindingRecord(**fields | changes)

    return make


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"unix:{tmp_path}/registry.sock"


@pytest.fixture
async def registry(address: str) -> AsyncIterator[Registry]:
    registry = Registry()
    await registry.start(address)
    yield registry
    registry.stop()
    await asyncio.sleep(0)


@pytest.fixture
async def join(address: str) -> AsyncIterator[Join]:
    roles: list[Role] = []

    def start(member: Member) -> Role:
        roles.append(Role(address, member))
        return roles[-1]

    yield start
    for role in roles:
        await role.client.stop()
    await asyncio.sleep(0)


@pytest.fixture
def served() -> ServedModel:
    config = ModelConfig(
        format="torch_export",
        inputs=[InputSpec(name="x", datatype="FP32", shape=[-1, 3])],
        outputs=[OutputSpec(name="p", datatype="FP32", shape=[-1, 2])],
    )
    return ServedModel("m", "1", config.model_dump_json().encode(), "models/m/1")


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """Keep tests from each other's logs: from lines kept back, and from what `configure` sets."""
    before = use(mine := Reporter())
    loggers = [logging.getLogger(name) for name in ("", "vigil", *QUIET)]
    levels = [each.level for each in loggers]
    handlers = loggers[0].handlers[:]
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    told = {name: os.environ.get(name) for name in (FORMAT, LEVEL, ENDPOINT, PROTOCOL)}
    yield
    use(before)
    mine.limit.due(everything=True)  # or a timer would write it into a later test's log
    logging.captureWarnings(False)
    for handler in loggers[0].handlers[:]:
        # What pytest adds and takes away around each phase of a test is its own matter.
        if isinstance(handler, StderrHandler) and handler not in handlers:
            loggers[0].removeHandler(handler)
    for each, level in zip(loggers, levels, strict=True):
        if each.level != level:  # to set it goes through all loggers that there are
            each.setLevel(level)
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
    for name, value in told.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


@pytest.fixture(scope="session")
def demo_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo repository, built once whatever folders and workers its tests are in."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    root = base / "demo-models"
    with (base / "demo-models.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        build_demo(root)  # does nothing where another worker has done it
    return root


@pytest.fixture
def calls_of() -> Callable[..., list[str]]:
    """Tells which functions something calls; see `called`."""
    return called


def called(run: Callable[[], object], *, also_c: bool = False) -> list[str]:
    """Return the names of the functions that `run` calls, one for each call.

    Functions of its own file are left out. Garbage is not collected meanwhile: callbacks of the
    collector, and the ends of what other tests have left behind, are nobody's calls.

    Args:
        run: is called once.
        also_c: functions that are not written in Python count too.
    """
    names: list[str] = []
    own = (__file__, getattr(getattr(run, "__code__", None), "co_filename", ""))

    def profile(frame: FrameType, event: str, of: object) -> None:
        file = frame.f_code.co_filename  # the caller's, where it is C that is called
        if event == "call" and file not in own:
            names.append(frame.f_code.co_name)
        elif event == "c_call" and also_c and file != __file__:
            names.append(str(getattr(of, "__name__", of)))

    before = sys.getprofile()
    gc.collect()
    gc.disable()
    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(before)
        gc.enable()
    return names


@pytest.fixture(scope="session")
def shap() -> ModuleType:
    """The package, which is an oracle; its plots warn while they are imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import shap
    return shap


@pytest.fixture(scope="session")
def shapley() -> ModuleType:
    """The module of Shapley values by their definition."""
    return _module_of("shapley")


class Upstream:
    """Another server of the protocol over gRPC: answers what `compute` returns, doubled by default.

    A request with a row that holds `poison` is refused. It writes down every request. Its answers
    have the parameters `said` and the version `version`, which `compute` finds in the request.
    """

    def __init__(self) -> None:
        self.compute: Callable[[InferRequest], list[Tensor]] = self._double
        self.poison: float | None = 666
        self.refusal = (grpc.StatusCode.INVALID_ARGUMENT, "poison row")
        self.delay_s = 0.0
        self.ready = True
        self.version = "1"
        self.said: dict[str, Any] | None = None
        self.requests: list[InferRequest] = []
        self.traceparents: list[str] = []
        self.model_ready: Callable[[Any, Any], pb.ModelReadyResponse] = lambda _, __: (
            pb.ModelReadyResponse(ready=self.ready)
        )
        self.credentials: list[str] = []
        self.trusted: str | None = None
        """The only credential that it takes; the empty text is told what it lacks. None: any."""
        self.at_once = self.most_at_once = 0
        self.metadata = pb.ModelMetadataResponse(name="m", versions=["1"])
        self._lock = threading.Lock()
        self.port = 0
        self.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen, on the same port as before if there was one."""
        options = (("grpc.so_reuseport", 0),)
        self._server = grpc.server(ThreadPoolExecutor(32), options=options)
        methods = {
            "ServerLive": lambda _, __: pb.ServerLiveResponse(live=True),
            "ModelReady": lambda message, context: self.model_ready(message, context),
            "ModelMetadata": lambda _, __: self.metadata,
            "ModelInfer": self._infer,
        }
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                method, None, lambda message: message.SerializeToString()
            )
            for name, method in methods.items()
        }
        service = "inference.GRPCInferenceService"
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, handlers),)
        )
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        self._server.start()

    def stop(self) -> None:
        """Hang up on everybody."""
        self._server.stop(None).wait()

    def _infer(self, data: bytes, context: Any) -> pb.ModelInferResponse:
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            message = pb.ModelInferRequest.FromString(data)
            request = decode_request(message)
            self.requests.append(request)
            told = dict(context.invocation_metadata())
            self.traceparents.append(told.get("traceparent", ""))
            self.credentials.append(told.get("authorization", ""))
            if self.trusted not in (None, self.credentials[-1]):
                known = bool(self.credentials[-1])
                denied = grpc.StatusCode.PERMISSION_DENIED
                context.abort(denied if known else grpc.StatusCode.UNAUTHENTICATED, "who is it?")
            time.sleep(self.delay_s)
            for tensor in request.inputs:
                if tensor.datatype != "BYTES" and (tensor.data == self.poison).any():
                    context.abort(*self.refusal)
            version = self.version
            outputs = tuple(self.compute(msgspec.structs.replace(request, model_version=version)))
            answer = InferResponse(request.model_name, version, request.id, outputs, self.said)
            return encode_response(answer, request)
        finally:
            with self._lock:
                self.at_once -= 1

    @staticmethod
    def _double(request: InferRequest) -> list[Tensor]:
        x = request.inputs[0]
        data = x.data if x.datatype == "BYTES" else x.data + x.data
        return [Tensor("y", x.datatype, x.shape, np.asarray(data, x.data.dtype))]


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A server of the protocol in this process; see `Upstream`."""
    server = Upstream()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def make_upstream() -> Iterator[Callable[[], Upstream]]:
    """Makes servers that live as long as the session."""
    made: list[Upstream] = []

    def make() -> Upstream:
        made.append(Upstream())
        return made[-1]

    yield make
    for server in made:
        server.stop()


@pytest.fixture(scope="session")
def toy() -> ModuleType:
    """The module of a toy monitor."""
    return _module_of("toy_monitor")


@pytest.fixture(scope="session")
def toy_endpoints() -> ModuleType:
    """The module of endpoints that are no served version."""
    return _module_of("toy_endpoints")


@pytest.fixture(scope="session")
def toy_guards() -> list[ModuleType]:
    """The modules of two toy guards, of which the second needs the model and a profile."""
    return [_module_of("toy_guard"), _module_of("toy_output_guard")]


@pytest.fixture(scope="session")
def http_servers() -> ModuleType:
    """The module of what lets a server serve in a thread, and of a receiver of CloudEvents."""
    return _module_of("http_servers")


def _module_of(name: str) -> ModuleType:
    path = Path(__file__).with_name("testdata") / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where pydantic looks up the annotations of its sections
    spec.loader.exec_module(module)
    return module


class TraceReceiver(ThreadingHTTPServer):
    """An OTLP/HTTP collector that keeps the spans and lines it is sent.

    `status` is what it answers.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _TraceHandler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.requests: list[ExportTraceServiceRequest] = []
        self.log_requests: list[ExportLogsServiceRequest] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200

    @property
    def lines(self) -> list[Any]:
        return [
            record
            for request in list(self.log_requests)
            for resource in request.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]

    @property
    def spans(self) -> list[Any]:
        return [
            span
            for request in list(self.requests)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == name]


class _TraceHandler(BaseHTTPRequestHandler):
    server: TraceReceiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        status = self.server.status if self.path in ("/v1/traces", "/v1/logs") else 404
        if status == 200 and self.path == "/v1/logs":
            self.server.log_requests.append(ExportLogsServiceRequest.FromString(body))
        elif status == 200:
            self.server.headers.append(
                {name.lower(): value for name, value in self.headers.items()}
            )
            self.server.requests.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def receiver(http_servers: ModuleType) -> Iterator[TraceReceiver]:
    """A real OTLP receiver."""
    with http_servers.in_thread(TraceReceiver()) as server:
        yield server


@pytest.fixture(scope="session")
def attributes_of() -> Callable[[Any], dict[str, Any]]:
    """Return the attributes of a span as it was received."""

    def attributes(span: Any) -> dict[str, Any]:
        found = {}
        for item in span.attributes:
            kind = item.value.WhichOneof("value")
            value = getattr(item.value, kind)
            if kind == "array_value":
                value = [each.string_value for each in value.values]
            found[item.key] = value
        return found

    return attributes


@pytest.fixture
def log_request() -> Callable[..., bytes]:
    """Write a request's rows into a log, as one part; returns the id of its batch."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from serving.log.columns import FIXED
    from serving.log.id_index import make_index
    from serving.log.layout import Partition, day_of, index_path, part_path
    from serving.log.store import open_store
    from serving.protocol.ids import new_request_id

    def write(
        folder: Path,
        client_id: str,
        columns: dict[str, Any],
        *,
        model: str = "m",
        version: str = "1",
        dataset: Any = "predictions",
        seconds: float = 1_796_040_000.0,
        **fixed: Any,
    ) -> bytes:
        count = len(next(iter(columns.values())))
        own = UUID(new_request_id()).bytes
        given: dict[str, Any] = {
            "id": [own] * count,
            "row": list(range(count)),
            "client_id": [client_id] * count,
            "index": list(range(count)),
            "time": [int(seconds * 1e6)] * count,
            "outcome": ["ok"] * count,
            **{name: [value] * count for name, value in fixed.items()},
        }
        table = pa.table(
            {
                field.name: pa.array(given.get(field.name, [None] * count), field.type)
                for field in FIXED
            }
            | {name: pa.array(values) for name, values in columns.items()}
        )
        place = Partition(model, version, day_of(seconds)).folder
        name, store = new_request_id(), open_store(str(folder))
        index = make_index(table["id"], table["client_id"], 16_384)
        store.write(index_path(dataset, place, name), lambda file: file.write(index))
        store.write(part_path(dataset, place, name), lambda file: pq.write_table(table, file))
        return own

    return write


# -- collectors that are not well -----------------------------------------------------------------

CLOSED = b""
"""What is read when the other side has gone."""


class BadCollector:
    """A server that takes connections and then does not do what a collector does.

    Args:
        how: what it does, until `become` says otherwise: the name of a method.

    Attributes:
        url: where it is.
        taken: connections so far.
        sent: bytes that it has answered.
    """

    def __init__(self, how: str) -> None:
        self._how = how
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self.taken = self.sent = 0
        self._open: list[socket.socket] = []
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def become(self, how: str) -> None:
        """Do something else with the requests that come from now on."""
        self._how = how

    def stop(self) -> None:
        self._ended.set()
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for connection in self._open:
            connection.close()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self.taken += 1
            self._open.append(connection)
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError):
            getattr(self, f"_{self._how}")(connection)
            connection.shutdown(socket.SHUT_RDWR)

    def _answer(self, connection: socket.socket, data: bytes) -> None:
        connection.sendall(data)
        self.sent += len(data)

    def _has_read_a_request(self, connection: socket.socket) -> bool:
        # Clients send head and body one after the other: the first that comes may be less than
        # a request, and an answer to each piece is one too many.
        request = b""
        while b"\r\n\r\n" not in request:
            request += (more := connection.recv(1 << 16))
            if more == CLOSED:
                return False
        head, _, body = request.partition(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
        missing = (int(length[1]) if length else 0) - len(body)
        while missing > 0:
            missing -= len(more := connection.recv(min(missing, 1 << 16)))
            if more == CLOSED:
                return False
        return True

    def _is_well(self, connection: socket.socket) -> None:
        while self._has_read_a_request(connection) and self._how == "is_well":
            self._answer(connection, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    def _leaves(self, connection: socket.socket) -> None:
        """Say nothing."""

    def _never_reads(self, connection: socket.socket) -> None:
        self._ended.wait()

    def _reads_slowly(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        while connection.recv(1) != CLOSED:
            self._ended.wait(0.05)

    def _answers_slowly(self, connection: socket.socket) -> None:
        connection.recv(1 << 16)
        for byte in b"HTTP/1.1 200 OK\r\nx: " + b"y" * 60_000:
            self._answer(connection, bytes([byte]))
            self._ended.wait(0.01)

    def _body_comes_slowly(self, connection: socket.socket) -> None:
        connection.recv(1 << 16)
        self._answer(connection, b"HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n")
        while not self._ended.wait(0.01):
            self._answer(connection, b"y")

    def _body_without_length_comes_slowly(self, connection: socket.socket) -> None:
        connection.recv(1 << 16)
        self._answer(connection, b"HTTP/1.1 200 OK\r\n\r\n")
        while not self._ended.wait(0.01):
            self._answer(connection, b"y")

    def _shakes_hands_slowly(self, connection: socket.socket) -> None:
        connection.recv(1 << 16)
        self._answer(connection, b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc")  # TLS: 16 KiB follow
        while not self._ended.wait(0.01):
            self._answer(connection, b"\x03")

    def _never_ends(self, connection: socket.socket) -> None:
        connection.recv(1 << 16)
        self._answer(connection, b"HTTP/1.1 200 OK\r\n\r\n")
        while not self._ended.is_set():
            self._answer(connection, b"y" * (1 << 16))

    def _answers_garbage(self, connection: socket.socket) -> None:
        connection.recv(1 << 16)
        self._answer(connection, b"\x00\xff garbage\r\n" * 100)

    def _has_no_time(self, connection: socket.socket) -> None:
        while self._has_read_a_request(connection) and self._how == "has_no_time":
            head = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 3600\r\n"
            self._answer(connection, head + b"content-length: 0\r\n\r\n")


@pytest.fixture
def bad_collector() -> Iterator[Callable[[str], BadCollector]]:
    made: list[BadCollector] = []

    def make(how: str) -> BadCollector:
        made.append(BadCollector(how))
        return made[-1]

    yield make
    for collector in made:
        collector.stop()


@pytest.fixture
def unanswered() -> Iterator[str]:
    """The URL of a port whose backlog is full: nobody answers who wants to connect."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        address = server.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(address)
        yield f"http://127.0.0.1:{address[1]}"
        for each in waiting:
            each.close()


@pytest.fixture
def make_incident() -> Callable[..., Incident]:
    """Makes open incidents of a model whose accuracy is low."""

    def make(**given: Any) -> Incident:
        evidence = Evidence(leading=Measured(metric="accuracy"), since=0.0)
        plain = {
            "id": "0001", "model": "loans", "version": "1", "cause": "performance",
            "monitor": "performance", "metric": "accuracy", "severity": "page", "state": "open",
            "opened_at": 0.0, "updated_at": 0.0, "summary": "accuracy is low", "advice": "look",
            "first": evidence, "evidence": evidence,
        }  # fmt: skip
        return Incident(**{**plain, **given})

    return make
