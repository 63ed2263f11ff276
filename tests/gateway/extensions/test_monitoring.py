"""Logged predictions over HTTP: what the monitor is asked, and what clients are told."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from serving.channel.messages.incidents import (
    INCIDENT,
    INCIDENTS,
    IncidentOrder,
    IncidentQuery,
)
from serving.channel.messages.observation import (
    PREDICTIONS,
    REPORT,
    REPORTS,
    PredictionsMeta,
    ReportReply,
    ReportsMeta,
)
from serving.channel.messages.watched import MONITORS, MonitorsMeta
from serving.errors import NotFound, VigilError


@pytest.fixture
def monitor(plane, monkeypatch):
    """Answers with `answer`, or raises `error`; remembers what it was asked."""
    made = SimpleNamespace(asked=[], answer=b'{"rows":[]}', error=None)

    async def request(kind: str, meta: Any, tensors: Any = (), *, model: str) -> Any:
        assert model == meta.model
        made.asked.append((kind, meta))
        if made.error is not None:
            raise made.error
        return SimpleNamespace(meta=msgspec.msgpack.encode(made.answer))

    monkeypatch.setattr(plane.publisher, "request", request)
    return made


@pytest.mark.parametrize(
    ("path", "ident", "index"),
    [
        ("/predictions/r-7", "r-7", None),
        ("/predictions/r-7?index=3", "r-7", 3),
        ("/predictions?id=a%2Fb/&index=0", "a/b/", 0),
        ("/predictions?id=gr%C3%B6%C3%9Fe", "größe", None),
    ],
)
async def test_the_monitor_is_asked_for_the_rows(ask, monitor, path, ident, index):
    answer = await ask("GET", "/v2/models/m" + path)
    assert (answer.status, answer.body) == (200, monitor.answer)
    assert monitor.asked == [(PREDICTIONS, PredictionsMeta("m", ident, index))]


async def test_the_monitor_is_asked_which_reports_there_are(ask, monitor):
    answer = await ask("GET", "/v2/models/m/reports")
    assert (answer.status, answer.body) == (200, monitor.answer)
    assert monitor.asked == [(REPORTS, ReportsMeta("m"))]


@pytest.mark.parametrize(
    ("query", "version", "since", "kept"),
    [
        ("performance?since=2026-11-30T12:00:00Z&format=json", "", 1_796_040_000.0, ""),
        ("fairness?since=2026-11-30T12:00:00Z&version=3", "3", 1_796_040_000.0, ""),
        ("drift", "", None, ""),
        ("quality?kept=quality-20261130T120000Z", "", None, "quality-20261130T120000Z"),
    ],
)
async def test_the_monitor_is_asked_for_a_report(ask, monitor, query, version, since, kept):
    monitor.answer = ReportReply("text/html", b"page")
    answer = await ask("GET", f"/v2/models/m/reports/{query}")
    assert (answer.status, answer.body) == (200, b"page")
    [(kind, meta)] = monitor.asked
    assert (kind, meta.kind, meta.only) == (REPORT, query.split("?")[0], version)
    assert (meta.since, meta.until, meta.kept) == (since, None, kept)
    assert meta.format == ("json" if "json" in query else "html")


async def test_reports_of_labels_are_about_a_week_unless_somebody_asks(ask, monitor):
    monitor.answer = ReportReply("text/html", b"page")
    await ask("GET", "/v2/models/m/reports/performance")
    [(_, meta)] = monitor.asked
    assert abs(time.time() - meta.since - 7 * 86_400) < 60


@pytest.mark.parametrize(
    ("query", "status", "says"),
    [
        ("costs", 404, "there is: drift, performance, fairness, quality"),
        ("drift?format=pdf", 400, "format must be html or json"),
        ("drift?last=soon", 400, "'soon' is no span of time"),
        ("drift?last=1h&since=2026-01-01", 400, "leave out since and until, or it"),
    ],
)
async def test_what_is_no_report_is_told(ask, monitor, query, status, says):
    answer = await ask("GET", f"/v2/models/m/reports/{query}")
    assert answer.status == status
    assert says in answer.body.decode()
    assert monitor.asked == []


async def test_the_monitor_is_asked_what_it_watches(ask, monitor):
    answer = await ask("GET", "/v2/models/m/monitors")
    assert (answer.status, answer.body) == (200, monitor.answer)
    assert monitor.asked == [(MONITORS, MonitorsMeta("m"))]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/predictions", "name a request: its id, of 1 to 256 characters"),
        ("/predictions?id=", "name a request"),
        ("/predictions/" + "x" * 257, "name a request"),
        ("/predictions/r?index=-1", "index '-1' must be a row of the request"),
        ("/predictions/r?index=1.5", "index '1.5'"),
        ("/predictions/r?index=2147483648", "index '2147483648'"),
        ("/predictions/r?index=%C2%B2", "index '²'"),
    ],
)
async def test_wrong_questions_get_a_sentence(ask, monitor, path, says):
    answer = await ask("GET", "/v2/models/m" + path)
    assert answer.status == 400
    assert answer.json()["error"].startswith(says)
    assert monitor.asked == []


async def test_models_that_are_served_no_more_are_asked_for_too(ask, monitor):
    assert (await ask("GET", "/v2/models/gone/predictions/r")).status == 200
    monitor.error = NotFound("the log has no such thing")
    answer = await ask("GET", "/v2/models/gone/predictions/r")
    assert (answer.status, "unknown model: 'gone'" in answer.json()["error"]) == (404, True)
    answer = await ask("GET", "/v2/models/m/predictions/r")
    assert (answer.status, answer.json()["error"]) == (404, "the log has no such thing")


async def test_what_the_monitor_refuses_is_passed_on(ask, monitor):
    monitor.error = VigilError("no")
    assert (await ask("GET", "/v2/models/m/predictions/r")).status == 500


@pytest.fixture
def incidents(plane):
    """Answers for incidents; remembers what it was asked."""
    asked = []

    async def ask(kind, order):
        asked.append((kind, order))
        return b'{"id":"a"}'

    plane.incidents = ask
    return asked


@pytest.mark.parametrize(
    ("method", "path", "body", "order"),
    [
        ("GET", "/v2/incidents", b"", (INCIDENTS, IncidentQuery())),
        ("GET", "/v2/incidents?state=open,resolved&model=m", b"",
         (INCIDENTS, IncidentQuery(("open", "resolved"), "m"))),
        ("GET", "/v2/incidents/a", b"", (INCIDENT, IncidentOrder("a"))),
        ("POST", "/v2/incidents/a/", b'{"action":"resolve","note":"n"}',
         (INCIDENT, IncidentOrder("a", "resolve", "n"))),
    ],
)  # fmt: skip
async def test_the_control_plane_is_asked_about_incidents(
    ask, incidents, method, path, body, order
):
    answer = await ask(method, path, body)
    assert (answer.status, answer.body) == (200, b'{"id":"a"}')
    assert incidents == [order]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("GET", "/v2/incidents?state=x", b""), ("POST", "/v2/incidents/a", b"{}")],
)
async def test_wrong_questions_about_incidents_go_no_further(ask, incidents, method, path, body):
    answer = await ask(method, path, body)
    assert answer.status == 400
    assert not incidents


async def test_a_gateway_without_a_control_plane_knows_no_incidents(ask, plane):
    answer = await ask("GET", "/v2/incidents")
    assert answer.status == 503
