"""From an `events` message to KServe's pairs: an inference request and its answer for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import numpy as np
import orjson

from serving.channel.messages.observation import INPUT_PREFIX, OUTPUT_PREFIX, EventMeta
from serving.config import InputSpec, ModelConfig, OutputSpec
from serving.errors import InvalidInput
from serving.protocol.cloudevents import COMPONENT, JSON, REQUEST, RESPONSE, SERVICE, CloudEvent
from serving.protocol.json.data import encode_data
from serving.protocol.messages import Tensor

SOURCE: Final = "vigil"
PREDICTOR: Final = "predictor"

Pair = tuple[CloudEvent, CloudEvent]
_Specs = Sequence[InputSpec | OutputSpec]


def pairs(meta: EventMeta, tensors: Sequence[Tensor], config: ModelConfig) -> Iterator[Pair]:
    """Yield a pair for each request of a message of answered requests.

    Sensitive attributes are left out: they never leave the monitor except as counts.

    Args:
        meta, tensors: the message.
        config: of the model version that it is about.

    Raises:
        InvalidInput: an input or output of the model is not in the message.
    """
    inputs = [spec for spec in config.inputs if not spec.sensitive]
    given = {tensor.name: tensor.data for tensor in tensors}
    asked = _columns(inputs, INPUT_PREFIX, given)
    answered = _columns(config.outputs, OUTPUT_PREFIX, given)
    whens = _times(meta)
    start = 0
    for position, (ident, rows) in enumerate(zip(meta.ids, meta.rows, strict=True)):
        stop = start + rows
        when, took_s = whens[position]
        own = _own_id(meta, position)
        extensions = {SERVICE: meta.model, COMPONENT: PREDICTOR, **_trace(meta, position)}
        request = {"id": ident, "inputs": _written(inputs, asked, start, stop, config)}
        answer = {
            "model_name": meta.model,
            "model_version": meta.upstream or meta.version,
            "id": ident,
            "outputs": _written(config.outputs, answered, start, stop, config),
        }
        yield (
            CloudEvent(own, SOURCE, REQUEST, _dumps(request), JSON, when - took_s, extensions),
            CloudEvent(own, SOURCE, RESPONSE, _dumps(answer), JSON, when, extensions),
        )
        start = stop


def _columns(specs: _Specs, prefix: str, given: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    try:
        return [given[prefix + spec.name] for spec in specs]
    except KeyError as error:
        raise InvalidInput(f"the message holds no '{error.args[0]}'") from None


def _written(
    specs: _Specs, columns: Sequence[np.ndarray], start: int, stop: int, config: ModelConfig
) -> list[dict[str, Any]]:
    """Return the tensors of rows `start` to `stop` as clients write and read them."""
    written = []
    for spec, column in zip(specs, columns, strict=True):
        data = column[start:stop]
        # Without rows: one for the request, and inside the value of its only row.
        if not config.row_axis or (isinstance(spec, InputSpec) and spec.rowless):
            data = data[0]
        written.append(_tensor(Tensor(spec.name, spec.datatype, data.shape, data)))
    return written


def _tensor(tensor: Tensor) -> dict[str, Any]:
    one: dict[str, Any] = {
        "name": tensor.name,
        "shape": tensor.shape,
        "datatype": tensor.datatype,
    }
    try:
        return {**one, "data": encode_data(tensor, base64=False)}
    except InvalidInput:  # bytes that are no text
        parameters = {"content_type": "base64"}
        return {**one, "parameters": parameters, "data": encode_data(tensor, base64=True)}


def _dumps(body: dict[str, Any]) -> bytes:
    return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)


def _own_id(meta: EventMeta, position: int) -> str:
    """Return an id that no other request has, and that is the same if the message comes again."""
    if meta.batches is None or meta.requests is None:
        sent = meta.position
        return f"{sent.gateway}-{sent.incarnation}-{sent.sequence}-{position}"
    batch = _batch_of(meta.batches.requests, position)
    own = UUID(bytes=meta.batches.ids[16 * batch : 16 * batch + 16])
    return f"{own}:{meta.requests.first_rows[position]}"


def _times(meta: EventMeta) -> list[tuple[float, float]]:
    """Return when each request was answered, and how many seconds it took."""
    if meta.batches is None or meta.requests is None:
        return [(meta.timestamp, 0.0)] * len(meta.ids)
    whens = [
        when
        for when, requests in zip(meta.batches.times, meta.batches.requests, strict=True)
        for _ in range(requests)
    ]
    return list(zip(whens, meta.requests.total_s, strict=True))


def _batch_of(requests: Sequence[int], position: int) -> int:
    for batch, count in enumerate(requests):
        if position < count:
            return batch
        position -= count
    raise InvalidInput("the message has more requests than its batches")


def _trace(meta: EventMeta, position: int) -> dict[str, str]:
    if meta.requests is None or position not in meta.requests.traces:
        return {}
    return {"traceparent": meta.requests.traces[position]}
