"""An explainer over its real channel, held against captum used directly."""

import asyncio
import signal
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients

from explain.attribution import CannotExplain, ExplanationTooLong, IncompleteAttribution
from serving.channel.endpoint import connect
from serving.channel.messages.directory import ServedModel
from serving.channel.messages.explanation import EXPLAIN, ExplainMeta, ExplainReply
from serving.config import Explain, Feature, InputSpec, ModelConfig, OutputSpec
from serving.errors import (
    DeadlineExceeded,
    InvalidInput,
    ModelFailed,
    ModelNotReady,
    Overloaded,
    Unsupported,
)
from serving.explaining.role import ExplainerRole
from serving.models.export import save_files, save_torch_export
from serving.protocol.messages import Tensor


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3), torch.nn.Softmax(1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture
def explained(tmp_path: Path, net: Net) -> ServedModel:
    folder = tmp_path / "net" / "1"
    save_torch_export(net, [torch.ones(2, 4)], folder)
    (folder / "profile").mkdir()
    baseline = {"id": "b", "inputs": {"x": [0.5, -0.5, 0.25, 0.0]}}
    (folder / "profile" / "baseline.json").write_bytes(msgspec.json.encode(baseline))
    config = ModelConfig(
        format="torch_export",
        inputs=[InputSpec(name="x", datatype="FP32", shape=[-1, 4])],
        outputs=[OutputSpec(name="p", datatype="FP32", shape=[-1, 3], classes=["a", "b", "c"])],
        explain=Explain(),
    )
    return ServedModel("net", "1", config.model_dump_json().encode(), str(folder))


@pytest.fixture
def make_role(tmp_path: Path, explained: ServedModel):
    def make(served: ServedModel = explained, **more) -> ExplainerRole:
        addresses = f"unix:{tmp_path}/explainer.sock", f"unix:{tmp_path}/registry.sock"
        role = ExplainerRole(served, "explainer-net-1", *addresses, **more)
        role.load()
        return role

    return make


@pytest.fixture
async def role(make_role, registry) -> AsyncIterator[ExplainerRole]:
    role = make_role()
    await role.start()
    yield role
    await role.stop()


def asked(**wishes) -> ExplainMeta:
    effort = {name: wishes.pop(name) for name in ("n_steps", "n_samples") if name in wishes}
    return ExplainMeta(**{"effort": effort, **wishes})


class Client:
    def __init__(self, connection) -> None:
        self.connection = connection

    async def explain(self, rows: np.ndarray, **meta) -> tuple[ExplainReply, dict]:
        tensor = Tensor("x", "FP32", rows.shape, rows)
        message = await self.connection.request(EXPLAIN, asked(**meta), [tensor])
        arrays = {tensor.name: tensor.data for tensor in message.tensors}
        return msgspec.msgpack.decode(message.meta, type=ExplainReply), arrays


@pytest.fixture
async def client(role, tmp_path) -> AsyncIterator[Client]:
    connection = await connect(f"unix:{tmp_path}/explainer.sock")
    yield Client(connection)
    connection.close()


@pytest.fixture
def rows() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)


@pytest.mark.parametrize("baseline", ["zeros", "mean"])
async def test_the_answer_is_captums(client, net, rows, baseline):
    reply, arrays = await client.explain(rows, target="b", baseline=baseline, n_steps=40)
    start = [0.5, -0.5, 0.25, 0.0] if baseline == "mean" else [0.0] * 4
    x, base = torch.from_numpy(rows), torch.tensor([start]).expand(5, 4)
    direct = IntegratedGradients(net).attribute(x, base, target=1, n_steps=40)
    assert reply == ExplainReply("integrated_gradients", (1,) * 5, baseline, {"n_steps": 40})
    np.testing.assert_allclose(arrays["attribution:x"], direct.numpy(), atol=1e-6)
    np.testing.assert_array_equal(arrays["baseline:x"], base.numpy())
    with torch.no_grad():
        difference = (net(x) - net(base))[:, 1].numpy()
    delta = arrays["attribution:x"].sum(axis=1) - difference
    np.testing.assert_allclose(arrays["convergence_delta"], delta, atol=1e-5)


