"""A real instance against its own description: schemathesis asks, and checks every answer."""

import functools
import re
import shutil
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
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from serving.gateway.http.routes import ROUTES
from serving.gateway.openapi import description

pytestmark = pytest.mark.e2e
EXAMPLES = settings.default.max_examples // 8
MODELS = ["cancer", "digits", "loans"]
SPARE = "lab"
"""The model that orders are about: the other tests do not need it."""
ORDERS = ("/load", "/unload", "/trace/setting")
ROWS_OF_A_REPORT = 30
# As long as a report may take; everything else is quick, where there is not much else to do.
PATIENCE_S = 150
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,  # what the description forbids is refused
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
    make_lab: Callable[..., Path],
    running: Callable[..., Any],
    eventually: Callable[..., Any],
    when_ready: Callable[..., httpx.Response],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Any]:
    """The demo, once its monitor answers too, and its explainers: what is not there may say 503."""
    models = tmp_path_factory.mktemp("models") / "all"
    shutil.copytree(demo_root, models)
    shutil.copytree(make_lab() / SPARE, models / SPARE)
    with running(models, tmp_path_factory.mktemp("openapi")) as started:
        findings = f"{started.url}/v2/models/cancer/findings"
        eventually("monitor", lambda: httpx.get(findings, timeout=60).status_code == 200, 200)
        for example in sorted(models.glob("*/example.json")):
            url = f"{started.url}/v2/models/{example.parent.name}/explain"
            body = example.read_bytes()
            explained = when_ready(functools.partial(httpx.post, url, content=body, timeout=200))
            assert explained.status_code in (200, 501), explained.text
        assert len(started.members("explainer")) == 3
        yield started


@pytest.fixture(scope="module")
def schema(server: Any) -> Any:
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json")


@pytest.mark.parametrize(("path", "method", "mode"), CASES)
def test_answers_are_as_described(
    schema: Any, server: Any, path: str, method: str, mode: GenerationMode
) -> None:
    operation = schema[path][method]
    names = st.sampled_from([*names_for(path), None])

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
        case.call_and_validate(base_url=server.url, checks=CHECKS, timeout=PATIENCE_S)

    ask()


def names_for(path: str) -> list[str]:
    if path.endswith(ORDERS):
        return [SPARE]
    if "{report}" in path:  # it takes seconds; see the next test for those that are made
        return []
    return MODELS


@pytest.mark.parametrize("written", [pytest.param("html", marks=pytest.mark.long), "json"])
def test_a_report_is_as_described(
    schema: Any, server: Any, demo_root: Path, eventually: Any, written: str
) -> None:
    example = (demo_root / "cancer" / "example.json").read_bytes()
    url = f"{server.url}/v2/models/cancer"
    for _ in range(ROWS_OF_A_REPORT):
        httpx.post(f"{url}/infer", content=example, timeout=PATIENCE_S)

    def report() -> httpx.Response | None:
        answer = httpx.get(f"{url}/reports/drift?format={written}", timeout=PATIENCE_S)
        return answer if answer.status_code == 200 else None

    answer = eventually("its rows", report, PATIENCE_S)
    schema["/v2/models/{name}/reports/{report}"]["GET"].validate_response(answer)
    if written == "json":
        assert answer.json()["reference_rows"] > 100


def test_orders_that_are_obeyed_are_answered_as_described(schema: Any, server: Any) -> None:
    def order(verb: str) -> list[dict[str, str]]:
        operation = schema[f"/v2/repository/models/{{name}}/{verb}"]["POST"]
        answer = httpx.post(f"{server.url}/v2/repository/models/{SPARE}/{verb}", timeout=PATIENCE_S)
        assert answer.status_code == 200, answer.text
        operation.validate_response(answer)
        index = httpx.post(f"{server.url}/v2/repository/index", timeout=PATIENCE_S)
        schema["/v2/repository/index"]["POST"].validate_response(index)
        return [entry for entry in index.json() if entry["name"] == SPARE]

    for _ in range(2):
        assert [entry["state"] for entry in order("load")] == ["READY"]
        assert [entry["reason"] for entry in order("unload")] == ["unloaded"]


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        ("/v2/logging", "log_verbose_level", 0),
        ("/v2/trace/setting", "trace_level", ["OFF"]),
        ("/v2/models/{name}/trace/setting", "trace_level", ["OFF"]),
    ],
)
def test_settings_that_are_taken_are_answered_as_described(
    schema: Any, server: Any, path: str, key: str, value: Any
) -> None:
    httpx.post(
        f"{server.url}/v2/repository/models/{SPARE}/load", timeout=PATIENCE_S
    ).raise_for_status()
    url = server.url + path.format(name=SPARE)
    for answer, method in (
        (httpx.post(url, json={key: value}, timeout=PATIENCE_S), "POST"),
        (httpx.get(url, timeout=PATIENCE_S), "GET"),
    ):
        assert answer.status_code == 200, answer.text
        assert answer.json()[key] == value
        schema[path][method].validate_response(answer)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("verb", ["infer", "explain"])
def test_the_examples_of_the_models_are_answered_as_described(
    schema: Any, server: Any, demo_root: Path, model: str, verb: str
) -> None:
    operation = schema[f"/v2/models/{{name}}/{verb}"]["POST"]
    body = (demo_root / model / "example.json").read_bytes()
    answer = httpx.post(f"{server.url}/v2/models/{model}/{verb}", content=body, timeout=PATIENCE_S)
    assert answer.status_code in ({200} if verb == "infer" else {200, 422, 501}), answer.text
    operation.validate_response(answer)


def test_every_error_of_a_route_is_described(server: Any) -> None:
    paths = description()["paths"]
    for path, method in OPERATIONS:
        # Numbers, of versions and incidents, and names read the same "1".
        url = server.url + re.sub(r"\{\w+\}", "1", path)
        answer = httpx.request(
            method, url, content=b"{" if method == "POST" else None, timeout=PATIENCE_S
        )
        assert str(answer.status_code) in paths[path][method.lower()]["responses"], path
