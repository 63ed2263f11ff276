"""The admin listener's routes. Every error is `{"error": sentence}`."""

from __future__ import annotations

import base64
import hashlib
import time
from importlib.resources import files
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from serving.access.decision import Access
from serving.access.scopes import Scope
from serving.access.web import WebAccess
from serving.admin.bill_query import read_period
from serving.admin.console import console_data
from serving.admin.forget_body import read_forget
from serving.channel.messages.incidents import IncidentOrder
from serving.config import ServerConfig
from serving.control.commands import Commands
from serving.control.cost.costs import Costs
from serving.control.forget_order import forget
from serving.control.history import History
from serving.control.instance_status import instance_status
from serving.control.monitor_orders import reset_reference
from serving.control.registry import Registry
from serving.errors import VigilError
from serving.incidents.requests import read_action, read_query
from serving.incidents.service import IncidentService
from serving.protocol.json.repository import read_order, wants_only_ready
from serving.protocol.repository import ControlMeta
from serving.protocol.status import http_status
from serving.telemetry.export.negotiation import chosen

_NO_STORE: Final = {"cache-control": "no-store", "x-content-type-options": "nosniff"}

Offered = list[tuple[Scope, Route]]


class Pages:
    """Handlers of one instance's admin listener."""

    def __init__(
        self,
        registry: Registry,
        config: ServerConfig,
        history: History,
        commands: Commands | None = None,
        costs: Costs | None = None,
        incidents: IncidentService | None = None,
    ) -> None:
        self._registry = registry
        self._commands = commands
        self._costs = costs
        self._incidents = incidents
        self._config = config
        self._history = history
        self._page, self._policy = _console_page()

    def app(self, *, mounted: bool = False) -> Starlette:
        """Return the ASGI app.

        Args:
            mounted: whether another application hosts it and decides who may come.
        """
        reset = Route("/models/{model}/reset-reference", self.reset_reference, methods=["POST"])
        offered = [
            (Scope.HEALTH, Route("/healthz", self.healthz)),
            (Scope.HEALTH, Route("/readyz", self.readyz)),
            (Scope.OBSERVE, Route("/config", self.config)),
            (Scope.OBSERVE, Route("/status", self.status)),
            (Scope.OBSERVE, Route("/console", self.console)),
            (Scope.OBSERVE, Route("/console/data", self.data)),
            (Scope.CONTROL, reset),
            (Scope.CONTROL, Route("/forget", self.forget, methods=["POST"])),
        ]
        if self._config.telemetry.prometheus:
            offered.append((Scope.OBSERVE, Route("/metrics", self.metrics)))
        if self._costs is not None:
            offered.append((Scope.OBSERVE, Route("/bill", self.bill)))
        if self._incidents is not None:
            one = "/v2/incidents/{incident}"
            offered += [
                (Scope.OBSERVE, Route("/v2/incidents", self.incidents)),
                (Scope.OBSERVE, Route(one, self.incident)),
                (Scope.CONTROL, Route(one, self.handle_incident, methods=["POST"])),
            ]
        if self._commands is not None:
            order = Route("/v2/{path:path}", self.order, methods=["GET", "POST"])
            offered.append((Scope.CONTROL, order))
        hosts = None if mounted else self._config.listen.admin_hosts
        access = Access(WebAccess(hosts=hosts))
        paths = ", ".join(sorted(route.path for _, route in offered))
        return Starlette(
            routes=[route for _, route in offered],
            middleware=[Middleware(_Decision, access, offered)],
            exception_handlers={
                404: lambda _request, _error: _error_response(
                    404, f"nothing is here; this listener has {paths}"
                ),
                HTTPException: _http_error,
                Exception: _crashed,
            },
        )

    async def healthz(self, _request: Request) -> Response:
        """Answer that the listener is alive."""
        return _json({"alive": True})

    async def readyz(self, _request: Request) -> Response:
        """Answer 200 when an inference through every required model has worked, else 503."""
        ready, reasons = self._registry.ready()
        return _json({"ready": True}) if ready else _error_response(503, "; ".join(reasons))

    async def config(self, _request: Request) -> Response:
        """Answer the configuration in effect, defaults filled in."""
        models: dict[str, dict[str, Any]] = {}
        for model in self._registry.directory.models:
            models.setdefault(model.name, {})[model.version] = msgspec.json.decode(model.config)
        return _json({"server": self._config.model_dump(mode="json"), "models": models})

    async def status(self, _request: Request) -> Response:
        """Answer who is there and whether the instance is ready, for programs."""
        return _json(instance_status(self._registry))

    async def bill(self, request: Request) -> Response:
        """Answer what models cost in a period; see `read_period` for what may be asked."""
        assert self._costs is not None
        try:
            since, model = read_period(request.query_params.multi_items(), time.time())
            return _json(await self._costs.bill(since, model))
        except VigilError as error:
            return _error_response(http_status(error), error.message)

    async def reset_reference(self, request: Request) -> Response:
        """Begin a new live reference of a model's drift."""
        try:
            return _json(
                {"drift": await reset_reference(self._registry, request.path_params["model"])}
            )
        except VigilError as error:
            return _error_response(http_status(error), error.message)

    async def forget(self, request: Request) -> Response:
        """Have a subject forgotten, or answer how far that is; see `ForgetMeta`."""
        try:
            return _json(await forget(self._registry, read_forget(await request.body())))
        except VigilError as error:
            return _error_response(http_status(error), error.message)

    async def incidents(self, request: Request) -> Response:
        """Answer the incidents that are asked for; see `read_query`."""
        assert self._incidents is not None
        try:
            query = read_query(request.query_params.multi_items())
            return _json(await self._incidents.listed(query))
        except VigilError as error:
            return _error_response(http_status(error), error.message)

    async def incident(self, request: Request) -> Response:
        """Answer one incident."""
        return await self._incident(IncidentOrder(request.path_params["incident"]))

    async def handle_incident(self, request: Request) -> Response:
        """Do with an incident what the body says; see `read_action`."""
        ident = request.path_params["incident"]
        try:
            order = read_action(ident, await request.body())
        except VigilError as error:
            return _error_response(http_status(error), error.message)
        return await self._incident(order)

    async def _incident(self, order: IncidentOrder) -> Response:
        assert self._incidents is not None
        try:
            return _json(await self._incidents.incident(order))
        except VigilError as error:
            return _error_response(http_status(error), error.message)

    async def order(self, request: Request) -> Response:
        """Answer an order to the server, on the paths that the inference ports have."""
        assert self._commands is not None
        # Not the URL's path, which begins with the prefix when an application mounts this one.
        parts = ["v2", *request.path_params["path"].strip("/").split("/")]
        body = await request.body()
        try:
            if request.method == "POST" and parts[1:] == ["repository", "index"]:
                ready = wants_only_ready(body)
                rows = await self._commands.answer(ControlMeta("index"))
                return _json([row for row in rows if not ready or row["state"] == "READY"])
            order = read_order(request.method, parts, body)
            if order is None:
                return _error_response(
                    404,
                    "this listener has incidents, and takes orders: repository, trace and logging; "
                    "models and findings are at the port for HTTP (listen.http_port)",
                )
            return _json(await self._commands.answer(order))
        except VigilError as error:
            return _error_response(http_status(error), error.message)

    async def metrics(self, request: Request) -> Response:
        """Answer every series of the instance in the format that the scraper likes best."""
        kind, exposition = chosen(", ".join(request.headers.getlist("accept")))
        headers = {**_NO_STORE, "content-type": kind, "vary": "accept"}
        return Response(exposition(self._registry.aggregate()), headers=headers)

    async def console(self, _request: Request) -> Response:
        """Answer the console's page."""
        headers = {
            **_NO_STORE,
            "content-security-policy": self._policy,
            "referrer-policy": "no-referrer",
        }
        return Response(self._page, media_type="text/html", headers=headers)

    async def data(self, _request: Request) -> Response:
        """Answer what the console's page shows."""
        notes = [] if self._incidents is None else self._incidents.notes()
        return _json(console_data(self._registry, self._history, notes))


