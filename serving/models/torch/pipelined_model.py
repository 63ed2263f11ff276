"""`PipelinedModel`: a torch model on a device that computes beside the host."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np
import torch

from serving.models.bucket_sizes import buckets_of
from serving.models.contract import Prediction, Tensors
from serving.models.repository.folder import ModelEntry
from serving.models.torch.buckets import join
from serving.models.torch.device_ops import DeviceOps
from serving.models.torch.model import TorchModel
from serving.models.torch.pipeline import Pipeline
from serving.models.torch.tensor_names import Run


class PipelinedModel(TorchModel):
    """One loaded version on one device; several batches may be under way at once.

    Args:
        entry: what is served.
        ops: the device.
        run: the forward pass on device tensors.
        run_with_features: the same, returning `(outputs, features)`; None if it cannot.
        make_module: builds a new module, private to the caller, that returns the first output.
    """

    def __init__(
        self,
        entry: ModelEntry,
        ops: DeviceOps,
        run: Run,
        run_with_features: Run | None,
        make_module: Callable[[], torch.nn.Module],
    ) -> None:
        super().__init__(entry, run, run_with_features, make_module)
        config = entry.config
        compiles = config.compile != "none"
        runs = {False: self._run}
        if self._run_with_features is not None:
            runs[True] = self._run_with_features
        self._slots = config.replicas.max_inflight_batches
        # One slot more, so that a batch that is waited for never waits for the others.
        self._pipeline = Pipeline(
            ops,
            runs,
            self._slots + 1,
            buckets_of(config.batching) if compiles else (),
            graphs=compiles,
        )
        self._turns = asyncio.Semaphore(self._slots)
        # Batches end in the order in which they began, so one thread waits for all of them.
        self._waiter = ThreadPoolExecutor(1, thread_name_prefix="device")

    async def predict_async(self, inputs: Tensors, *, features: bool) -> Prediction:
        """Run a batch while others are under way; see `AsyncModel.predict_async`."""
        if features:
            self._require_features()
        arrays, rows = self._arrays(inputs)
        tensors = self._tensors(arrays)  # not written to: what the model gets is on the device
        parts = [
            await self._piece([tensor[piece] for tensor in tensors], features)
            for piece in self._pipeline.pieces(rows or 1)
        ]
        return self._cut(self._read(join(parts), rows or 1, features=features), rows)

    def _compute(self, arrays: dict[str, np.ndarray], rows: int, *, features: bool) -> Prediction:
        tensors = self._tensors(arrays)
        result = self._guarded(_run, self._pipeline, tensors, features, rows=rows)
        return self._read(result, rows, features=features)

    async def _piece(self, tensors: Sequence[torch.Tensor], features: bool) -> Any:
        loop = asyncio.get_running_loop()
        async with self._turns:
            rows = tensors[0].shape[0]
            ticket = self._guarded(_submit, self._pipeline, tensors, features, rows=rows)
            waiting = loop.run_in_executor(self._waiter, self._pipeline.wait, ticket)
            try:
                # The buffers are the device's until it is done, whoever gives up meanwhile.
                await asyncio.shield(waiting)
            except asyncio.CancelledError:
                with suppress(Exception):  # nobody asks any more what failed
                    self._pipeline.wait(ticket)
                self._pipeline.collect(ticket)
                raise
            except Exception as error:  # noqa: BLE001 - the device tells only now what failed
                self._pipeline.collect(ticket)
                raise self._raised(error, rows) from None
            return self._pipeline.collect(ticket)


def _run(pipeline: Pipeline, tensors: Sequence[torch.Tensor], features: bool) -> Any:
    with torch.inference_mode():
        return pipeline.run(tensors, features=features)


def _submit(pipeline: Pipeline, tensors: Sequence[torch.Tensor], features: bool) -> Any:
    with torch.inference_mode():
        return pipeline.submit(tensors, features=features)
