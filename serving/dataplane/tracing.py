"""Traces of sampled requests, with the timestamps and names of Triton's `trace` extension.

A trace is made from what is known once a batch is answered, so a request that is not traced
costs nothing and one test per batch is all that is left when tracing is off.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec

from serving.channel.settings import Settings, TraceSettings
from serving.dataplane.batch import Batch, BatchResult
from serving.dataplane.trace_file import TraceFile


class Sampler:
    """Chooses requests and gathers their traces; shared by all that have the same settings."""

    def __init__(self, settings: TraceSettings, file: TraceFile) -> None:
        self._settings = settings
        self._file = file
        self._seen = 0
        self._left = settings.count
        self._lines: list[bytes] = []

    def chooses(self) -> bool:
        """Count one request; whether it is to be traced."""
        self._seen += 1
        if self._left == 0 or self._seen % self._settings.rate:
            return False
        self._left -= self._left > 0
        return True

    def add(self, trace: dict[str, Any]) -> None:
        """Keep a trace until it is written with others."""
        self._lines.append(msgspec.json.encode(trace) + b"\n")
        if len(self._lines) >= self._settings.log_frequency:
            self.flush()

    def flush(self) -> None:
        """Have written what has gathered."""
        if self._lines:
            self._file.write(self._lines)
            self._lines = []


class Tracer:
    """Traces requests of one model version."""

    def __init__(self, model: str, version: str, sampler: Sampler) -> None:
        self._model, self._version = model, version
        self.sampler = sampler
        # Requests are timed by a clock that never jumps; files tell the time of day.
        self._epoch_ns = time.time_ns() - time.monotonic_ns()

    def answered(self, batch: Batch, result: BatchResult) -> None:
        """Trace those requests of a batch that are chosen, at the moment of their answer."""
        end = time.monotonic_ns()
        for item in batch.items:
            if self.sampler.chooses():
                self.sampler.add(self._trace(item.id, item.enqueued, batch.formed, end, result))

    def _trace(
        self, ident: str, arrived_s: float, formed_s: float, end: int, result: BatchResult
    ) -> dict[str, Any]:
        arrived, formed = int(arrived_s * 1e9), int(formed_s * 1e9)
        output = max(formed, end - result.guard_ns)
        infer = max(formed, output - result.compute_ns)
        moments = {
            "REQUEST_START": arrived,
            "QUEUE_START": arrived,
            "COMPUTE_START": formed,
            # As in the statistics: all that is neither model nor guards counts as input.
            "COMPUTE_INPUT_END": infer,
            "COMPUTE_OUTPUT_START": output,
            "COMPUTE_END": end,
            "REQUEST_END": time.monotonic_ns(),
        }
        return {
            "id": ident,
            "model_name": self._model,
            "model_version": int(self._version),
            "timestamps": [
                {"name": name, "ns": self._epoch_ns + moment} for name, moment in moments.items()
            ],
        }


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
        self._tracers: dict[tuple[str, str], Tracer] = {}

    def follow(self, settings: Settings) -> None:
        """Trace as `settings` say from now on."""
        if settings.number == self._number:
            return
        self._number = settings.number
        for sampler in (self._all, *self._of.values()):
            if sampler:
                sampler.flush()
        self._tracers.clear()
        self._all = self._sampler(settings.trace, settings.folder)
        self._of = {
            model: self._sampler(trace, settings.folder)
            for model, trace in settings.trace_of.items()
        }

    def tracer(self, model: str, version: str) -> Tracer | None:
        """Return what traces a model version; None when nothing does."""
        sampler = self._of.get(model, self._all)
        if sampler is None:
            return None
        key = (model, version)
        if key not in self._tracers:
            self._tracers[key] = Tracer(model, version, sampler)
        return self._tracers[key]

    def close(self) -> None:
        """Write what has gathered."""
        for sampler in (self._all, *self._of.values()):
            if sampler:
                sampler.flush()
        if self._file:
            self._file.close()

    def _sampler(self, trace: TraceSettings, folder: str) -> Sampler | None:
        if not trace.timestamps:
            return None
        if self._file is None:
            self._file = TraceFile(Path(folder) / f"{self._gateway_id}.jsonl")
        return Sampler(trace, self._file)
