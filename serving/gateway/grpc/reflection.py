"""gRPC server reflection: clients without our `.proto` files learn services and messages here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from google.protobuf.message import DecodeError

from serving.errors import InvalidInput
from serving.gateway.grpc.stream_call import StreamCall, run_unless, stopping
from serving.protocol.pb import (
    health_pb2,
    open_inference_pb2,
    reflection_v1_pb2,
    reflection_v1alpha_pb2,
    vigil_pb2,
)
from serving.protocol.pb.pool import POOL
from serving.protocol.status import INVALID_ARGUMENT, NOT_FOUND

SERVICES: Final = sorted(
    service.full_name
    for module in (
        open_inference_pb2,
        health_pb2,
        reflection_v1_pb2,
        reflection_v1alpha_pb2,
        vigil_pb2,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
)
"""Full names of the services that are served."""


async def reflect(call: StreamCall) -> None:
    """Answer the questions of one `grpc.reflection.v1` stream."""
    await _reflect(call, reflection_v1_pb2)


async def reflect_alpha(call: StreamCall) -> None:
    """Answer the questions of one `grpc.reflection.v1alpha` stream."""
    await _reflect(call, reflection_v1alpha_pb2)


async def _reflect(call: StreamCall, pb: Any) -> None:
    # A client that asks nothing more must not hold up a stop.
    if not await run_unless(call.plane.stopping.wait(), _answer_all(call, pb)):
        raise stopping()


async def _answer_all(call: StreamCall, pb: Any) -> None:
    async for payload in call.messages():
        try:
            question = pb.ServerReflectionRequest.FromString(payload)
        except DecodeError:
            raise InvalidInput("the message is not a valid ServerReflectionRequest") from None
        await call.send(answer(question, pb))
        call.share.give_back(len(payload))


def answer(question: Any, pb: Any) -> Any:
    """Answer one question.

    Args:
        question: a `ServerReflectionRequest`.
        pb: the generated module of the protocol's version that it came in.

    Returns:
        A `ServerReflectionResponse`; what is unknown is an error inside of it, as the protocol
        wants.
    """
    reply = pb.ServerReflectionResponse(valid_host=question.host, original_request=question)
    asked = question.WhichOneof("message_request")
    try:
        if asked == "list_services":
            reply.list_services_response.service.extend(
                pb.ServiceResponse(name=name) for name in SERVICES
            )
        elif asked == "all_extension_numbers_of_type":
            wanted = POOL.FindMessageTypeByName(question.all_extension_numbers_of_type)
            found = POOL.FindAllExtensions(wanted)
            reply.all_extension_numbers_response.base_type_name = wanted.full_name
            reply.all_extension_numbers_response.extension_number.extend(
                sorted(extension.number for extension in found)
            )
        elif asked is None:
            reply.error_response.error_code = INVALID_ARGUMENT
            reply.error_response.error_message = "the request asks nothing"
        else:
            files = _with_imports(_file(question, asked), set())
            reply.file_descriptor_response.file_descriptor_proto.extend(files)
    except KeyError:
        reply.error_response.error_code = NOT_FOUND
        reply.error_response.error_message = f"there is no such thing here: {asked}"
    return reply


def _file(question: Any, asked: str) -> Any:
    """Return the descriptor of the file that is asked for; KeyError if there is none."""
    if asked == "file_by_filename":
        return POOL.FindFileByName(question.file_by_filename)
    if asked == "file_containing_symbol":
        return _file_of(question.file_containing_symbol)
    wanted = question.file_containing_extension
    message = POOL.FindMessageTypeByName(wanted.containing_type)
    extension: Any = POOL.FindExtensionByNumber(message, wanted.extension_number)
    return extension.file


def _file_of(symbol: str) -> Any:
    try:
        return POOL.FindFileContainingSymbol(symbol)
    except KeyError:  # protobuf finds the file of what holds methods and fields, but not theirs
        pass
    pool: Any = POOL
    try:
        return pool.FindMethodByName(symbol).containing_service.file
    except KeyError:
        return pool.FindFieldByName(symbol).file


def _with_imports(file: Any, seen: set[str]) -> Iterator[bytes]:
    """Yield a file and everything it imports, serialized, each once."""
    if file.name in seen:
        return
    seen.add(file.name)
    yield file.serialized_pb
    for imported in file.dependencies:
        yield from _with_imports(imported, seen)
