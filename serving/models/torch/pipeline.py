"""Batches on their way through a device: staged, copied in, computed, copied out.

Each batch under way holds a *slot* with buffers of its own, which are used again by later
batches, so that one is copied while another is computed. With graphs, each slot has one recorded
graph per bucket, which reads the slot's own device buffer.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch

# Has been in place for years, and nested results need no more than it.
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from serving.models.bucket_sizes import bucket_of, pieces
from serving.models.torch.array_conversion import is_dense
from serving.models.torch.buckets import fill, join
from serving.models.torch.device_ops import DeviceOps, Mark
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report

_ALIGNMENT: Final = 256
"""What CUDA's own allocator gives; kernels read whole vectors from such addresses."""

Layout = tuple[tuple[tuple[int, ...], torch.dtype], ...]
"""Shapes and datatypes of tensors that lie behind each other in one buffer."""


@dataclass(slots=True)
class Slot:
    """Buffers for one batch, and the graphs that read them, by (bucket, features).

    Its graphs share one `pool` of scratch memory, and no other slot's do: a graph may lay its
    results where another of its pool computes, and those are still being copied out when the next
    slot's batch runs.
    """

    host_in: torch.Tensor
    device_in: torch.Tensor
    host_out: torch.Tensor
    graphs: dict[tuple[int, bool], tuple[Callable[[], None], Any]] = field(default_factory=dict)
    pool: Any = None


@dataclass(frozen=True, slots=True)
class Ticket:
    """A batch under way. `held` keeps memory alive that the device still reads."""

    slot: Slot
    mark: Mark
    leaves: list[Any]
    spec: TreeSpec
    rows: int
    bucket: int
    held: Any


