"""The table of routes: which one a path and method lead to, and what the others are told."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from serving.access.scopes import Scope
from serving.errors import ModelNotReady, NotFound
from serving.gateway.http.routes import INFER, ROUTES, gives_orders, target_of, without_route
from serving.protocol.parameters import NO_SHARED_MEMORY


@pytest.mark.parametrize(
    ("method", "path", "scope", "named"),
    [
        ("GET", "/v2", Scope.METADATA, ("", "", "")),
        ("GET", "/v2/", Scope.METADATA, ("", "", "")),
        ("HEAD", "/v2", Scope.METADATA, ("", "", "")),
        ("GET", "/v2/models/stats", Scope.OBSERVE, ("", "", "")),  # before a model of that name
        ("GET", "/v2/models/stats/stats", Scope.OBSERVE, ("stats", "", "")),
        ("GET", "/v2/models/m", Scope.METADATA, ("m", "", "")),
        ("GET", "/v2/models/{name}", Scope.METADATA, ("{name}", "", "")),
        ("POST", "/v2/models/m/infer", Scope.INFER, ("m", "", "")),
        ("POST", "/v2/models/m/versions/7/infer/", Scope.INFER, ("m", "7", "")),
        ("GET", "/v2/models/m/reports/r", Scope.OBSERVE, ("m", "", "r")),
        ("GET", "/v2/models/m/predictions/r-7", Scope.OBSERVE, ("m", "", "")),
        ("GET", "/v2/models/m/predictions", Scope.OBSERVE, ("m", "", "")),
        ("POST", "/v2/repository/models/m/load", Scope.CONTROL, ("m", "", "")),
        ("GET", "/v2/incidents", Scope.OBSERVE, ("", "", "")),
        ("GET", "/v2/incidents/a", Scope.OBSERVE, ("", "", "")),
        ("POST", "/v2/incidents/a", Scope.CONTROL, ("", "", "")),
    ],
)
def test_a_path_and_method_lead_to_a_route(method, path, scope, named):
    target = target_of(method, path)
    assert target.scope is scope
    assert (target.name, target.version, target.report) == named


@pytest.mark.parametrize("method", ["PUT", "OPTIONS", "get", "HEAD", ""])
def test_a_method_that_a_path_does_not_have_leads_nowhere(method):
    target = target_of(method, "/v2/models/m/infer")
    assert (target.route, target.scope, target.methods) == (None, None, {"POST": INFER})


@pytest.mark.parametrize(
    "path",
    ["", "/", "/v3", "/V2", "/v2/models", "/v2/models//infer", "/v2/models/m/versions//infer",
     "/v2/models/m/infer/x", "//v2//models", "/v2/models/m/n/infer"],
)  # fmt: skip
def test_other_paths_have_no_methods(path):
    target = target_of("GET", path)
    assert (target.route, target.methods, target.name) == (None, {}, "")


def test_each_path_of_the_table_leads_to_its_own_routes():
    for path, methods in ROUTES.items():
        for method, route in methods.items():
            assert target_of(method, path).route is route, (method, path)


def test_orders_are_those_of_the_repository_settings_incidents_and_labels():
    paths = {path for path, methods in ROUTES.items() if gives_orders(methods)}
    assert paths == {
        "/v2/repository/models/{name}/load", "/v2/repository/models/{name}/unload",
        "/v2/trace/setting", "/v2/models/{name}/trace/setting", "/v2/logging",
        "/v2/models/{name}/labels/wanted",
        "/v2/incidents/{incident}",
    }  # fmt: skip
    assert not gives_orders({})


async def asked(path, **plane):
    """Return what the route of a path answers over this data plane."""
    return await target_of("GET", path).route.handle(
        SimpleNamespace(plane=SimpleNamespace(**plane))
    )


async def test_health_is_that_of_the_data_plane():
    assert (await asked("/v2/health/live")).body == b'{"live":true}'
    ready = await asked("/v2/health/ready", ready=lambda: (True, []))
    assert (ready.status, ready.body) == (200, b'{"ready":true}')
    with pytest.raises(ModelNotReady, match="not ready: a; b"):
        await asked("/v2/health/ready", ready=lambda: (False, ["a", "b"]))


class TestWithoutRoute:
    @pytest.mark.parametrize(
        ("path", "allowed", "use"),
        [
            ("/v2", "GET, HEAD, OPTIONS", "use GET"),
            ("/v2/models/m/infer", "POST, OPTIONS", "use POST"),
            ("/v2/logging", "GET, POST, HEAD, OPTIONS", "use GET or POST"),
        ],
    )
    def test_what_is_offered_is_told(self, path, allowed, use):
        methods = target_of("PUT", path).methods
        asked = without_route("OPTIONS", path, methods)
        assert (asked.status, asked.headers, asked.body) == (
            200, [(b"allow", allowed.encode())], b""
        )  # fmt: skip
        wrong = without_route("PUT", path, methods)
        assert wrong.status == 405
        assert (b"allow", allowed.encode()) in wrong.headers
        assert f"PUT is not possible at '{path}'; {use}" in wrong.body.decode()

    def test_long_names_are_cut(self):
        body = without_route("X" * 99, "/" + "y" * 999, {"GET": INFER}).body
        assert b"X" * 16 + b" is" in body
        assert body.count(b"y" * 10) == 19
        assert b"X" * 17 not in body

    @pytest.mark.parametrize("method", ["GET", "OPTIONS"])
    def test_where_nothing_is_the_client_is_told_where_to_look(self, method):
        with pytest.raises(NotFound, match=f"no such path: '/{'y' * 199}'; see /v2 and /openapi"):
            without_route(method, "/" + "y" * 999, {})

    def test_shared_memory_has_a_sentence_of_its_own(self):
        with pytest.raises(NotFound) as told:
            without_route("GET", "/v2/systemsharedmemory/status", {})
        assert told.value.message == NotFound(NO_SHARED_MEMORY).message
