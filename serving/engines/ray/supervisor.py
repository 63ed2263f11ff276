"""The ray engine at work: every role is a Ray Serve deployment, in an application of its own.

One application per role and model version, so that each can be started, replaced and drained
by itself: at the end the gateways go first, and what they wait for goes after them. The process
that runs this only deploys and watches; no request touches it.
"""

from __future__ import annotations

import contextlib
import logging
import math
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from ray import serve
from ray.exceptions import RayError
from ray.serve.config import HTTPOptions, ProxyLocation, gRPCOptions
from ray.serve.exceptions import RayServeException
from ray.serve.schema import ApplicationStatus, LoggingConfig

from serving.channel.messages.directory import Inventory, ServedModel
from serving.channel.monitor_shares import monitor_ids
from serving.config import ConfigError, Listen, ServerConfig
from serving.control.runtime_settings import Chosen
from serving.control.served_model import config_of
from serving.engines.process import free_port
from serving.engines.ray.cluster import connected, head_address, head_only, in_short
from serving.engines.ray.deployments import (
    AdminDeployment,
    ExplainerDeployment,
    MonitorDeployment,
    Order,
    ReplicaDeployment,
)
from serving.engines.ray.gateway import gateway_deployment
from serving.engines.ray.handles import replica_app
from serving.engines.ray.instance import Instance
from serving.engines.ray.keeper import Kept
from serving.engines.ray.loss import ending_with_ray
from serving.engines.stop_order import StopOrder, tell_delay
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report
from serving.telemetry.logs.setup import LogFormat, adopt, writes_json

ADMIN_APP: Final = "vigil-admin"
GATEWAY_APP: Final = "vigil"
SERVICERS: Final = [
    "serving.protocol.pb.open_inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server",
    "serving.protocol.pb.health_pb2_grpc.add_HealthServicer_to_server",
    "serving.protocol.pb.vigil_pb2_grpc.add_ExplainServicer_to_server",
    "serving.protocol.pb.vigil_pb2_grpc.add_LabelsServicer_to_server",
    "serving.engines.ray.reflection.add_reflection_to_server",
]
HEALTH_PERIOD_S: Final = 1.0
UNHEALTHY_AFTER: Final = 3
"""Failed health checks in a row after which Serve replaces an actor."""
POLL_S: Final = 0.1
WATCH_S: Final = 2.0
HOLD_S: Final = 1.0
"""How long a question for news of what to deploy is kept open."""
FORCE_S: Final = 10.0
"""What ending may take beyond the drain time before it is ended by force."""

_decode_order = msgspec.msgpack.Decoder(Order).decode


