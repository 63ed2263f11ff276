"""How many rows a batch may have, and how soon a request could be answered at best."""

from __future__ import annotations

from serving.channel.messages.inference import BatchResult, ResultMeta
from serving.config import Batching
from serving.dataplane.batching import latency_model
from serving.dataplane.batching.batch_sizing import BatchSizing


async def test_a_goal_that_no_batch_can_keep_does_not_make_batches_tiny() -> None:
    pace = BatchSizing(Batching(latency_slo_ms=50))
    for rows in (1, 2, 4, 8, 16, 32) * latency_model.SAMPLES:
        result = BatchResult({}, ResultMeta({}, (), int((0.040 + 0.0005 * rows) * 1e9), 0))
        pace.learn(rows, 0.0, 0.0, result, alone=False)
    assert 16 <= pace.most_rows(0.0, 2, 0.0) <= 24
