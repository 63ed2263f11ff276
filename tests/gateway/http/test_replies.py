"""What an error becomes as an answer over HTTP, for every ingress."""

import json

import pytest

from serving.errors import InvalidInput, ModelNotReady, Overloaded
from serving.gateway.http.replies import error_reply, sentence_reply

JSON = (b"content-type", b"application/json")


def test_an_error_is_its_status_and_its_sentence() -> None:
    reply = error_reply(InvalidInput("input 'x' is missing"))
    assert (reply.status, reply.headers) == (400, [JSON])
    assert json.loads(reply.body) == {"error": "input 'x' is missing"}


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.0, b"1"), (0.2, b"1"), (1.0, b"1"), (2.6, b"3"), (60.0, b"60")]
)
def test_when_to_come_again_is_in_whole_seconds(seconds: float, told: bytes) -> None:
    for kind, status in ((Overloaded, 503), (ModelNotReady, 503)):
        reply = error_reply(kind("later", retry_after_s=seconds))
        assert (reply.status, reply.headers) == (status, [JSON, (b"retry-after", told)])


def test_an_error_that_says_no_time_has_no_header_of_the_one_before() -> None:
    error_reply(Overloaded("later", retry_after_s=5))
    assert error_reply(Overloaded("later")).headers == [JSON]


def test_a_status_of_http_alone() -> None:
    reply = sentence_reply(405, "use GET", (b"allow", b"GET"))
    assert (reply.status, reply.headers) == (405, [JSON, (b"allow", b"GET")])
    assert json.loads(reply.body) == {"error": "use GET"}
