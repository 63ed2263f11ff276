"""The replica of a model on another server, over its real channel; that server misbehaves."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
import msgspec
import numpy as np
import pytest

from serving.channel.connection import ChannelClosed, Connection
from serving.channel.endpoint import connect
from serving.channel.messages.directory import ServedModel
from serving.channel.messages.inference import PROBE, BatchMeta, Passthrough, ResultMeta
from serving.config import ModelConfig
from serving.errors import (
    DeadlineExceeded,
    Forbidden,
    ModelFailed,
    ModelNotReady,
    QuotaExceeded,
    Unauthenticated,
    Unreachable,
    UpstreamDenied,
)
from serving.protocol.messages import Tensor
from serving.replica.role import make_replica
from serving.telemetry.logs.causes import Cause
from serving.telemetry.logs.report import FIELDS

Ask = Callable[..., Awaitable[tuple[ResultMeta, dict[str, np.ndarray]]]]


def config_for(upstream, **remote) -> ModelConfig:
    return ModelConfig.model_validate(
        {
            "format": "remote",
            "remote": {"url": f"grpc://{upstream.address}", **remote},
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
            "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
        }
    )


@pytest.fixture
async def make_role(tmp_path, upstream):
    roles = []

    async def make(**remote):
        config = config_for(upstream, **remote).model_dump_json().encode()
        served = ServedModel("m", "1", config, str(tmp_path / "m" / "1"))
        role = make_replica(
            served, "replica-m-1", f"unix:{tmp_path}/replica.sock", f"unix:{tmp_path}/registry.sock"
        )
        role.load()
        roles.append(role)
        return await connect(await role.start())

    yield make
    for role in roles:
        await role.stop()


@pytest.fixture
async def connection(make_role) -> AsyncIterator[Connection]:
    made = await make_role()
    yield made
    made.close()


async def ask(connection, rows, forward=b""):
    """Send requests of one row each, or a probe; returns meta and outputs."""
    x = np.array([[row, row] for row in rows], np.float32)
    meta = BatchMeta((1,) * len(rows), forward)
    reply = await connection.request("infer", meta, [Tensor("x", "FP32", x.shape, x)])
    result = msgspec.msgpack.decode(reply.meta, type=ResultMeta)
    return result, {tensor.name: tensor.data for tensor in reply.tensors}


async def test_a_batch_is_one_request_upstream(connection, upstream):
    forward = msgspec.msgpack.encode(Passthrough({"priority": 2}, {"x": {"unit": "m"}}))
    result, outputs = await ask(connection, [1, 2, 3], forward)
    np.testing.assert_array_equal(outputs["y"], [[2, 2], [4, 4], [6, 6]])
    assert result.failed == {}
    (request,) = upstream.requests
    assert request.parameters == {"priority": 2}
    assert request.inputs[0].parameters == {"unit": "m"}


async def test_the_other_server_is_told_of_the_trace(connection, upstream):
    for trace in ("00-" + "5" * 32 + "-" + "6" * 16 + "-01", ""):
        x = np.ones((1, 2), np.float32)
        meta = BatchMeta((1,), b"", trace.encode())
        await connection.request("infer", meta, [Tensor("x", "FP32", x.shape, x)])
        assert upstream.traceparents[-1] == trace


async def test_every_try_of_a_bisection_tells_of_the_trace(connection, upstream):
    x = np.array([[1, 1], [666, 666]], np.float32)
    trace = "00-" + "5" * 32 + "-" + "6" * 16 + "-01"
    meta = BatchMeta((1, 1), b"", trace.encode())
    await connection.request("infer", meta, [Tensor("x", "FP32", x.shape, x)])
    assert upstream.traceparents == [trace] * 3


async def test_many_batches_are_under_way_at_once(connection, upstream):
    upstream.delay_s = 0.2
    await asyncio.gather(*[ask(connection, [1]) for _ in range(8)])
    assert upstream.most_at_once > 1


async def test_the_poisonous_row_is_bisected_out(connection, upstream):
    result, outputs = await ask(connection, [1, 2, 666, 4, 5])
    np.testing.assert_array_equal(outputs["y"][:, 0], [2, 4, 8, 10])
    assert result.failed == {2: "poison row"}
    assert result.kinds == {2: "InvalidInput"}


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.RESOURCE_EXHAUSTED, QuotaExceeded),
        (grpc.StatusCode.UNAVAILABLE, ModelNotReady),
    ],
)
async def test_refusals_that_no_row_is_guilty_of_are_not_bisected(connection, upstream, code, kind):
    upstream.refusal = (code, "not now")
    with pytest.raises(kind, match="not now"):
        await ask(connection, [1, 666, 2, 3])
    assert len(upstream.requests) == 1


async def test_what_is_said_of_one_request_reaches_that_one_alone(connection, upstream):
    def compute(request):
        x = request.inputs[0]
        parameters = {"content_type": "np", "unit": "m", "binary_data_size": 8}
        return [Tensor("y", "FP32", x.shape, x.data * 2, parameters)]

    upstream.compute = compute
    upstream.said = {"triton_model": "a", "n": 3, "content_type": "pd"}
    (alone,) = (await ask(connection, [1]))[0].response_parameters.values()
    assert alone.parameters == upstream.said
    assert alone.outputs == {"y": {"content_type": "np", "unit": "m"}}
    joined = (await ask(connection, [1, 2]))[0].response_parameters
    assert joined[0] == joined[1]
    assert (joined[0].parameters, joined[0].outputs) == (
        {"content_type": "pd"}, {"y": {"content_type": "np"}},
    )  # fmt: skip
    bisected = (await ask(connection, [666, 2]))[0]
    assert bisected.failed.keys() == {0}
    assert bisected.response_parameters.keys() == {1}
    assert bisected.response_parameters[1].parameters == upstream.said


async def test_the_version_of_an_answer_is_that_of_the_other_server(connection, upstream):
    upstream.version = "2"
    joined = (await ask(connection, [1, 2]))[0].response_parameters
    assert {position: said.version for position, said in joined.items()} == {0: "2", 1: "2"}


async def test_a_batch_that_is_bisected_may_have_answers_of_several_versions(connection, upstream):
    versions = iter(["2", "3"])

    def compute(request):
        upstream.version = next(versions)  # of the next answer
        return upstream._double(request)

    upstream.version, upstream.compute = "1", compute
    result, _ = await ask(connection, [1, 2, 3, 666])  # asked again as (1, 2), (3), (666)
    assert result.failed.keys() == {3}
    assert {position: said.version for position, said in result.response_parameters.items()} == {
        2: "2"
    }


@pytest.mark.parametrize("version", ["9" * 129, "1\n2"])
async def test_what_cannot_be_a_version_is_refused(connection, upstream, version):
    upstream.version = version
    result, _ = await ask(connection, [1])
    assert "answered as model_version" in result.failed[0]


async def test_nothing_said_costs_nothing(connection):
    assert (await ask(connection, [1]))[0].response_parameters == {}


async def test_internal_errors_keep_their_message(connection, upstream):
    upstream.refusal = (grpc.StatusCode.INTERNAL, "out of luck")
    result, _ = await ask(connection, [666])
    assert result.failed == {0: "out of luck"}
    assert result.kinds == {0: "ModelFailed"}
    assert result.causes == {
        0: Cause("upstream INTERNAL", told="the upstream server answered INTERNAL")
    }


async def test_a_slow_server_is_given_up(make_role, upstream):
    connection = await make_role(timeout_s=0.5)
    upstream.delay_s = 5
    with pytest.raises(DeadlineExceeded, match=r"did not answer within 0\.5 s"):
        await ask(connection, [1])
    connection.close()


@pytest.mark.parametrize(
    ("output", "why"),
    [
        (Tensor("z", "FP32", (2, 2), np.zeros((2, 2), np.float32)), "answered 'z'"),
        (Tensor("y", "FP64", (2, 2), np.zeros((2, 2))), "as FP64"),
        (Tensor("y", "FP32", (7, 2), np.zeros((7, 2), np.float32)), "row_axis: false"),
    ],
)
async def test_wrong_answers(connection, upstream, output, why):
    upstream.compute = lambda _request: [output]
    result, _ = await ask(connection, [1])
    assert why in result.failed[0]


async def test_a_model_without_row_axis_sees_none(make_role, upstream):
    connection = await make_role(row_axis=False)
    _, outputs = await ask(connection, [3])
    np.testing.assert_array_equal(outputs["y"], [[6, 6]])
    assert upstream.requests[0].inputs[0].shape == (2,)
    connection.close()


async def test_a_probe_computes_nothing(connection, upstream):
    _, outputs = await ask(connection, [1], PROBE)
    assert outputs["y"].shape == (1, 2)
    assert upstream.requests == []
    upstream.ready = False
    with pytest.raises(ModelNotReady, match="says that model 'm' is not ready"):
        await ask(connection, [1], PROBE)


async def test_a_probe_finds_other_tensors(connection, upstream):
    upstream.metadata.inputs.add(name="x", datatype="FP64", shape=[-1, 2])
    with pytest.raises(ModelFailed, match=r"no input 'x' of FP32; it tells of x FP64"):
        await ask(connection, [1], PROBE)


async def test_a_server_that_dies_and_comes_back(make_role, upstream, eventually, tmp_path, caplog):
    caplog.set_level(logging.INFO, "vigil")
    connection = await make_role()
    await ask(connection, [1])
    upstream.stop()
    try:
        await eventually(lambda: connection.closed)  # though nobody asked anything
        again = await connect(f"unix:{tmp_path}/replica.sock")
        with pytest.raises(Unreachable, match="cannot be reached"):
            await ask(again, [1], PROBE)
    finally:
        upstream.start()

    async def answers() -> bool:
        try:
            await ask(again, [1])
        except (Unreachable, ChannelClosed):
            return False
        return True

    async with asyncio.timeout(60):
        while not await answers():  # noqa: ASYNC110 - the condition is another server's
            await asyncio.sleep(0.05)
    again.close()

    def told() -> list[str]:
        events = [getattr(record, FIELDS, {}).get("event", "") for record in caplog.records]
        return [event for event in events if event.startswith("upstream_")]

    await eventually(lambda: told() == ["upstream_lost", "upstream_back"])


SECRET = "Bearer hunter2"


async def test_the_credential_of_who_asks_is_passed_on(make_role, upstream):
    upstream.trusted = SECRET
    connection = await make_role(credentials="passthrough")
    forward = msgspec.msgpack.encode(Passthrough({}, {}, SECRET))
    result, outputs = await ask(connection, [1, 2], forward)
    assert result.failed == {}
    np.testing.assert_array_equal(outputs["y"], [[2, 2], [4, 4]])
    assert upstream.credentials == [SECRET]
    for other, kind in (("Bearer other", Forbidden), ("", Unauthenticated)):
        forward = msgspec.msgpack.encode(Passthrough({}, {}, other))
        with pytest.raises(kind, match="upstream server") as refused:
            await ask(connection, [1], forward)
        assert "remote.credentials" not in refused.value.message
        assert "other" not in refused.value.message
    connection.close()


async def test_what_the_server_repeats_of_a_credential_is_taken_out(make_role, upstream, caplog):
    upstream.refusal = (grpc.StatusCode.INVALID_ARGUMENT, "no rows for hunter2")
    connection = await make_role(credentials="passthrough")
    forward = msgspec.msgpack.encode(Passthrough({}, {}, SECRET))
    for rows in ([666], [1, 666]):
        result, _ = await ask(connection, rows, forward)
        assert result.failed == {len(rows) - 1: "no rows for …"}
        assert "hunter2" not in repr(result)
    assert "hunter2" not in caplog.text
    connection.close()


async def test_without_anybodys_credential_a_server_that_refuses_is_there(make_role, upstream):
    def refuse(_message, context):
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "who is it?")

    upstream.model_ready = refuse
    connection = await make_role(credentials="passthrough")
    result, _ = await ask(connection, [0], PROBE)
    assert result.failed == {}
    connection.close()
    connection = await make_role()
    with pytest.raises(UpstreamDenied):
        await ask(connection, [0], PROBE)
    connection.close()