async def test_without_wishes_the_predicted_class_from_the_mean(client, net, rows):
    reply, _ = await client.explain(rows)
    with torch.no_grad():
        predicted = net(torch.from_numpy(rows)).argmax(1).tolist()
    assert (list(reply.target), reply.baseline) == (predicted, "mean")


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({"target": "d"}, "it has a, b, c"),
        ({"target": 3}, "0 to 2"),
        ({"target": -1}, "0 to 2"),
        ({"method": "shap"}, "auto, integrated_gradients, kernel_shap"),
        ({"baseline": "noise"}, "zeros or mean"),
        ({"effort": {"n_trees": 3}}, "takes no n_trees; it takes n_steps"),
        ({"n_steps": 0}, "n_steps"),
        ({"n_steps": 10**6}, "n_steps"),
        ({"n_samples": 100}, "integrated_gradients takes no n_samples"),
        ({"method": "kernel_shap", "n_steps": 8}, "kernel_shap takes no n_steps"),
        ({"method": "kernel_shap", "n_samples": 0}, "n_samples must be 1 to 65536"),
        ({"method": "kernel_shap", "n_samples": 13}, "at least 14 for rows with 4 features"),
        ({"method": "kernel_shap", "target": "d"}, "it has a, b, c"),
    ],
)
async def test_wishes_that_cannot_be_met(client, rows, meta, message):
    with pytest.raises(InvalidInput, match=message):
        await client.explain(rows, **meta)


async def test_rows_that_cannot_be_explained(client, rows):
    with pytest.raises(InvalidInput, match="256 rows"):
        await client.explain(np.zeros((257, 4), np.float32))
    with pytest.raises(InvalidInput, match="finite"):
        await client.explain(np.full((1, 4), np.nan, np.float32))
    with pytest.raises(InvalidInput, match="explain"):
        await client.connection.request(EXPLAIN, ["a", [], "b", "c"])
    with pytest.raises(Unsupported, match="infer"):
        await client.connection.request("infer", None)
    await client.explain(rows)


async def test_metrics(client, role, rows):
    await client.explain(rows)
    series = {s.name: s for s in role._report().series}
    assert sum(series["vigil.explain.duration"].counts) == 1
    assert sum(series["vigil.explain.completeness_error"].counts) == 5
    assert series["vigil.explain.queue.depth"].value == 0
    spent = series["vigil.model.cpu.time"]
    assert spent.value > 0
    assert ("role", "explainer") in spent.attributes


class Held:
    """An explainer that computes when it is told to."""

    def __init__(self, error: BaseException) -> None:
        self.go = threading.Event()
        self.error = error

    def explain(self, *_arguments) -> None:
        self.go.wait(60)
        raise self.error


async def test_what_does_not_add_up_is_no_answer(client, role, rows):
    held = role._explainers["integrated_gradients"] = Held(
        IncompleteAttribution("the delta is 0.3")
    )
    held.go.set()
    with pytest.raises(ModelFailed, match=r"delta is 0\.3"):
        await client.explain(rows)
    held.error = RuntimeError("out of\nmemory")
    with pytest.raises(ModelFailed, match="RuntimeError: out of memory"):
        await client.explain(rows)
    for left in (SystemExit(3), asyncio.CancelledError(), StopIteration(3)):
        held.error = left
        with pytest.raises(ModelFailed, match=f"failed: {type(left).__name__}: ") as caught:
            await client.explain(rows)
        assert caught.value.cause.type.endswith(type(left).__name__)
    held.error = CannotExplain("the target is none")
    with pytest.raises(InvalidInput, match="the target is none"):
        await client.explain(rows)
    held.error = ExplanationTooLong("longer than 60 s")
    with pytest.raises(DeadlineExceeded, match="60 s"):
        await client.explain(rows)


