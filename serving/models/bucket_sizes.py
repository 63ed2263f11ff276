"""Which batch sizes compiled graphs are made for, and what that means for a number of rows.

Nothing here knows torch: gateways tell in traces how many rows were padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from serving.config import Batching, ModelConfig

LARGEST_AUTOMATIC: Final = 64
"""Compiling takes seconds per bucket, and larger batches gain little from being one."""


def buckets_of(batching: Batching) -> tuple[int, ...]:
    """Return the batch sizes to compile, increasing."""
    if batching.buckets:
        return tuple(batching.buckets)
    largest = min(batching.max_batch_size or LARGEST_AUTOMATIC, LARGEST_AUTOMATIC)
    powers = [1 << exponent for exponent in range(largest.bit_length())]
    return tuple(powers) if powers[-1] == largest else (*powers, largest)


def bucket_of(rows: int, buckets: Sequence[int]) -> int:
    """Return the smallest bucket that holds `rows`, which are at most the largest bucket."""
    return next(bucket for bucket in buckets if bucket >= rows)


def pieces(rows: int, buckets: Sequence[int]) -> list[slice]:
    """Cut `rows` rows, at least one, into pieces of which each fits into a bucket."""
    largest = buckets[-1]
    return [slice(start, min(start + largest, rows)) for start in range(0, rows, largest)]


def padding(rows: int, buckets: Sequence[int]) -> int:
    """Return how many rows are computed beside `rows`, which are at least one."""
    cut = [piece.stop - piece.start for piece in pieces(rows, buckets)]
    return sum(bucket_of(size, buckets) - size for size in cut)


def compiled_sizes(config: ModelConfig) -> tuple[int, ...] | None:
    """Return the sizes that batches of a model are padded to; empty where nothing is padded.

    None: its replicas find out, for they choose the device, and without a GPU there are no CUDA
    graphs.
    """
    if config.compile == "none":
        return ()
    if config.compile == "cuda-graphs" and config.replicas.device == "auto":
        return None
    return buckets_of(config.batching)
