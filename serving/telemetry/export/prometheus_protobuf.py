"""Prometheus' protobuf exposition: the one that has native histograms.

https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto. It is
written by hand: no package of Python's has that file, and what is used of it is little.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from itertools import accumulate, groupby
from math import inf
from typing import Final

from serving.telemetry.exponential import SCHEMA, ZERO_THRESHOLD
from serving.telemetry.export.prometheus import label_name, prometheus_name
from serving.telemetry.metrics.declared import METRICS
from serving.telemetry.series import Exemplar, Series

PROTOBUF: Final = (
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
)

# Numbers of the fields of each message.
_FAMILY_NAME, _FAMILY_HELP, _FAMILY_TYPE, _FAMILY_METRIC = 1, 2, 3, 4
_TYPES: Final = {"sum": 0, "gauge": 1, "histogram": 4}
_LABEL, _OF_KIND = 1, {"sum": 3, "gauge": 2, "histogram": 7}
_VALUE: Final = 1
_COUNT, _SUM, _BUCKET, _SCHEMA, _ZERO_THRESHOLD, _ZERO_COUNT = 1, 2, 3, 5, 6, 7
_SPAN, _DELTA = 12, 13
_CUMULATIVE, _UPPER, _EXEMPLAR = 1, 2, 3
_EXEMPLAR_VALUE, _EXEMPLAR_TIME = 2, 3


def prometheus_protobuf(series: Iterable[Series]) -> bytes:
    """Return the exposition of series that are sorted by name, as `aggregate.merge` gives them."""
    return b"".join(_families(series))


def _families(series: Iterable[Series]) -> Iterator[bytes]:
    for (name, kind, unit), group in groupby(series, _family):
        known = METRICS.get(name)
        family = prometheus_name(name, kind, unit) + ("_total" if kind == "sum" else "")
        message = b"".join([
            _text(_FAMILY_NAME, family),
            _text(_FAMILY_HELP, known.description if known else name),
            _whole(_FAMILY_TYPE, _TYPES[kind]),
            *[_bytes(_FAMILY_METRIC, _metric(item)) for item in group],
        ])  # fmt: skip
        yield _varint(len(message)) + message


def _family(item: Series) -> tuple[str, str, str]:
    return item.name, item.kind, item.unit


def _metric(item: Series) -> bytes:
    labels = [_bytes(_LABEL, _pair(label_name(key), value)) for key, value in item.attributes]
    value = _histogram(item) if item.kind == "histogram" else _double(_VALUE, item.value)
    return b"".join([*labels, _bytes(_OF_KIND[item.kind], value)])


def _histogram(item: Series) -> bytes:
    shown = {each.bucket: each for each in item.exemplars}
    buckets = [
        _bytes(_BUCKET, _whole(_CUMULATIVE, count) + _double(_UPPER, bound) + _shown(shown.get(at)))
        for at, (bound, count) in enumerate(
            zip((*item.bounds, inf), accumulate(item.counts), strict=True)
        )
    ]
    start = _whole(_COUNT, sum(item.counts)) + _double(_SUM, item.value)
    return b"".join([start, *buckets, *_native(item)])


def _native(item: Series) -> list[bytes]:
    """Return what makes a native histogram of one that has exponential buckets as well.

    Buckets stand in spans without gaps: of each the distance from the one before, and its length.
    Their counts are told as differences.
    """
    metric = METRICS.get(item.name)
    if metric is None or not metric.exponential:
        return []
    spans: list[tuple[int, int]] = []
    deltas, end, before = [], 0, 0
    for bucket, count in item.exponential:
        if spans and bucket == end:
            spans[-1] = (spans[-1][0], spans[-1][1] + 1)
        else:
            spans.append((bucket - end, 1))
        deltas.append(count - before)
        end, before = bucket + 1, count
    return [
        _signed(_SCHEMA, SCHEMA),
        _double(_ZERO_THRESHOLD, ZERO_THRESHOLD),
        _whole(_ZERO_COUNT, item.zeros),
        *[_bytes(_SPAN, _signed(1, offset) + _whole(2, length)) for offset, length in spans],
        *[_signed(_DELTA, delta) for delta in deltas],
    ]


def _shown(exemplar: Exemplar | None) -> bytes:
    if exemplar is None:
        return b""
    seconds, rest = divmod(int(exemplar.time * 1e9), 10**9)
    return _bytes(
        _EXEMPLAR,
        b"".join([
            _bytes(_LABEL, _pair("trace_id", exemplar.trace)),
            _bytes(_LABEL, _pair("span_id", exemplar.span)),
            _double(_EXEMPLAR_VALUE, exemplar.value),
            _bytes(_EXEMPLAR_TIME, _whole(1, seconds) + _whole(2, rest)),
        ]),
    )  # fmt: skip


# -- the wire: https://protobuf.dev/programming-guides/encoding/ -------------------------


def _varint(number: int) -> bytes:
    pieces = bytearray()
    while number > 0x7F:
        pieces.append(number & 0x7F | 0x80)
        number >>= 7
    pieces.append(number)
    return bytes(pieces)


def _whole(field: int, number: int) -> bytes:
    return _varint(field << 3) + _varint(number)


def _signed(field: int, number: int) -> bytes:
    return _whole(field, number << 1 if number >= 0 else (-number << 1) - 1)


def _double(field: int, number: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", number)


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _text(field: int, text: str) -> bytes:
    return _bytes(field, text.encode("utf-8", "backslashreplace"))


def _pair(name: str, value: str) -> bytes:
    return _text(1, name) + _text(2, value)
