"""What a client is told of what went wrong, and what the log is."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from serving.errors import InternalError, InvalidInput, ModelFailed, VigilError
from serving.gateway.internal_errors import client_error
from serving.telemetry.logs.report import FIELDS, Reporter, use

SECRET = "Anna 4711"


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    before = use(Reporter())
    with caplog.at_level(logging.INFO, "vigil"):
        yield lambda: [{"said": r.message, **getattr(r, FIELDS)} for r in caplog.records]
    use(before)


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


def test_what_was_not_foreseen_is_for_the_log_alone(records: Any) -> None:
    told = client_error(raised(ValueError(SECRET)), "it broke", path="/v2", request_id="r7")
    assert isinstance(told, InternalError)
    assert told.message == "internal error; see the server's log"
    (line,) = records()
    assert (line["said"], line["event"]) == ("it broke", "internal_error")
    assert (line["path"], line["request_id"]) == ("/v2", "r7")
    assert "ValueError" in str(line)
    assert SECRET not in str(line)


def test_it_is_logged_once(records: Any) -> None:
    told = client_error(raised(ValueError("x")), "it broke")
    assert client_error(told, "again") is told
    assert len(records()) == 1


@pytest.mark.parametrize(("error", "lines"), [(InvalidInput("no"), 0), (ModelFailed("no"), 1)])
def test_an_error_of_the_domain_is_told_as_it_is(
    records: Any, error: VigilError, lines: int
) -> None:
    assert client_error(error, "it broke", path="/v2") is error
    assert [line["path"] for line in records()] == ["/v2"] * lines
