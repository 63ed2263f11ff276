"""A model on a device that computes beside the host: what is under way, given up, and failed."""

import asyncio
import threading

import numpy as np
import pytest
import torch

from serving.config import ModelConfig
from serving.errors import InvalidInput, ModelFailed, Unsupported
from serving.models.contract import AsyncModel, Model
from serving.models.repository.folder import ModelEntry
from serving.models.torch.pipelined_model import PipelinedModel


class Toy(torch.nn.Module):
    def forward(self, x):
        return self.forward_with_features(x)[0]

    def forward_with_features(self, x):
        if x.min() < 0:
            raise ValueError("negative")
        return x[:, :2] + 1, x


@pytest.fixture
def pipelined(tmp_path):
    def make(device, run=None, **more):
        config = ModelConfig.model_validate(
            {
                "format": "torch_export",
                "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}],
                "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
                **more,
            }
        )
        toy = Toy()
        entry = ModelEntry("toy", "1", tmp_path, config)
        with_features = None if run else toy.forward_with_features
        return PipelinedModel(entry, device, run or toy.forward, with_features, Toy)

    return make


@pytest.fixture
def asked():
    """Asks a model for rows, without features."""

    def ask(model, x):
        return model.predict_async({"x": x.numpy()}, features=False)

    return ask


@pytest.mark.parametrize("count", [0, 1, 5])
async def test_it_answers_like_any_other(pipelined, make_device, rows, count):
    model = pipelined(make_device(), compile="cuda-graphs", batching={"buckets": [2, 4]})
    assert isinstance(model, Model)
    assert isinstance(model, AsyncModel)
    x = rows(count).numpy()
    for found in (
        model.predict_with_features({"x": x}),
        await model.predict_async({"x": x}, features=True),
    ):
        np.testing.assert_array_equal(found.outputs["y"], x[:, :2] + 1)
        np.testing.assert_array_equal(found.features, x)
    found = await model.predict_async({"x": x}, features=False)
    assert found.features is None
    np.testing.assert_array_equal(model.predict({"x": x})["y"], found.outputs["y"])


@pytest.mark.parametrize(
    ("more", "seen"),
    [
        ({}, [5]),
        ({"compile": "default", "batching": {"buckets": [2, 4]}}, [4, 2]),
        ({"compile": "cuda-graphs", "batching": {"buckets": [2, 4]}}, [4, 2]),
    ],
)
async def test_it_is_cut_and_padded_only_where_it_is_compiled(
    pipelined, make_device, rows, more, seen
):
    found = {"together": [], "alone": []}
    way = "together"

    def run(x):
        found[way].append(len(x))
        return x[:, :2]

    device = make_device(captures=False)  # a graph runs no Python again
    model = pipelined(device, run, **more)
    answer = await model.predict_async({"x": rows(5).numpy()}, features=False)
    np.testing.assert_array_equal(answer.outputs["y"], rows(5)[:, :2])
    way = "alone"
    model.predict({"x": rows(5).numpy()})
    assert found == {"together": seen, "alone": seen}


@pytest.mark.parametrize(("compiles", "captures"), [("none", False), ("cuda-graphs", True)])
def test_graphs_are_captured_only_where_it_is_compiled(
    pipelined, make_device, rows, compiles, captures
):
    device = make_device()
    model = pipelined(device, compile=compiles)
    model.predict({"x": rows(1).numpy()})
    assert (device.captured > 0) == captures


@pytest.mark.parametrize("most", [1, 2])
async def test_more_calls_than_slots_are_all_answered(
    pipelined, make_device, rows, eventually, asked, most
):
    device = make_device()
    model = pipelined(device, replicas={"max_inflight_batches": most})
    device.hold.clear()
    calls = [asyncio.create_task(asked(model, rows(2, start))) for start in range(7)]
    await eventually(lambda: len(device.begun) == 2 * most)  # each is copied in and out
    for _ in range(20):
        await asyncio.sleep(0)  # the others have their turn, and do not use it
    assert len(device.begun) == 2 * most
    assert not any(call.done() for call in calls)
    device.hold.set()
    for start, found in enumerate(await asyncio.gather(*calls)):
        np.testing.assert_array_equal(found.outputs["y"], rows(2, start)[:, :2] + 1)


async def test_a_batch_that_is_waited_for_needs_no_slot_of_the_others(
    pipelined, make_device, rows, eventually, asked
):
    device = make_device()
    model = pipelined(device, replicas={"max_inflight_batches": 1})
    device.hold.clear()
    under_way = asyncio.create_task(asked(model, rows(2)))
    await eventually(lambda: len(device.begun) == 2)
    device.hold.set()
    x = rows(3, 9).numpy()
    np.testing.assert_array_equal(model.predict({"x": x})["y"], x[:, :2] + 1)
    np.testing.assert_array_equal((await under_way).outputs["y"], rows(2)[:, :2] + 1)


