"""A real instance against its own description: schemathesis asks, and checks every answer."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from serving.gateway.openapi import description
from serving.gateway.routes import ROUTES

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
EXAMPLES = 12
MODELS = ["cancer", "digits", "loans"]
ROWS_OF_A_REPORT = 30
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
OPERATIONS = [(path, method) for path, methods in ROUTES.items() for method in methods]
# Of a request without a body nothing can be wrong but its path.
CASES = [
    (path, method, mode)
    for path, method in OPERATIONS
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    if mode is GenerationMode.POSITIVE or method == "POST"
]


@pytest.fixture(scope="module")
def server(
    demo_root: Path,
    running: Callable[..., Any],
    eventually: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Any]:
    """The demo, once its monitor and explainers answer too: what is not ready may say 503."""
    with running(demo_root, tmp_path_factory.mktemp("openapi")) as started:
        findings = f"{started.url}/v2/models/cancer/findings"
        eventually("monitor", lambda: httpx.get(findings, timeout=5).status_code == 200, 90)
        eventually("explainers", lambda: len(started.members("explainer")) == 3, 90)
        # A report needs rows; the other models would only make the test longer.
        example = (demo_root / "cancer" / "example.json").read_bytes()
        for _ in range(ROWS_OF_A_REPORT):
            httpx.post(f"{started.url}/v2/models/cancer/infer", content=example, timeout=30)
        report = f"{started.url}/v2/models/cancer/reports/drift"
        eventually("report", lambda: httpx.get(report, timeout=60).status_code == 200, 90)
        yield started


@pytest.fixture(scope="module")
def schema(server: Any) -> Any:
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json")


@pytest.mark.parametrize(("path", "method", "mode"), CASES)
def test_answers_are_as_described(
    schema: Any, server: Any, path: str, method: str, mode: GenerationMode
) -> None:
    operation = schema[path][method]
    known = ["cancer"] if "{report}" in path else MODELS
    names = st.sampled_from([*known, None])

    @given(case=operation.as_strategy(generation_mode=mode), name=names)
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Any, name: str | None) -> None:
        if name is not None and "name" in (case.path_parameters or {}):
            case.path_parameters["name"] = name
        if name is not None and "version" in (case.path_parameters or {}):
            case.path_parameters["version"] = "1"
        case.call_and_validate(base_url=server.url, checks=CHECKS, timeout=30)

    ask()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("verb", ["infer", "explain"])
def test_the_examples_of_the_models_are_answered_as_described(
    schema: Any, server: Any, demo_root: Path, model: str, verb: str
) -> None:
    operation = schema[f"/v2/models/{{name}}/{verb}"]["POST"]
    body = (demo_root / model / "example.json").read_bytes()
    answer = httpx.post(f"{server.url}/v2/models/{model}/{verb}", content=body, timeout=60)
    assert answer.status_code in ({200} if verb == "infer" else {200, 422, 501}), answer.text
    operation.validate_response(answer)


def test_every_error_of_a_route_is_described(server: Any) -> None:
    paths = description()["paths"]
    for path, method in OPERATIONS:
        url = server.url + path.format(name="nothing", version="1", report="drift")
        answer = httpx.request(method, url, content=b"{" if method == "POST" else None, timeout=10)
        assert str(answer.status_code) in paths[path][method.lower()]["responses"], path
