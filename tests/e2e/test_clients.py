"""What clients of the field send and expect, each shape as their examples and sources have it."""

import asyncio
import queue
from collections.abc import Iterator
from functools import partial
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio
from tritonclient.utils import InferenceServerException, deserialize_bytes_tensor

from loadtest.peers.example_repository import MODELS
from serving.protocol.pb import open_inference_pb2 as pb
from serving.protocol.pb import open_inference_pb2_grpc as pb_grpc

pytestmark = pytest.mark.e2e

FIRST = np.arange(16, dtype=np.int32)[None]
OTHER = np.full((1, 16), -1, np.int32)
GZIP = {"accept-encoding": "gzip, deflate"}


@pytest.fixture
def server(triton_server: Any) -> Any:
    return triton_server


@pytest.fixture
def stub(server: Any) -> Iterator[Any]:
    with grpc.insecure_channel(server.grpc) as channel:
        yield pb_grpc.GRPCInferenceServiceStub(channel)


def address(server: Any, module: Any) -> str:
    over_grpc = "grpc" in module.__name__
    return str(server.grpc) if over_grpc else server.url.removeprefix("http://")


def pair(module: Any, one: np.ndarray, other: np.ndarray, datatype: str = "INT32") -> list[Any]:
    inputs = [module.InferInput(f"INPUT{n}", list(one.shape), datatype) for n in (0, 1)]
    for tensor, data in zip(inputs, (one, other), strict=True):
        tensor.set_data_from_numpy(data)
    return inputs


def right(result: Any) -> None:
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), FIRST + OTHER)
    np.testing.assert_array_equal(result.as_numpy("OUTPUT1"), FIRST - OTHER)


# -- parameters and streams ---------------------------------------------------------------


def simple(typed: bool, **parameters: pb.InferParameter) -> pb.ModelInferRequest:
    message = pb.ModelInferRequest(model_name="simple", id="mine")
    for name, data in (("INPUT0", FIRST), ("INPUT1", OTHER)):
        tensor = message.inputs.add(name=name, datatype="INT32", shape=[1, 16])
        if typed:
            tensor.contents.int_contents.extend(data[0].tolist())
        else:
            message.raw_input_contents.append(data.tobytes())
    for name, value in parameters.items():
        message.parameters[name].CopyFrom(value)
    return message


def numbers(answer: pb.ModelInferResponse) -> list[list[int]]:
    assert not any(output.HasField("contents") for output in answer.outputs)
    return [np.frombuffer(raw, "<i4").tolist() for raw in answer.raw_output_contents]


RIGHT = [(FIRST + OTHER)[0].tolist(), (FIRST - OTHER)[0].tolist()]
EMPTY_FINAL = {"triton_enable_empty_final_response": pb.InferParameter(bool_param=True)}
ASKS_TYPED = {"binary_data_output": pb.InferParameter(bool_param=False)}


@pytest.mark.parametrize("typed", [True, False], ids=["typed", "raw"])
@pytest.mark.parametrize("parameters", [{}, EMPTY_FINAL], ids=["plain", "empty-final"])
def test_answers_are_raw_and_say_that_they_are_the_last(
    stub: Any, typed: bool, parameters: Any
) -> None:
    message = simple(typed, **parameters)
    unary = [stub.ModelInfer(message, timeout=60) for _ in range(2)]
    assert [numbers(answer) for answer in unary] == [RIGHT] * 2
    assert not any(answer.parameters for answer in unary)
    nobody = pb.ModelInferRequest(model_name="nobody", id="other")
    answers = list(stub.ModelStreamInfer(iter([message, nobody, message]), timeout=60))
    assert [a.infer_response.id for a in answers] == ["mine", "other", "mine"]
    for answer in answers:
        last = answer.infer_response.parameters["triton_final_response"]
        assert (last.WhichOneof("parameter_choice"), last.bool_param) == ("bool_param", True)
    assert [numbers(answers[at].infer_response) for at in (0, 2)] == [RIGHT] * 2
    assert answers[1].error_message


@pytest.mark.parametrize("typed", [True, False], ids=["typed", "raw"])
@pytest.mark.parametrize("of_the_request", [True, False], ids=["request", "output"])
def test_typed_answers_where_they_are_asked_for(
    stub: Any, typed: bool, of_the_request: bool
) -> None:
    message = simple(typed, **(ASKS_TYPED if of_the_request else {}))
    if not of_the_request:
        for name in ("OUTPUT0", "OUTPUT1"):
            message.outputs.add(name=name).parameters["binary_data"].bool_param = False
    unary = [stub.ModelInfer(message, timeout=60) for _ in range(2)]
    streamed = [a.infer_response for a in stub.ModelStreamInfer(iter([message] * 2), timeout=60)]
    for answer in (*unary, *streamed):
        assert not answer.raw_output_contents
        assert [list(output.contents.int_contents) for output in answer.outputs] == RIGHT


