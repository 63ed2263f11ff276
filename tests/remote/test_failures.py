"""What another server's refusal becomes: the nearest error of ours, in its words."""

from __future__ import annotations

import pytest

from serving import errors
from serving.remote import failures
from serving.remote.wire import MAX_MESSAGE


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("INVALID_ARGUMENT", errors.InvalidInput),
        ("OUT_OF_RANGE", errors.InvalidInput),
        ("FAILED_PRECONDITION", errors.InvalidInput),
        ("NOT_FOUND", errors.ModelNotFound),
        ("RESOURCE_EXHAUSTED", errors.QuotaExceeded),
        ("UNIMPLEMENTED", errors.Unsupported),
        ("UNAVAILABLE", errors.ModelNotReady),
        ("CANCELLED", errors.ModelNotReady),
        ("DEADLINE_EXCEEDED", errors.DeadlineExceeded),
        ("INTERNAL", errors.ModelFailed),
        ("DATA_LOSS", errors.ModelFailed),
        ("a code of tomorrow", errors.ModelFailed),
    ],
)
def test_a_grpc_status(code, kind):
    error = failures.of_grpc(code, "its words")
    assert (type(error), error.message) == (kind, "its words")
    assert error.cause is not None  # the log must not get its words, which may quote values
    assert error.cause.type == f"upstream {code}"
    assert error.cause.told == f"the upstream server answered {code}"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.InvalidInput),
        (422, errors.InvalidInput),
        (404, errors.ModelNotFound),
        (413, errors.PayloadTooLarge),
        (429, errors.QuotaExceeded),
        (501, errors.Unsupported),
        (502, errors.ModelNotReady),
        (503, errors.ModelNotReady),
        (504, errors.DeadlineExceeded),
        (500, errors.ModelFailed),
        (302, errors.ModelFailed),
        (418, errors.ModelFailed),
    ],
)
def test_an_http_status(status, kind):
    error = failures.of_http(status, b'{"error":"its words"}')
    assert (type(error), error.message) == (kind, "its words")
    assert error.cause is not None
    assert error.cause.type == f"upstream status {status}"
    assert error.cause.told == f"the upstream server answered with status {status}"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error":"a","detail":"b"}', "a"),
        (b'{"error":null,"detail":"b"}', "b"),
        (b'{"detail":[{"loc":["body"],"n":1}]}', '[{"loc":["body"],"n":1}]'),
        (b'{"error":{"code":7}}', '{"code":7}'),
        (b'{"error":false}', "false"),
        (b'{"error":"two\\n\\t lines  "}', "two lines"),
        ('{"error":"größer"}'.encode(), "größer"),
    ],
)
def test_the_words_in_a_body(body, message):
    assert failures.of_http(400, body).message == message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Bad Gateway</html>",
        b"[1]",
        b"null",
        b"{}",
        b'{"error":""}',
        b'{"error":" \\n "}',
        b'{"error":"\xff"}',
        b'{"error":"\\ud800"}',
        b'{"error":"cut',
        b'{"error":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"unknown":' + b"[" * 100_000,
    ],
)
def test_a_body_without_words(body):
    error = failures.of_http(400, body)
    assert type(error) is errors.InvalidInput
    assert error.message == "the upstream server answered with status 400"
    assert error.cause is None  # nothing is quoted


@pytest.mark.parametrize("details", [None, "", " \n"])
def test_a_grpc_status_without_words(details):
    error = failures.of_grpc("INTERNAL", details)
    assert error.message == "the upstream server answered INTERNAL"
    assert error.cause is None


def test_long_words_are_cut():
    for error in (
        failures.of_grpc("INTERNAL", "x" * 10_000),
        failures.of_http(500, b'{"error":"' + b"x" * 10_000 + b'"}'),
    ):
        assert error.message == "x" * MAX_MESSAGE


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (failures.of_grpc("UNAUTHENTICATED", "token s3cret"), "UNAUTHENTICATED"),
        (failures.of_grpc("PERMISSION_DENIED", "token s3cret"), "PERMISSION_DENIED"),
        (failures.of_http(401, b'{"error":"token s3cret"}'), "status 401"),
        (failures.of_http(403, b'{"error":"token s3cret"}'), "status 403"),
    ],
)
def test_who_does_not_take_our_credentials_is_not_quoted(error, said):
    assert type(error) is errors.UpstreamDenied
    assert error.message == (
        f"the upstream server does not accept the credentials it gets ({said}); correct "
        "remote.credentials"
    )
    assert error.cause is None


def test_what_the_connection_says():
    """Each names the server and what to correct; who is not there is asked again in a second."""
    at = "grpcs://h:1"
    for error, word in (
        (failures.unreachable(at), "correct remote.url"),
        (failures.untrusted(at), "the files of remote.tls"),
    ):
        assert type(error) is errors.Unreachable
        assert error.retry_after_s == 1
        assert at in error.message
        assert word in error.message
    late = failures.too_late(at, 2.0)
    assert type(late) is errors.DeadlineExceeded
    assert late.message == f"the upstream server {at} did not answer within 2 s (remote.timeout_s)"
    assert late.retry_after_s is None


def test_one_bad_row_explains_wrong_input_and_failures_alone():
    kinds = {errors.InvalidInput, errors.ModelFailed, errors.QuotaExceeded, errors.ModelNotReady}
    assert {kind for kind in kinds if issubclass(kind, failures.ROWS_MAY_BE_BAD)} == {
        errors.InvalidInput,
        errors.ModelFailed,
    }
