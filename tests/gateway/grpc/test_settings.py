"""gRPC messages of the `trace` and `logging` extensions: what is passed on, and told back."""

from __future__ import annotations

from typing import Any

import pytest

from serving.dataplane.context import NO_CONTEXT
from serving.errors import InvalidInput, ModelNotReady
from serving.gateway.grpc.settings import log_settings, trace_setting
from serving.protocol.pb import open_inference_pb2 as pb
from serving.protocol.repository import ControlMeta


class ControlPlane:
    """Writes down what it is asked, and answers `found`."""

    def __init__(self) -> None:
        self.asked: list[ControlMeta] = []
        self.found: dict[str, Any] = {}

    async def __call__(self, asked: ControlMeta) -> Any:
        self.asked.append(asked)
        return self.found


@pytest.fixture
def control(plane: Any) -> ControlPlane:
    plane.control = control = ControlPlane()
    return control


def trace(model: str = "", **settings: list[str]) -> Any:
    request = pb.TraceSettingRequest(model_name=model)
    for name, value in settings.items():
        request.settings[name].value.extend(value)
    return request


def log(**settings: dict[str, Any]) -> Any:
    request = pb.LogSettingsRequest()
    for name, value in settings.items():
        request.settings[name].CopyFrom(pb.LogSettingsRequest.SettingValue(**value))
    return request


@pytest.mark.parametrize("model", ["", "m"])
@pytest.mark.parametrize(
    ("given", "changes"),
    [
        ({}, {}),
        ({"trace_rate": ["7"]}, {"trace_rate": ["7"]}),
        ({"trace_level": ["A", "B"]}, {"trace_level": ["A", "B"]}),
        ({"trace_rate": []}, {"trace_rate": None}),
        ({"trace_rate": [""]}, {"trace_rate": [""]}),
        ({"trace_rate": [], "unknown": ["\n"]}, {"trace_rate": None, "unknown": ["\n"]}),
    ],
)
async def test_changes_of_tracing_are_passed_on(
    plane: Any, control: ControlPlane, model: str, given: Any, changes: Any
) -> None:
    await trace_setting(plane, trace(model, **given), NO_CONTEXT)
    assert control.asked == [ControlMeta("trace", model, changes)]


async def test_trace_settings_are_lists_of_text(plane: Any, control: ControlPlane) -> None:
    control.found = {"trace_level": ["A", "B"], "trace_rate": "1000", "trace_file": "", "none": []}
    answer = await trace_setting(plane, trace(), NO_CONTEXT)
    assert {name: list(value.value) for name, value in answer.settings.items()} == {
        "trace_level": ["A", "B"],
        "trace_rate": ["1000"],
        "trace_file": [""],
        "none": [],
    }


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ({"bool_param": False}, False),
        ({"bool_param": True}, True),
        ({"uint32_param": 0}, 0),
        ({"uint32_param": 2**32 - 1}, 2**32 - 1),
        ({"string_param": ""}, ""),
        ({"string_param": "ISO8601"}, "ISO8601"),
        ({}, None),
    ],
)
async def test_a_change_of_logging_keeps_its_type(
    plane: Any, control: ControlPlane, given: Any, value: Any
) -> None:
    await log_settings(plane, log(a=given, b={"bool_param": True}), NO_CONTEXT)
    assert control.asked == [ControlMeta("logging", "", {"a": value, "b": True})]
    settings = control.asked[0].settings
    assert settings is not None
    assert type(settings["a"]) is type(value)


async def test_log_settings_are_told_in_their_types(plane: Any, control: ControlPlane) -> None:
    found = {
        "off": False,
        "on": True,
        "zero": 0,
        "most": 2**31 - 1,
        "file": "",
        "format": "default",
    }
    control.found = found
    answer = await log_settings(plane, log(), NO_CONTEXT)
    kinds = {name: value.WhichOneof("parameter_choice") for name, value in answer.settings.items()}
    assert {name: getattr(answer.settings[name], kind) for name, kind in kinds.items()} == found
    assert kinds == {
        "off": "bool_param",
        "on": "bool_param",
        "zero": "uint32_param",
        "most": "uint32_param",
        "file": "string_param",
        "format": "string_param",
    }


@pytest.mark.parametrize(("method", "request_"), [(trace_setting, trace()), (log_settings, log())])
@pytest.mark.parametrize("error", [InvalidInput("no such setting"), ModelNotReady("not now")])
async def test_what_the_control_plane_refuses_is_refused(
    plane: Any, method: Any, request_: Any, error: Exception
) -> None:
    async def refuse(_asked: ControlMeta) -> Any:
        raise error

    plane.control = refuse
    with pytest.raises(type(error), match=str(error)):
        await method(plane, request_, NO_CONTEXT)