@pytest.mark.parametrize("name", ["triton_request_id", "vigil_flags"])
def test_what_nobody_documents_is_reserved(stub: Any, server: Any, name: str) -> None:
    with pytest.raises(grpc.RpcError) as failed:
        stub.ModelInfer(simple(False, **{name: pb.InferParameter(bool_param=True)}), timeout=60)
    assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "reserved" in failed.value.details()
    row = {"name": "INPUT0", "datatype": "INT32", "shape": [1, 1], "data": [1]}
    answer = server.infer("custom_identity_int32", [row], parameters={name: True})
    assert answer.status_code == 400


def test_sequence_and_schedule_parameters(server: Any) -> None:
    for module in (tritonclient.http, tritonclient.grpc):
        with module.InferenceServerClient(address(server, module)) as client:
            result = client.infer(
                "simple", pair(module, FIRST, OTHER),
                sequence_id=7, sequence_start=True, sequence_end=True, timeout=9**9,
                parameters={"mine": 3, "other": "a"},
            )  # fmt: skip
        right(result)


# -- tritonclient's ways to ask -----------------------------------------------------------


def test_asynchronous_calls(server: Any) -> None:
    with tritonclient.http.InferenceServerClient(
        address(server, tritonclient.http), concurrency=4
    ) as client:
        given = pair(tritonclient.http, FIRST, OTHER)
        for pending in [client.async_infer("simple", given) for _ in range(4)]:
            right(pending.get_result())
    got: queue.Queue[Any] = queue.Queue()
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
        given = pair(tritonclient.grpc, FIRST, OTHER)
        for _ in range(4):
            client.async_infer("simple", given, lambda result, error: got.put(error or result))
        for _ in range(4):
            right(got.get(timeout=60))


@pytest.mark.parametrize("empty_final", [True, False])
def test_a_stream_of_tritonclient(server: Any, empty_final: bool) -> None:
    got: queue.Queue[Any] = queue.Queue()
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
        client.start_stream(lambda result, error: got.put(error or result))
        for number in range(3):
            client.async_stream_infer(
                "simple", pair(tritonclient.grpc, FIRST, OTHER),
                request_id=str(number), enable_empty_final_response=empty_final,
            )  # fmt: skip
        for number in range(3):
            result = got.get(timeout=60)
            right(result)
            response = result.get_response()
            assert response.id == str(number)
            assert response.parameters["triton_final_response"].bool_param
        client.stop_stream()
    assert got.empty()  # and no empty answer behind them


@pytest.mark.parametrize("encoding", [None, "gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
async def test_the_asyncio_client_over_http(
    server: Any, binary: bool, encoding: str | None
) -> None:
    module = tritonclient.http.aio
    rows = np.tile(FIRST, (200, 1))
    wanted = [module.InferRequestedOutput("OUTPUT0", binary_data=binary)]
    async with module.InferenceServerClient(address(server, module)) as client:
        result = await client.infer(
            "simple", pair(module, rows, rows), outputs=wanted,
            request_compression_algorithm=encoding, response_compression_algorithm=encoding,
        )  # fmt: skip
        np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), rows * 2)
        # All of these are far over 4 kB, or name everything.
        assert len((await client.get_model_config("wide", headers=GZIP))["output"]) == 60
        told = await client.get_inference_statistics(headers=GZIP)
        assert len(told["model_stats"]) == len(MODELS)
        assert len(await client.get_model_repository_index(headers=GZIP)) == len(MODELS)
        assert (await client.get_model_metadata("wide", headers=GZIP))["name"] == "wide"
        assert not await client.is_model_ready("nobody", headers=GZIP)
        with pytest.raises(InferenceServerException, match="Request for unknown model"):
            await client.get_model_metadata("nobody", headers=GZIP)


async def test_the_asyncio_client_over_grpc(server: Any) -> None:
    module = tritonclient.grpc.aio
    async with module.InferenceServerClient(server.grpc) as client:
        answers = await asyncio.gather(
            *(client.infer("simple", pair(module, FIRST, OTHER)) for _ in range(4))
        )
        for answer in answers:
            right(answer)

        async def requests() -> Any:
            for _ in range(2):
                yield {"model_name": "simple", "inputs": pair(module, FIRST, OTHER)}

        async for result, error in client.stream_infer(requests()):
            assert error is None
            right(result)
        assert not await client.is_model_ready("nobody")


