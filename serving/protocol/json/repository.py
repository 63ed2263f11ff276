"""Orders to the server as they come over HTTP: paths and bodies, on whichever listener."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from serving.errors import InvalidInput
from serving.protocol.json.data import UNREADABLE, reason
from serving.protocol.json.duplicates import refuse_duplicates
from serving.protocol.repository import ALLOW_SIGNATURE_CHANGE, ControlMeta


class _IndexBody(msgspec.Struct):
    ready: bool = False


class _OrderBody(msgspec.Struct):
    parameters: dict[str, Any] = {}


_decode_index = msgspec.json.Decoder(_IndexBody).decode
_decode_order = msgspec.json.Decoder(_OrderBody).decode
_decode_settings = msgspec.json.Decoder(dict[str, Any]).decode


def read_order(method: str, parts: list[str], body: bytes) -> ControlMeta | None:
    """Return what a request asks for; None when its path is no order.

    Args:
        method: GET or POST.
        parts: the path's, from `v2` on.
        body: of a POST; may be empty.

    Raises:
        InvalidInput: the body is wrong, or asks for what is not offered.
    """
    match parts[1:]:
        case ["repository", "models", model, "load"] if method == "POST":
            return load_order(model, _parameters(body, "load"))
        case ["repository", "models", model, "unload"] if method == "POST":
            _parameters(body, "unload")  # `unload_dependents`: models here have none
            return ControlMeta("unload", model)
        case ["logging"]:
            return ControlMeta("logging", settings=_settings(method, body))
        case ["trace", "setting"]:
            return ControlMeta("trace", settings=_settings(method, body))
        case ["models", model, "trace", "setting"]:
            return ControlMeta("trace", model, _settings(method, body))
    return None


def load_order(model: str, parameters: Mapping[str, Any]) -> ControlMeta:
    """Return the order of a load with its parameters.

    Raises:
        InvalidInput: there are others than `allow_signature_change`: Triton's clients could send
            another configuration, or files.
    """
    for name in sorted(parameters):  # the config before files: who sends files sends one with them
        if name != ALLOW_SIGNATURE_CHANGE:
            raise InvalidInput(
                f"failed to load '{model[:200]}', parameter '{name[:80]}' {_refusal(name)}"
            )
    allow = parameters.get(ALLOW_SIGNATURE_CHANGE, False)
    if not isinstance(allow, bool):
        raise InvalidInput(
            f"failed to load '{model[:200]}', parameter '{ALLOW_SIGNATURE_CHANGE}' must be true or "
            "false"
        )
    return ControlMeta("load", model, allow_signature_change=allow)


def _refusal(name: str) -> str:
    if name == "config":
        return (
            "takes no configuration: change model.yaml in the model's folder, then load without it"
        )
    if name.startswith("file:"):
        return "takes no files: put them into the version's folder, then load without it"
    return "is unknown: load without it"


def wants_only_ready(body: bytes) -> bool:
    """Read the body of a request for the index; it may be empty.

    Raises:
        InvalidInput: it is no JSON object, or `ready` in it is neither true nor false.
    """
    if not body.strip():
        return False
    try:
        ready = _decode_index(body).ready
    except UNREADABLE as error:
        raise InvalidInput(f"repository index: {reason(error)}") from None
    refuse_duplicates(body, "the body for the repository index")
    return ready


def _parameters(body: bytes, what: str) -> dict[str, Any]:
    if not body.strip():
        return {}
    try:
        parameters = _decode_order(body).parameters
    except UNREADABLE as error:
        raise InvalidInput(f"{what}: {reason(error)}") from None
    refuse_duplicates(body, f"the body for {what}")
    return parameters


def _settings(method: str, body: bytes) -> dict[str, Any] | None:
    if method == "GET":
        return None
    try:
        settings = _decode_settings(body)
    except UNREADABLE as error:
        raise InvalidInput(f"settings: {reason(error)}; send one JSON object") from None
    refuse_duplicates(body, "the settings")
    try:
        msgspec.msgpack.encode(settings)  # as they will travel to the control plane
    except OverflowError:
        raise InvalidInput("settings: a number has more than 64 bits; send a smaller one") from None
    return settings