class _Decision:
    """Refuses what may not be asked for, before a page is made.

    Args:
        app: the pages.
        access: decides.
        offered: the routes, and what each lets ask for.
    """

    def __init__(self, app: ASGIApp, access: Access, offered: Offered) -> None:
        self._app = app
        self._access = access
        self._offered = offered

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            refused = self._refused(scope, dict(scope["headers"]))
            if refused is not None:
                await _error_response(http_status(refused), refused.message)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refused(self, scope: AsgiScope, headers: dict[bytes, bytes]) -> VigilError | None:
        asked: Scope | None = None
        model = ""
        for its_scope, route in self._offered:
            match, found = route.matches(scope)
            if match is Match.FULL:
                asked, model = its_scope, found["path_params"].get("model", "")
                break
        principal = self._access.principal_of(headers)
        return self._access.decide(asked, model, principal, scope["method"], headers)


def _json(content: object, status: int = 200) -> Response:
    # msgspec writes NaN as null, which is what JSON has for it.
    body = msgspec.json.encode(content)
    return Response(body, status, headers=_NO_STORE, media_type="application/json")


def _error_response(status: int, sentence: str) -> Response:
    return _json({"error": sentence}, status)


def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        # Starlette keeps methods in a set, whose order differs between processes.
        allowed = ", ".join(sorted(dict(error.headers or {}).get("Allow", "GET").split(", ")))
        return _error_response(405, f"this path takes {allowed}, not this method")
    return _error_response(error.status_code, error.detail)


def _crashed(_request: Request, _error: Exception) -> Response:
    return _error_response(500, "the page failed; the log of this process says why")


def _console_page() -> tuple[bytes, str]:
    """Return the page with its style and script inside, and the policy that allows just those."""
    folder = files("serving.admin")
    page = folder.joinpath("console.html").read_text(encoding="utf-8")
    style = folder.joinpath("console.css").read_text(encoding="utf-8")
    script = folder.joinpath("console.js").read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; "
        f"form-action 'none'; frame-ancestors 'none'; "
        f"style-src {_hash(style)}; script-src {_hash(script)}"
    )
    page = page.replace("/*style*/", style).replace("/*script*/", script)
    return page.encode(), policy


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
