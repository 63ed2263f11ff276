"""gRPC methods of the `trace` and `logging` extensions."""

from __future__ import annotations

from typing import Any

from serving.dataplane.context import RequestContext
from serving.dataplane.handler import DataPlane
from serving.protocol.pb import open_inference_pb2 as pb
from serving.protocol.repository import ControlMeta


async def trace_setting(plane: DataPlane, request: Any, _context: RequestContext) -> Any:
    """Trace settings of all models or of one, after changing those that are given."""
    # A setting without values is cleared.
    changes = {name: list(given.value) or None for name, given in request.settings.items()}
    found = await plane.control(ControlMeta("trace", request.model_name, changes))
    values = {name: value if isinstance(value, list) else [value] for name, value in found.items()}
    return pb.TraceSettingResponse(
        settings={
            name: pb.TraceSettingResponse.SettingValue(value=value)
            for name, value in values.items()
        }
    )


async def log_settings(plane: DataPlane, request: Any, _context: RequestContext) -> Any:
    """Log settings, after changing those that are given."""
    changes = {}
    for name, given in request.settings.items():
        field = given.WhichOneof("parameter_choice")
        changes[name] = None if field is None else getattr(given, field)
    found = await plane.control(ControlMeta("logging", settings=changes))
    return pb.LogSettingsResponse(
        settings={name: _log_value(value) for name, value in found.items()}
    )


def _log_value(value: bool | int | str) -> Any:
    if isinstance(value, bool):
        return pb.LogSettingsResponse.SettingValue(bool_param=value)
    if isinstance(value, int):
        return pb.LogSettingsResponse.SettingValue(uint32_param=value)
    return pb.LogSettingsResponse.SettingValue(string_param=value)