def test_texts_and_blobs(server: Any) -> None:
    blobs = np.array([b"he\0llo", b"\0\1\2\3", "Käse".encode()] * 4, object).reshape(1, 12)
    texts = np.array([str(n).encode() for n in range(16)], object)[None]
    for module in (tritonclient.http, tritonclient.grpc):
        tensor = module.InferInput("INPUT0", [1, 12], "BYTES")
        tensor.set_data_from_numpy(blobs)
        with module.InferenceServerClient(address(server, module)) as client:
            got = client.infer("simple_identity", [tensor]).as_numpy("OUTPUT0")
            sums = client.infer("simple_string", pair(module, texts, texts, "BYTES"))
        np.testing.assert_array_equal(got, blobs)
        assert [int(text) for text in sums.as_numpy("OUTPUT0")[0]] == list(range(0, 32, 2))


@pytest.mark.parametrize("module", [tritonclient.http, tritonclient.grpc])
def test_images_are_classified(server: Any, module: Any) -> None:
    images = np.zeros((2, 299, 299, 3), np.float32)
    images[1] = 1
    tensor = module.InferInput("input", list(images.shape), "FP32")
    tensor.set_data_from_numpy(images)
    wanted = module.InferRequestedOutput("scores", class_count=2)
    with module.InferenceServerClient(address(server, module)) as client:
        best = client.infer("inception_graphdef", [tensor], outputs=[wanted]).as_numpy("scores")
    assert [text.decode().split(":")[2] for text in best[:, 0]] == ["dusk", "night"]


def test_images_are_classified_in_a_stream(stub: Any) -> None:
    """With channels first or one channel, and the parameter as a plain stub writes it."""
    for model, dims in (("channels_first", [3, 40, 30]), ("grey", [28, 28, 1])):
        images = np.stack([np.zeros(dims, np.float32), np.ones(dims, np.float32)])
        message = pb.ModelInferRequest(model_name=model, raw_input_contents=[images.tobytes()])
        message.inputs.add(name="input", datatype="FP32", shape=images.shape)
        message.outputs.add(name="scores").parameters["classification"].int64_param = 1
        for answer in stub.ModelStreamInfer(iter([message] * 2), timeout=60):
            (best,) = answer.infer_response.raw_output_contents
            assert list(answer.infer_response.outputs[0].shape) == [2, 1]
            texts = [text.decode() for text in deserialize_bytes_tensor(best)]
            assert [text.split(":")[2] for text in texts] == ["dusk", "night"]


async def test_texts_and_parameters_in_a_stream(server: Any) -> None:
    """As clients of language models send them: rows of one value, and texts as parameters."""
    module = tritonclient.grpc.aio

    async def requests() -> Any:
        for number, prompt in enumerate((b"The sea is\n", "Käse".encode())):
            inputs = [module.InferInput(*known) for known in (
                ("PROMPT", [1], "BYTES"), ("STREAM", [1], "BOOL"),
            )]  # fmt: skip
            inputs[0].set_data_from_numpy(np.array([prompt], object))
            inputs[1].set_data_from_numpy(np.array([False]))
            yield {
                "model_name": "vllm", "inputs": inputs, "request_id": str(number),
                "outputs": [module.InferRequestedOutput("TEXT")],
                "parameters": {"temperature": "0.1", "top_p": "0.95"},
            }  # fmt: skip

    async with module.InferenceServerClient(server.grpc) as client:
        answers = [answer async for answer in client.stream_infer(requests())]
    assert [error for _, error in answers] == [None, None]
    assert [result.get_response().id for result, _ in answers] == ["0", "1"]
    assert [result.as_numpy("TEXT").tolist() for result, _ in answers] == [
        [b"The sea is\n"], ["Käse".encode()],
    ]  # fmt: skip


@pytest.mark.parametrize("module", [tritonclient.http, tritonclient.grpc])
def test_encoded_images_are_classified(server: Any, module: Any) -> None:
    images = np.array([[b"\xff\xd8long"], [b""]], object)
    tensor = module.InferInput("INPUT", [2, 1], "BYTES")
    tensor.set_data_from_numpy(images)
    wanted = module.InferRequestedOutput("OUTPUT", class_count=1)
    model = "preprocess_inception_ensemble"
    with module.InferenceServerClient(address(server, module)) as client:
        best = client.infer(model, [tensor], outputs=[wanted]).as_numpy("OUTPUT")
        told = client.get_inference_statistics(model_name=model)
    assert [text.decode().split(":")[1:] for text in best[:, 0]] == [["0", "night"], ["2", "dawn"]]
    assert len(told["model_stats"] if isinstance(told, dict) else told.model_stats) == 1


