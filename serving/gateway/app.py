"""Composition of a gateway that Envoy hosts: reads its environment, joins the control plane,
serves.

This process must stay lean: it imports neither torch nor pandas nor ray.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec

from serving.access.decision import access_of
from serving.channel.messages.control import CONTROL, EXPLAINER, ExplainerMeta
from serving.channel.messages.directory import Directory, Member
from serving.channel.messages.incidents import IncidentOrder, IncidentQuery
from serving.channel.messages.reports import Report
from serving.channel.registry_client import RegistryClient
from serving.config import Listen, Traces
from serving.dataplane.handler import DataPlane
from serving.gateway.asgi import VigilApp
from serving.gateway.body_budget import BodyBudget, BodySeries
from serving.gateway.processor_share import ProcessorShare
from serving.gateway.spare_memory import SpareMemory
from serving.gateway.tracing import GatewayTracing
from serving.protocol.repository import ControlMeta
from serving.telemetry.logs.setup import configure
from serving.telemetry.logs.switch import LogSwitch
from serving.telemetry.process import ProcessSeries
from serving.upkeep.collector import Collector


class GatewayComposition:
    """What one gateway process is made of, from its start to its end.

    Args:
        gateway_id: its name in the directory.
        registry_address: where the control plane listens.
        secret: the cluster's secret for TCP channels.
        plane: made by the caller when links come from elsewhere than the directory.
        guest: whether the process belongs to somebody else, whose garbage collector, allocator
            and log handlers are left alone.
        server_name: what the server metadata call it.
        bodies: the bytes of bodies that its app may hold.
        traces: which requests are traced.
    """

    def __init__(
        self,
        gateway_id: str,
        registry_address: str,
        secret: bytes | None,
        plane: DataPlane | None = None,
        *,
        guest: bool = False,
        server_name: str,
        bodies: BodyBudget,
        traces: Traces | None = None,
    ) -> None:
        self._id = gateway_id
        self._registry_address = registry_address
        self._secret = secret
        self._plane = plane
        self._process: ProcessSeries | None = None
        # What a guest's process spends is mostly its host's.
        self._share = None if guest else ProcessorShare()
        self._registry: RegistryClient | None = None
        self._guest = guest
        self._server_name = server_name
        self.bodies = bodies
        self._body_series: BodySeries | None = None
        self._switch = LogSwitch(() if guest else None)
        self._collector = Collector()
        self._spare = SpareMemory(bodies)
        self._tracing = GatewayTracing(traces or Traces())

    async def start(self) -> DataPlane:
        """Make the data plane and join the control plane; runs in the loop that will serve."""
        self._plane = plane = self._plane or DataPlane(self._id, self._secret)
        plane.server_name = self._server_name
        plane.reconciler.traces = self._tracing.start(plane.series)
        self._process = ProcessSeries(plane.series, "gateway", self._id)
        self._body_series = BodySeries(self.bodies, plane.series)
        self._registry = RegistryClient(
            self._registry_address,
            self._secret,
            Member(role="gateway", id=self._id, pid=os.getpid()),
            self._report,
            on_directory=self._directory,
            on_drain=plane.drain,
            on_ended=plane.ends.note,
            on_deadly=plane.reconciler.note_deadly,
        )
        plane.control = self._control
        plane.incidents = self._incidents
        plane.reconciler.on_deadly = self._registry.tell_deadly
        plane.explainers.order = self._order_explainer
        plane.readiness.on_change = plane.reconciler.on_follow = self._registry.report_now
        self._registry.start()
        if not self._guest:
            self._collector.start()
            self._spare.start()
        return plane

    async def stop(self) -> None:
        """Leave the control plane and close the data plane."""
        self._collector.stop()
        self._spare.stop()
        await self._tracing.stop()  # first: the last report says what became of spans
        if self._registry:
            await self._registry.stop()
        if self._plane:
            self._plane.close()

    async def _control(self, asked: ControlMeta) -> Any:
        assert self._registry is not None
        return msgspec.msgpack.decode((await self._registry.request(CONTROL, asked)).meta)

    async def _incidents(self, kind: str, asked: IncidentQuery | IncidentOrder) -> bytes:
        assert self._registry is not None
        reply = await self._registry.request(kind, asked)
        return msgspec.msgpack.decode(reply.meta, type=bytes)

    async def _order_explainer(self, model: str, version: str) -> None:
        assert self._registry is not None
        await self._registry.request(EXPLAINER, ExplainerMeta(model, version))

    def _directory(self, directory: Directory) -> None:
        assert self._plane is not None
        self._switch.apply(directory.settings.log)
        self._plane.apply(directory)

    def _report(self) -> Report:
        assert self._plane is not None
        assert self._process is not None
        assert self._body_series is not None
        self._process.update()
        self._body_series.update()
        ready, reasons = self._plane.ready()
        status = msgspec.structs.replace(self._plane.status(), reasons=tuple(reasons))
        series = self._plane.snapshot()
        if self._share is not None:
            series = (*series, *self._share.series(series))
        return Report(ready, series, status)


def composition_from_environment() -> GatewayComposition:
    """Return the composition that the environment of this process describes."""
    secret = os.environ.get("VIGIL_CHANNEL_SECRET")
    listen = Listen.model_validate_json(os.environ["VIGIL_LISTEN"])
    return GatewayComposition(
        os.environ["VIGIL_GATEWAY_ID"],
        os.environ["VIGIL_REGISTRY"],
        bytes.fromhex(secret) if secret else None,
        server_name=listen.server_name,
        bodies=BodyBudget(listen.inflight_bytes, listen.max_body_mib << 20),
        traces=Traces.model_validate_json(os.environ.get("VIGIL_TRACES", "{}")),
    )


def _from_environment() -> VigilApp:
    configure("gateway")
    composition = composition_from_environment()
    listen = Listen.model_validate_json(os.environ["VIGIL_LISTEN"])
    return VigilApp(
        composition.start,
        composition.stop,
        listen.max_body_mib << 20,
        listen.cors_origins,
        access_of(listen),
        composition.bodies,
    )


def __getattr__(name: str) -> VigilApp:
    # Made when the server asks for it, so that importing this module needs no environment.
    if name == "app":
        return _from_environment()
    raise AttributeError(name)
