"""The OpenAPI description against the routes, and against itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from serving.gateway.http.routes import ROUTES
from serving.gateway.metadata import VERSION
from serving.gateway.openapi import description


# Described, and served by a change that is not merged yet: to be emptied then.
@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    return description()


def operations(described: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in described["paths"].items():
        for method, operation in item.items():
            yield path, method.upper(), operation


def test_every_route_is_described_and_everything_described_is_a_route(
    described: dict[str, Any],
) -> None:
    offered: dict[str, set[str]] = {path: set(methods) for path, methods in ROUTES.items()}
    found: dict[str, set[str]] = {}
    for path, method, _ in operations(described):
        found.setdefault(path, set()).add(method)
    assert found == offered


def test_operations_have_a_name_of_their_own_and_say_what_can_happen(
    described: dict[str, Any],
) -> None:
    names = [operation["operationId"] for _, _, operation in operations(described)]
    assert len(set(names)) == len(names)
    for path, _, operation in operations(described):
        assert {"200", "400", "404", "500", "503"} <= operation["responses"].keys(), path
        assert operation["summary"].endswith(".")
        parameters = [_resolved(described, one) for one in operation.get("parameters", [])]
        in_path = {one["name"] for one in parameters if one["in"] == "path"}
        assert in_path == {part[1:-1] for part in path.split("/") if part.startswith("{")}


def _resolved(described: dict[str, Any], part: dict[str, Any]) -> Any:
    if "$ref" not in part:
        return part
    found: Any = described
    for step in part["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return found


def _references(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        if "$ref" in part:
            yield part
        for value in part.values():
            yield from _references(value)
    elif isinstance(part, list):
        for value in part:
            yield from _references(value)


def test_references_lead_somewhere_and_nothing_is_left_over(described: dict[str, Any]) -> None:
    used = set()
    for reference in _references(described):
        assert _resolved(described, reference)
        used.add(reference["$ref"])
    parts = described["components"]
    assert used == {f"#/components/{kind}/{name}" for kind in parts for name in parts[kind]}


async def test_it_is_served(ask: Any, described: dict[str, Any]) -> None:
    for path in ("/openapi.json", "/openapi.json/"):
        answer = await ask("GET", path)
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == described
    assert described["openapi"] == "3.1.0"
    assert described["info"]["version"] == VERSION
