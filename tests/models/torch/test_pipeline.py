"""The way of batches through a device that does nothing until it is told to."""

import pytest
import torch

from serving.models.torch.pipeline import Pipeline


def twice(x):
    return (x * 2,)


def test_two_batches_under_way_keep_their_own_answers(make_device, rows):
    pipeline = Pipeline(make_device(), {False: twice}, slots=2)
    first = pipeline.submit([rows(2)], features=False)
    second = pipeline.submit([rows(3, 100)], features=False)
    assert pipeline.free == 0
    for ticket, expected in ((second, rows(3, 100)), (first, rows(2))):
        pipeline.wait(ticket)
        assert torch.equal(pipeline.collect(ticket)[0], expected * 2)
    assert pipeline.free == 2


def test_what_was_given_may_be_overwritten_at_once(make_device, rows):
    pipeline = Pipeline(make_device(), {False: twice}, slots=1)
    given = rows(2)
    ticket = pipeline.submit([given], features=False)
    given.fill_(-1)
    pipeline.wait(ticket)
    assert torch.equal(pipeline.collect(ticket)[0], rows(2) * 2)


def test_buffers_are_used_again_and_answers_are_not_in_them(make_device, rows):
    device = make_device()
    pipeline = Pipeline(device, {False: twice}, slots=1)
    first = pipeline.run([rows(4)], features=False)[0]
    buffers = device.buffers
    for start in range(5):
        pipeline.run([rows(3, start)], features=False)
    assert device.buffers == buffers
    assert torch.equal(first, rows(4) * 2)


def test_batches_are_padded_to_buckets_and_cut_into_them(make_device, rows):
    seen = []

    def run(x, codes):
        seen.append(len(x))
        return (x * 2, codes), x.sum(1)

    pipeline = Pipeline(make_device(), {True: run}, slots=1, buckets=(2, 4))
    codes = torch.arange(7, dtype=torch.int64)
    (doubled, same), total = pipeline.run([rows(7), codes], features=True)
    assert seen == [4, 4]
    assert torch.equal(doubled, rows(7) * 2)
    assert torch.equal(same, codes)
    assert torch.equal(total, rows(7).sum(1))


def test_each_slot_captures_each_bucket_once_and_replays_it(make_device, rows):
    device = make_device()
    pipeline = Pipeline(device, {False: twice}, slots=2, buckets=(1, 4), graphs=True)
    for count in (1, 1, 4, 4):
        pipeline.run([rows(count)], features=False)
    assert device.captured == 4
    for start in range(6):
        x = rows(3, start)
        assert torch.equal(pipeline.run([x], features=False)[0], x * 2)
    assert device.captured == 4
    assert device.replayed == 10


def test_a_graph_leaves_the_results_of_the_one_before_it_alone(make_device, rows):
    pipeline = Pipeline(make_device(), {False: twice}, slots=2, buckets=(1, 4), graphs=True)
    for count in (1, 1, 4, 4):  # both slots capture both sizes
        pipeline.run([rows(count)], features=False)
    given = [rows(4), rows(1, 100)]
    under_way = [pipeline.submit([x], features=False) for x in given]
    for ticket, x in zip(under_way, given, strict=True):
        pipeline.wait(ticket)
        assert torch.equal(pipeline.collect(ticket)[0], x * 2)


def test_without_capture_it_computes_plainly_and_says_so(make_device, rows, caplog):
    device = make_device(captures=False)
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


def test_a_batch_that_fails_frees_its_slot(make_device, rows):
    def run(x):
        if x[0, 0] < 0:
            raise ValueError("poison")
        return x

    pipeline = Pipeline(make_device(), {False: run}, slots=1)
    for _ in range(3):
        with pytest.raises(ValueError, match="poison"):
            pipeline.submit([rows(2, -9)], features=False)
    assert torch.equal(pipeline.run([rows(2)], features=False), rows(2))
