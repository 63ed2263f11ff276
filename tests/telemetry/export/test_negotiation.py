"""The format that a scraper likes best, among those that are offered."""

from __future__ import annotations

import pytest

from serving.telemetry.export.negotiation import chosen
from serving.telemetry.export.prometheus import OPENMETRICS, TEXT
from serving.telemetry.export.prometheus_protobuf import PROTOBUF

NATIVE = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/html", TEXT),
        ("text/plain", TEXT),
        (PROMETHEUS, OPENMETRICS),
        ("application/openmetrics-text", OPENMETRICS),
        ('Application/OpenMetrics-Text; Version="1.0.0"; charset=utf-8', OPENMETRICS),
        ("application/openmetrics-text; version=0.0.1", TEXT),
        ("application/openmetrics-text;version=2.0.0,*/*;q=0.1", TEXT),
        ("application/openmetrics-text;q=0, text/plain;q=0.1", TEXT),
        ("application/openmetrics-text;q=0.3, text/plain;q=0.7", TEXT),
        ("application/openmetrics-text;q=0.7, text/plain;q=0.3", OPENMETRICS),
        (f"{NATIVE},{PROMETHEUS}", PROTOBUF),
        (f"{NATIVE};q=0.2,{PROMETHEUS}", OPENMETRICS),
        ("application/vnd.google.protobuf", TEXT),
        (NATIVE.replace("delimited", "text"), TEXT),
        ("application/openmetrics-text;q=nan;q=x, ;;;=,", TEXT),
    ],
)
def test_it_follows_the_header(accept: str, expected: str) -> None:
    kind, exposition = chosen(accept)
    assert kind == expected
    assert exposition([]) == (b"# EOF\n" if expected == OPENMETRICS else b"")
