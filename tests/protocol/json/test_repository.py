"""Orders over HTTP: what a path and a body ask for, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from serving.errors import InvalidInput
from serving.protocol.json.repository import read_order
from serving.protocol.repository import ControlMeta

TRACE = ["trace", "setting"]
SETTINGS = [["v2", "logging"], ["v2", *TRACE], ["v2", "models", "m", *TRACE]]


def test_paths_are_orders() -> None:
    load = ["v2", "repository", "models", "m", "load"]
    assert read_order("POST", load, b"") == ControlMeta("load", "m")
    assert read_order("POST", [*load[:-1], "unload"], b"{}") == ControlMeta("unload", "m")
    assert read_order("GET", load, b"") is None
    assert read_order("GET", SETTINGS[2], b"") == ControlMeta("trace", "m", None)
    assert read_order("POST", SETTINGS[0], b'{"a": 1}') == ControlMeta("logging", settings={"a": 1})
    dependents = b'{"parameters": {"unload_dependents": true}}'
    assert read_order("POST", [*load[:-1], "unload"], dependents) == ControlMeta("unload", "m")


@pytest.mark.parametrize(
    ("parameters", "what"),
    [
        ({"config": "{}"}, "'config' takes no configuration: change model.yaml"),
        ({"file:1/model.onnx": "", "config": "{}"}, "'config' takes no configuration"),
        ({"file:1/model.onnx": ""}, "'file:1/model.onnx' takes no files: put them"),
        ({"swiftly": True}, "'swiftly' is unknown: load without it"),
    ],
)
def test_parameters_of_a_load_are_refused_by_name(parameters: dict[str, Any], what: str) -> None:
    body = json.dumps({"parameters": parameters}).encode()
    with pytest.raises(InvalidInput, match=f"^failed to load 'm', parameter {what}"):
        read_order("POST", ["v2", "repository", "models", "m", "load"], body)


def test_a_load_may_allow_another_signature() -> None:
    load = ["v2", "repository", "models", "m", "load"]
    body = b'{"parameters": {"allow_signature_change": %s}}'
    allowed = ControlMeta("load", "m", allow_signature_change=True)
    assert read_order("POST", load, body % b"true") == allowed
    assert read_order("POST", load, body % b"false") == ControlMeta("load", "m")
    with pytest.raises(InvalidInput, match="'allow_signature_change' must be true or false"):
        read_order("POST", load, body % b'"yes"')


@pytest.mark.parametrize("path", SETTINGS)
@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**400])
def test_integers_that_cannot_travel_are_refused(path: list[str], number: int) -> None:
    with pytest.raises(InvalidInput, match=r"^settings: .*; send"):
        read_order("POST", path, b'{"a": {"b": [%d]}}' % number)


@pytest.mark.parametrize("path", SETTINGS)
@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"a": 1, "a": 2}', b'{"a": ' + b"[" * 5000])
def test_what_is_no_object_is_refused(path: list[str], body: bytes) -> None:
    with pytest.raises(InvalidInput, match="settings"):
        read_order("POST", path, body)
