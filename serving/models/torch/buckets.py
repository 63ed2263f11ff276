"""Batch sizes that compiled graphs are made for: smaller batches are padded, larger ones cut.

A compiled graph is quickest when its sizes are fixed. Padding rows repeat the batch's first row,
which is a row that the model takes, and are cut off again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from serving.models.bucket_sizes import bucket_of, pieces
from serving.models.torch.array_conversion import is_dense


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
