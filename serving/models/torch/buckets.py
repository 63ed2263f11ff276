"""Batch sizes that compiled graphs are made for: smaller batches are padded, larger ones cut.

A compiled graph is quickest when its sizes are fixed. Padding rows repeat the batch's first row,
which is a row that the model takes, and are cut off again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch

from serving.config import Batching
from serving.models.torch.array_conversion import is_dense

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


def padded(tensor: torch.Tensor, bucket: int) -> torch.Tensor:
    """Return `tensor` with copies of its first row behind it, `bucket` rows in all."""
    missing = bucket - tensor.shape[0]
    if not missing:
        return tensor
    return torch.cat([tensor, tensor[:1].expand(missing, *tensor.shape[1:])])


def fill(target: torch.Tensor, rows: torch.Tensor) -> None:
    """Copy `rows` to the beginning of `target`, and its first row to the rest."""
    count = rows.shape[0]
    target[:count].copy_(rows)
    if count < target.shape[0]:
        target[count:] = rows[:1]


def in_buckets(run: Callable[..., Any], buckets: Sequence[int]) -> Callable[..., Any]:
    """Return `run` for batches of any size, while `run` itself only sees sizes in `buckets`.

    Args:
        run: takes tensors `[rows, ...]`; returns tensors `[rows, ...]`, one or a nested tuple.
        buckets: increasing batch sizes.
    """

    def run_any(*tensors: torch.Tensor) -> Any:
        parts = []
        for piece in pieces(tensors[0].shape[0], buckets):
            rows = piece.stop - piece.start
            bucket = bucket_of(rows, buckets)
            found = run(*(padded(tensor[piece], bucket) for tensor in tensors))
            parts.append(_cut(found, rows, bucket))
        return join(parts)

    return run_any


def _cut(found: Any, rows: int, bucket: int) -> Any:
    if isinstance(found, tuple | list):
        return tuple(_cut(part, rows, bucket) for part in found)
    # Anything else than one row per row is left alone, so that it is found and named later.
    plain = isinstance(found, torch.Tensor) and is_dense(found)
    return found[:rows] if plain and found.ndim and found.shape[0] == bucket else found


def join(parts: Sequence[Any]) -> Any:
    """Put the results of a batch's pieces behind each other, at least one."""
    first = parts[0]
    if len(parts) == 1:
        return first
    if isinstance(first, tuple | list):
        return tuple(join(several) for several in zip(*parts, strict=True))
    plain = isinstance(first, torch.Tensor) and is_dense(first)
    return torch.cat(list(parts)) if plain else first
