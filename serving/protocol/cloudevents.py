"""CloudEvents 1.0 over HTTP: events of KServe's logger, read and written. No I/O.

One event a request in binary mode (attributes in `ce-` headers) or structured mode (attributes and
data in one JSON object), or several in batch mode (a JSON array of such objects); see the HTTP
protocol binding 1.0.2 of CloudEvents, section 3, and its JSON format 1.0.2, sections 2 to 4.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, unquote

import msgspec

from serving.errors import InvalidInput
from serving.protocol.json.data import UNREADABLE, reason
from serving.protocol.json.duplicates import refuse_duplicates
from serving.protocol.json.wire import offset

REQUEST: Final = "org.kubeflow.serving.inference.request"
RESPONSE: Final = "org.kubeflow.serving.inference.response"

STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
JSON: Final = "application/json"

SERVICE: Final = "inferenceservicename"
NAMESPACE: Final = "namespace"
COMPONENT: Final = "component"
ENDPOINT: Final = "endpoint"

MAX_ATTRIBUTE: Final = 1024
"""Longest attribute that is kept, in characters."""

_PREFIX: Final = b"ce-"
_REQUIRED: Final = ("id", "source", "type")
_TEXTS: Final = frozenset({*_REQUIRED, "specversion", "time", "datacontenttype", SERVICE})
_DATA: Final = frozenset({"data", "data_base64"})
_decode_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_list: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_attribute: Final = msgspec.json.Decoder(str | int | bool | None).decode


class CloudEvent(msgspec.Struct, frozen=True):
    """One event.

    Attributes:
        id, source, type: as the specification says; together `source` and `id` are unique.
        data: the payload as it is; of JSON its text.
        content_type: of the data; empty: JSON.
        time: seconds since the epoch when it happened; None where it is not told.
        extensions: every other attribute as text, by name in lower case.
    """

    id: str
    source: str
    type: str
    data: bytes
    content_type: str = ""
    time: float | None = None
    extensions: Mapping[str, str] = {}


# -- reading ----------------------------------------------------------------------------


def read_binary(headers: Mapping[bytes, bytes], body: bytes) -> CloudEvent:
    """Return the event of a request in binary mode; names of `headers` are in lower case.

    Raises:
        InvalidInput: an attribute is missing or wrong.
    """
    given = {
        name[len(_PREFIX) :].decode("latin-1"): _unquoted(value)
        for name, value in headers.items()
        if name.startswith(_PREFIX)
    }
    return _event(given, body, headers.get(b"content-type", b"").decode("latin-1"), "ce-")


def read_structured(body: bytes) -> CloudEvent:
    """Return the event of a request in structured mode, or of one element of a batch.

    Raises:
        InvalidInput: it is no JSON object, a key of it stands twice, or an attribute is wrong.
    """
    try:
        read = _decode_object(body)
    except UNREADABLE as error:
        raise InvalidInput(f"the CloudEvent is no JSON object: {reason(error)}") from None
    refuse_duplicates(_without_data(body, read), "the CloudEvent")
    given = {name: _attribute(name, raw) for name, raw in read.items() if name not in _DATA}
    content_type = given.pop("datacontenttype", None) or ""
    return _event(given, _data(read, content_type), content_type, "")


def read_batch(body: bytes) -> list[bytes]:
    """Return the elements of a request in batch mode, unread, for `read_structured`.

    Raises:
        InvalidInput: it is no JSON array.
    """
    try:
        return [bytes(raw) for raw in _decode_list(body)]
    except UNREADABLE as error:
        raise InvalidInput(f"the batch of CloudEvents is no JSON array: {reason(error)}") from None


def _event(
    given: Mapping[str, str | None], data: bytes, content_type: str, prefix: str
) -> CloudEvent:
    kept = {name: value for name, value in given.items() if value is not None}
    version = kept.pop("specversion", "")
    if version != "1.0":
        raise InvalidInput(
            f"CloudEvent: {prefix}specversion is '{version[:40]}'; send events of version 1.0"
        )
    for name in _REQUIRED:
        if not kept.get(name):
            raise InvalidInput(f"CloudEvent: {prefix}{name} is missing; every event has one")
    for name, value in kept.items():
        if len(value) > MAX_ATTRIBUTE and name in (*_REQUIRED, SERVICE, NAMESPACE):
            raise InvalidInput(
                f"CloudEvent: {prefix}{name} is longer than {MAX_ATTRIBUTE} characters; shorten it"
            )
    time = kept.pop("time", None)
    return CloudEvent(
        kept.pop("id"),
        kept.pop("source"),
        kept.pop("type"),
        data,
        content_type,
        None if time is None else _seconds(time, prefix),
        kept,
    )


def _unquoted(value: bytes) -> str:
    """Return a header's value; what is no printable ASCII is percent-encoded (binding, 3.1.3.2)."""
    return unquote(value.decode("utf-8", "replace"), errors="replace")


