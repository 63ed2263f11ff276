"""The HTTP routes: one table of paths, methods and scopes, and the handlers behind them.

The table's templates are the paths of the OpenAPI description.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from serving.access.scopes import Scope
from serving.dataplane.context import RequestContext
from serving.dataplane.handler import DataPlane
from serving.dataplane.hooks.failed_requests import for_probe
from serving.errors import ModelNotReady, NotFound
from serving.gateway import metadata, openapi
from serving.gateway.extensions import cloudevents, labels, monitoring
from serving.gateway.extensions.explanations import explain_request
from serving.gateway.extensions.logged_explanations import explain_logged, reference_in
from serving.gateway.extensions.model_configuration import model_config
from serving.gateway.extensions.repository_index import index
from serving.gateway.extensions.statistics import statistics
from serving.gateway.http.headers import Headers
from serving.gateway.http.inference import infer, read_request, reply
from serving.gateway.http.replies import Reply, json_reply, sentence_reply
from serving.protocol.json.repository import read_order, wants_only_ready
from serving.protocol.metadata import encode_metadata
from serving.protocol.parameters import NO_SHARED_MEMORY
from serving.telemetry.metrics.servers import OTHER


class HttpCall(msgspec.Struct, frozen=True):
    """What a handler gets; `name` and `version` are empty where the path has none."""

    plane: DataPlane
    headers: Headers
    query: bytes
    body: bytes
    method: str
    path: str
    context: RequestContext
    name: str = ""
    version: str = ""
    report: str = ""
    root_path: str = ""
    prediction: str = ""
    incident: str = ""


class Route(msgspec.Struct, frozen=True):
    """What stands at a path for one method: what it lets ask for, and what answers."""

    scope: Scope
    handle: Callable[[HttpCall], Awaitable[Reply]]


async def _description(call: HttpCall) -> Reply:
    # The first time it takes a moment, for which nobody else is to wait.
    return json_reply(await asyncio.to_thread(openapi.encoded, call.root_path))


async def _server(call: HttpCall) -> Reply:
    return json_reply(encode_metadata(metadata.server_metadata(call.plane)))


async def _live(_call: HttpCall) -> Reply:
    return json_reply(b'{"live":true}')


async def _ready(call: HttpCall) -> Reply:
    ready, reasons = call.plane.ready()
    if not ready:
        raise for_probe(ModelNotReady("not ready: " + "; ".join(reasons)))
    return json_reply(b'{"ready":true}')


async def _model(call: HttpCall) -> Reply:
    return json_reply(encode_metadata(metadata.model_metadata(call.plane, call.name, call.version)))


async def _model_ready(call: HttpCall) -> Reply:
    try:
        metadata.require_ready(call.plane, call.name, call.version)
    except ModelNotReady as error:
        raise for_probe(error) from None
    return json_reply(b'{"ready":true}')


async def _stats(call: HttpCall) -> Reply:
    return _encoded(statistics(call.plane, call.name, call.version))


async def _config(call: HttpCall) -> Reply:
    return _encoded(model_config(call.plane, call.name, call.version))


async def _index(call: HttpCall) -> Reply:
    return _encoded(await index(call.plane, wants_only_ready(call.body)))


async def _order(call: HttpCall) -> Reply:
    """Give an order to the server, or ask for its settings."""
    order = read_order(call.method, call.path.strip("/").split("/"), call.body)
    assert order is not None
    return _encoded(await call.plane.control(order))


async def _infer(call: HttpCall) -> Reply:
    return await infer(call.plane, call.headers, call.body, call.name, call.version, call.context)


async def _explain(call: HttpCall) -> Reply:
    if b"inference-header-content-length" not in call.headers:
        reference = reference_in(call.body)
        if reference is not None:
            given = call.headers.get(b"x-request-id")
            header_id = None if given is None else given.decode("latin-1")
            request, answer = await explain_logged(
                call.plane, call.name, call.version, reference, header_id, call.context
            )
            return reply(request, answer)
    request = read_request(call.plane, call.headers, call.body, call.name, call.version)
    return reply(request, await explain_request(call.plane, request, call.context))


async def _labels(call: HttpCall) -> Reply:
    return json_reply(await labels.labels(call.plane, call.body, call.name))


async def _labels_wanted(call: HttpCall) -> Reply:
    return json_reply(await labels.wanted(call.plane, call.body, call.name))


async def _cloudevents(call: HttpCall) -> Reply:
    return json_reply(await cloudevents.take(call.plane, call.headers, call.body))


async def _monitors(call: HttpCall) -> Reply:
    return json_reply(await monitoring.monitors(call.plane, call.name))


async def _findings(call: HttpCall) -> Reply:
    return json_reply(await monitoring.findings(call.plane, call.name))


async def _incidents(call: HttpCall) -> Reply:
    return json_reply(await monitoring.incidents(call.plane, call.query))


async def _incident(call: HttpCall) -> Reply:
    return json_reply(await monitoring.incident(call.plane, call.incident))


async def _handle_incident(call: HttpCall) -> Reply:
    return json_reply(await monitoring.incident(call.plane, call.incident, call.body))


async def _predictions(call: HttpCall) -> Reply:
    return json_reply(
        await monitoring.predictions(call.plane, call.name, call.prediction, call.query)
    )


async def _reports(call: HttpCall) -> Reply:
    return json_reply(await monitoring.reports(call.plane, call.name))


async def _report(call: HttpCall) -> Reply:
    kind, content = await monitoring.report(call.plane, call.name, call.report, call.query)
    return Reply(200, [(b"content-type", kind), *_SANDBOXED], content)


# A report quotes names from models and rows: its scripts may draw, and reach nothing.
_SANDBOXED: Final = (
    (b"content-security-policy", b"sandbox allow-scripts"),
    (b"x-content-type-options", b"nosniff"),
)


def _encoded(value: Any) -> Reply:
    return json_reply(msgspec.json.encode(value))


INFER: Final = Route(Scope.INFER, _infer)
_ORDER: Final = Route(Scope.CONTROL, _order)
_MODEL: Final = "/v2/models/{name}"
_VERSION: Final = _MODEL + "/versions/{version}"

ROUTES: Final[Mapping[str, Mapping[str, Route]]] = {
    "/openapi.json": {"GET": Route(Scope.METADATA, _description)},
    "/v2": {"GET": Route(Scope.METADATA, _server)},
    "/v2/health/live": {"GET": Route(Scope.HEALTH, _live)},
    "/v2/health/ready": {"GET": Route(Scope.HEALTH, _ready)},
    "/v2/models/stats": {"GET": Route(Scope.OBSERVE, _stats)},
    _MODEL: {"GET": Route(Scope.METADATA, _model)},
    _VERSION: {"GET": Route(Scope.METADATA, _model)},
    _MODEL + "/ready": {"GET": Route(Scope.HEALTH, _model_ready)},
    _VERSION + "/ready": {"GET": Route(Scope.HEALTH, _model_ready)},
    _MODEL + "/infer": {"POST": INFER},
    _VERSION + "/infer": {"POST": INFER},
    _MODEL + "/stats": {"GET": Route(Scope.OBSERVE, _stats)},
    _VERSION + "/stats": {"GET": Route(Scope.OBSERVE, _stats)},
    _MODEL + "/config": {"GET": Route(Scope.METADATA, _config)},
    _VERSION + "/config": {"GET": Route(Scope.METADATA, _config)},
    "/v2/repository/index": {"POST": Route(Scope.METADATA, _index)},
    "/v2/repository/models/{name}/load": {"POST": _ORDER},
    "/v2/repository/models/{name}/unload": {"POST": _ORDER},
    "/v2/cloudevents": {"POST": Route(Scope.RECORD, _cloudevents)},
    "/v2/trace/setting": {"GET": _ORDER, "POST": _ORDER},
    _MODEL + "/trace/setting": {"GET": _ORDER, "POST": _ORDER},
    "/v2/logging": {"GET": _ORDER, "POST": _ORDER},
    "/v2/incidents": {"GET": Route(Scope.OBSERVE, _incidents)},
    "/v2/incidents/{incident}": {
        "GET": Route(Scope.OBSERVE, _incident),
        "POST": Route(Scope.CONTROL, _handle_incident),
    },
    _MODEL + "/explain": {"POST": Route(Scope.EXPLAIN, _explain)},
    _VERSION + "/explain": {"POST": Route(Scope.EXPLAIN, _explain)},
    _MODEL + "/labels": {"POST": Route(Scope.LABEL, _labels)},
    # It names requests of others, and decides which labels count.
    _MODEL + "/labels/wanted": {"POST": Route(Scope.CONTROL, _labels_wanted)},
    _MODEL + "/findings": {"GET": Route(Scope.OBSERVE, _findings)},
    _MODEL + "/monitors": {"GET": Route(Scope.OBSERVE, _monitors)},
    _MODEL + "/predictions": {"GET": Route(Scope.OBSERVE, _predictions)},
    _MODEL + "/predictions/{prediction}": {"GET": Route(Scope.OBSERVE, _predictions)},
    _MODEL + "/reports": {"GET": Route(Scope.OBSERVE, _reports)},
    _MODEL + "/reports/{report}": {"GET": Route(Scope.OBSERVE, _report)},
}
"""Routes by path and method; of two that fit a path the first counts. HEAD goes with GET."""


def _told(template: str) -> str:
    """Return what spans and metrics call the path of a template, with or without a version."""
    if template.replace(_MODEL, _VERSION) in ROUTES:
        template = template.replace(_MODEL, _VERSION)
    template = template.replace("/versions/{version}", "[/versions/{model_version}]")
    return template.replace("{name}", "{model_name}")


_TABLE = [
    (template.strip("/").split("/"), methods, _told(template))
    for template, methods in ROUTES.items()
]


class Target(msgspec.Struct, frozen=True):
    """What a request is for.

    Attributes:
        route: of its path and method; None where there is none.
        methods: the routes of its path; none where nothing is at the path.
        name, version, report, prediction, incident: what the path names; empty where it names
            none.
        told: what spans and metrics call the route; `OTHER` where there is none.
    """

    route: Route | None = None
    methods: Mapping[str, Route] = {}
    name: str = ""
    version: str = ""
    report: str = ""
    told: str = OTHER
    prediction: str = ""
    incident: str = ""

    @property
    def scope(self) -> Scope | None:
        """What is asked for; None for what is not offered, and for OPTIONS."""
        return None if self.route is None else self.route.scope


def target_of(method: str, path: str) -> Target:
    """Return what a request is for; the path may have a slash at its end."""
    parts = path.strip("/").split("/")
    for template, methods, told in _TABLE:
        if len(template) == len(parts):
            named = {}
            for wanted, part in zip(template, parts, strict=True):
                if wanted[0] == "{" and part:
                    named[wanted[1:-1]] = part
                elif wanted != part:
                    break
            else:
                route = methods.get("GET" if method == "HEAD" else method)
                return Target(route, methods, told=OTHER if route is None else told, **named)
    return _NOWHERE


_NOWHERE: Final = Target()


def gives_orders(methods: Mapping[str, Route]) -> bool:
    """Whether a path is one of those that control the server."""
    return any(route.scope is Scope.CONTROL for route in methods.values())


def without_route(method: str, path: str, methods: Mapping[str, Route]) -> Reply:
    """Answer OPTIONS, and a method that the path does not have.

    Raises:
        NotFound: nothing is at the path.
    """
    if not methods:
        nowhere = f"no such path: '{path[:200]}'; see /v2 and /openapi.json"
        raise NotFound(NO_SHARED_MEMORY if "sharedmemory" in path else nowhere)
    offered = [*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS"]
    allow = (b"allow", ", ".join(offered).encode())
    if method == "OPTIONS":
        return Reply(200, [allow], b"")
    text = f"{method[:16]} is not possible at '{path[:200]}'; use {' or '.join(methods)}"
    return sentence_reply(405, text, allow)