def test_a_plain_stub_asks_for_an_output_by_its_name_in_a_graph(stub: Any) -> None:
    name = "InceptionV3/Predictions/Softmax"
    message = pb.ModelInferRequest(model_name="densenet_onnx", id="my request id")
    message.inputs.add(name="input", datatype="FP32", shape=[1, 299, 299, 3])
    message.outputs.add(name=name)
    message.raw_input_contents.append(b"a" * 4 * 299 * 299 * 3)
    answer = stub.ModelInfer(message, timeout=60)
    assert (answer.id, answer.outputs[0].name) == ("my request id", name)
    assert len(answer.raw_output_contents[0]) == 16
    for request in ("ModelReady", "ModelMetadata", "ModelConfig"):
        asked = getattr(pb, f"{request}Request")(name="densenet_onnx")
        assert getattr(stub, request)(asked, timeout=60)


@pytest.mark.parametrize("module", [tritonclient.http, tritonclient.grpc])
def test_who_is_ready(server: Any, module: Any) -> None:
    with module.InferenceServerClient(address(server, module)) as client:
        ready = client.is_model_ready
        assert [ready("simple"), ready("simple", "1")] == [True, True]
        assert [ready("nobody"), ready("simple", "7"), ready("")] == [False, False, False]


def test_a_model_that_is_unloaded_is_not_ready(server: Any, eventually: Any) -> None:
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
        client.unload_model("densenet_onnx")
        assert not client.is_model_ready("densenet_onnx")
        client.load_model("densenet_onnx")
        assert client.is_model_ready("densenet_onnx")


@pytest.mark.parametrize("module", [tritonclient.http, tritonclient.grpc])
def test_the_name_that_examples_insist_on(server: Any, module: Any) -> None:
    with module.InferenceServerClient(address(server, module)) as client:
        told = client.get_server_metadata()
    assert (told["name"] if isinstance(told, dict) else told.name) == "triton"


def test_a_version_that_is_no_number(stub: Any) -> None:
    message = simple(True)
    message.model_version = "wrong_specification"
    with pytest.raises(grpc.RpcError) as failed:
        stub.ModelInfer(message, timeout=60)
    assert failed.value.details().startswith(
        "failed to get model version from specified version string 'wrong_specification'"
    )


@pytest.mark.parametrize("module", [tritonclient.http, tritonclient.grpc])
def test_shared_memory_is_refused_in_a_sentence(server: Any, module: Any) -> None:
    with module.InferenceServerClient(address(server, module)) as client:
        for ask in (
            client.get_system_shared_memory_status,
            client.unregister_cuda_shared_memory,
            partial(client.register_system_shared_memory, "region", "/key", 64),
        ):
            with pytest.raises(InferenceServerException, match="shared memory is not offered"):
                ask()


# -- compression --------------------------------------------------------------------------


def test_floats_in_binary_are_not_compressed(server: Any) -> None:
    rows = np.random.default_rng(0).normal(size=(1, 150_000)).astype("<f4")
    tensor = tritonclient.http.InferInput("INPUT0", rows.shape, "FP32")
    tensor.set_data_from_numpy(rows)
    body, length = tritonclient.http.InferenceServerClient.generate_request_body([tensor])
    answer = httpx.post(
        f"{server.url}/v2/models/identity_fp32/infer", content=body, timeout=60,
        headers={**GZIP, "inference-header-content-length": str(length)},
    )  # fmt: skip
    assert answer.headers["content-type"] == "application/octet-stream"
    assert "content-encoding" not in answer.headers
    assert answer.content[int(answer.headers["inference-header-content-length"]) :] == (
        rows.tobytes()
    )


@pytest.mark.parametrize(
    "path", ["", "/models/stats", "/models/wide/config", "/models/wide", "/../openapi.json"]
)
def test_what_is_no_inference_is_not_compressed(server: Any, path: str) -> None:
    answer = httpx.get(f"{server.url}/v2{path}", headers=GZIP, timeout=60)
    assert answer.status_code == 200
    assert "content-encoding" not in answer.headers


def test_text_is_compressed(server: Any) -> None:
    row = {"name": "INPUT0", "datatype": "INT32", "shape": [1, 4000], "data": [7] * 4000}
    answer = httpx.post(
        f"{server.url}/v2/models/custom_identity_int32/infer", json={"inputs": [row]},
        headers=GZIP, timeout=60,
    )  # fmt: skip
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.json()["outputs"][0]["data"] == [7] * 4000
