"""Parameters in gRPC messages: `InferParameter` to and from plain scalars."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

import orjson

from serving.errors import InvalidInput
from serving.protocol.messages import Parameters
from serving.protocol.parameters import checked_parameters
from serving.protocol.pb.open_inference_pb2 import InferParameter


def decode_parameters(given: Mapping[str, InferParameter]) -> Parameters | None:
    """Return the parameters in a message's map, checked; `None` when there is none.

    Raises:
        InvalidInput: a parameter holds no value, or breaks a rule of `checked_parameters`.
    """
    values: dict[str, Any] = {}
    for name, parameter in given.items():
        choice = parameter.WhichOneof("parameter_choice")
        if choice is None:
            raise InvalidInput(f"parameter '{name[:80]}' has no value")
        values[name] = getattr(parameter, choice)
    return checked_parameters(values)


def encode_parameters(parameters: Parameters, target: MutableMapping[str, InferParameter]) -> None:
    """Write `parameters` into the map `target` of a message; lists and the like become JSON."""
    for name, value in parameters.items():
        parameter = target[name]
        # bool first: it is an int to Python.
        if isinstance(value, bool):
            parameter.bool_param = value
        elif isinstance(value, int):
            if value < 2**63:
                parameter.int64_param = value
            else:
                parameter.uint64_param = value
        elif isinstance(value, float):
            parameter.double_param = value
        elif isinstance(value, str):
            parameter.string_param = value
        else:
            parameter.string_param = orjson.dumps(value).decode()
