"""Traces of sampled requests, with the timestamps and names of Triton's `trace` extension.

A trace is made from what is known once a batch is done, so a request that is not traced
costs nothing, and where tracing is off there is no hook.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

import msgspec

from serving.channel.messages.settings import Settings, TraceSettings
from serving.config import ModelConfig
from serving.dataplane.hooks.records import BatchDone, RequestDone
from serving.dataplane.hooks.trace_file import TraceFile
from serving.dataplane.hooks.traced_tensors import tensors_of

MOST_GATHERED: Final = 1 << 20
"""Bytes of traces that are written although fewer than `log_frequency` have gathered."""


class Sampler:
    """Chooses requests and gathers their traces; shared by all that have the same settings."""

    def __init__(self, settings: TraceSettings, file: TraceFile) -> None:
        self.settings = settings
        self._file = file
        self._seen = 0
        self._left = settings.count
        self._traces: list[bytes] = []
        self._size = 0

    def chooses(self) -> bool:
        """Count one request; whether it is to be traced."""
        self._seen += 1
        if self._left == 0 or self._seen % self.settings.rate:
            return False
        self._left -= self._left > 0
        return True

    def add(self, lines: list[dict[str, Any]]) -> None:
        """Keep a trace until it is written with others."""
        trace = b"".join([msgspec.json.encode(line) + b"\n" for line in lines])
        self._traces.append(trace)
        self._size += len(trace)
        if len(self._traces) >= self.settings.log_frequency or self._size > MOST_GATHERED:
            self.flush()

    def flush(self) -> None:
        """Have written what has gathered."""
        if self._traces:
            self._file.write(self._traces)
            self._traces = []
            self._size = 0


class Tracer:
    """Traces requests of one model version."""

    def __init__(self, model: str, version: str, config: ModelConfig, sampler: Sampler) -> None:
        self._model, self._version = model, version
        self._inputs = {spec.name: spec.datatype for spec in config.inputs}
        self._outputs = {spec.name: spec.datatype for spec in config.outputs}
        self.sampler = sampler
        # Requests are timed by a clock that never jumps; files tell the time of day.
        self._epoch_ns = time.time_ns() - time.monotonic_ns()

    def batch_done(self, done: BatchDone) -> None:
        """Trace those requests of a batch that are chosen, once their answers are on their way."""
        levels = self.sampler.settings
        for request in done.requests:
            if not self.sampler.chooses():
                continue
            trace: dict[str, Any] = {
                "id": request.client_id,
                "model_name": self._model,
                "model_version": int(self._version),
            }
            lines = [trace]
            if levels.timestamps:
                trace["timestamps"] = self._timestamps(request, done)
            if levels.tensors:
                lines += tensors_of(request, done, self._inputs, self._outputs)
            self.sampler.add(lines)

    def _timestamps(self, request: RequestDone, done: BatchDone) -> list[dict[str, Any]]:
        arrived, formed = int(request.arrived * 1e9), int(done.formed * 1e9)
        end = int(done.answered * 1e9)
        output = max(formed, end - done.guards_ns)
        infer = max(formed, output - done.compute_ns)
        moments = {
            "REQUEST_START": arrived,
            "QUEUE_START": arrived,
            "COMPUTE_START": formed,
            # As in the statistics: all that is neither model nor guards counts as input.
            "COMPUTE_INPUT_END": infer,
            "COMPUTE_OUTPUT_START": output,
            "COMPUTE_END": end,
            "REQUEST_END": max(end, time.monotonic_ns()),
        }
        return [{"name": name, "ns": self._epoch_ns + moment} for name, moment in moments.items()]


class Tracing:
    """Follows the settings: which models are traced, and where to.

    Args:
        gateway_id: names the file.
    """

    def __init__(self, gateway_id: str) -> None:
        self._gateway_id = gateway_id
        self._number = 0
        self._file: TraceFile | None = None
        self._all: Sampler | None = None
        self._of: dict[str, Sampler | None] = {}

    def follow(self, settings: Settings) -> None:
        """Trace as `settings` say from now on."""
        if settings.number == self._number:
            return
        self._number = settings.number
        for sampler in (self._all, *self._of.values()):
            if sampler:
                sampler.flush()
        self._all = self._sampler(settings.trace, settings.folder)
        self._of = {
            model: self._sampler(trace, settings.folder)
            for model, trace in settings.trace_of.items()
        }

    def tracer(self, model: str, version: str, config: ModelConfig) -> Tracer | None:
        """Return what traces a model version; None when nothing does."""
        sampler = self._of.get(model, self._all)
        return None if sampler is None else Tracer(model, version, config, sampler)

    def close(self) -> None:
        """Write what has gathered."""
        for sampler in (self._all, *self._of.values()):
            if sampler:
                sampler.flush()
        if self._file:
            self._file.close()

    def _sampler(self, trace: TraceSettings, folder: str) -> Sampler | None:
        if not trace.timestamps and not trace.tensors:
            return None
        if self._file is None:
            self._file = TraceFile(Path(folder) / f"{self._gateway_id}.jsonl")
        return Sampler(trace, self._file)
