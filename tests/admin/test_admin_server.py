"""The admin listener over real HTTP."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.admin.server import AdminServer
from serving.channel.messages.directory import Member, ServedModel
from serving.channel.messages.findings import FINDINGS_CHANGED, FindingsChanged
from serving.channel.messages.reports import (
    GatewayStatus,
    MonitorStatus,
    ReplicaStatus,
    Report,
    UnreadyVersion,
)
from serving.config import ConfigError, Listen, ServerConfig, Telemetry
from serving.control.registry import Registry
from serving.telemetry.counters import SeriesSet
from serving.telemetry.metrics.guards import GUARD_DECISIONS
from serving.telemetry.metrics.inference import INFERENCE_DURATION, INFERENCE_REQUESTS
from serving.telemetry.metrics.models import MODEL_READY, REPLICA_SLOTS_TOTAL
from serving.telemetry.metrics.process import TELEMETRY_EXPORT_FAILURES

Join = Callable[[Member], Any]
Wait = Callable[[Callable[[], object]], Awaitable[None]]

CONFIG = ServerConfig(listen=Listen(admin_port=0))


@pytest.fixture
async def client(registry: Registry) -> AsyncIterator[httpx.AsyncClient]:
    admin = AdminServer(registry, CONFIG)
    await admin.start()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{admin.port}", timeout=60) as client:
        yield client
    await admin.stop()


def gateway_report(ready: bool = True) -> Report:
    series = SeriesSet()
    labels = {"model": "m", "version": "1"}
    series.sum(INFERENCE_REQUESTS, outcome="ok", **labels).add(90)
    series.sum(INFERENCE_REQUESTS, outcome="failed", **labels).add(10)
    series.histogram(INFERENCE_DURATION, outcome="ok", **labels).record(0.003)
    series.gauge(REPLICA_SLOTS_TOTAL, **labels).set(2)
    series.sum(GUARD_DECISIONS, guard="schema", action="reject", **labels).add(4)
    series.sum(GUARD_DECISIONS, guard="schema", action="flag", **labels).add(0)
    return Report(ready, series.snapshot(), GatewayStatus())


async def test_health_and_readiness(
    registry: Registry, client: httpx.AsyncClient, join: Join, eventually: Wait
) -> None:
    assert (await client.get("/healthz")).status_code == 200
    answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"error": "0 of 1 gateways are there"}
    join(Member("gateway", "gateway-0", 1))
    await eventually(lambda: registry.ready()[0])
    assert (await client.get("/readyz")).status_code == 200


async def test_metrics_are_those_of_all_roles(
    registry: Registry, client: httpx.AsyncClient, join: Join, eventually: Wait
) -> None:
    for number in range(2):
        join(Member("gateway", f"gateway-{number}", number)).report = gateway_report()
    await eventually(
        lambda: len([s for s in registry.states() if s.ready]) == 2 and registry.aggregate()
    )
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {f.name: f for f in text_string_to_metric_families(answer.text)}
    requests = {s.labels["outcome"]: s.value for s in families["vigil_inference_requests"].samples}
    assert requests == {"ok": 180, "failed": 20}
    assert answer.headers["vary"] == "accept"
    asked = {"accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"}
    answer = await client.get("/metrics", headers=asked)
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")


async def test_config_is_the_one_in_effect(
    registry: Registry, client: httpx.AsyncClient, served: ServedModel
) -> None:
    registry.set_models([served])
    config = (await client.get("/config")).json()
    assert config["server"]["listen"]["http_port"] == 8000
    assert config["models"]["m"]["1"]["batching"]["max_queue_rows"] == 4096


async def test_the_console_says_what_is_wrong_first(
    registry: Registry,
    client: httpx.AsyncClient,
    join: Join,
    eventually: Wait,
    served: ServedModel,
    make_finding: Any,
) -> None:
    registry.set_models([served])
    join(Member("gateway", "gateway-0", 1)).report = gateway_report(ready=False)
    monitor = join(Member("monitor", "monitor-0", 2))
    bad = make_finding(
        subject="<script>alert(1)</script>", n_reference=1000, n_current=200,
        window=(900.0, 1000.0), p_value=1e-9,
    )  # fmt: skip
    fine = msgspec.structs.replace(bad, breached=False, value=None)
    await eventually(lambda: [s.age_s is not None for s in registry.states()] == [True, True])
    monitor.client.notify(FINDINGS_CHANGED, FindingsChanged((fine, bad)))
    await eventually(registry.findings)
    data = (await client.get("/console/data")).json()
    assert data["ready"] is False
    assert [problem["level"] for problem in data["problems"]] == ["critical", "critical", "warning"]
    texts = [problem["text"] for problem in data["problems"]]
    assert texts[0] == "gateway gateway-0 is not ready"
    assert texts[1] == "model m version 1 has 0 of 1 replicas ready"
    assert texts[2].endswith("is 0.4, above 0.05")
    assert [finding["breached"] for finding in data["findings"]] == [True, False]
    assert data["findings"][1]["value"] is None
    (model,) = data["models"]
    assert (model["state"], model["slots_total"]) == ("down", 2)
    assert [(row["action"], row["rows"]) for row in data["guards"]] == [("reject", 4)]


async def test_the_console_says_of_a_model_what_its_gauge_says(
    registry: Registry, client: httpx.AsyncClient, join: Join, eventually: Wait, served: ServedModel
) -> None:
    """As when a model's upstream is gone: its replica runs, and nobody is answered."""
    generation = registry.set_models([served])
    gateway = join(Member("gateway", "gateway-0", 1))
    replica = join(Member("replica", "replica-0", 2, model="m", version="1"))
    replica.report = Report(True, (), ReplicaStatus())

    async def told(*unready: UnreadyVersion) -> tuple[str, int, float]:
        status = GatewayStatus(generation, unready=unready)
        gateway.report = Report(not unready, (), status)
        await eventually(
            lambda: (
                registry.ready()[0] is not bool(unready) and all(s.age_s for s in registry.states())
            )
        )
        (model,) = (await client.get("/console/data")).json()["models"]
        (gauge,) = [s.value for s in registry.aggregate() if s.name == MODEL_READY.name]
        return model["state"], model["replicas_ready"], gauge

    assert await told() == ("ready", 1, 1)
    assert await told(UnreadyVersion("m", "1", "the upstream does not answer")) == ("down", 0, 0)
    texts = (await client.get("/console/data")).json()["problems"]
    assert "model m version 1 has 0 of 1 replicas ready" in [problem["text"] for problem in texts]
    assert await told() == ("ready", 1, 1)


