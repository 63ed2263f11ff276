"""gRPC's ModelInfer messages to and from ours."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from serving.errors import InvalidInput
from serving.protocol.grpc.contents import decode_contents, encode_contents, has_typed_form
from serving.protocol.grpc.parameters import decode_parameters, encode_parameters
from serving.protocol.ids import chosen_id
from serving.protocol.messages import InferRequest, InferResponse, RequestedOutput, Tensor
from serving.protocol.names import refuse_twice
from serving.protocol.parameters import FINAL_RESPONSE
from serving.protocol.pb.open_inference_pb2 import (
    ModelInferRequest,
    ModelInferResponse,
    ModelStreamInferResponse,
)
from serving.protocol.tensors import MOST_TENSORS, check_input, tensor_from_buffer, tensor_to_buffer

_parse = ModelInferRequest.FromString
_Input = ModelInferRequest.InferInputTensor
_Output = ModelInferResponse.InferOutputTensor


def parse_request(data: bytes) -> ModelInferRequest:
    """Return the message in `data`, for `decode_request`.

    Raises:
        InvalidInput: `data` is not a ModelInferRequest.
    """
    try:
        return _parse(data)
    except DecodeError:
        raise InvalidInput("the message is not a valid ModelInferRequest") from None


def decode_request(
    message: ModelInferRequest | bytes, request_id: str | None = None
) -> InferRequest:
    """Return the request in `message`. An id in it wins over `request_id`.

    Raw tensors are views on the message's buffers.

    Raises:
        InvalidInput: anything in the message is wrong.
        Unsupported: a tensor is said to lie in shared memory.
    """
    if isinstance(message, bytes):
        message = parse_request(message)
    given = message.inputs
    if not given:
        raise InvalidInput("the request has no inputs")
    most = max(len(given), len(message.outputs), len(message.raw_input_contents))
    if most > MOST_TENSORS:
        raise InvalidInput(f"the request names {most} tensors; at most {MOST_TENSORS} are allowed")
    raw = message.raw_input_contents
    inputs = _decode_raw(message) if raw else tuple(map(_decode_typed, given))
    if len(inputs) > 1:
        refuse_twice("input", [tensor.name for tensor in inputs])
    outputs = message.outputs
    parameters = message.parameters
    return InferRequest(
        message.model_name,
        message.model_version,
        chosen_id(message.id, request_id),
        inputs,
        _decode_outputs(message) if outputs else (),
        decode_parameters(parameters) if parameters else None,
    )


def _decode_raw(message: ModelInferRequest) -> tuple[Tensor, ...]:
    given, raw = message.inputs, message.raw_input_contents
    if len(raw) != len(given):
        _refuse_mixed(message)
        raise InvalidInput(
            f"raw_input_contents has {len(raw)} buffers for {len(given)} inputs; send one each"
        )
    tensors: list[Tensor] = []
    for tensor, buffer in zip(given, raw, strict=True):
        if tensor.HasField("contents"):
            _refuse_mixed(message)
        name, shape = tensor.name, tuple(tensor.shape)
        check_input(name, shape)
        parameters = tensor.parameters
        kept = decode_parameters(parameters) if parameters else None
        tensors.append(tensor_from_buffer(name, tensor.datatype, shape, buffer, kept))
    return tuple(tensors)


def _refuse_mixed(message: ModelInferRequest) -> None:
    for tensor in message.inputs:
        if tensor.HasField("contents"):
            # Word for word what Triton says: clients look for it.
            raise InvalidInput(
                "contents field must not be specified when using raw_input_contents for "
                f"'{tensor.name}' for model '{message.model_name}'"
            )


def _decode_typed(tensor: _Input) -> Tensor:
    name, datatype, shape = tensor.name, tensor.datatype, tuple(tensor.shape)
    # First, because a tensor that is said to lie elsewhere has no contents to complain about.
    parameters = decode_parameters(tensor.parameters)
    check_input(name, shape)
    data = decode_contents(name, datatype, shape, tensor.contents)
    return Tensor(name, datatype, shape, data, parameters)


def _decode_outputs(message: ModelInferRequest) -> tuple[RequestedOutput, ...]:
    refuse_twice("output", [output.name for output in message.outputs])
    return tuple(
        RequestedOutput(output.name, decode_parameters(output.parameters))
        for output in message.outputs
    )


def answers_raw(request: InferRequest) -> bool:
    """Whether the answer to `request` has raw contents: unless the client asks for typed ones.

    It does so by `binary_data_output: false` of the request, or `binary_data: false` of an output
    that it names. The form of the inputs does not matter, as it does not to Triton: clients send
    typed contents and read raw ones.
    """
    parameters = request.parameters
    if parameters and parameters.get("binary_data_output") is False:
        return False
    for output in request.outputs:
        if output.parameters and output.parameters.get("binary_data") is False:
            return False
    return True


def encode_response(response: InferResponse, request: InferRequest) -> ModelInferResponse:
    """Return `response` as a message, with raw or with typed contents as `answers_raw` says.

    The two never mix in one message, so one output that has no typed form makes all of them raw.
    """
    outputs = response.outputs
    raw = answers_raw(request) or not all(has_typed_form(tensor.datatype) for tensor in outputs)
    message = ModelInferResponse(
        model_name=response.model_name,
        model_version=response.model_version,
        id=response.id,
        outputs=[_encode_output(tensor, raw) for tensor in outputs],
        raw_output_contents=[bytes(tensor_to_buffer(t)) for t in outputs] if raw else (),
    )
    if response.parameters:
        encode_parameters(response.parameters, message.parameters)
    return message


def _encode_output(tensor: Tensor, raw: bool) -> _Output:
    output = _Output(
        name=tensor.name,
        datatype=tensor.datatype,
        shape=tensor.shape,
        contents=None if raw else encode_contents(tensor),
    )
    if tensor.parameters:
        encode_parameters(tensor.parameters, output.parameters)
    return output


def stream_response(response: InferResponse, request: InferRequest) -> ModelStreamInferResponse:
    """Return `response`, encoded as `encode_response` does, as one message of a stream."""
    return _final(ModelStreamInferResponse(infer_response=encode_response(response, request)))


def stream_error(message: str, request_id: str) -> ModelStreamInferResponse:
    """Return the failure of the request `request_id` as one message of a stream."""
    return _final(
        ModelStreamInferResponse(
            error_message=message, infer_response=ModelInferResponse(id=request_id)
        )
    )


def _final(answer: ModelStreamInferResponse) -> ModelStreamInferResponse:
    """Say that nothing more follows to this request: clients of streams wait for it."""
    answer.infer_response.parameters[FINAL_RESPONSE].bool_param = True
    return answer