def _attribute(name: str, raw: msgspec.Raw) -> str | None:
    try:
        value = _decode_attribute(raw)
    except UNREADABLE:
        raise InvalidInput(
            f"CloudEvent: attribute '{name[:40]}' must be text, a whole number or a boolean"
        ) from None
    if name in _TEXTS and not isinstance(value, str | None):
        raise InvalidInput(f"CloudEvent: attribute '{name}' must be text")
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)


def _data(read: Mapping[str, msgspec.Raw], content_type: str) -> bytes:
    if "data" in read and "data_base64" in read:
        raise InvalidInput("CloudEvent: it has both data and data_base64; send one of them")
    if "data_base64" in read:
        try:
            return base64.b64decode(
                msgspec.json.decode(read["data_base64"], type=str), validate=True
            )
        except (*UNREADABLE, binascii.Error, ValueError):
            raise InvalidInput("CloudEvent: data_base64 must be a text in base64") from None
    raw = bytes(read.get("data", b""))
    # Of other types it is a text (JSON format, 3.1); of JSON the value itself.
    if raw.startswith(b'"') and not is_json(content_type):
        try:
            return msgspec.json.decode(raw, type=str).encode()
        except UNREADABLE as error:
            raise InvalidInput(f"CloudEvent: data cannot be read: {reason(error)}") from None
    return raw


def is_json(content_type: str) -> bool:
    """Whether data of this media type is JSON; of none it is."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind in ("", JSON) or kind.endswith("+json")


def _without_data(text: bytes, read: Mapping[str, msgspec.Raw]) -> bytes:
    """Return an event's text with 0 for its data, whose own reader looks for duplicates in it."""
    for name in _DATA & read.keys():
        raw = read[name]
        if len(raw) > 1:
            begin = offset(raw, text)
            text = b"%b0%b" % (text[:begin], text[begin + len(raw) :])
            break
    return text


def _seconds(text: str, prefix: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None and (seconds := moment.timestamp()) >= 0:
            return seconds
    except (ValueError, OverflowError):
        pass
    raise InvalidInput(
        f"CloudEvent: {prefix}time '{text[:40]}' is not RFC 3339, for example 2026-01-31T12:00:00Z"
    )


# -- writing ----------------------------------------------------------------------------


def binary_headers(event: CloudEvent) -> dict[str, str]:
    """Return the headers of an event in binary mode; its data is the body as it is."""
    headers = {"content-type": event.content_type or JSON}
    for name, value in _attributes(event).items():
        headers[f"ce-{name}"] = quote(value, safe=_SAFE)
    return headers


_SAFE: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')


def structured(event: CloudEvent) -> bytes:
    """Return an event in structured mode, which is also an element of a batch."""
    written: dict[str, Any] = {**_attributes(event), "datacontenttype": event.content_type or JSON}
    if is_json(event.content_type):
        written["data"] = msgspec.Raw(event.data)
    else:
        written["data_base64"] = base64.b64encode(event.data).decode()
    return msgspec.json.encode(written)


def _attributes(event: CloudEvent) -> dict[str, str]:
    written = {
        "specversion": "1.0", "id": event.id, "source": event.source, "type": event.type,
        **event.extensions,
    }  # fmt: skip
    if event.time is not None:
        moment = datetime.fromtimestamp(event.time, UTC)
        written["time"] = moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return written
