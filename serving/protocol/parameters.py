"""Rules for the parameters of requests, inputs and requested outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from serving.errors import InvalidInput, Unsupported
from serving.protocol.messages import Parameters

RESERVED: Final = ("triton_", "vigil_")
"""Prefixes of parameters that only a server may set, but for those in `STREAM_ENDS`."""

FINAL_RESPONSE: Final = "triton_final_response"
"""Parameter of a stream's answers: whether it is the last one to its request."""

NO_SHARED_MEMORY: Final = "shared memory is not offered; send tensors in the request"
"""The refusal of whatever asks for it; docs/what-vigil-does-not-do.md says why."""

STREAM_ENDS: Final = frozenset({"triton_enable_empty_final_response", FINAL_RESPONSE})
"""What Triton documents of its prefix. Both are about how the answers to one request end.

C++ clients send the first with every request. A request has exactly one answer here, which is its
last, so that an empty one after it never follows, as with Triton's models of that kind.
"""

_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "binary_data": (bool,),
    "binary_data_output": (bool,),
    "binary_data_size": (int,),
    "classification": (int,),
    "content_type": (str,),
    "priority": (int,),
    "sensitive_features": (str,),
    "sequence_end": (bool,),
    "sequence_id": (int, str),
    "sequence_start": (bool,),
    "timeout": (int,),
    **dict.fromkeys(STREAM_ENDS, (bool,)),
}
_NAMES: Final = {bool: "true or false", int: "an integer of 0 or more", str: "a string"}


def checked_parameters(parameters: Mapping[str, Any] | None) -> Parameters | None:
    """Return the client's parameters without those that are null; `None` when none is left.

    Raises:
        InvalidInput: a name is reserved, a value has the wrong type for its name, or an
            integer needs more than 64 bits.
        Unsupported: a tensor is said to lie in shared memory.
    """
    if not parameters:
        return None
    for name, value in parameters.items():
        if name.startswith(RESERVED) and name not in STREAM_ENDS:
            raise InvalidInput(
                f"parameter '{name[:80]}': names that begin with 'triton_' or 'vigil_' are "
                "reserved; leave it out"
            )
        if name.startswith("shared_memory_"):
            raise Unsupported(NO_SHARED_MEMORY)
        if value is not None:
            _check_value(name, value)
    if None in parameters.values():
        return {name: value for name, value in parameters.items() if value is not None} or None
    return parameters


def _check_value(name: str, value: object) -> None:
    kinds = _TYPES.get(name)
    if kinds is not None and (type(value) not in kinds or (type(value) is int and value < 0)):
        wanted = " or ".join(_NAMES[kind] for kind in kinds)
        raise InvalidInput(f"parameter '{name}' must be {wanted}")
    if type(value) is int and not -(2**63) <= value < 2**64:
        raise InvalidInput(f"parameter '{name[:80]}': the integer does not fit 64 bits")


def is_base64(parameters: Parameters | None) -> bool:
    """Whether a BYTES tensor with these parameters travels as base64 in JSON."""
    return parameters is not None and parameters.get("content_type") == "base64"
