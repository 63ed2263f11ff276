"""Metrics of processes, of the build, and of what exports them."""

from __future__ import annotations

from typing import Final

from serving.telemetry.metric import OF_PROCESS, Metric, process, total

TELEMETRY_EXPORT_FAILURES: Final = total(
    "vigil.telemetry.export.failures", "export", "OTLP exports that failed.", of=()
)
SPANS_SENT: Final = total(
    "vigil.telemetry.spans.sent", "span", "Spans that a collector has taken.", of=()
)
SPANS_DROPPED: Final = total(
    "vigil.telemetry.spans.dropped",
    "span",
    "Spans that no collector has got, by reason.",
    "reason",
    of=(),
)
TRACES_LIMITED: Final = total(
    "vigil.telemetry.traces.limited",
    "request",
    "Requests that belong to the sample and were not traced: more came than "
    "`telemetry.traces.max_per_second`.",
    of=(),
)
LINES_DROPPED: Final = total(
    "vigil.telemetry.lines.dropped",
    "line",
    "Lines of the log that no collector has got, where one is to have them.",
    of=(),
)
BUILD_INFO: Final = Metric(
    "vigil.build.info",
    "gauge",
    "{info}",
    "Always 1; what runs.",
    merge="last",
    labels=("version", "python", "engine", "ingress"),
)
PROCESS_RESIDENT_MEMORY: Final = process(
    "process.resident_memory", "By", "Resident memory of a process, shared pages included."
)
PROCESS_CPU: Final = Metric(
    "process.cpu",
    "sum",
    "s",
    "Processor time of a process, user and system.",
    labels=OF_PROCESS,
    outlives=False,
)
PROCESS_OPEN_FDS: Final = process("process.open_fds", "{fd}", "Open file descriptors.")
PROCESS_START_TIME: Final = process(
    "process.start_time", "s", "When a process was started, Unix time.", merge="max"
)
