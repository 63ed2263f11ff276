import itertools

import numpy as np
import pytest

from serving.dataplane.hooks.event_batches import EventBatch
from serving.dataplane.hooks.pending_events import PendingEvents


def make(number, rng):
    """One batch of random names, types, shapes and requests, as the publisher adds it."""
    rows = rng.integers(0, 3, size=rng.integers(1, 4)).tolist()
    total = sum(rows)
    kind = rng.integers(4)
    dtype = [np.float32, np.float64, np.float32, np.float32][kind]
    inputs = {"x": rng.random((total, 2 + (kind == 2))).astype(dtype)}
    if kind == 3:
        inputs["t"] = np.array([f"{number}".encode()] * total, dtype=np.object_)
    outputs = {"y": rng.integers(9, size=total).astype(np.int64)}
    sensitive = None
    if rng.random() < 0.5:
        sensitive = {"g": np.array(["a"] * total, dtype=np.object_)}
    ids = [f"r{number}-{at}" for at in range(len(rows))]
    scores = {guard: rng.random(total).astype(np.float32) for guard in "ab" if rng.random() < 0.5}
    counted = {"scores": scores or None, "text_bytes": int(rng.integers(9))}
    return EventBatch(float(number), ids, rows, inputs, outputs, sensitive, **counted)


def signature(batch):
    sides = (batch.inputs, batch.outputs)
    return [[(n, a.dtype, a.shape[1:]) for n, a in side.items()] for side in sides]


@pytest.mark.parametrize("seed", range(30))
def test_gives_all_that_was_added_in_order_and_in_as_few_parts_as_shapes_allow(seed):
    rng = np.random.default_rng(seed)
    pending = PendingEvents()
    batches = [make(number, rng) for number in range(int(rng.integers(0, 25)))]
    if seed % 2:  # alike, all of them
        batches = [batch for batch in batches if signature(batch) == signature(batches[0])]
    for batch in batches:
        assert pending.add(batch)
    assert pending.rows == sum(sum(batch.rows) for batch in batches)
    sides = [
        side for batch in batches for side in (batch.inputs, batch.outputs, batch.scores or {})
    ]
    assert pending.bytes == sum(batch.text_bytes for batch in batches) + sum(
        array.nbytes for side in sides for array in side.values()
    )
    parts = list(pending.take())
    expected = [list(run) for _, run in itertools.groupby(batches, signature)]
    assert len(parts) == len(expected)
    for part, run in zip(parts, expected, strict=True):
        assert part.timestamp == run[-1].timestamp
        assert part.ids == [ident for batch in run for ident in batch.ids]
        assert part.rows == [rows for batch in run for rows in batch.rows]
        assert part.total == sum(part.rows)
        for joined, side in ((part.inputs, "inputs"), (part.outputs, "outputs")):
            assert list(joined) == list(getattr(run[0], side))
            for name, array in joined.items():
                whole = np.concatenate([getattr(batch, side)[name] for batch in run])
                assert array.dtype == whole.dtype
                np.testing.assert_array_equal(array, whole)
        given = [(["a"] if batch.sensitive else [None]) * sum(batch.rows) for batch in run]
        assert part.scores.keys() == {guard for batch in run for guard in batch.scores or ()}
        for guard, joined in part.scores.items():
            whole = np.concatenate([
                (batch.scores or {}).get(guard, np.full(sum(batch.rows), np.nan)) for batch in run
            ])  # fmt: skip
            assert joined.dtype == np.float32
            np.testing.assert_array_equal(joined, whole.astype(np.float32))
        told = any(batch.sensitive for batch in run)
        assert part.sensitive == ({"g": list(itertools.chain(*given))} if told else {})
    assert (pending.rows, pending.bytes, list(pending.take())) == (0, 0, [])


def test_rows_of_batches_that_say_nothing_of_a_guard_were_not_judged_by_it():
    x = {"x": np.zeros((2, 1), np.float32)}
    pending = PendingEvents()
    for flags in ({"a": np.array([0, 1], np.uint8)}, None, {"b": np.array([1, 1], np.uint8)}):
        pending.add(EventBatch(1.0, ["r"], [2], x, {}, guards=flags))
    (part,) = pending.take()
    assert part.guards == {"a": bytes([0, 1, 2, 2, 2, 2]), "b": bytes([2, 2, 2, 2, 1, 1])}
