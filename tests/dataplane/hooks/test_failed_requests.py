"""What the log gets of a request that failed."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from serving.config import ModelConfig
from serving.dataplane.context import RequestContext
from serving.dataplane.hooks.failed_requests import FailureLog, log_failure
from serving.dataplane.hooks.failures import failure_of
from serving.errors import InvalidInput, ModelFailed, NoReplica, VigilError
from serving.remote.batch_tensors import from_upstream
from serving.remote.failures import of_grpc, of_http
from serving.telemetry.logs.causes import Cause
from serving.telemetry.logs.report import FIELDS, Reporter, use
from serving.telemetry.trace_context import RequestSpan

OF = {"model": "m", "version": "2", "request_id": "r-1"}


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    before = use(Reporter())

    def tell(error: VigilError, **more: Any) -> dict[str, Any] | None:
        caplog.clear()
        with caplog.at_level(logging.INFO, "vigil"):
            log_failure(error, **{**OF, **more})
        if not caplog.records:
            return None
        (record,) = caplog.records
        return {"level": record.levelname, "message": record.message, **getattr(record, FIELDS)}

    yield tell
    use(before)


def with_cause(error: VigilError, cause: Cause) -> VigilError:
    error.cause = cause
    return error


def test_a_clients_fault_and_what_is_logged_already_leave_no_line(told: Any) -> None:
    assert told(InvalidInput("wrong")) is None
    failed = ModelFailed("once")
    assert told(failed)
    assert told(failed) is None


def test_what_a_model_raised_is_told_by_type(told: Any) -> None:
    line = told(with_cause(ModelFailed("ValueError: Anna 4711"), Cause("ValueError", "net.py:3:f")))
    assert line["event"] == "model_failed"
    assert line["message"] == "model 'm' raised ValueError, and a request failed"
    assert (line["model"], line["version"], line["request_id"]) == ("m", "2", "r-1")


def test_a_clause_of_the_cause_replaces_the_message(told: Any) -> None:
    cause = Cause("OutputMissing", told="model 'm' returned no output 'y'")
    line = told(with_cause(ModelFailed("it returned 'Anna 4711'"), cause))
    assert line["message"] == "model 'm' returned no output 'y', and a request failed"
    assert line["error"] == "OutputMissing"


@pytest.mark.parametrize(
    ("error", "event", "level", "says"),
    [
        (of_http(503, b'{"error": "Anna"}'), "request_refused", "WARNING", "status 503"),
        (of_http(504, b'{"error": "Anna"}'), "request_refused", "WARNING", "status 504"),
        (of_http(500, b'{"error": "Anna"}'), "model_failed", "ERROR", "status 500"),
        (of_grpc("UNAVAILABLE", "Anna"), "request_refused", "WARNING", "answered UNAVAILABLE"),
        (of_grpc("INTERNAL", "Anna"), "model_failed", "ERROR", "answered INTERNAL"),
    ],
)
def test_an_upstream_server_is_told_as_that(
    told: Any, error: VigilError, event: str, level: str, says: str
) -> None:
    line = told(error)
    assert (line["event"], line["level"]) == (event, level)
    assert says in line["message"]
    assert "upstream server" in line["message"]
    assert "raised" not in line["message"]
    assert "Anna" not in json.dumps(line)


def test_names_that_an_upstream_server_answers_are_not_told(told: Any) -> None:
    config = ModelConfig.model_validate(
        {
            "format": "remote",
            "remote": {"url": "http://127.0.0.1:1"},
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}],
            "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 1]}],
        }
    )
    with pytest.raises(ModelFailed) as caught:
        from_upstream("m", config, [], 1)
    line = told(caught.value)
    assert "answered no output 'y'" in line["message"]


def test_an_explanation_is_told_as_that(told: Any) -> None:
    line = told(with_cause(ModelFailed("Anna"), Cause("ValueError")), explains=True)
    assert line["event"] == "explainer_failed"
    assert line["message"] == "model 'm' raised ValueError, and an explanation failed"
    assert line["request_id"] == "r-1"
    assert told(NoReplica("no replica is alive"), explains=True)["event"] == "request_refused"


def test_refusals_of_no_model_do_not_hide_others(caplog: pytest.LogCaptureFixture) -> None:
    before = use(Reporter())
    try:
        with caplog.at_level(logging.INFO, "vigil"):
            for number in range(20):
                log_failure(NoReplica(f"this gateway has {number} tasks"), path="/a")
                log_failure(NoReplica(f"no model 'b{number}' is there"), path="/b")
            log_failure(NoReplica("nobody is there"), path="/c")
    finally:
        use(before)
    starts = [record.message.split()[0] for record in caplog.records]
    assert {start: starts.count(start) for start in starts} == {"this": 5, "no": 5, "nobody": 1}


def test_records_tell_the_traces_of_their_requests(
    caplog: pytest.LogCaptureFixture, make_request: Any, make_done: Any, make_refused: Any
) -> None:
    before = use(Reporter())
    failure = failure_of(ModelFailed("no"))
    span = RequestSpan(7, 8)
    with caplog.at_level(logging.INFO, "vigil"):
        failed = make_request(output_row=-1, failure=failure, context=RequestContext(span=span))
        FailureLog().batch_done(make_done(failed))
        given = f"00-{9:032x}-{1:016x}-00".encode()
        FailureLog().request_refused(make_refused(context=RequestContext(traceparent=given)))
    use(before)
    told = [getattr(record, FIELDS) for record in caplog.records]
    assert [(one["trace_id"], one.get("span_id")) for one in told] == [
        (f"{7:032x}", f"{8:016x}"), (f"{9:032x}", None),
    ]  # fmt: skip
