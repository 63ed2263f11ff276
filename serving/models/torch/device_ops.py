"""What a pipeline needs of a device, and CUDA's way of doing it.

Copies to the device, computation and copies back each have a stream of their own, so that a
batch is copied while another is computed. Marks are points in a stream that another stream, or
the host, can wait for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

import torch

Copies = Iterable[tuple[torch.Tensor, torch.Tensor]]
"""Pairs (to, from) of tensors of the same shape and datatype."""

Mark = Any
"""A point in a stream; only the device that made it can read it."""

_RUNS_BEFORE_CAPTURE: Final = 3


class DeviceOps(Protocol):
    """Operations are begun in order and go on by themselves; only `wait` and `capture` block."""

    def host_buffer(self, size: int) -> torch.Tensor:
        """Return `size` bytes of host memory, uint8, that copies to the device read quickly."""

    def device_buffer(self, size: int) -> torch.Tensor:
        """Return `size` bytes of device memory, uint8."""

    def upload(self, copies: Copies) -> Mark:
        """Begin to copy from the host; the mark is reached when all of it is there."""

    def compute(self, after: Mark, run: Callable[[], Any]) -> tuple[Any, Mark]:
        """Begin `run` once `after` is reached; return what it returns, and its own mark."""

    def download(self, after: Mark, copies: Copies) -> Mark:
        """Begin to copy to the host once `after` is reached."""

    def wait(self, mark: Mark) -> None:
        """Block until `mark` is reached; may be called in any thread."""

    def capture(self, run: Callable[[], Any], pool: Any) -> tuple[Callable[[], None], Any, Any]:
        """Record the work of `run`, whose memory must stay where it is, as one graph.

        Args:
            run: the work.
            pool: the scratch memory of graphs that this one may share it with; None for its own.

        Returns:
            A function that does the same work again; the results, which every repetition of any
            graph of the same pool may overwrite; and the pool.

        Raises:
            RuntimeError: the work cannot be recorded; it waits for the host, for example.
        """


class CudaOps:
    """CUDA streams, events, page-locked memory and graphs.

    Args:
        device: the GPU.
        pinned: whether host buffers are page-locked; without, copies wait for each other.
    """

    def __init__(self, device: torch.device, *, pinned: bool = True) -> None:
        self._device = device
        self._pinned = pinned
        stream: Callable[..., torch.cuda.Stream] = torch.cuda.Stream
        self._up, self._run, self._down = stream(device), stream(device), stream(device)
        # Torch lets convolutions round float32 to 10 bits; `precision` is where numbers change.
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False

    def host_buffer(self, size: int) -> torch.Tensor:
        """Return host memory; see `DeviceOps`."""
        return torch.empty(size, dtype=torch.uint8, pin_memory=self._pinned)

    def device_buffer(self, size: int) -> torch.Tensor:
        """Return device memory; see `DeviceOps`."""
        return torch.empty(size, dtype=torch.uint8, device=self._device)

    def upload(self, copies: Copies) -> Mark:
        """Copy to the device; see `DeviceOps`."""
        return self._copy(self._up, copies)

    def compute(self, after: Mark, run: Callable[[], Any]) -> tuple[Any, Mark]:
        """Compute; see `DeviceOps`."""
        self._run.wait_event(after)
        with torch.cuda.stream(self._run):
            found = run()
        return found, self._marked(self._run)

    def download(self, after: Mark, copies: Copies) -> Mark:
        """Copy to the host; see `DeviceOps`."""
        self._down.wait_event(after)
        return self._copy(self._down, copies)

    def wait(self, mark: Mark) -> None:
        """Wait; see `DeviceOps`."""
        mark.synchronize()

    def capture(self, run: Callable[[], Any], pool: Any) -> tuple[Callable[[], None], Any, Any]:
        """Capture a CUDA graph; see `DeviceOps`."""
        torch.cuda.synchronize(self._device)
        with torch.cuda.stream(self._run):
            # Libraries choose kernels and take memory in their first runs; a graph must not.
            for _ in range(_RUNS_BEFORE_CAPTURE):
                run()
        torch.cuda.synchronize(self._device)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(
            graph, pool=pool, stream=self._run, capture_error_mode="thread_local"
        ):
            found = run()
        return graph.replay, found, graph.pool()

    def _copy(self, stream: torch.cuda.Stream, copies: Copies) -> Mark:
        with torch.cuda.stream(stream):
            for target, source in copies:
                target.copy_(source, non_blocking=True)
        return self._marked(stream)

    def _marked(self, stream: torch.cuda.Stream) -> Mark:
        make: Callable[..., torch.cuda.Event] = torch.cuda.Event
        event = make(blocking=True)  # whoever waits sleeps and does not spin
        event.record(stream)
        return event
