"""The HTTP routes: one table of paths and methods, and the handlers behind them.

The table's templates are the paths of the OpenAPI description.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from serving.access.web import refuse_browsers
from serving.dataplane.context import RequestContext
from serving.dataplane.handler import DataPlane
from serving.dataplane.hooks.failed_requests import for_probe
from serving.errors import ModelNotReady, NotFound
from serving.gateway import metadata, openapi
from serving.gateway.extensions import labels
from serving.gateway.extensions import monitoring as extensions
from serving.gateway.extensions.model_configuration import model_config
from serving.gateway.extensions.repository_index import index
from serving.gateway.extensions.statistics import statistics
from serving.gateway.http.headers import Headers
from serving.gateway.http.inference import infer, read_request, reply
from serving.gateway.http.replies import JSON, Reply, json_reply
from serving.protocol.json.repository import read_order, wants_only_ready
from serving.protocol.metadata import encode_metadata
from serving.protocol.parameters import NO_SHARED_MEMORY
from serving.protocol.status import error_body


class Call(msgspec.Struct, frozen=True):
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


Handler = Callable[[Call], Awaitable[Reply]]


async def _description(call: Call) -> Reply:
    # The first time it takes a moment, for which nobody else is to wait.
    return json_reply(await asyncio.to_thread(openapi.encoded, call.root_path))


async def _server(call: Call) -> Reply:
    return json_reply(encode_metadata(metadata.server_metadata(call.plane)))


async def _live(_call: Call) -> Reply:
    return json_reply(b'{"live":true}')


async def _ready(call: Call) -> Reply:
    ready, reasons = call.plane.ready()
    if not ready:
        raise for_probe(ModelNotReady("not ready: " + "; ".join(reasons)))
    return json_reply(b'{"ready":true}')


async def _model(call: Call) -> Reply:
    return json_reply(encode_metadata(metadata.model_metadata(call.plane, call.name, call.version)))


async def _model_ready(call: Call) -> Reply:
    try:
        metadata.require_ready(call.plane, call.name, call.version)
    except ModelNotReady as error:
        raise for_probe(error) from None
    return json_reply(b'{"ready":true}')


async def _stats(call: Call) -> Reply:
    return _encoded(statistics(call.plane, call.name, call.version))


async def _config(call: Call) -> Reply:
    return _encoded(model_config(call.plane, call.name, call.version))


async def _index(call: Call) -> Reply:
    return _encoded(await index(call.plane, wants_only_ready(call.body)))


async def _order(call: Call) -> Reply:
    """Give an order to the server, or ask for its settings."""
    if call.method == "POST":
        refuse_browsers(call.headers)
    order = read_order(call.method, call.path.strip("/").split("/"), call.body)
    assert order is not None
    return _encoded(await call.plane.control(order))


async def infer_route(call: Call) -> Reply:
    """Answer an inference whose path has not been met before."""
    return await infer(call.plane, call.headers, call.body, call.name, call.version, call.context)


async def _explain(call: Call) -> Reply:
    request = read_request(call.plane, call.headers, call.body, call.name, call.version)
    return reply(request, await extensions.explain_request(call.plane, request, call.context))


async def _labels(call: Call) -> Reply:
    return json_reply(await labels.labels(call.plane, call.body, call.name))


async def _findings(call: Call) -> Reply:
    return json_reply(await extensions.findings(call.plane, call.name))


async def _report(call: Call) -> Reply:
    kind, content = await extensions.report(call.plane, call.name, call.report, call.query)
    return Reply(200, [(b"content-type", kind), *_SANDBOXED], content)


# A report quotes names from models and rows: its scripts may draw, and reach nothing.
_SANDBOXED: Final = (
    (b"content-security-policy", b"sandbox allow-scripts"),
    (b"x-content-type-options", b"nosniff"),
)


def _encoded(value: Any) -> Reply:
    return json_reply(msgspec.json.encode(value))


_MODEL: Final = "/v2/models/{name}"
_VERSION: Final = _MODEL + "/versions/{version}"

ROUTES: Final[Mapping[str, Mapping[str, Handler]]] = {
    "/openapi.json": {"GET": _description},
    "/v2": {"GET": _server},
    "/v2/health/live": {"GET": _live},
    "/v2/health/ready": {"GET": _ready},
    "/v2/models/stats": {"GET": _stats},
    _MODEL: {"GET": _model},
    _VERSION: {"GET": _model},
    _MODEL + "/ready": {"GET": _model_ready},
    _VERSION + "/ready": {"GET": _model_ready},
    _MODEL + "/infer": {"POST": infer_route},
    _VERSION + "/infer": {"POST": infer_route},
    _MODEL + "/stats": {"GET": _stats},
    _VERSION + "/stats": {"GET": _stats},
    _MODEL + "/config": {"GET": _config},
    _VERSION + "/config": {"GET": _config},
    "/v2/repository/index": {"POST": _index},
    "/v2/repository/models/{name}/load": {"POST": _order},
    "/v2/repository/models/{name}/unload": {"POST": _order},
    "/v2/trace/setting": {"GET": _order, "POST": _order},
    _MODEL + "/trace/setting": {"GET": _order, "POST": _order},
    "/v2/logging": {"GET": _order, "POST": _order},
    _MODEL + "/explain": {"POST": _explain},
    _VERSION + "/explain": {"POST": _explain},
    _MODEL + "/labels": {"POST": _labels},
    _MODEL + "/findings": {"GET": _findings},
    _MODEL + "/reports/{report}": {"GET": _report},
}
"""Handlers by path and method; of two that fit a path the first counts. HEAD goes with GET."""

_TABLE = [(template.strip("/").split("/"), methods) for template, methods in ROUTES.items()]


def find(path: str) -> tuple[Mapping[str, Handler], dict[str, str]]:
    """Return the handlers of a path, with or without a slash at its end, and what it names.

    Raises:
        NotFound: nothing is there.
    """
    parts = path.strip("/").split("/")
    for template, methods in _TABLE:
        if len(template) == len(parts):
            named = {}
            for wanted, part in zip(template, parts, strict=True):
                if wanted[0] == "{" and part:
                    named[wanted[1:-1]] = part
                elif wanted != part:
                    break
            else:
                return methods, named
    if "sharedmemory" in path:
        raise NotFound(NO_SHARED_MEMORY)
    raise NotFound(f"no such path: '{path[:200]}'; see /v2 and /openapi.json")


def gives_orders(methods: Mapping[str, Handler]) -> bool:
    """Whether a route is one of those that control the server."""
    return _order in methods.values()


def without_handler(method: str, path: str, methods: Mapping[str, Handler]) -> Reply:
    """Answer OPTIONS, and a method that the path does not have."""
    offered = [*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS"]
    allow = (b"allow", ", ".join(offered).encode())
    if method == "OPTIONS":
        return Reply(200, [allow], b"")
    text = f"{method[:16]} is not possible at '{path[:200]}'; use {' or '.join(methods)}"
    return Reply(405, [JSON, allow], error_body(text))
