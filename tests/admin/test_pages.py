"""What the pages let ask for: one decision stands before each of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.access.decision import Access
from serving.access.principals import Principal
from serving.access.scopes import Scope
from serving.admin.pages import Pages
from serving.channel.messages.incidents import IncidentList, IncidentOrder, IncidentQuery
from serving.config import ServerConfig
from serving.control.commands import Commands
from serving.control.cost.costs import Costs
from serving.control.history import History
from serving.control.registry import Registry
from serving.errors import Forbidden
from serving.incidents.book import not_there

SCOPES = {
    ("GET", "/healthz"): Scope.HEALTH,
    ("GET", "/readyz"): Scope.HEALTH,
    ("GET", "/config"): Scope.OBSERVE,
    ("GET", "/status"): Scope.OBSERVE,
    ("GET", "/bill"): Scope.OBSERVE,
    ("GET", "/console"): Scope.OBSERVE,
    ("GET", "/console/data"): Scope.OBSERVE,
    ("GET", "/metrics"): Scope.OBSERVE,
    ("POST", "/models/m/reset-reference"): Scope.CONTROL,
    ("POST", "/forget"): Scope.CONTROL,
    ("GET", "/v2/incidents"): Scope.OBSERVE,
    ("GET", "/v2/incidents/a"): Scope.OBSERVE,
    ("POST", "/v2/incidents/a"): Scope.CONTROL,
    ("POST", "/v2/repository/models/m/load"): Scope.CONTROL,
    ("POST", "/v2/repository/index"): Scope.CONTROL,
    ("GET", "/v2/logging"): Scope.CONTROL,
}
PAGE = {"origin": "https://evil.example"}
Decide = Callable[[Scope | None, str], bool]


@pytest.fixture
def replaced(monkeypatch: pytest.MonkeyPatch) -> Callable[[Decide], None]:
    """Replaces the decision."""

    def replace(denied: Decide) -> None:
        def decide(_: Access, scope: Scope | None, model: str, _by: Principal, *_more: Any) -> Any:
            return Forbidden("the decision says no") if denied(scope, model) else None

        monkeypatch.setattr(Access, "decide", decide)

    return replace


class Known:
    """Knows the incident `a`."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    def notes(self) -> list[str]:
        return ["the store of incidents does not work"]

    async def listed(self, query: IncidentQuery) -> IncidentList:
        self.asked.append(query)
        return IncidentList(incidents=())

    async def incident(self, order: IncidentOrder) -> dict[str, str]:
        self.asked.append(order)
        if order.id != "a":
            raise not_there(order.id)
        return {"id": order.id}


@pytest.fixture
def costs(registry: Registry, tmp_path: Path) -> Costs:
    return Costs(registry, ServerConfig(data_dir=tmp_path))


@pytest.fixture
def client(registry: Registry, costs: Costs, monkeypatch: pytest.MonkeyPatch) -> httpx.AsyncClient:
    async def answer(_: Commands, _order: object) -> list[object]:
        return []

    monkeypatch.setattr(Commands, "answer", answer)
    pages = Pages(registry, ServerConfig(), History(), Commands.__new__(Commands), costs, Known())
    transport = httpx.ASGITransport(pages.app())
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


def is_denied(answer: httpx.Response) -> bool:
    return answer.status_code == 403 and answer.json() == {"error": "the decision says no"}


@pytest.mark.parametrize("denied", Scope)
async def test_a_scope(client: httpx.AsyncClient, replaced: Any, denied: Scope) -> None:
    replaced(lambda scope, _model: scope is denied)
    for (method, path), scope in SCOPES.items():
        answer = await client.request(method, path)
        assert is_denied(answer) is (scope is denied), path


async def test_a_model(client: httpx.AsyncClient, replaced: Any) -> None:
    replaced(lambda scope, model: (scope, model) == (Scope.CONTROL, "m"))
    assert is_denied(await client.post("/models/m/reset-reference"))
    assert not is_denied(await client.post("/models/other/reset-reference"))