@pytest.mark.parametrize("method", ["integrated_gradients", "kernel_shap"])
async def test_a_value_error_of_the_model_is_the_models_failure(client, role, rows, method):
    explainer = role._explainers[method]

    def forward(*_arguments):
        raise ValueError("too many values to unpack")

    name = "_predict" if method == "kernel_shap" else "_module"
    before = getattr(explainer, name)
    setattr(explainer, name, forward)
    with pytest.raises(ModelFailed, match="ValueError: too many values to unpack"):
        await client.explain(rows, method=method)
    setattr(explainer, name, before)
    await client.explain(rows, method=method)


async def test_a_full_queue_refuses_and_answers_meanwhile(make_role, registry, tmp_path, rows):
    role = make_role(max_waiting=2)
    held = role._explainers["integrated_gradients"] = Held(IncompleteAttribution("late"))
    await role.start()
    client = Client(await connect(f"unix:{tmp_path}/explainer.sock"))
    waiting = [asyncio.ensure_future(client.explain(rows)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as refused:
        await client.explain(rows)
    assert refused.value.retry_after_s >= 1
    held.go.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [ModelFailed, ModelFailed]
    await role.stop()


async def test_a_differentiable_model_by_kernel_shap_if_asked(client, net, rows, shapley):
    reply, arrays = await client.explain(rows, method="kernel_shap", target="a", baseline="zeros")
    assert reply == ExplainReply(
        "kernel_shap", (0,) * 5, "zeros", {"n_samples": 14, "n_features": 4}
    )

    def first(x):
        with torch.no_grad():
            return net(torch.from_numpy(x.astype(np.float32)))[:, 0].numpy()

    exact = shapley.exact(first, rows, np.zeros((1, 4)))
    np.testing.assert_allclose(arrays["attribution:x"], exact, atol=1e-6)
    assert arrays["attribution:x"].dtype == np.float64
    np.testing.assert_allclose(arrays["convergence_delta"], 0, atol=1e-12)


SHOP = """
import numpy as np

class Shop:
    def predict(self, inputs):
        price, colour = inputs["price"][:, 0], inputs["colour"][:, 0]
        assert set(colour) <= {b"red", b"blue"}
        return {"sales": (3.0 * price + 10.0 * (colour == b"red")).astype(np.float32)}

def build():
    return Shop()
"""


@pytest.fixture
def shop(tmp_path) -> ServedModel:
    """A model of Python code with a whole number and a category, and a profile."""
    (tmp_path / "shop.py").write_text(SHOP)
    folder = tmp_path / "shop" / "1"
    save_files(folder, tmp_path / "shop.py")
    (folder / "profile").mkdir()
    baseline = {"id": "b", "inputs": {"price": [4.6], "colour": ["blue"]}}
    (folder / "profile" / "baseline.json").write_bytes(msgspec.json.encode(baseline))
    colours = Feature(name="colour", categories=["red", "blue"])
    config = ModelConfig(
        format="python",
        factory="shop:build",
        trust_code=True,
        inputs=[
            InputSpec(name="price", datatype="INT32", shape=[-1, 1]),
            InputSpec(name="colour", datatype="BYTES", shape=[-1, 1], features=[colours]),
        ],
        outputs=[OutputSpec(name="sales", datatype="FP32", shape=[-1])],
    )
    return ServedModel("shop", "1", config.model_dump_json().encode(), str(folder))


async def ask_shop(connection, baseline=None, **meta):
    price = np.array([[7], [5]], np.int32)
    colour = np.array([[b"red"], [b"blue"]], object)
    tensors = [
        Tensor("price", "INT32", (2, 1), price),
        Tensor("colour", "BYTES", (2, 1), colour),
    ]
    message = await connection.request(EXPLAIN, asked(baseline=baseline, **meta), tensors)
    reply = msgspec.msgpack.decode(message.meta, type=ExplainReply)
    return reply, {tensor.name: tensor.data.ravel().tolist() for tensor in message.tensors}


async def test_a_model_without_gradients_and_with_categories(make_role, shop, registry, tmp_path):
    role = make_role(shop)
    await role.start()
    connection = await connect(f"unix:{tmp_path}/explainer.sock")
    reply, arrays = await ask_shop(connection)
    assert (reply.method, reply.baseline) == ("kernel_shap", "mean")
    assert arrays == {
        "attribution:price": [6.0, 0.0],
        "attribution:colour": [10.0, 0.0],
        "baseline:price": [5, 5],
        "baseline:colour": [b"blue", b"blue"],
        "convergence_delta": [0.0, 0.0],
    }
    _, arrays = await ask_shop(connection, "zeros")
    assert arrays["attribution:price"] == [21.0, 15.0]
    assert arrays["baseline:colour"] == [b"red", b"red"]
    with pytest.raises(Unsupported, match="floating-point; use method kernel_shap"):
        await ask_shop(connection, method="integrated_gradients")
    connection.close()
    await role.stop()


async def test_it_registers_with_the_registry(role, registry, eventually):
    await eventually(lambda: any(s.ready for s in registry.states()))
    [state] = registry.states()
    member = state.member
    assert (member.role, member.model, member.version) == ("explainer", "net", "1")


async def test_the_process_answers_and_ends_at_sigterm(
    explained, registry, tmp_path, rows, eventually
):
    (tmp_path / "served").write_bytes(msgspec.msgpack.encode(explained))
    code = (
        "import sys, msgspec; from pathlib import Path\n"
        "from serving.channel.messages.directory import ServedModel\n"
        "from serving.explaining.role import run\n"
        "served = msgspec.msgpack.decode(Path(sys.argv[1]).read_bytes(), type=ServedModel)\n"
        "run(served, 'explainer-net-1', sys.argv[2], sys.argv[3], None)"
    )
    addresses = f"unix:{tmp_path}/explainer.sock", f"unix:{tmp_path}/registry.sock"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(tmp_path / "served"), *addresses
    )
    try:
        await eventually(lambda: any(s.ready for s in registry.states()))
        client = Client(await connect(addresses[0]))
        reply, _ = await client.explain(rows)
        assert reply.method == "integrated_gradients"
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.fixture
async def remote_client(make_role, registry, upstream, tmp_path) -> AsyncIterator[Client]:
    """An explainer of a model on another server, which doubles its four inputs."""
    config = ModelConfig.model_validate({
        "format": "remote",
        "remote": {"url": f"grpc://{upstream.address}"},
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 4]}],
    })  # fmt: skip
    served = ServedModel("m", "1", config.model_dump_json().encode(), str(tmp_path / "m" / "1"))
    role = make_role(served)
    await role.start()
    connection = await connect(f"unix:{tmp_path}/explainer.sock")
    yield Client(connection)
    connection.close()
    await role.stop()


async def test_an_explanation_is_of_one_version_of_another_server(remote_client, upstream, rows):
    for version, told in (("1", ""), ("2", "2")):
        upstream.version = version
        reply, arrays = await remote_client.explain(rows, target=1)
        assert reply.version == told
        np.testing.assert_allclose(arrays["attribution:x"][:, 1], 2 * rows[:, 1], atol=1e-4)
    asked = len(upstream.requests)
    double = upstream.compute

    def compute(request):
        upstream.version = "3"  # of the answers after the first
        return double(request)

    upstream.compute = compute
    with pytest.raises(ModelNotReady, match=r"changed the version of model 'm'.*\(2, 3\)"):
        await remote_client.explain(rows, target=1)
    assert len(upstream.requests) > asked + 1
    assert (await remote_client.explain(rows, target=1))[0].version == "3"