async def test_the_page_is_whole_and_needs_nothing_else(client: httpx.AsyncClient) -> None:
    answer = await client.get("/console")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = answer.text
    assert "/*script*/" not in page
    assert "/*style*/" not in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "innerHTML" not in page
    assert "default-src 'none'" in answer.headers["content-security-policy"]


async def test_every_error_is_a_json_sentence(client: httpx.AsyncClient) -> None:
    cases = [
        (await client.get("/nope"), 404),
        (await client.post("/metrics"), 405),
        (await client.get("/models/m/reset-reference"), 405),
        (await client.post("/models/m/reset-reference"), 503),
        (await client.post("/models/m/reset-reference", headers={"origin": "null"}), 403),
        (await client.get("/forget"), 405),
        (await client.post("/forget", content=b"{}"), 400),
        (await client.post("/forget", json={"order": "1", "subject": "x"}), 503),
        (await client.post("/forget", headers={"origin": "null"}), 403),
        (await client.get("/metrics", headers={"host": "evil.example"}), 403),
    ]
    for answer, status in cases:
        assert answer.status_code == status
        assert isinstance(answer.json()["error"], str)


@pytest.mark.parametrize("host", ["localhost", "localhost:8002", "127.0.0.1", "[::1]:8002"])
async def test_loopback_names_are_let_in(client: httpx.AsyncClient, host: str) -> None:
    assert (await client.get("/healthz", headers={"host": host})).status_code == 200


async def test_other_names_are_let_in_where_they_are_allowed(registry: Registry) -> None:
    admin = AdminServer(
        registry, ServerConfig(listen=Listen(admin_port=0, allowed_hosts=["ops.name"]))
    )
    await admin.start()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{admin.port}", timeout=60) as client:
        for host, status in (("ops.name:8002", 200), ("localhost", 200), ("evil.ops.name", 403)):
            answer = await client.get("/healthz", headers={"host": host})
            assert answer.status_code == status
    assert "listen.allowed_hosts" in answer.json()["error"]
    await admin.stop()


@pytest.mark.parametrize("says", [{"origin": "null"}, {"sec-fetch-site": "same-site"}])
async def test_no_page_gives_orders(client: httpx.AsyncClient, says: dict[str, str]) -> None:
    assert (await client.post("/models/m/reset-reference", headers=says)).status_code == 403


async def test_a_crash_is_a_json_sentence_too(
    registry: Registry, client: httpx.AsyncClient
) -> None:
    registry.set_models([ServedModel("m", "1", b"not json", "")])
    answer = await client.get("/config")
    assert answer.status_code == 500
    assert "error" in answer.json()


async def test_signals_stay_with_the_process(registry: Registry) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    admin = AdminServer(registry, CONFIG)
    await admin.start()
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    await admin.stop()


async def test_a_taken_port_is_a_clear_error(registry: Registry) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        admin = AdminServer(registry, ServerConfig(listen=Listen(admin_port=port)))
        with pytest.raises(ConfigError, match=f"cannot use 127.0.0.1:{port} .*another admin_port"):
            await admin.start()
        await admin.stop()


async def test_prometheus_can_be_off_and_a_dead_collector_shows_as_a_count(
    registry: Registry, eventually: Wait
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        dead = f"http://127.0.0.1:{free.getsockname()[1]}"
    telemetry = Telemetry(prometheus=False, otlp_endpoint=dead, interval_s=0.05)
    admin = AdminServer(registry, ServerConfig(listen=Listen(admin_port=0), telemetry=telemetry))
    await admin.start()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{admin.port}", timeout=60) as client:
        assert (await client.get("/metrics")).status_code == 404
    failures = registry.series.sum(TELEMETRY_EXPORT_FAILURES)
    started = time.monotonic()
    await admin.stop()
    assert time.monotonic() - started < 60
    assert failures.value >= 1


async def test_what_monitors_say_is_on_the_page(client: httpx.AsyncClient, join: Join) -> None:
    monitor = join(Member("monitor", "monitor", 1))
    note = "drift of model 'm': collecting reference: 640 of 1000 rows"
    monitor.report = Report(True, (), MonitorStatus(notes=(note,)))

    async def shown() -> list[str]:
        return (await client.get("/console/data")).json()["notes"]

    async with asyncio.timeout(60):
        while await shown() != [note]:  # noqa: ASYNC110 - the page is asked, it does not tell
            await asyncio.sleep(0.005)
    assert 'id="notes"' in (await client.get("/console")).text
