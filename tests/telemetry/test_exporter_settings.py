"""Variables of exporters: the signal's own come first, and what means nothing is told."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.http import Compression

from serving.telemetry.bounded_http import BoundedSession
from serving.telemetry.collector import Protocol
from serving.telemetry.exporter_settings import (
    ExporterSettings,
    exporter_arguments,
    exporter_settings,
)

HTTP: Protocol = "http/protobuf"
GENERAL, TRACES = "OTEL_EXPORTER_OTLP_", "OTEL_EXPORTER_OTLP_TRACES_"


def read(protocol: Protocol = HTTP, **given: str) -> tuple[ExporterSettings, list[str]]:
    told: list[str] = []
    names = {name.replace("own_", TRACES).replace("all_", GENERAL): given[name] for name in given}
    return exporter_settings("traces", protocol, told.append, names), told


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (10.0, "none")),
        ({"all_TIMEOUT": "3", "all_COMPRESSION": "GZIP "}, (3.0, "gzip")),
        ({"all_TIMEOUT": "3", "own_TIMEOUT": "0.5"}, (0.5, "none")),
        ({"all_COMPRESSION": "gzip", "own_COMPRESSION": "none"}, (10.0, "none")),
        ({"own_TIMEOUT": "", "own_COMPRESSION": " ", "own_CERTIFICATE": ""}, (10.0, "none")),
    ],
)
@pytest.mark.parametrize("protocol", [HTTP, "grpc"])
def test_what_they_say(
    protocol: Protocol, given: dict[str, str], expected: tuple[float, str]
) -> None:
    settings, told = read(protocol, **given)
    assert (settings.timeout_s, settings.compression) == expected
    assert told == []


@pytest.mark.parametrize("value", ["soon", "0", "-1", "nan", "inf", "1e30"])
def test_a_timeout_that_is_none(value: str) -> None:
    settings, told = read(own_TIMEOUT=value, all_TIMEOUT="4")
    assert settings.timeout_s == 4
    assert told == [
        f"{TRACES}TIMEOUT is '{value}', which is ignored: it must be a number of seconds above 0"
    ]


def test_a_compression_that_the_protocol_does_not_have() -> None:
    assert read(all_COMPRESSION="deflate")[0].compression == "deflate"
    settings, told = read("grpc", own_COMPRESSION="deflate", all_COMPRESSION="gzip")
    assert settings.compression == "gzip"
    assert told == [
        f"{TRACES}COMPRESSION is 'deflate', which is ignored: over grpc it may be none or gzip"
    ]


@pytest.mark.parametrize("what", ["CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE"])
def test_a_file_that_cannot_be_read(tmp_path: Path, what: str) -> None:
    there, away = tmp_path / "there", tmp_path / "away"
    there.touch()
    read(**{f"own_{what}": str(there), f"all_{what}": str(away)})
    with pytest.raises(
        ValueError, match=f"^{GENERAL}{what} names '{away}', which cannot be read: No"
    ):
        read(**{f"all_{what}": str(away)})


def test_what_the_sdk_could_not_read_is_gone() -> None:
    names = {f"{TRACES}TIMEOUT": "soon", "OTEL_BSP_SCHEDULE_DELAY": "", "OTHER": ""}
    exporter_settings("traces", HTTP, lambda _: None, names)
    assert names == {"OTHER": ""}


@pytest.mark.parametrize(("named", "zipped"), [("gzip", True), ("none", False)])
def test_what_exporters_are_made_with(
    monkeypatch: pytest.MonkeyPatch, named: str, zipped: bool
) -> None:
    monkeypatch.setenv(f"{TRACES}COMPRESSION", named)
    monkeypatch.setenv(f"{GENERAL}TIMEOUT", "0.5")
    over_grpc = exporter_arguments("traces", None, "grpc", pytest.fail)
    kinds = grpc.Compression
    expected = kinds.Gzip if zipped else kinds.NoCompression
    assert over_grpc == {"endpoint": None, "timeout": 0.5, "compression": expected}
    over_http = exporter_arguments("traces", "http://c/v1/traces", HTTP, pytest.fail)
    with over_http.pop("session") as session:
        assert isinstance(session, BoundedSession)
    assert over_http == {
        "endpoint": "http://c/v1/traces", "timeout": 0.5, "compression": Compression(named),
    }  # fmt: skip
