import pickle
import subprocess
import sys

import pytest

from serving.protocol.pb import generate, health_pb2
from serving.protocol.pb import open_inference_pb2 as pb

BOTH = """
import {first}
import {second}
from serving.protocol.pb import open_inference_pb2 as ours
from tritonclient.grpc import service_pb2 as theirs
message = ours.ModelInferRequest(model_name="m", raw_input_contents=[b"1"])
assert theirs.ModelInferRequest.FromString(message.SerializeToString()).model_name == "m"
"""
OURS = "serving.protocol.pb.open_inference_pb2_grpc"


def test_generated_modules_are_up_to_date():
    assert generate.main(["--check"]) == 0


@pytest.mark.parametrize(
    ("first", "second"), [(OURS, "tritonclient.grpc"), ("tritonclient.grpc", OURS)]
)
def test_lives_beside_tritonclient(first, second):
    code = BOTH.format(first=first, second=second)
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=generate.ROOT, check=True)


def test_messages_can_be_pickled():
    message = pb.ModelInferRequest(
        model_name="m", inputs=[pb.ModelInferRequest.InferInputTensor(name="x", shape=[1])]
    )
    message.parameters["priority"].int64_param = 3
    copy = pickle.loads(pickle.dumps(message))
    assert copy == message
    assert type(copy) is pb.ModelInferRequest


def _fields(message):
    return {field.number: (field.name, field.type, field.is_repeated) for field in message.fields}


def _messages(descriptors, prefix=""):
    for descriptor in descriptors:
        yield prefix + descriptor.name, descriptor
        yield from _messages(descriptor.nested_types, f"{prefix}{descriptor.name}.")


def test_fields_are_those_of_triton():
    triton = {}
    for module in ("service_pb2", "model_config_pb2"):
        theirs = pytest.importorskip(f"tritonclient.grpc.{module}").DESCRIPTOR
        triton.update(_messages(theirs.message_types_by_name.values()))
    # In OIP's own definition, but not in Triton's.
    only_oip = {"ModelMetadataResponse.PropertiesEntry"}
    for name, ours in _messages(pb.DESCRIPTOR.message_types_by_name.values()):
        if name in only_oip:
            continue
        fields = _fields(ours)
        if name == "ModelMetadataResponse":
            assert fields.pop(6)[0] == "properties"
        assert fields.items() <= _fields(triton[name]).items(), name


def test_datatypes_are_those_of_triton():
    theirs = pytest.importorskip("tritonclient.grpc.model_config_pb2").DataType
    assert dict(pb.DataType.items()) == dict(theirs.items())


def test_health_is_on_the_wire_as_grpc_defines_it():
    request = health_pb2.HealthCheckRequest(service="m")
    assert request.SerializeToString() == b"\x0a\x01m"
    reply = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.NOT_SERVING)
    assert reply.SerializeToString() == b"\x08\x02"
    (service,) = health_pb2.DESCRIPTOR.services_by_name.values()
    assert service.full_name == "grpc.health.v1.Health"


def test_methods_are_those_of_triton():
    theirs = pytest.importorskip("tritonclient.grpc.service_pb2").DESCRIPTOR

    def methods(file):
        service = file.services_by_name["GRPCInferenceService"]
        return {
            (
                m.name,
                m.input_type.full_name,
                m.output_type.full_name,
                m.client_streaming,
                m.server_streaming,
            )
            for m in service.methods
        }

    assert methods(pb.DESCRIPTOR) <= methods(theirs)
    assert pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name == (
        "inference.GRPCInferenceService"
    )
