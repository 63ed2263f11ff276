import inspect
import json

import pytest

from serving import errors
from serving.protocol.status import error_body, grpc_status, http_status

TABLE = [
    (errors.InvalidInput, 400, 3),
    (errors.Unauthenticated, 401, 16),
    (errors.Forbidden, 403, 7),
    (errors.ModelNotFound, 404, 5),
    (errors.VersionNotFound, 404, 5),
    (errors.NotFound, 404, 5),
    (errors.VersionGone, 409, 9),
    (errors.NoLongerThere, 410, 5),
    (errors.PayloadTooLarge, 413, 8),
    (errors.UnsupportedMedia, 415, 3),
    (errors.GuardRejected, 422, 9),
    (errors.QuotaExceeded, 429, 8),
    (errors.Overloaded, 503, 14),
    (errors.QueueFull, 503, 14),
    (errors.ModelNotReady, 503, 14),
    (errors.NoReplica, 503, 14),
    (errors.DeadlineExceeded, 504, 4),
    (errors.Unsupported, 501, 12),
    (errors.ModelFailed, 500, 13),
    (errors.InternalError, 500, 13),
    (errors.ClientGone, 499, 1),
    (errors.Unreachable, 503, 14),
    (errors.LoadFailed, 500, 13),
    (errors.UpstreamDenied, 503, 14),
]


@pytest.mark.parametrize(("kind", "http", "grpc"), TABLE)
def test_statuses(kind, http, grpc):
    assert (http_status(kind("no")), grpc_status(kind("no"))) == (http, grpc)


def test_every_error_of_the_domain_is_listed_above():
    kinds = {k for _, k in inspect.getmembers(errors, inspect.isclass)}
    kinds = {k for k in kinds if issubclass(k, errors.VigilError)} - {errors.VigilError}
    assert kinds == {kind for kind, _, _ in TABLE}


def test_an_unlisted_error_is_internal():
    class Other(errors.VigilError):
        pass

    assert (http_status(Other("no")), grpc_status(Other("no"))) == (500, 13)


def test_numbers_are_those_of_grpc():
    import grpc

    from serving.protocol import status

    for code in grpc.StatusCode:
        assert getattr(status, code.name, code.value[0]) == code.value[0]


def test_the_body_is_always_json():
    assert json.loads(error_body('a "quoted" word\n')) == {"error": 'a "quoted" word\n'}
    assert json.loads(error_body("half \ud800")) == {"error": "half ?"}
