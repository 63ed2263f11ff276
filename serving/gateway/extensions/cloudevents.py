"""Taking in CloudEvents: the pairs of requests and answers that KServe's logger posts."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from serving.dataplane.handler import DataPlane
from serving.dataplane.observing.pairing import Half, Key, Side
from serving.dataplane.served import ServedVersion
from serving.errors import InvalidInput, ModelNotFound, UnsupportedMedia, VigilError
from serving.gateway.extensions.v1_bodies import read_v1_answer, read_v1_request
from serving.protocol import cloudevents
from serving.protocol.cloudevents import CloudEvent
from serving.protocol.ids import MAX_ID
from serving.protocol.json.codec import decode_request
from serving.protocol.json.data import UNREADABLE, reason
from serving.protocol.messages import InferRequest, Tensor
from serving.remote.batch_tensors import LONGEST_VERSION
from serving.remote.http.wire import HttpWire
from serving.remote.wire import Answer

MAX_EVENTS: Final = 10_000
MAX_UNPACKED: Final = 64 << 20
MAX_ERRORS: Final = 8
_AT_ONCE: Final = 16
"""Events of a batch that are taken in together; then others in the loop get their turn."""

UNREADABLE_BODY: Final = "unreadable"
UNKNOWN_MODEL: Final = "unknown_model"
MISMATCH: Final = "mismatch"

_SIDES: Final[Mapping[str, Side]] = {
    cloudevents.REQUEST: "request",
    cloudevents.RESPONSE: "response",
}
_KEY: Final = (
    cloudevents.NAMESPACE,
    cloudevents.SERVICE,
    cloudevents.COMPONENT,
    cloudevents.ENDPOINT,
)
_GZIP: Final = b"\x1f\x8b"
_WIRE: Final = HttpWire(binary=False)


class CloudEventCounts(msgspec.Struct):
    """What became of posted events."""

    taken: int = 0
    refused: int = 0
    errors: list[str] = []


class _AnswerHead(msgspec.Struct):
    """What an answer says of itself; some servers write numbers or null."""

    id: Any = None
    model_name: Any = None
    model_version: Any = None
    predictions: msgspec.Raw = msgspec.Raw(b"")


class _RequestHead(msgspec.Struct):
    id: Any = None
    instances: msgspec.Raw = msgspec.Raw(b"")


_decode_answer_head: Final = msgspec.json.Decoder(_AnswerHead).decode
_decode_request_head: Final = msgspec.json.Decoder(_RequestHead).decode


async def take(plane: DataPlane, headers: Mapping[bytes, bytes], body: bytes) -> bytes:
    """Take in the events of one HTTP request; returns what became of them as JSON.

    Of a batch, every event that is right is taken, whatever the others are.

    Raises:
        UnsupportedMedia: the request is none of the three modes.
        InvalidInput: a single event, or every event of a batch, is wrong.
        ModelNotFound: a single event is of a model that is not served.
    """
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")
    if kind == cloudevents.BATCH:
        return await _take_batch(plane, body)
    if kind == cloudevents.STRUCTURED:
        event = cloudevents.read_structured(body)
    elif kind.startswith("application/cloudevents"):
        raise UnsupportedMedia(
            f"CloudEvents are taken as {cloudevents.STRUCTURED} or {cloudevents.BATCH}, not as "
            f"'{kind[:80]}'"
        )
    elif b"ce-specversion" in headers or b"ce-type" in headers:
        event = cloudevents.read_binary(headers, body)
    else:
        raise UnsupportedMedia(
            f"the request is no CloudEvent; send {cloudevents.STRUCTURED}, {cloudevents.BATCH}, "
            "or the headers ce-specversion, ce-id, ce-source and ce-type"
        )
    await _take_one(plane, event)
    return msgspec.json.encode(CloudEventCounts(taken=1))


async def _take_batch(plane: DataPlane, body: bytes) -> bytes:
    events = cloudevents.read_batch(body)
    if len(events) > MAX_EVENTS:
        raise InvalidInput(f"at most {MAX_EVENTS} CloudEvents at once; send several requests")
    counts = CloudEventCounts()
    for start in range(0, len(events), _AT_ONCE):
        some = events[start : start + _AT_ONCE]
        refused = await asyncio.gather(*(_refusal(plane, text) for text in some))
        for position, error in enumerate(refused, start):
            if error is None:
                counts.taken += 1
                continue
            counts.refused += 1
            if len(counts.errors) < MAX_ERRORS:
                counts.errors.append(f"event {position}: {error.message}")
    if counts.refused and not counts.taken:
        raise InvalidInput(f"no event of the batch is right; {counts.errors[0]}")
    return msgspec.json.encode(counts)


async def _refusal(plane: DataPlane, text: bytes) -> VigilError | None:
    """Take in one event of a batch; return what is wrong with it."""
    try:
        await _take_one(plane, cloudevents.read_structured(text))
    except VigilError as error:
        return error
    return None


async def _take_one(plane: DataPlane, event: CloudEvent) -> None:
    """Take in one event, and record the pair that it completes.

    Raises:
        VigilError: it, or the pair, is wrong.
    """
    side = _SIDES.get(event.type)
    if side is None:
        raise InvalidInput(
            f"CloudEvent: type '{event.type[:80]}' is none that is recorded; send "
            f"{cloudevents.REQUEST} and {cloudevents.RESPONSE}"
        )
    if len(event.id) > MAX_ID:
        raise InvalidInput(f"CloudEvent: the id is longer than {MAX_ID} characters; shorten it")
    # Not the source: a broker in between may write its own.
    key: Key = (event.id, *(event.extensions.get(name, "") for name in _KEY))
    pair = await plane.pairs.half(key, side, Half(event.data, event.time))
    if pair is not None:
        service = event.extensions.get(cloudevents.SERVICE, "")
        _record(plane, event.id, service, *pair)


def _record(plane: DataPlane, ident: str, service: str, asked: Half, answered: Half) -> None:
    why = UNREADABLE_BODY
    try:
        answer, length = _plain(answered.body, "answer")
        head = _head(_decode_answer_head, answer[:length], "answer")
        why = UNKNOWN_MODEL
        entry, upstream = _entry(plane, service, head)
        why = UNREADABLE_BODY
        request = _request(entry, ident, head, asked.body)
        outputs = _outputs(entry, head, answer, length, request)
        why = MISMATCH
        plane.pairs.answered(
            entry, request, outputs, asked=asked.time, answered=answered.time, upstream=upstream
        )
    except BaseException:
        plane.pairs.drop(why, 2)
        raise


def _entry(plane: DataPlane, service: str, head: _AnswerHead) -> tuple[ServedVersion, str]:
    """Return the version that a pair is of, and what the other server calls that.

    Raises:
        ModelNotFound: neither the service nor the model of the answer is served here.
    """
    told = head.model_name if isinstance(head.model_name, str) else ""
    name = next((name for name in (service, told) if name and plane.versions(name)), None)
    if name is None:
        named = service or told
        raise ModelNotFound(
            f"CloudEvent: no model '{named[:200]}' is served; give the model the name of the "
            f"InferenceService"
            if named
            else "CloudEvent: inferenceservicename is missing, and the answer has no model_name"
        )
    version = head.model_version
    text = str(version) if isinstance(version, str | int) else ""
    if len(text) > LONGEST_VERSION or not text.isprintable():
        raise ModelNotFound(
            f"the answer's model_version is longer than {LONGEST_VERSION} characters or not "
            "printable"
        )
    if text in plane.versions(name):
        return plane.served_version(name, text), ""
    return plane.served_version(name), text


def _request(entry: ServedVersion, ident: str, head: _AnswerHead, given: bytes) -> InferRequest:
    """Return the request; its id is its own, else that of its answer, else that of the event."""
    body, length = _plain(given, "request")
    told = head.id if isinstance(head.id, str) and 0 < len(head.id) <= MAX_ID else ident
    read = _head(_decode_request_head, body[:length], "request")
    if len(read.instances):
        own = read.id if isinstance(read.id, str) and 0 < len(read.id) <= MAX_ID else told
        return read_v1_request(entry.name, entry.config, read.instances, own)
    binary = None if length == len(body) else length
    return decode_request(body, binary, entry.name, "", told)


def _outputs(
    entry: ServedVersion, head: _AnswerHead, body: bytes, length: int, request: InferRequest
) -> list[Tensor]:
    if len(head.predictions):
        return read_v1_answer(entry.name, entry.config, head.predictions)
    try:
        return _WIRE.read_infer(Answer(body, length)).tensors
    except VigilError as error:
        text = error.message.removeprefix("the upstream server's ")
        raise InvalidInput(f"CloudEvent: the {text}") from None


def _plain(body: bytes, what: str) -> tuple[bytes, int]:
    """Return a body as it was before somebody packed it, and the length of its JSON part.

    KServe's logger passes on neither `content-encoding` nor `inference-header-content-length`.
    """
    if body.startswith(_GZIP):
        unpacking = zlib.decompressobj(31)
        try:
            body = unpacking.decompress(body, MAX_UNPACKED)
        except zlib.error:
            raise InvalidInput(f"CloudEvent: the {what} is no gzip, as it seems to be") from None
        if not unpacking.eof:
            raise InvalidInput(
                f"CloudEvent: the {what} unpacks to more than {MAX_UNPACKED} bytes, or is cut short"
            )
    return body, json_length(body)


def json_length(body: bytes) -> int:
    """Return where the JSON at the beginning of a body ends, and binary tensors may begin."""
    if b"binary_data_size" not in body:
        return len(body)
    # One character a byte: names may be garbled, lengths are right.
    text = body.decode("latin-1")
    try:
        _, end = _DECODER.raw_decode(text, len(text) - len(text.lstrip()))
    except (ValueError, RecursionError):
        return len(body)  # whoever reads it finds the words
    return end if body[end:].strip() else len(body)


_DECODER: Final = json.JSONDecoder(strict=False, parse_int=bool, parse_float=bool)


def _head(decode: Any, text: bytes, what: str) -> Any:
    try:
        return decode(text)
    except UNREADABLE as error:
        raise InvalidInput(f"CloudEvent: the {what} is not valid: {reason(error)}") from None