class Pipeline:
    """Computes batches on a device, several under way at once. For one thread, but for `wait`.

    Args:
        ops: the device.
        runs: the forward pass on device tensors by whether features are wanted; each returns
            one tensor per output `[rows, ...]`, one or nested tuples of them.
        slots: batches under way at once.
        buckets: batch sizes that `runs` may see; empty for any.
        graphs: whether each bucket's work is recorded and repeated; needs buckets.
    """

    def __init__(
        self,
        ops: DeviceOps,
        runs: dict[bool, Callable[..., Any]],
        slots: int,
        buckets: Sequence[int] = (),
        *,
        graphs: bool = False,
    ) -> None:
        self._ops = ops
        self._runs = runs
        self._buckets = buckets
        self._graphs = graphs
        nothing = ops.host_buffer(0), ops.device_buffer(0), ops.host_buffer(0)
        self._slots = [Slot(*nothing) for _ in range(slots)]
        self._free = deque(self._slots)

    @property
    def free(self) -> int:
        """Batches that may be submitted now."""
        return len(self._free)

    def pieces(self, rows: int) -> list[slice]:
        """Cut a batch into pieces of which each may be submitted."""
        return pieces(rows, self._buckets) if self._buckets else [slice(0, rows)]

    def submit(self, tensors: Sequence[torch.Tensor], *, features: bool) -> Ticket:
        """Begin one piece of a batch; a slot must be free. Its tensors may be reused at once.

        Raises:
            Exception: whatever the forward pass raised; the slot is free again.
        """
        slot = self._free.popleft()
        mark = None
        try:
            rows = tensors[0].shape[0]
            bucket = bucket_of(rows, self._buckets) if self._buckets else rows
            layout: Layout = tuple(
                ((bucket, *tensor.shape[1:]), tensor.dtype) for tensor in tensors
            )
            self._make_room(slot, layout, bucket)
            staged, given = _views(slot.host_in, layout), _views(slot.device_in, layout)
            for target, source in zip(staged, tensors, strict=True):
                fill(target, source)
            mark = self._ops.upload(zip(given, staged, strict=True))
            found, mark = self._begin(slot, given, mark, (bucket, features))
            leaves, spec = tree_flatten(found)
            landed, mark = self._download(slot, leaves, mark)
            return Ticket(slot, mark, landed, spec, rows, bucket, found)
        except BaseException:
            if mark is not None:
                self._ops.wait(mark)  # nothing may read a buffer that the next batch overwrites
            self._free.append(slot)
            raise

    def wait(self, ticket: Ticket) -> None:
        """Block until the batch is done; the only method for another thread."""
        self._ops.wait(ticket.mark)

    def collect(self, ticket: Ticket) -> Any:
        """Return a finished batch's results, in memory of their own, and free its slot."""
        leaves = [_own(leaf, ticket.rows, ticket.bucket) for leaf in ticket.leaves]
        self._free.append(ticket.slot)
        return tree_unflatten(leaves, ticket.spec)

    def run(self, tensors: Sequence[torch.Tensor], *, features: bool) -> Any:
        """Compute a batch of any size and wait for it."""
        parts = []
        for piece in self.pieces(tensors[0].shape[0]):
            ticket = self.submit([tensor[piece] for tensor in tensors], features=features)
            self.wait(ticket)
            parts.append(self.collect(ticket))
        return join(parts)

    def _begin(
        self, slot: Slot, given: list[torch.Tensor], mark: Mark, key: tuple[int, bool]
    ) -> tuple[Any, Mark]:
        run = self._runs[key[1]]
        if self._graphs and key not in slot.graphs:
            self._ops.wait(mark)
            self._capture(run, slot, given, key)
        if key in slot.graphs:
            replay, found = slot.graphs[key]
            return found, self._ops.compute(mark, replay)[1]
        return self._ops.compute(mark, lambda: run(*given))

    def _capture(
        self, run: Callable[..., Any], slot: Slot, given: list[torch.Tensor], key: tuple[int, bool]
    ) -> None:
        try:
            replay, found, slot.pool = self._ops.capture(lambda: run(*given), slot.pool)
            slot.graphs[key] = replay, found
        except RuntimeError as error:
            self._graphs = False
            report(
                Event.SETTING_WITHOUT_EFFECT,
                "batches cannot be captured as a CUDA graph, so each kernel is launched by itself "
                "from now on",
                error=error,
                rows=key[0],
            )

    def _make_room(self, slot: Slot, layout: Layout, bucket: int) -> None:
        # For the largest bucket at once: graphs keep the addresses that they were made with.
        largest = self._buckets[-1] if self._buckets else bucket
        size = _size(tuple(((largest, *shape[1:]), dtype) for shape, dtype in layout))
        if slot.host_in.numel() < size:
            slot.graphs.clear()
            slot.pool = None
            slot.host_in = self._ops.host_buffer(size)
            slot.device_in = self._ops.device_buffer(size)

    def _download(self, slot: Slot, leaves: list[Any], mark: Mark) -> tuple[list[Any], Mark]:
        # What is not dense fits into no buffer; it is left alone, so that it is named later.
        tensors = [leaf for leaf in leaves if _is_plain(leaf)]
        layout: Layout = tuple((tuple(tensor.shape), tensor.dtype) for tensor in tensors)
        if slot.host_out.numel() < (size := _size(layout)):
            slot.host_out = self._ops.host_buffer(size)
        views = _views(slot.host_out, layout)
        mark = self._ops.download(mark, zip(views, tensors, strict=True))
        landed = iter(views)
        return [next(landed) if _is_plain(x) else x for x in leaves], mark


def _is_plain(leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor) and is_dense(leaf)


def _size(layout: Layout) -> int:
    return sum(_room(shape, dtype) for shape, dtype in layout)


def _room(shape: tuple[int, ...], dtype: torch.dtype) -> int:
    used = math.prod(shape) * dtype.itemsize
    return -(-used // _ALIGNMENT) * _ALIGNMENT


def _views(buffer: torch.Tensor, layout: Layout) -> list[torch.Tensor]:
    views, start = [], 0
    for shape, dtype in layout:
        used = math.prod(shape) * dtype.itemsize
        views.append(buffer[start : start + used].view(dtype).view(shape))
        start += _room(shape, dtype)
    return views


def _own(leaf: Any, rows: int, bucket: int) -> Any:
    if not _is_plain(leaf):
        return leaf
    # Anything else than one row per row is left alone, so that it is found and named later.
    fits = leaf.ndim and leaf.shape[0] == bucket
    return (leaf[:rows] if fits else leaf).clone()