class RayEngine:
    """Deploys one instance, watches it, takes it down.

    Args:
        instance: what to run; Ray is connected.
        on_ready: called with the addresses once everything required is ready.
        stop: given when the instance is to end.
        on_order: told of everything that changes what must be served, and how.
        before: what the driver whose place this one takes was to serve.
    """

    def __init__(
        self,
        instance: Instance,
        on_ready: Callable[[Listen], None],
        stop: StopOrder[threading.Event],
        on_order: Callable[[Order], None] = lambda _order: None,
        before: Order | None = None,
    ) -> None:
        self._instance = instance
        self._on_order = on_order
        self._config = instance.config
        self._on_ready = on_ready
        self._stop = stop
        self._announced = False
        self._reached: bool | None = None
        """Whether clients were sent here before the order to stop; None before that order."""
        self._asking = threading.Lock()
        self._helped = False
        self._reported: set[str] = set()
        self._deployed: set[str] = set()
        chosen = before.chosen if before is not None else Chosen()
        self._order = Order(
            models=instance.inventory.models, inventory=instance.inventory, chosen=chosen
        )

    def run(self) -> bool:
        """Serve until told to stop; returns whether everything in flight was answered."""
        self._start_serve()
        serve.run_many(self._targets(), wait_for_applications_running=False)
        try:
            self._watch()
        finally:
            drained = self._take_down()
        return drained

    # -- starting -----------------------------------------------------------------------

    def _start_serve(self) -> None:
        listen = self._config.listen
        if self._config.ingress == "serve":
            http = HTTPOptions(host=listen.host, port=listen.http_port)
            grpc = gRPCOptions(
                port=listen.grpc_port,
                grpc_servicer_functions=SERVICERS,
                enable_reflection=False,  # ours is among the servicers
            )
        else:
            # The ports are ours; Serve's proxy stays for whoever asks its own health check.
            http = HTTPOptions(host=listen.host, port=free_port(listen.host))
            grpc = gRPCOptions()
        local = self._config.ray_address is None
        try:
            serve.start(
                proxy_location=ProxyLocation.HeadOnly if local else ProxyLocation.EveryNode,
                http_options=http,
                grpc_options=grpc,
                logging_config=LoggingConfig(enable_access_log=False, log_level="WARNING"),
            )
        except (RayError, TimeoutError) as error:
            raise ConfigError(
                f"Ray Serve does not start: {in_short(error)}; try again when the machine is less "
                "busy, or use --engine local"
            ) from None

    def _targets(self) -> list[serve.RunTarget]:
        targets = [self._target(ADMIN_APP, self._single("admin", AdminDeployment))]
        replicas = self._replicas(self._instance.inventory.models)
        self._deployed = set(replicas)
        targets += replicas.values()
        gateway = gateway_deployment(
            self._config,
            max_ongoing_requests=4096,
            ray_actor_options={"num_cpus": 0},
            # Serve's proxies go on sending for a moment after they should not.
            graceful_shutdown_wait_loop_s=0.5,
            **self._common(),
        ).bind(self._instance)
        return [*targets, serve.RunTarget(gateway, name=GATEWAY_APP, route_prefix="/")]

    def _replicas(self, models: Sequence[ServedModel]) -> dict[str, serve.RunTarget]:
        replicated = [served for served in models if config_of(served).replicated]
        apps = {replica_app(served.key): served for served in replicated}
        return {app: self._target(app, self._replica(served)) for app, served in apps.items()}

    def _explainers(self, models: Sequence[ServedModel]) -> dict[str, serve.RunTarget]:
        found = {}
        for served in models:
            deploy = serve.deployment(
                name="explainer",
                ray_actor_options={"num_cpus": 0},
                graceful_shutdown_wait_loop_s=POLL_S,
                **self._common(),
            )
            app = deploy(ExplainerDeployment).bind(self._instance, served)
            name = f"vigil-explainer-{'-'.join(part for part in served.key if part)}"
            found[name] = self._target(name, app)
        return found

    def _monitors(self) -> list[serve.RunTarget]:
        return [
            self._target(f"vigil-{ident}", self._single(ident, MonitorDeployment, ident))
            for ident in monitor_ids(self._config.monitors)
        ]

    def _single(self, name: str, kind: type, *about: str) -> Any:
        """A role that exists once, at a known place: this machine, or a cluster's head node."""
        deploy = serve.deployment(
            name=name,
            ray_actor_options={"num_cpus": 0, "resources": head_only()},
            graceful_shutdown_wait_loop_s=POLL_S,
            # Two cannot share a port or the saved state, so no surge.
            **{**self._common(), "max_surge_percent": 0},
        )
        return deploy(kind).bind(self._instance, *about)

    def _replica(self, served: ServedModel) -> Any:
        config = config_of(served)
        replicas, remote = config.replicas, config.remote
        cpus = replicas.cores if self._config.ray_address else 0
        # Three of these take longer than a batch may, after which the replica ends itself. They are
        # for what keeps its threads from running.
        timeout_s = replicas.hang_timeout_s / (UNHEALTHY_AFTER - 1)
        deploy = serve.deployment(
            name="replica",
            num_replicas=replicas.min,
            max_ongoing_requests=remote.max_inflight if remote else replicas.max_inflight_batches,
            ray_actor_options={"num_cpus": cpus, "num_gpus": replicas.gpus},
            graceful_shutdown_wait_loop_s=POLL_S,
            **{**self._common(), "health_check_timeout_s": timeout_s},
        )
        return deploy(ReplicaDeployment).bind(self._instance, served)

    def _common(self) -> dict[str, Any]:
        return {
            # Serve learns of a death only by its next check.
            "health_check_period_s": HEALTH_PERIOD_S,
            "health_check_timeout_s": 30.0,
            "graceful_shutdown_timeout_s": self._config.drain_timeout_s + FORCE_S / 2,
            # The new one is there before the old one goes, also where there is only one.
            "max_surge_percent": 100,
        }

    @staticmethod
    def _target(name: str, app: Any) -> serve.RunTarget:
        return serve.RunTarget(app, name=name, route_prefix=None)

    # -- watching -----------------------------------------------------------------------

    def _watch(self) -> None:
        admin = serve.get_app_handle(ADMIN_APP)
        if self._config.drain_delay_s:
            # The loop below may wait for an answer in the moment in which the order comes.
            threading.Thread(target=self._leave, args=[admin], name="leave", daemon=True).start()
        while (left := self._left(admin)) > 0:
            if not self._announced and self._ready(admin):
                self._announced = True
                self._on_ready(self._config.listen)
            if not self._helped and (self._announced or self._started(admin)):
                self._helped = True
                # What no request waits for is started once requests can be answered.
                serve.run_many(self._monitors(), wait_for_applications_running=False)
            order = self._ask(admin, min(HOLD_S, left) if self._announced else 0.0)
            if order is not None and order.number != self._order.number:
                self._order = order
                self._on_order(order)
                self._deploy(order)
            self._report_failures()
            if order is None or not self._announced:
                (self._stop.now if self._stop.asked.is_set() else self._stop.asked).wait(POLL_S)

    def _left(self, admin: Any) -> float:
        """Return the seconds until the drain may begin; infinity before the order to stop."""
        if not self._stop.asked.is_set():
            return math.inf
        if self._stop.now.is_set() or not self._config.drain_delay_s:
            return 0.0
        with self._asking:  # once, since it is not ready any more as soon as it leaves
            if self._reached is None:
                # Balancers ask the control plane, and may have its answer sooner than we have.
                self._reached = self._announced or self._ready(admin)
        if not self._reached:
            return 0.0
        return self._stop.since + self._config.drain_delay_s - time.monotonic()

    def _leave(self, admin: Any) -> None:
        """Once the order to stop has come, be not ready; what is asked is answered meanwhile."""
        self._stop.asked.wait()
        if self._left(admin) > 0:
            tell_delay(self._config.drain_delay_s)
            try:
                admin.leave.remote().result(timeout_s=WATCH_S)
            except (RayError, RayServeException, TimeoutError) as error:
                said = "the gateways may not have heard that a stop is near"
                report(Event.LEAVE_NOT_TOLD, said, error=error)

    def _ask(self, admin: Any, hold_s: float) -> Order | None:
        """Return what must be deployed; waits a moment for news, None when nobody answers."""
        try:
            order: Order = admin.wanted.remote(self._order, hold_s).result(
                timeout_s=WATCH_S + hold_s
            )
        except (RayError, RayServeException, TimeoutError):
            return None
        return order

    def _deploy(self, order: Order) -> None:
        """Deploy what is missing and delete what is not wanted any more."""
        wanted = self._replicas((*order.models, *order.candidates))
        explained = [served for served in order.models if served.key in order.explained]
        wanted |= self._explainers(explained)
        missing = [target for app, target in wanted.items() if app not in self._deployed]
        if missing:
            serve.run_many(missing, wait_for_applications_running=False)
        for app in self._deployed - set(wanted):
            serve.delete(app, _blocking=False)
            self._reported.discard(app)
        self._deployed = set(wanted)

    def _ready(self, admin: Any) -> bool:
        try:
            ready, _reasons = admin.ready.remote().result(timeout_s=WATCH_S)
        except (RayError, RayServeException, TimeoutError):
            return False
        return bool(ready)

    def _started(self, admin: Any) -> bool:
        try:
            return bool(admin.started.remote().result(timeout_s=WATCH_S))
        except (RayError, RayServeException, TimeoutError):
            return False

    def _report_failures(self) -> None:
        """Say once what could not be deployed; Serve has given it up by then."""
        for name, app in serve.status().applications.items():
            if app.status == ApplicationStatus.DEPLOY_FAILED and name not in self._reported:
                self._reported.add(name)
                # Serve's message is a traceback, with values in it; the role has logged its own.
                report(Event.PROCESS_NOT_STARTED, f"{name} does not start", process=name)

    # -- ending -------------------------------------------------------------------------

    def _take_down(self) -> bool:
        """Drain the gateways, then end what they needed."""
        with contextlib.suppress(RayError, RayServeException, TimeoutError):
            # Gateways that do not hear of it are drained all the same, only idle streams wait.
            serve.get_app_handle(ADMIN_APP).drain.remote().result(timeout_s=WATCH_S)
        grace_s = self._config.drain_timeout_s + FORCE_S
        drained = self._delete([GATEWAY_APP], grace_s)
        others = [target for target in serve.status().applications if target != GATEWAY_APP]
        mine = [name for name in others if name.startswith(f"{GATEWAY_APP}-")]
        return self._delete(mine, FORCE_S) and drained

    @staticmethod
    def _delete(apps: Sequence[str], timeout_s: float) -> bool:
        for app in apps:
            serve.delete(app, _blocking=False)
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if not set(apps) & set(serve.status().applications):
                return True
            time.sleep(POLL_S)
        return False


