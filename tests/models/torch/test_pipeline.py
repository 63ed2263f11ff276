"""The way of batches through a device, on a device made of plain memory that does nothing until
it is told to, so that what is under way at once can be seen."""

import asyncio
import threading

import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_leaves

from serving.config import ModelConfig
from serving.errors import ModelFailed, Unsupported
from serving.models.contract import AsyncModel, Model
from serving.models.repository.folder import ModelEntry
from serving.models.torch.array_conversion import is_dense
from serving.models.torch.pipeline import Pipeline
from serving.models.torch.pipelined_model import PipelinedModel


class SlowDevice:
    """Copies are begun in order and done only when somebody waits for them or a later one of the
    same direction."""

    def __init__(self, *, captures=True):
        self.begun = []
        self.done = {"up": 0, "down": 0}
        self.buffers = 0
        self.addresses = set()
        self.captured = 0
        self.replayed = 0
        self.captures = captures
        self.lock = threading.Lock()
        self.hold = threading.Event()
        self.hold.set()

    def host_buffer(self, size):
        self.buffers += size > 0
        buffer = torch.zeros(size, dtype=torch.uint8)
        self.addresses.add(buffer.data_ptr())
        return buffer

    device_buffer = host_buffer

    def upload(self, copies):
        return self._begin("up", copies)

    def compute(self, after, run):
        # Results must exist now for their shapes; what they are computed from is there in time.
        self._until(after)
        return run(), after

    def download(self, after, copies):
        return self._begin("down", copies)

    def wait(self, mark):
        assert self.hold.wait(60)
        self._until(mark)

    def capture(self, run, pool):
        """Record `run`; a pool is the results of its graphs, which each of them may overwrite."""
        if not self.captures:
            raise RuntimeError("operation not permitted\n when stream is capturing")
        self.captured += 1
        pool = [] if pool is None else pool
        found = run()
        pool += [leaf for leaf in tree_leaves(found) if self._is_scratch(leaf)]

        def replay():
            self.replayed += 1
            for result in pool:
                result.fill_(-99)
            for old, new in zip(tree_leaves(found), tree_leaves(run()), strict=True):
                if is_dense(old):
                    old.copy_(new)

        return replay, found, pool

    def _is_scratch(self, leaf):
        return is_dense(leaf) and leaf.untyped_storage().data_ptr() not in self.addresses

    def _begin(self, direction, copies):
        self.begun.append((direction, list(copies)))
        return direction, sum(one == direction for one, _ in self.begun)

    def _until(self, mark):
        direction, count = mark
        with self.lock, torch.inference_mode():
            begun = [copies for one, copies in self.begun if one == direction]
            for copies in begun[self.done[direction] : count]:
                for target, source in copies:
                    target.copy_(source)
            self.done[direction] = max(count, self.done[direction])


def twice(x):
    return (x * 2,)


def rows(count, start=0.0):
    return torch.arange(count * 3, dtype=torch.float32).reshape(count, 3) + start


def test_two_batches_under_way_keep_their_own_answers():
    pipeline = Pipeline(SlowDevice(), {False: twice}, slots=2)
    first = pipeline.submit([rows(2)], features=False)
    second = pipeline.submit([rows(3, 100)], features=False)
    assert pipeline.free == 0
    for ticket, expected in ((second, rows(3, 100)), (first, rows(2))):
        pipeline.wait(ticket)
        assert torch.equal(pipeline.collect(ticket)[0], expected * 2)
    assert pipeline.free == 2


def test_what_was_given_may_be_overwritten_at_once():
    pipeline = Pipeline(SlowDevice(), {False: twice}, slots=1)
    given = rows(2)
    ticket = pipeline.submit([given], features=False)
    given.fill_(-1)
    pipeline.wait(ticket)
    assert torch.equal(pipeline.collect(ticket)[0], rows(2) * 2)


def test_buffers_are_used_again_and_answers_are_not_in_them():
    device = SlowDevice()
    pipeline = Pipeline(device, {False: twice}, slots=1)
    first = pipeline.run([rows(4)], features=False)[0]
    buffers = device.buffers
    for start in range(5):
        pipeline.run([rows(3, start)], features=False)
    assert device.buffers == buffers
    assert torch.equal(first, rows(4) * 2)


def test_batches_are_padded_to_buckets_and_cut_into_them():
    seen = []

    def run(x, codes):
        seen.append(len(x))
        return (x * 2, codes), x.sum(1)

    pipeline = Pipeline(SlowDevice(), {True: run}, slots=1, buckets=(2, 4))
    codes = torch.arange(7, dtype=torch.int64)
    (doubled, same), total = pipeline.run([rows(7), codes], features=True)
    assert seen == [4, 4]
    assert torch.equal(doubled, rows(7) * 2)
    assert torch.equal(same, codes)
    assert torch.equal(total, rows(7).sum(1))


def test_each_slot_captures_each_bucket_once_and_replays_it():
    device = SlowDevice()
    pipeline = Pipeline(device, {False: twice}, slots=2, buckets=(1, 4), graphs=True)
    for count in (1, 1, 4, 4):
        pipeline.run([rows(count)], features=False)
    assert device.captured == 4
    for start in range(6):
        x = rows(3, start)
        assert torch.equal(pipeline.run([x], features=False)[0], x * 2)
    assert device.captured == 4
    assert device.replayed == 10


