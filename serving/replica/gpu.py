"""Which GPU a replica computes on, and for how long: what its energy and its price go by."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pkgutil import resolve_name

from serving.config.formats.listed import format_named
from serving.models.repository.folder import ModelEntry
from serving.telemetry.counters import SeriesSet
from serving.telemetry.metrics.cost import MODEL_GPU_TIME, UNKNOWN_GPU


def gpu_of(entry: ModelEntry) -> str:
    """Return the UUID of the GPU that a loaded model computes on, as NVML tells it.

    Returns:
        Empty where it computes on none; `UNKNOWN_GPU` where its runtime does not tell which.
    """
    may_use_gpu = format_named(entry.config.format).may_use_gpu
    if may_use_gpu is not None:
        may = entry.config.replicas.device != "cpu"
        return UNKNOWN_GPU if may and resolve_name(may_use_gpu)() else ""
    if "torch" not in sys.modules:  # nothing in this process can have used one
        return ""
    import torch

    is_initialized: Callable[[], bool] = torch.cuda.is_initialized
    if not is_initialized():
        return ""
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    uuid = getattr(properties, "uuid", None)
    return f"GPU-{str(uuid).removeprefix('GPU-')}" if uuid else UNKNOWN_GPU


class GpuTime:
    """`vigil.model.gpu.time` of one replica: the time in which at least one batch was computed.

    Args:
        series: where it is kept.
        entry: the model version.
        device: the GPU, as `gpu_of` tells it.
    """

    def __init__(self, series: SeriesSet, entry: ModelEntry, device: str) -> None:
        name, version = entry.name, entry.version
        self._spent = series.sum(MODEL_GPU_TIME, model=name, version=version, device=device)
        self._since: float | None = None

    def busy(self, computing: bool, now: float) -> None:
        """Count the time until now, and whether it computes from now on; monotonic seconds."""
        if self._since is not None:
            self._spent.value += now - self._since
        self._since = now if computing else None


def gpu_time(series: SeriesSet, entry: ModelEntry) -> GpuTime | None:
    """Return what counts the time of a model, loaded and warm; None where it uses no GPU."""
    device = gpu_of(entry)
    return GpuTime(series, entry, device) if device else None
