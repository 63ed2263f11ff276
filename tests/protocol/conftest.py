import json
from collections.abc import Callable
from typing import Any

import pytest

from serving.protocol.json.codec import decode_request
from serving.protocol.messages import InferRequest


@pytest.fixture
def make_body() -> Callable[..., bytes]:
    """Return a JSON body with one good FP32 input of shape [1, 3], changed as asked."""

    def body(input_changes: dict[str, Any] | None = None, **changes: Any) -> bytes:
        one = {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2.5, -3]}
        one.update(input_changes or {})
        one = {key: value for key, value in one.items() if value is not ...}
        return json.dumps({"inputs": [one], **changes}).encode()

    return body


@pytest.fixture
def decode() -> Callable[[bytes], InferRequest]:
    return lambda body: decode_request(body, None, "m", "1")