def make_instance(config: ServerConfig, inventory: Inventory, runtime: Path) -> Instance:
    """Describe an instance: Unix sockets on a local Ray, TCP with a secret on a cluster."""
    # Actors read it as well, and need not have this process's working folder.
    config = config.model_copy(update={"models": config.models.absolute()})
    if config.ray_address is None:
        # Its lines are shown where this process writes its own.
        form: LogFormat = "json" if writes_json() else "text"
        telemetry = config.telemetry.model_copy(update={"log_format": form})
        config = config.model_copy(update={"telemetry": telemetry})
        return Instance(config, inventory, runtime, f"unix:{runtime}/registry.sock", None)
    # The admin deployment is on the head node; its control plane listens beside its web pages.
    registry = f"tcp:{head_address()}:{config.listen.admin_port + 1}"
    return Instance(config, inventory, None, registry, secrets.token_bytes(32))


@contextlib.contextmanager
def _stop_signals(stop: StopOrder[threading.Event]) -> Iterator[None]:
    """Let SIGTERM and SIGINT give the order."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        for number in before:
            signal.signal(number, lambda _number, _frame: stop.give())
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def supervise(
    config: ServerConfig,
    inventory: Inventory,
    runtime: Path,
    on_ready: Callable[[Listen], None],
    kept: Kept | None = None,
) -> bool:
    """Connect to Ray and serve until SIGTERM or SIGINT.

    With `kept`, a local Ray that is lost ends this process, and what is served is kept there.

    Returns:
        Whether everything in flight was answered at the end.
    """
    before = _decode_order(kept.order) if kept is not None and kept.order is not None else None
    if before is not None:
        inventory = before.inventory
    stop = StopOrder(threading.Event(), threading.Event())
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    # Inside, because connecting installs a handler of Ray's own.
    with contextlib.ExitStack() as stack:
        stack.enter_context(connected(config, runtime))
        stack.enter_context(_stop_signals(stop))
        adopt("ray", "ray.serve")
        instance = make_instance(config, inventory, runtime)
        if kept is None:
            return RayEngine(instance, on_ready, stop).run()
        stack.enter_context(ending_with_ray())

        def ready(listen: Listen) -> None:
            kept.note_ready()
            on_ready(listen)

        def changed(order: Order) -> None:
            kept.keep(msgspec.msgpack.encode(order))

        return RayEngine(instance, ready, stop, changed, before).run()
