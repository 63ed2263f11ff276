"""What an HTTP response is to the wire: an answer, a refusal, or neither."""

from __future__ import annotations

import pytest

from serving.errors import InvalidInput, ModelFailed
from serving.remote.http.answers import whole_answer
from serving.remote.wire import Answer


@pytest.mark.parametrize(
    ("length", "json_length"), [(None, None), ("0", 0), ("2", 2), ("4", 4), ("0002", 2)]
)
def test_an_answer_has_the_length_of_its_json_part(length, json_length):
    assert whole_answer(200, b"{}ab", length) == Answer(b"{}ab", json_length)


@pytest.mark.parametrize(
    ("length", "why"),
    [
        ("5", "is 5, but the body has 4 bytes"),
        *[
            (length, "must be a number of bytes")
            for length in ["", "-1", "+2", " 2", "2 ", "1_0", "\u0663", "\xb2", "x", "9" * 5000]
        ],
    ],
)
def test_lengths_that_are_none(length, why):
    with pytest.raises(ModelFailed, match=f"answer cannot be read: Inference-Header.* {why}"):
        whole_answer(200, b"{}ab", length)


@pytest.mark.parametrize("length", [None, "2", "x"])
def test_a_refusal_is_one_whatever_its_headers_say(length):
    with pytest.raises(InvalidInput, match=r"^no$"):
        whole_answer(400, b'{"error":"no"}', length)
