"""What the protocol's statistics need beyond the metrics: times of batches, by their size."""

from __future__ import annotations

import msgspec

from serving.dataplane.hooks.records import BatchDone


class BatchTimes(msgspec.Struct):
    """Batches and nanoseconds they took, summed up.

    Attributes:
        count: batches.
        infer_ns: in the model itself.
        input_ns: everything else between the queue and the answer: joining, the way to the replica
            and back, and waiting there for the batch before.
        output_ns: in the replica's guards, which judge what the model gave.
    """

    count: int = 0
    input_ns: int = 0
    infer_ns: int = 0
    output_ns: int = 0

    def add(self, count: int, input_ns: int, infer_ns: int, output_ns: int) -> None:
        """Add `count` times these nanoseconds."""
        self.count += count
        self.input_ns += count * input_ns
        self.infer_ns += count * infer_ns
        self.output_ns += count * output_ns


class BatchStatistics:
    """Counts the batches of one model version in this process; costs a few additions per batch.

    It outlives revisions and reloads, as the metrics do: the extension tells of both.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.batches = 0
        self.last_ms = 0
        self.requests = BatchTimes()
        self.by_rows: dict[int, BatchTimes] = {}

    def batch_done(self, done: BatchDone) -> None:
        """Count a batch; of the requests in it those that did not fail."""
        if not done.output_rows or done.observed:
            return
        infer_ns, output_ns, input_ns = done.compute_ns, done.guards_ns, done.rest_ns
        requests = len(done.requests)
        if done.failures:
            requests = sum([request.output_row >= 0 for request in done.requests])
        self.last_ms = int(done.time * 1e3)
        self.requests.add(requests, input_ns, infer_ns, output_ns)
        if done.split:  # its rows are in the records of its parts
            return
        rows = done.output_rows
        self.rows += rows
        self.batches += 1
        size = self.by_rows.get(rows)
        if size is None:
            # Sizes are bounded by the model's largest batch.
            size = self.by_rows[rows] = BatchTimes()
        size.add(1, input_ns, infer_ns, output_ns)