def test_every_page_is_listed_above(registry: Registry, costs: Costs) -> None:
    pages = Pages(registry, ServerConfig(), History(), Commands.__new__(Commands), costs, Known())
    first = {path.split("/")[1] for _, path in SCOPES}
    assert {route.path.split("/")[1] for route in pages.app().routes} == first  # type: ignore[attr-defined]


@pytest.mark.parametrize(("method", "path"), SCOPES)
async def test_pages_of_others_give_no_orders(
    client: httpx.AsyncClient, method: str, path: str
) -> None:
    refused = (await client.request(method, path, headers=PAGE)).status_code == 403
    assert refused is (method == "POST")


async def test_a_mounted_listener_is_reached_under_any_name(registry: Registry) -> None:
    for mounted, status in ((True, 200), (False, 403)):
        pages = Pages(registry, ServerConfig(), History())
        transport = httpx.ASGITransport(pages.app(mounted=mounted))
        async with httpx.AsyncClient(transport=transport, base_url="http://host.example") as asking:
            assert (await asking.get("/healthz")).status_code == status


async def test_it_says_that_it_is_alive_and_whether_it_is_ready(
    client: httpx.AsyncClient, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive = await client.get("/healthz")
    assert (alive.status_code, alive.json()) == (200, {"alive": True})
    for told, status, said in (
        ((True, []), 200, {"ready": True}),
        ((False, ["a", "b"]), 503, {"error": "a; b"}),
    ):
        monkeypatch.setattr(type(registry), "ready", lambda _, told=told: told)
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()) == (status, said)
        assert ready.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("method", "path", "status", "said"),
    [
        ("PUT", "/healthz", 405, "this path takes GET, HEAD, not this method"),
        ("GET", "/models/m/reset-reference", 405, "this path takes POST, not this method"),
        ("GET", "/nowhere", 404, "nothing is here; this listener has "),
    ],
)
async def test_what_is_not_there_is_a_sentence(
    client: httpx.AsyncClient, method: str, path: str, status: int, said: str
) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"].startswith(said)


async def test_a_bill_and_what_is_none(client: httpx.AsyncClient) -> None:
    answer = await client.get("/bill?last=60")
    assert answer.status_code == 200
    assert answer.json()["models"] == []
    refused = await client.get("/bill?last=soon")
    assert (refused.status_code, refused.json()) == (
        400, {"error": "query parameter 'last' is 'soon'; give seconds, 0 or more"},
    )  # fmt: skip
    missing = await client.get("/bill?model=cats")
    assert missing.status_code == 404
    assert "no model 'cats' was served since" in missing.json()["error"]


async def test_incidents_are_asked_for_and_handled(registry: Registry) -> None:
    known = Known()
    pages = Pages(registry, ServerConfig(), History(), incidents=known)  # type: ignore[arg-type]
    transport = httpx.ASGITransport(pages.app())
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        listed = await client.get("/v2/incidents?state=open&model=m")
        assert listed.json()["incidents"] == []
        assert (await client.get("/v2/incidents/a")).json() == {"id": "a"}
        problems = (await client.get("/console/data")).json()["problems"]
        assert {"level": "warning", "text": known.notes()[0]} in problems
        body = {"action": "false_alarm", "note": "n"}
        assert (await client.post("/v2/incidents/a", json=body)).json() == {"id": "a"}
        assert known.asked == [
            IncidentQuery(("open",), "m"), IncidentOrder("a"),
            IncidentOrder("a", "false_alarm", "n"),
        ]  # fmt: skip
        for answer, status in (
            (await client.get("/v2/incidents?state=x"), 400),
            (await client.get("/v2/incidents/b"), 404),
            (await client.post("/v2/incidents/a", content=b"x"), 400),
            (await client.post("/v2/incidents/b", json=body), 404),
        ):
            assert (answer.status_code, list(answer.json())) == (status, ["error"])
