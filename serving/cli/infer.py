"""`vigil infer`: send the request in a file, and print the outputs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from serving.cli.client import Client, not_an_instance
from serving.cli.console import OUT, say
from serving.cli.target import GATEWAY, Target, asks
from serving.errors import InvalidInput, VigilError

if TYPE_CHECKING:
    from types import ModuleType

    from serving.protocol.messages import InferRequest, InferResponse

PATIENCE_S: Final = 300.0


@asks(GATEWAY, "the gateway")
def infer(
    target: Target,
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    data: Annotated[
        Path, typer.Option(help="File with the request, in any form of a model's example.")
    ],
    version: Annotated[str, typer.Option(help="Version of the model; none: the latest.")] = "",
) -> None:
    """Send the request in a file with Triton's client, and print the outputs."""
    from serving.cli.tensor_table import tensor_table

    codec = _codec()
    request = _read(data, model, version)
    try:
        body, headers = codec.encode(request)
    except InvalidInput as error:
        raise VigilError(f"{data}: {error.message}") from None
    versions = ("versions", request.model_version) if request.model_version else ()
    answer = Client(target.url, PATIENCE_S).post(
        "v2", "models", model, *versions, "infer", body=body, headers=headers
    )
    try:
        response = codec.decode(answer.content, answer.headers.get(codec.HEADER))
    except InvalidInput:
        raise not_an_instance(answer.url) from None
    if target.as_json:
        OUT.print_json(_as_json(response, request))
        return
    say(f"model {response.model_name} version {response.model_version}, request {response.id}")
    OUT.print(tensor_table(response.outputs))
    for name, value in (response.parameters or {}).items():
        say(f"{name}: {value}")


def _codec() -> ModuleType:
    # Here, because it is an extra, and loads slowly.
    try:
        from serving.cli import infer_codec
    except (ModuleNotFoundError, RuntimeError):  # the latter: it came without what HTTP needs
        raise VigilError("`vigil infer` needs Triton's client; install vigil[client]") from None
    return infer_codec


def _read(file: Path, model: str, version: str) -> InferRequest:
    from serving.protocol.example import decode_example
    from serving.protocol.ids import new_request_id

    try:
        return decode_example(file.read_bytes(), model, version, new_request_id())
    except OSError as error:
        raise VigilError(f"{file}: {error.strerror}; --data names it") from None
    except VigilError as error:
        raise VigilError(f"{file}: {error.message}") from None


def _as_json(response: InferResponse, request: InferRequest) -> str:
    """Return the answer as the server would give it in JSON alone."""
    from serving.protocol.json.codec import encode_response
    from serving.protocol.messages import InferRequest, RequestedOutput

    in_base64 = tuple(
        RequestedOutput(output.name, {"content_type": "base64"})
        for output in request.outputs
        if (output.parameters or {}).get("content_type") == "base64"
    )
    asked = InferRequest(request.model_name, request.model_version, request.id, (), in_base64)
    body, _ = encode_response(response, asked)
    return body.decode()
