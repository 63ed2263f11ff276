"""Infer bodies over HTTP, read in one pass where the model's requests before were of this form.

Clients send other ids, numbers and sizes with every request, and the same datatypes in the same
order. Decoders made for these (`json.kinds`) know what the numbers are before they come. Whatever
does not fit, or is wrong, takes the way of `json.codec`, whose results these are.
"""

from __future__ import annotations

import struct
from math import prod
from typing import Final

import numpy as np
from msgspec import UNSET

from serving.errors import VigilError
from serving.protocol.datatypes import NUMPY_OF
from serving.protocol.ids import chosen_id
from serving.protocol.json.codec import decode_wire
from serving.protocol.json.data import UNREADABLE, decode_data, packer
from serving.protocol.json.kinds import (
    AnyInput,
    Binary,
    Decode,
    KnownRequest,
    Text,
    Unfit,
    decoder,
    kind_of,
    kinds_of,
    known_outputs,
    known_parameters,
)
from serving.protocol.json.wire import NO_DATA, WireRequest, read_request
from serving.protocol.messages import InferRequest, Parameters, RequestedOutput, Tensor
from serving.protocol.parameters import is_base64
from serving.protocol.recent import Recent
from serving.protocol.tensors import tensor_from_buffer

_MOST_MODELS: Final = 256
_MOST_FORMS: Final = 4
"""Forms of one model's requests that are tried: flat and nested lists, with and without binary."""

_LARGE: Final = 1 << 20
"""Bytes of JSON beyond which only the form that came last is tried; a try may read all of it."""

_LONGEST_NAME: Final = 512
_PATIENCE: Final = 64
"""Requests of no known form in a row after which one of `_SELDOM` is learned from."""

_SELDOM: Final = 16
_WRONG: Final = (Unfit, VigilError, struct.error, OverflowError, *UNREADABLE)


class RequestReader:
    """Reads infer bodies; remembers the forms of each model's requests."""

    def __init__(self) -> None:
        self._known: Recent[tuple[str, str], list[Decode]] = Recent(_MOST_MODELS)
        self._misses = 0

    def read(
        self,
        body: bytes | memoryview,
        json_length: int | None,
        model_name: str,
        model_version: str,
        request_id: str | None = None,
    ) -> InferRequest:
        """Return what `json.codec.decode_request` returns.

        `json_length` must not be more than `body` has.

        Raises:
            InvalidInput, Unsupported: as there.
        """
        if json_length is None:
            text, rest = bytes(body), None
        else:
            text, rest = bytes(body[:json_length]), memoryview(body)[json_length:]
        known = self._known[model_name, model_version]
        if known is not None:
            request: InferRequest | None
            try:
                wire = known[0](text)
                request = _request(wire, text, rest, model_name, model_version, request_id)
            except _WRONG:
                request = None
                if len(known) > 1 and len(text) <= _LARGE:
                    request = self._by_others(
                        known, text, rest, model_name, model_version, request_id
                    )
            if request is not None:
                self._misses = 0
                return request
        return self._by_codec(text, rest, model_name, model_version, request_id)

    def _by_others(
        self,
        known: list[Decode],
        text: bytes,
        rest: memoryview | None,
        model_name: str,
        model_version: str,
        request_id: str | None,
    ) -> InferRequest | None:
        """Read a request that is not of the form that came last; None where it is of none."""
        for place, decode in enumerate(known[1:], 1):
            try:
                wire = decode(text)
                request = _request(wire, text, rest, model_name, model_version, request_id)
            except _WRONG:  # if it is wrong, and not only different, the codec finds the words
                continue
            known.insert(0, known.pop(place))
            return request
        return None

    def _by_codec(
        self,
        text: bytes,
        rest: memoryview | None,
        model_name: str,
        model_version: str,
        request_id: str | None,
    ) -> InferRequest:
        wire = read_request(text)
        request = decode_wire(wire, rest, model_name, model_version, request_id)
        self._misses += 1
        if self._misses <= _PATIENCE or not self._misses % _SELDOM:
            self._learn(wire, model_name, model_version)
        return request

    def _learn(self, wire: WireRequest, model_name: str, model_version: str) -> None:
        kinds = kinds_of(wire)
        if kinds is None or len(model_name) + len(model_version) > _LONGEST_NAME:
            return
        decode = decoder(kinds)
        known = self._known[model_name, model_version]
        if known is None:
            self._known[model_name, model_version] = [decode]
        elif decode not in known:
            # The last place is for whoever is new: a flood of forms that never come again pushes
            # out one another, and nobody who has come twice.
            del known[_MOST_FORMS - 1 :]
            known.append(decode)


def _request(
    wire: KnownRequest,
    text: bytes,
    rest: memoryview | None,
    model_name: str,
    model_version: str,
    request_id: str | None,
) -> InferRequest:
    """Return the request that was read from `text`; `rest` are the bytes behind it, if any.

    Raises:
        one of `_WRONG`: the codec has to look at it.
    """
    inputs, keys = _inputs(wire.inputs, rest)
    outputs: tuple[RequestedOutput, ...] = ()
    parameters: Parameters | None = None
    if wire.outputs is not NO_DATA:
        outputs, colons = known_outputs(wire.outputs)
        keys += 1 + colons
    if wire.parameters is not NO_DATA:
        parameters, colons = known_parameters(wire.parameters)
        keys += 1 + colons
    own = wire.id
    if own is UNSET:
        own = None
    else:
        keys += 1
    # As in `json.wire.read_request`: as many colons as keys mean that no key stands twice.
    if text.count(b":") != keys and (b"\\" in text or text.count(b":") != keys + _colons(wire)):
        raise Unfit
    ident = chosen_id(own, request_id)
    return InferRequest(model_name, model_version, ident, inputs, outputs, parameters)


def _inputs(given: tuple[AnyInput, ...], rest: memoryview | None) -> tuple[tuple[Tensor, ...], int]:
    """Return the inputs, and how many keys the request has so far."""
    tensors = []
    keys, at = 1, 0
    for one in given:
        name, datatype, shape = one.name, one.datatype, one.shape
        if 0 in shape:
            raise Unfit
        keys += one.keys
        if isinstance(one, Binary):
            end = at + one.parameters.binary_data_size
            if rest is None or not at <= end <= len(rest):
                raise Unfit
            tensors.append(tensor_from_buffer(name, datatype, shape, rest[at:end]))
            at = end
            continue
        parameters = None
        if one.parameters is not NO_DATA:
            parameters, colons = known_parameters(one.parameters)
            keys += 1 + colons
        code = one.codes.get(datatype)
        if code is not None:
            count = prod(shape)
            if len(one.data) != count:
                raise Unfit
            data = np.ndarray(shape, NUMPY_OF[datatype], packer(count, code)(*one.data))
        elif isinstance(one, Text):
            content = bytes(one.data)
            if kind_of(datatype, content) is not Text:  # there is a quicker form to be learned
                raise Unfit
            data = decode_data(name, datatype, shape, content, is_base64(parameters))
        else:
            raise Unfit
        tensors.append(Tensor(name, datatype, shape, data, parameters))
    if rest and at != len(rest):
        raise Unfit
    return tuple(tensors), keys


def _colons(wire: KnownRequest) -> int:
    """Return how many colons are in texts that are not in `outputs` or in parameters."""
    colons = wire.id.count(":") if wire.id else 0
    for one in wire.inputs:
        colons += one.name.count(":") + one.datatype.count(":")
        if isinstance(one, Text):
            colons += bytes(one.data).count(b":")
    return colons