async def test_what_is_sent_may_be_overwritten_once_it_is_under_way(
    pipelined, make_device, rows, eventually
):
    device = make_device()
    model = pipelined(device)
    device.hold.clear()
    x = rows(2).numpy()
    call = asyncio.create_task(model.predict_async({"x": x}, features=False))
    await eventually(lambda: len(device.begun) == 2)
    x.fill(7)
    device.hold.set()
    np.testing.assert_array_equal((await call).outputs["y"], rows(2)[:, :2] + 1)


async def give_up(call, device):
    """Cancel a call while its batch is on the device, which goes on a little later."""
    timer = threading.Timer(0.05, device.hold.set)
    timer.start()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    timer.join()


async def test_a_call_that_is_given_up_leaves_its_slot_in_order(
    pipelined, make_device, rows, eventually, asked
):
    device = make_device()
    model = pipelined(device, replicas={"max_inflight_batches": 1})
    for _ in range(3):
        device.hold.clear()
        begun = len(device.begun)
        given_up = asyncio.create_task(asked(model, rows(2)))
        await eventually(lambda begun=begun: len(device.begun) == begun + 2)
        await give_up(given_up, device)
    found = await asked(model, rows(2, 7))
    np.testing.assert_array_equal(found.outputs["y"], rows(2, 7)[:, :2] + 1)


async def test_a_call_that_is_given_up_before_its_turn_takes_no_slot(
    pipelined, make_device, rows, eventually, asked
):
    device = make_device()
    model = pipelined(device, replicas={"max_inflight_batches": 1})
    device.hold.clear()
    first = asyncio.create_task(asked(model, rows(2)))
    await eventually(lambda: len(device.begun) == 2)
    waiting = asyncio.create_task(asked(model, rows(2)))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    device.hold.set()
    await first
    assert len(device.begun) == 2
    found = await asked(model, rows(1))
    np.testing.assert_array_equal(found.outputs["y"], rows(1)[:, :2] + 1)


async def test_failures_are_the_models(pipelined, make_device, rows):
    model = pipelined(make_device())
    bad = {"x": rows(2, -9).numpy()}
    for _ in range(4):
        with pytest.raises(ModelFailed, match="model 'toy' failed: ValueError: negative"):
            await model.predict_async(bad, features=False)
        with pytest.raises(ModelFailed, match="ValueError: negative"):
            model.predict(bad)


@pytest.fixture
def fail(monkeypatch):
    """Lets a device tell only when it is waited for that a batch failed."""

    def arrange(device):
        wait, device.fails = device.wait, True

        def failing(mark):
            wait(mark)
            if device.fails:
                raise RuntimeError("device-side assert")

        monkeypatch.setattr(device, "wait", failing)

    return arrange


async def test_a_failure_that_the_device_tells_late_is_the_models(
    pipelined, make_device, rows, asked, fail
):
    device = make_device()
    model = pipelined(device, replicas={"max_inflight_batches": 1})
    fail(device)
    for _ in range(4):
        with pytest.raises(ModelFailed, match="'toy' failed: RuntimeError: device-side assert"):
            await asked(model, rows(2))
    device.fails = False
    found = await asked(model, rows(2))
    np.testing.assert_array_equal(found.outputs["y"], rows(2)[:, :2] + 1)


async def test_a_call_that_is_given_up_and_fails_leaves_its_slot_in_order(
    pipelined, make_device, rows, eventually, asked, fail
):
    device = make_device()
    model = pipelined(device, replicas={"max_inflight_batches": 1})
    fail(device)
    for _ in range(3):
        device.hold.clear()
        begun = len(device.begun)
        given_up = asyncio.create_task(asked(model, rows(2)))
        await eventually(lambda begun=begun: len(device.begun) == begun + 2)
        await give_up(given_up, device)
    device.fails = False
    found = await asked(model, rows(2))
    np.testing.assert_array_equal(found.outputs["y"], rows(2)[:, :2] + 1)


async def test_wrong_input_takes_no_slot(pipelined, make_device):
    device = make_device()
    model = pipelined(device)
    with pytest.raises(InvalidInput):
        await model.predict_async({}, features=False)
    assert not device.begun


@pytest.mark.parametrize("more", [{}, {"compile": "cuda-graphs", "batching": {"buckets": [2]}}])
@pytest.mark.parametrize("sparse", [torch.Tensor.to_sparse, torch.Tensor.to_sparse_csr])
@pytest.mark.filterwarnings("ignore:.*Sparse.*:UserWarning")  # torch: "in beta state"
async def test_sparse_outputs_are_named_and_free_their_slot(
    pipelined, make_device, rows, asked, more, sparse
):
    model = pipelined(make_device(), lambda x: sparse(x[:, :2]), **more)
    for _ in range(4):
        with pytest.raises(ModelFailed, match="is a sparse or nested tensor"):
            await asked(model, rows(3))


async def test_no_features_to_ask_for(pipelined, make_device, rows):
    device = make_device()
    model = pipelined(device, lambda x: x[:, :2])
    assert not model.capabilities.features
    with pytest.raises(Unsupported, match="forward_with_features"):
        await model.predict_async({"x": rows(1).numpy()}, features=True)
    assert not device.begun