def test_a_graph_leaves_the_results_of_the_one_before_it_alone():
    pipeline = Pipeline(SlowDevice(), {False: twice}, slots=2, buckets=(1, 4), graphs=True)
    for count in (1, 1, 4, 4):  # both slots capture both sizes
        pipeline.run([rows(count)], features=False)
    given = [rows(4), rows(1, 100)]
    under_way = [pipeline.submit([x], features=False) for x in given]
    for ticket, x in zip(under_way, given, strict=True):
        pipeline.wait(ticket)
        assert torch.equal(pipeline.collect(ticket)[0], x * 2)


def test_without_capture_it_computes_plainly_and_says_so(caplog):
    device = SlowDevice(captures=False)
    pipeline = Pipeline(device, {False: twice}, slots=2, buckets=(4,), graphs=True)
    for start in range(3):
        x = rows(2, start)
        assert torch.equal(pipeline.run([x], features=False)[0], x * 2)
    (record,) = caplog.records
    assert record.getMessage() == (
        "batches cannot be captured as a CUDA graph, so each kernel is launched by itself from now "
        "on"
    )
    assert record.vigil_fields["rows"] == 4
    assert record.vigil_fields["error"] == "RuntimeError"


def test_a_batch_that_fails_frees_its_slot():
    def run(x):
        if x[0, 0] < 0:
            raise ValueError("poison")
        return x

    pipeline = Pipeline(SlowDevice(), {False: run}, slots=1)
    for _ in range(3):
        with pytest.raises(ValueError, match="poison"):
            pipeline.submit([rows(2, -9)], features=False)
    assert torch.equal(pipeline.run([rows(2)], features=False), rows(2))


class Toy(torch.nn.Module):
    def forward(self, x):
        return self.forward_with_features(x)[0]

    def forward_with_features(self, x):
        if x.min() < 0:
            raise ValueError("negative")
        return x[:, :2] + 1, x


@pytest.fixture
def pipelined(tmp_path):
    def make(device, **more):
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
        return PipelinedModel(entry, device, toy.forward, toy.forward_with_features, Toy)

    return make


@pytest.mark.parametrize("count", [0, 1, 5])
async def test_a_pipelined_model_answers_like_any_other(pipelined, count):
    model = pipelined(SlowDevice(), compile="cuda-graphs", batching={"buckets": [2, 4]})
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


async def test_more_calls_than_slots_are_all_answered_and_two_are_under_way(pipelined, eventually):
    device = SlowDevice()
    model = pipelined(device, replicas={"max_inflight_batches": 2})
    device.hold.clear()
    batches = [rows(2, start).numpy() for start in range(7)]
    calls = [asyncio.create_task(model.predict_async({"x": x}, features=False)) for x in batches]
    await eventually(lambda: len(device.begun) == 4)  # two copied in, two copied out
    assert not any(call.done() for call in calls)
    device.hold.set()
    for x, found in zip(batches, await asyncio.gather(*calls), strict=True):
        np.testing.assert_array_equal(found.outputs["y"], x[:, :2] + 1)


async def test_a_call_that_is_given_up_leaves_its_slot_in_order(pipelined, eventually):
    device = SlowDevice()
    model = pipelined(device, replicas={"max_inflight_batches": 1})
    device.hold.clear()
    given_up = asyncio.create_task(model.predict_async({"x": rows(2).numpy()}, features=False))
    await eventually(lambda: len(device.begun) == 2)
    threading.Timer(0.05, device.hold.set).start()
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    found = await model.predict_async({"x": rows(2, 7).numpy()}, features=False)
    np.testing.assert_array_equal(found.outputs["y"], rows(2, 7)[:, :2] + 1)


async def test_failures_are_the_models(pipelined):
    model = pipelined(SlowDevice())
    bad = {"x": rows(2, -9).numpy()}
    for _ in range(4):
        with pytest.raises(ModelFailed, match="model 'toy' failed: ValueError: negative"):
            await model.predict_async(bad, features=False)
        with pytest.raises(ModelFailed, match="ValueError: negative"):
            model.predict(bad)


@pytest.mark.parametrize("more", [{}, {"compile": "cuda-graphs", "batching": {"buckets": [2]}}])
@pytest.mark.parametrize("sparse", [torch.Tensor.to_sparse, torch.Tensor.to_sparse_csr])
@pytest.mark.filterwarnings("ignore:.*Sparse.*:UserWarning")  # torch: "in beta state"
async def test_sparse_outputs_are_named_and_free_their_slot(pipelined, more, sparse):
    model = pipelined(SlowDevice(), **more)
    model._pipeline._runs[False] = lambda x: sparse(x[:, :2])
    for _ in range(4):
        with pytest.raises(ModelFailed, match="is a sparse or nested tensor"):
            await model.predict_async({"x": rows(3).numpy()}, features=False)


async def test_no_features_to_ask_for(tmp_path):
    config = ModelConfig.model_validate(
        {
            "format": "torch_export",
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}],
            "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 3]}],
        }
    )
    entry = ModelEntry("toy", "1", tmp_path, config)
    model = PipelinedModel(entry, SlowDevice(), lambda x: x, None, Toy)
    with pytest.raises(Unsupported, match="forward_with_features"):
        await model.predict_async({"x": rows(1).numpy()}, features=True)


@pytest.fixture
def eventually():
    async def wait(holds):
        async with asyncio.timeout(60):
            while not holds():  # noqa: ASYNC110 - any condition, not one event
                await asyncio.sleep(0.001)

    return wait
