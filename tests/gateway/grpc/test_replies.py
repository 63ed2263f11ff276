"""What an error becomes as the end of a gRPC call, for every ingress."""

from urllib.parse import unquote_to_bytes

import pytest

from serving.errors import InternalError, InvalidInput, ModelFailed, VigilError
from serving.gateway.grpc.frames import MOST_TEXT
from serving.gateway.grpc.replies import error_headers, error_trailers


@pytest.mark.parametrize(
    ("error", "status"), [(InvalidInput("no"), b"3"), (InternalError("no"), b"13")]
)
def test_an_error_is_its_status_and_its_sentence(error: VigilError, status: bytes) -> None:
    trailers = [(b"grpc-status", status), (b"grpc-message", b"no")]
    assert error_trailers(error) == trailers
    assert error_headers(error) == [(b"content-type", b"application/grpc"), *trailers]


@pytest.mark.parametrize("text", ["100 % f\u00fcr \u4f60", " blanks ", "x" * 9000, "half \ud800"])
def test_any_text_is_a_header(text: str) -> None:
    (_, (_, said)) = error_trailers(ModelFailed(text))
    assert said.isascii()
    assert said == said.strip()
    read = unquote_to_bytes(said).decode()
    assert read == ModelFailed(text).message.strip()[:MOST_TEXT]
