"""gRPC server reflection: both versions, real descriptors, errors, and how a stream ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_reflection.v1alpha import reflection_pb2 as theirs

from serving.gateway.grpc.asgi import STREAMS
from serving.gateway.grpc.methods import METHODS
from serving.protocol.pb import health_pb2, reflection_v1_pb2, reflection_v1alpha_pb2, vigil_pb2
from serving.protocol.pb import open_inference_pb2 as pb

VERSIONS = [
    pytest.param("v1", reflection_v1_pb2, id="v1"),
    pytest.param("v1alpha", reflection_v1alpha_pb2, id="v1alpha"),
]
SERVICES = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "inference.GRPCInferenceService",
    "vigil.Explain",
    "vigil.Labels",
]


def frame(payload: bytes) -> bytes:
    return b"\0" + len(payload).to_bytes(4, "big") + payload


async def ask(client: Any, version: str, module: Any, *questions: Any) -> list[Any]:
    """Send questions and return the answers of the finished stream."""
    call = client.start(f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo")
    for question in questions:
        client.says(frame(question.SerializeToString()))
    client.says(b"", more=False)
    await asyncio.wait_for(call, 60)
    assert client.status() == 0
    return [module.ServerReflectionResponse.FromString(m) for m in client.messages()]


@pytest.mark.parametrize(("version", "module"), VERSIONS)
async def test_services(client: Any, version: str, module: Any) -> None:
    question = module.ServerReflectionRequest(host="here", list_services="")
    (answer,) = await ask(client, version, module, question)
    assert answer.valid_host == "here"
    assert answer.original_request == question
    assert [service.name for service in answer.list_services_response.service] == SERVICES


def test_every_method_that_is_served_is_in_a_service_that_is_listed() -> None:
    assert {path.split("/")[1] for path in [*METHODS, *STREAMS]} == set(SERVICES)


@pytest.mark.parametrize(("version", "module"), VERSIONS)
@pytest.mark.parametrize(
    ("symbol", "file"),
    [
        ("inference.GRPCInferenceService", pb),
        ("inference.GRPCInferenceService.ModelInfer", pb),
        ("inference.ModelInferRequest.InferInputTensor", pb),
        ("inference.ModelInferRequest.id", pb),
        ("inference.DataType", pb),
        ("inference.TYPE_BOOL", pb),
        ("grpc.health.v1.Health", health_pb2),
        ("grpc.reflection.v1.ServerReflection", reflection_v1_pb2),
        ("grpc.reflection.v1alpha.ServerReflection", reflection_v1alpha_pb2),
    ],
)
async def test_files(client: Any, version: str, module: Any, symbol: str, file: Any) -> None:
    by_symbol, by_name = await ask(
        client, version, module,
        module.ServerReflectionRequest(file_containing_symbol=symbol),
        module.ServerReflectionRequest(file_by_filename=file.DESCRIPTOR.name),
    )  # fmt: skip
    expected = [file.DESCRIPTOR.serialized_pb]
    assert list(by_symbol.file_descriptor_response.file_descriptor_proto) == expected
    assert list(by_name.file_descriptor_response.file_descriptor_proto) == expected


async def test_a_file_comes_with_what_it_imports(client: Any) -> None:
    question = reflection_v1_pb2.ServerReflectionRequest(file_containing_symbol="vigil.Explain")
    (answer,) = await ask(client, "v1", reflection_v1_pb2, question)
    expected = [file.DESCRIPTOR.serialized_pb for file in (vigil_pb2, pb)]
    assert list(answer.file_descriptor_response.file_descriptor_proto) == expected


@pytest.mark.parametrize(("version", "module"), VERSIONS)
async def test_what_is_unknown_is_an_error_and_the_stream_goes_on(
    client: Any, version: str, module: Any
) -> None:
    request, extension = module.ServerReflectionRequest, module.ExtensionRequest
    answers = await ask(
        client, version, module,
        request(file_containing_symbol="inference.GRPCInferenceService.Nothing"),
        request(file_by_filename="nothing.proto"),
        request(file_containing_extension=extension(containing_type="q", extension_number=1)),
        request(file_containing_extension=extension(
            containing_type="inference.ModelInferRequest", extension_number=1000)),
        request(all_extension_numbers_of_type="q"),
        request(file_containing_symbol=""),
        request(host="asks nothing"),
        request(all_extension_numbers_of_type="inference.ModelInferRequest"),
        request(list_services="*"),
    )  # fmt: skip
    assert [answer.error_response.error_code for answer in answers] == [5] * 6 + [3, 0, 0]
    assert all(answer.error_response.error_message for answer in answers[:7])
    numbers = answers[7].all_extension_numbers_response
    assert numbers.base_type_name == "inference.ModelInferRequest"
    assert list(numbers.extension_number) == []
    assert len(answers[8].list_services_response.service) == len(SERVICES)


async def test_a_message_can_be_built_from_what_is_told(client: Any) -> None:
    module = reflection_v1_pb2
    question = module.ServerReflectionRequest(file_containing_symbol="inference.ModelInferRequest")
    (answer,) = await ask(client, "v1", module, question)
    pool = descriptor_pool.DescriptorPool()
    for serialized in answer.file_descriptor_response.file_descriptor_proto:
        pool.Add(descriptor_pb2.FileDescriptorProto.FromString(serialized))
    wanted = pool.FindMessageTypeByName("inference.ModelInferRequest")
    message = message_factory.GetMessageClass(wanted)(model_name="m", id="7")
    assert pb.ModelInferRequest.FromString(message.SerializeToString()).id == "7"


async def test_a_stop_ends_an_idle_stream(client: Any, plane: Any) -> None:
    call = client.start("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
    client.says(
        frame(reflection_v1_pb2.ServerReflectionRequest(list_services="").SerializeToString())
    )
    async with asyncio.timeout(60):
        while not client.messages():  # noqa: ASYNC110
            await asyncio.sleep(0)
        plane.drain()
        await call
    assert client.status() == 14


async def test_a_client_that_leaves(client: Any) -> None:
    call = client.start("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
    client.leaves()
    await asyncio.wait_for(call, 60)
    assert client.messages() == []


async def test_a_broken_question(client: Any) -> None:
    call = client.start("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
    client.says(frame(b"\xff\xff\xff"), more=False)
    await asyncio.wait_for(call, 60)
    assert client.status() == 3


@pytest.mark.parametrize(("version", "module"), VERSIONS)
def test_messages_are_those_of_the_protocol(version: str, module: Any) -> None:
    def shape(file: Any) -> dict[str, Any]:
        return {
            name: {(field.number, field.name, field.type, field.is_repeated,
                    field.containing_oneof and field.containing_oneof.name)
                   for field in message.fields}
            for name, message in file.message_types_by_name.items()
        }  # fmt: skip

    assert shape(module.DESCRIPTOR) == shape(theirs.DESCRIPTOR)
    (service,) = module.DESCRIPTOR.services_by_name.values()
    assert service.full_name == f"grpc.reflection.{version}.ServerReflection"
    (method,) = service.methods
    assert (method.client_streaming, method.server_streaming) == (True, True)
