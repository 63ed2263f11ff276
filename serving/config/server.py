"""`vigil.yaml`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, field_serializer, field_validator, model_validator

from serving.config.cloudevents import CloudEvents
from serving.config.hosts import LOOPBACK, is_host_name
from serving.config.log import Log
from serving.config.logs import Logs
from serving.config.prices import Prices
from serving.config.section import Section
from serving.config.store_url import check_url, without_password
from serving.config.traces import Traces
from serving.config.webhooks import Webhook, named
from serving.telemetry.collector import checked_endpoint
from serving.telemetry.logs.setup import LogFormat, LogLevel

_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_USUAL_PORT: Final = re.compile(r"^(http:.*:80|https:.*:443)$")


class Listen(Section):
    """Where clients and operators connect."""

    host: str = Field("127.0.0.1", description="Address of both inference ports.")
    http_port: int = Field(8000, ge=0, le=65535, description="Takes HTTP and gRPC; 0: a free one.")
    grpc_port: int = Field(8001, ge=0, le=65535, description="Takes HTTP and gRPC; 0: a free one.")
    admin_host: str = Field("127.0.0.1", description="Address of the admin listener.")
    admin_port: int = Field(8002, ge=0, le=65535, description="Metrics and console; 0: a free one.")
    server_name: str = Field(
        "vigil",
        min_length=1,
        max_length=256,
        description="Name in the server metadata; some of Triton's clients insist on `triton`.",
    )
    max_body_mib: int = Field(64, ge=1, le=1024, description="Largest request body.")
    max_inflight_mib: int | None = Field(
        None,
        ge=1,
        description="Bodies of all requests that a gateway holds at once, unpacked ones beside "
        "packed ones; beyond it requests get 503. None: four times `max_body_mib`, at least 256.",
    )
    headers_timeout_s: float = Field(
        10,
        ge=0.1,
        description="A client that takes longer for its headers gets 408.",
    )
    request_timeout_s: float = Field(
        60,
        ge=0.1,
        description="A client that takes longer for a whole request gets 408.",
    )
    idle_timeout_s: float = Field(
        300, ge=0.1, description="A connection without a request is closed after it."
    )
    trusted_proxies: int = Field(
        0, ge=0, le=16, description="Proxies in front, whose `x-forwarded-for` names the client."
    )
    cors_origins: list[str] = Field(
        [],
        description="Web pages that may send requests and read answers, such as "
        "`https://app.example.com`; `*`: all.",
    )
    allowed_hosts: list[str] = Field(
        [],
        description="Names under which clients reach a listener on loopback, beside localhost and "
        "loopback addresses, such as `models.example.com`; `*`: any.",
    )

    @property
    def inflight_bytes(self) -> int:
        """Bytes of bodies that a gateway holds at most."""
        most = self.max_inflight_mib
        return (max(256, 4 * self.max_body_mib) if most is None else most) << 20

    @model_validator(mode="after")
    def _room_for_one(self) -> Listen:
        most = self.max_inflight_mib
        if most is not None and most < self.max_body_mib:
            raise ValueError(
                f"max_inflight_mib is {most}, less than the largest body (max_body_mib: "
                f"{self.max_body_mib}), which would always be refused; raise it to "
                f"{self.max_body_mib} or more, or lower max_body_mib"
            )
        return self

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, origins: list[str]) -> list[str]:
        for origin in origins:
            if origin != "*" and (not _ORIGIN.fullmatch(origin) or _USUAL_PORT.search(origin)):
                raise ValueError(
                    f"'{origin}' is no origin; write it as browsers send it, such as "
                    "https://app.example.com or http://localhost:3000: in lower case, without a "
                    "path and without the scheme's usual port"
                )
        return origins

    @field_validator("allowed_hosts")
    @classmethod
    def _hosts(cls, hosts: list[str]) -> list[str]:
        for host in hosts:
            if host != "*" and not is_host_name(host):
                raise ValueError(
                    f"'{host}' is no host; write a name or an address alone, such as "
                    "models.example.com: in lower case, without scheme, port or brackets"
                )
        return hosts

    @property
    def hosts(self) -> list[str] | None:
        """Names that requests may give beside those of loopback; None: any, or none at all."""
        return self.allowed_hosts if self.host in LOOPBACK else None

    @property
    def admin_hosts(self) -> list[str] | None:
        """The same of the admin listener."""
        return self.allowed_hosts if self.admin_host in LOOPBACK else None


class Telemetry(Section):
    """Where metrics go, and how the log looks."""

    prometheus: bool = Field(True, description="Serve `/metrics` on the admin listener.")
    otlp_endpoint: str | None = Field(
        None, description="OTLP/HTTP collector, for example http://127.0.0.1:4318."
    )
    interval_s: float = Field(10, gt=0, description="Seconds between two OTLP exports.")
    traces: Traces = Field(default_factory=Traces)
    logs: Logs = Field(default_factory=Logs)
    log_format: LogFormat = Field(
        "auto", description="Lines of the log: JSON objects or text; auto: text on a terminal."
    )
    log_level: LogLevel = Field("info", description="The least severe lines that are written.")

    @field_validator("otlp_endpoint")
    @classmethod
    def _is_url(cls, endpoint: str | None) -> str | None:
        return checked_endpoint(endpoint) if endpoint else None


class ServerConfig(Section):
    """`vigil.yaml`."""

    engine: Literal["ray", "local"] = Field(
        "ray", description="What starts and keeps the processes: Ray Serve or one supervisor."
    )
    ingress: Literal["direct", "envoy", "serve"] = Field(
        "direct",
        description="What answers clients: the gateway itself, Envoy, or Ray Serve's own proxy.",
    )
    transport: Literal["channel", "handle"] = Field(
        "channel", description="From gateway to replica: our frames, or a Ray call per batch."
    )
    ray_address: str | None = Field(
        None, description="Cluster to join; none starts a local Ray for this server."
    )
    listen: Listen = Field(default_factory=Listen)
    insecure: bool = Field(
        False, description="Allow a listener beyond loopback although nothing authenticates."
    )
    gateways: int = Field(1, ge=1, le=64, description="Gateway processes that share the ports.")
    monitors: int = Field(
        1,
        ge=1,
        le=64,
        description="Monitor processes that the models are divided among, by their names.",
    )
    models: Path = Field(Path("models"), description="Folder of the models.")
    poll_models_s: float | None = Field(
        None, gt=0, description="Look for changed models so often; none: load only when told to."
    )
    load_timeout_s: float = Field(
        120, gt=0, description="What loading a model into the running server may take."
    )
    remote_hosts: list[str] | None = Field(
        None,
        description="Hosts that models of format `remote` may name; none: whatever they name.",
    )
    data_dir: Path = Field(
        Path(".vigil"),
        description="Where the monitor keeps its state, the control plane its record of costs, and "
        "where the prediction log is.",
    )
    store_url: str | None = Field(
        None,
        description="The database of incidents: `sqlite:///` and a path, or "
        "`postgresql://user:password@host/database` (extra `postgres`); none: `vigil.db` in "
        "`data_dir`. Each instance needs one of its own.",
    )
    webhooks: list[Webhook] = Field([], description="Who is told of incidents.")
    log: Log | None = Field(
        default_factory=Log, description="The prediction log; `null`: nothing is logged."
    )
    cloudevents: CloudEvents | None = Field(
        None, description="Post every answered request as KServe's pair of CloudEvents."
    )
    telemetry: Telemetry = Field(default_factory=Telemetry)
    prices: Prices = Field(default_factory=Prices)
    drain_delay_s: float = Field(
        0,
        ge=0,
        description="At stop: seconds of being not ready, with all answered, before the drain.",
    )
    drain_timeout_s: float = Field(30, gt=0, description="Grace for requests in flight at stop.")

    @field_validator("store_url")
    @classmethod
    def _is_database(cls, url: str | None) -> str | None:
        return None if url is None else check_url(url)

    @field_serializer("store_url", when_used="json")
    def _hide_password(self, url: str | None) -> str | None:
        return None if url is None else without_password(url)

    @field_validator("webhooks")
    @classmethod
    def _named(cls, webhooks: list[Webhook]) -> list[Webhook]:
        return named(webhooks)

    @model_validator(mode="after")
    def _check(self) -> ServerConfig:
        if self.engine == "local" and (self.ingress == "serve" or self.transport != "channel"):
            raise ValueError("engine local has ingress direct or envoy, and transport channel")
        if self.transport == "handle" and self.ingress != "serve":
            raise ValueError("transport handle needs ingress serve: other gateways run without Ray")
        if not self.insecure and not {self.listen.host, self.listen.admin_host} <= LOOPBACK:
            raise ValueError(
                "listen: without keys Vigil binds loopback only; use 127.0.0.1, or give "
                "--insecure if everyone who can reach the address may use it"
            )
        return self
