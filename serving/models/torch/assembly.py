"""Puts a torch model together: its forward passes compiled if asked for, on a CPU or a GPU."""

from __future__ import annotations

from collections.abc import Callable

import torch

from serving.models.bucket_sizes import buckets_of
from serving.models.repository.folder import ModelEntry
from serving.models.rowless import without_rows_in_torch
from serving.models.torch.buckets import in_buckets
from serving.models.torch.compiled import compiled
from serving.models.torch.device_ops import CudaOps
from serving.models.torch.model import TorchModel
from serving.models.torch.pipelined_model import PipelinedModel
from serving.models.torch.tensor_names import Run
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report


def assemble(
    entry: ModelEntry,
    device: torch.device,
    run: Run,
    run_with_features: Run | None,
    make_module: Callable[[], torch.nn.Module],
    *,
    is_graph: bool = False,
) -> TorchModel:
    """Return the model that serves `run`; the arguments are those of `TorchModel`.

    Raises:
        ConfigError: what compiling needs is not installed, or a datatype is not torch's.
    """
    # Indices that a request brings would be believed otherwise, and memory read or written there.
    torch.sparse.check_sparse_tensor_invariants.enable()  # type: ignore[no-untyped-call]
    config = entry.config
    run = without_rows_in_torch(config, run)
    if run_with_features is not None:
        run_with_features = without_rows_in_torch(config, run_with_features)
    buckets = buckets_of(config.batching)
    if config.compile in ("default", "max-autotune"):
        run = compiled(entry, run, device, buckets)
        if run_with_features is not None:
            run_with_features = compiled(entry, run_with_features, device, buckets)
    if device.type == "cuda":
        return PipelinedModel(entry, CudaOps(device), run, run_with_features, make_module)
    if config.compile == "cuda-graphs":
        report(
            Event.SETTING_WITHOUT_EFFECT,
            "compile: cuda-graphs does nothing on a CPU",
            model=entry.name,
            version=entry.version,
        )
    elif config.compile != "none":
        run = in_buckets(run, buckets)
        if run_with_features is not None:
            run_with_features = in_buckets(run_with_features, buckets)
    return TorchModel(entry, run, run_with_features, make_module, is_graph=is_graph)
