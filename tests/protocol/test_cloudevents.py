"""CloudEvents read and written: three modes say the same, and what is wrong gets a sentence."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest

from serving.errors import InvalidInput
from serving.protocol.cloudevents import (
    MAX_ATTRIBUTE,
    REQUEST,
    CloudEvent,
    binary_headers,
    read_batch,
    read_binary,
    read_structured,
    structured,
)

EVENT = CloudEvent(
    "i-1", "http://localhost:9081/", REQUEST, b'{"inputs":[]}', "application/json",
    1_767_225_600.25, {"inferenceservicename": "iris"},
)  # fmt: skip
PLAIN: dict[str, Any] = {"specversion": "1.0", "id": "i", "source": "s", "type": "t"}


def headers(event: CloudEvent) -> dict[bytes, bytes]:
    return {name.encode(): value.encode() for name, value in binary_headers(event).items()}


def test_an_event_comes_back_from_all_three_modes() -> None:
    assert read_binary(headers(EVENT), EVENT.data) == EVENT
    assert read_structured(structured(EVENT)) == EVENT
    batch = b"[%b, %b]" % (structured(EVENT), structured(EVENT))
    assert [read_structured(each) for each in read_batch(batch)] == [EVENT, EVENT]


def test_data_that_is_no_json_travels_in_base64() -> None:
    event = msgspec.structs.replace(
        EVENT, data=b"\x00\xff{", content_type="application/octet-stream"
    )
    assert b"data_base64" in structured(event)
    assert read_structured(structured(event)) == event
    assert read_binary(headers(event), event.data) == event


@pytest.mark.parametrize("value", ['grüße, "a" 100%', "a b", "\u6f22\n"])
def test_attributes_survive_headers_whatever_they_hold(value: str) -> None:
    event = msgspec.structs.replace(EVENT, extensions={"inferenceservicename": value})
    written = headers(event)
    assert all(0x20 < byte < 0x7F for byte in written[b"ce-inferenceservicename"])
    assert read_binary(written, EVENT.data) == event


def test_kserves_headers_are_read_as_go_writes_them() -> None:
    read = read_binary(
        {
            b"ce-specversion": b"1.0",
            b"ce-id": b"5d3b",
            b"ce-source": b"http://localhost:9081/",
            b"ce-type": REQUEST.encode(),
            b"ce-time": b"2026-01-31T12:00:00.123456789Z",
            b"ce-inferenceservicename": b"sklearn-iris",
            b"ce-namespace": b"default",
            b"ce-component": b"predictor",
            b"ce-endpoint": b"",
            b"ce-metadata": b"{}",
            b"content-type": b"application/json",
            b"host": b"vigil",
        },
        b"{}",
    )
    assert (read.id, read.source, read.type, read.data) == (
        "5d3b", "http://localhost:9081/", REQUEST, b"{}",
    )  # fmt: skip
    assert read.time == pytest.approx(1_769_860_800.123456)
    assert read.extensions["namespace"] == "default"
    assert "time" not in read.extensions


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"specversion": "0.3"}, "specversion is '0.3'"),
        ({"specversion": None}, "specversion is ''"),
        ({"id": ""}, "id is missing"),
        ({"source": None}, "source is missing"),
        ({"type": None}, "type is missing"),
        ({"id": "x" * (MAX_ATTRIBUTE + 1)}, "id is longer than"),
        ({"time": "yesterday"}, "time 'yesterday' is not RFC 3339"),
        ({"time": "2026-01-31T12:00:00"}, "is not RFC 3339"),  # of which zone?
        ({"time": "0001-01-01T00:00:00+23:59"}, "is not RFC 3339"),
        ({"subject": {"a": 1}}, "attribute 'subject' must be"),
        ({"id": 5}, "attribute 'id' must be text"),
        ({"inferenceservicename": True}, "attribute 'inferenceservicename' must be text"),
        ({"data": 1, "data_base64": "AA=="}, "both data and data_base64"),
        ({"data_base64": "A*=="}, "data_base64 must be"),
        ({"data_base64": 5}, "data_base64 must be"),
    ],
)
def test_what_is_wrong_with_an_event_is_said(change: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput, match="CloudEvent") as raised:
        read_structured(msgspec.json.encode({**PLAIN, **change}))
    assert said in raised.value.message


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"\xff", b'"text"', b"{" * 10, b'{"id":"a","id":"b"}', b"[" * 100_000]
)
def test_what_is_no_event_at_all_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        read_structured(body)


@pytest.mark.parametrize("body", [b"", b"{}", b"[1", b"\xff"])
def test_what_is_no_batch_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput, match="batch of CloudEvents"):
        read_batch(body)


def test_a_key_that_stands_twice_is_found_beside_data_of_any_size() -> None:
    data = b'{"x":"%b"}' % (b"a" * (1 << 20))
    text = b'{"specversion":"1.0","id":"a","source":"s","type":"t","data":%b%b}'
    assert read_structured(text % (data, b"")).data == data
    with pytest.raises(InvalidInput, match="'id' stands twice"):
        read_structured(text % (data, b',"id":"b"'))


def test_data_of_other_media_types_may_be_a_text() -> None:
    event = {**PLAIN, "datacontenttype": "text/plain", "data": "grüße"}
    assert read_structured(msgspec.json.encode(event)).data == "grüße".encode()
    event = {**PLAIN, "datacontenttype": "application/json", "data": "grüße"}
    assert read_structured(msgspec.json.encode(event)).data == '"grüße"'.encode()
    event = {**PLAIN, "data_base64": base64.b64encode(b"ab").decode()}
    assert read_structured(msgspec.json.encode(event)).data == b"ab"


def test_attributes_may_be_numbers_and_booleans() -> None:
    read = read_structured(msgspec.json.encode({**PLAIN, "n": 5, "yes": True, "none": None}))
    assert read.extensions == {"n": "5", "yes": "true"}
