"""The protocol's messages as plain values; every transport converts to and from these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

Parameters = Mapping[str, Any]
"""OIP parameters: scalars by name (bool, int, float, str)."""


class Tensor(msgspec.Struct, frozen=True):
    """One named tensor.

    `data` has exactly the shape `shape` and the dtype that `datatypes.NUMPY_OF` gives. It may
    be a read-only view on the request's body and must never be written to.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: np.ndarray
    parameters: Parameters | None = None


class RequestedOutput(msgspec.Struct, frozen=True):
    """An output the client asked for by name. `parameters` are the client's for that output."""

    name: str
    parameters: Parameters | None = None


class InferRequest(msgspec.Struct, frozen=True):
    """A decoded inference request.

    `model_version` is empty when the client named none. `outputs` is empty when the client
    wants all of them. `id` is never empty: the transport makes one when the client sent none.
    """

    model_name: str
    model_version: str
    id: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[RequestedOutput, ...] = ()
    parameters: Parameters | None = None


class InferResponse(msgspec.Struct, frozen=True):
    """The answer to an `InferRequest`; `model_version` is the version that computed it."""

    model_name: str
    model_version: str
    id: str
    outputs: tuple[Tensor, ...]
    parameters: Parameters | None = None
