"""The `statistics` extension, with Triton's field names; shared by HTTP and gRPC.

Every gateway process tells of what it answered itself; the totals of all are among the metrics.
"""

from __future__ import annotations

import msgspec

from serving.dataplane.handler import DataPlane
from serving.dataplane.served import ServedVersion
from serving.telemetry.metrics.inference import INFERENCE_DURATION, INFERENCE_QUEUE_DURATION
from serving.telemetry.outcomes import OUTCOME_OK
from serving.telemetry.series import Series


class Duration(msgspec.Struct, frozen=True):
    """How often, and nanoseconds altogether."""

    count: int = 0
    ns: int = 0


class InferenceStats(msgspec.Struct, frozen=True):
    """Times of requests; one that shared a batch counts with the whole batch's time.

    What a client gave up is among the failures, as with Triton.
    """

    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration
    # There is no response cache; tools read the fields all the same.
    cache_hit: Duration = Duration()
    cache_miss: Duration = Duration()


class BatchStats(msgspec.Struct, frozen=True):
    """Times of batches of one size in rows."""

    batch_size: int
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration


class ModelStats(msgspec.Struct, frozen=True):
    """One model version; `last_inference` is in milliseconds since the epoch, 0 for never."""

    name: str
    version: str
    last_inference: int
    inference_count: int
    execution_count: int
    inference_stats: InferenceStats
    batch_stats: list[BatchStats]


class Statistics(msgspec.Struct, frozen=True):
    """The answer of the extension."""

    model_stats: list[ModelStats]


def statistics(plane: DataPlane, name: str, version: str) -> Statistics:
    """Return the statistics of every version of every model, or of those that are named.

    Raises:
        ModelNotFound, VersionNotFound: it is not served.
    """
    if name:
        numbers = [plane.served_version(name, version).version] if version else plane.versions(name)
        # Of a model without a version `resolve` says in the usual words that it is unknown.
        entries = [plane.served_version(name, number) for number in numbers or [""]]
    else:
        entries = sorted(plane.entries(), key=lambda entry: (entry.name, int(entry.version)))
    series = plane.series.snapshot()
    return Statistics([_of(entry, series) for entry in entries])


def _of(entry: ServedVersion, series: tuple[Series, ...]) -> ModelStats:
    counted = entry.statistics
    requests = counted.requests
    success, fail = _durations(entry, series, INFERENCE_DURATION.name)
    queue, _ = _durations(entry, series, INFERENCE_QUEUE_DURATION.name)
    return ModelStats(
        entry.name,
        entry.version,
        counted.last_ms,
        counted.rows,
        counted.batches,
        InferenceStats(
            success,
            fail,
            queue,
            Duration(requests.count, requests.input_ns),
            Duration(requests.count, requests.infer_ns),
            Duration(requests.count, requests.output_ns),
        ),
        [
            BatchStats(
                rows,
                Duration(times.count, times.input_ns),
                Duration(times.count, times.infer_ns),
                Duration(times.count, times.output_ns),
            )
            for rows, times in sorted(counted.by_rows.items())
        ],
    )


def _durations(
    entry: ServedVersion, series: tuple[Series, ...], metric: str
) -> tuple[Duration, Duration]:
    """Sum up the version's histograms of a metric: those of successes, and those of failures."""
    good, bad = Duration(), Duration()
    for one in series:
        if one.name != metric:
            continue
        given = dict(one.attributes)
        if (given["model"], given["version"]) != (entry.name, entry.version):
            continue
        more = Duration(sum(one.counts), round(one.value * 1e9))
        if given.get("outcome", OUTCOME_OK) == OUTCOME_OK:
            good = Duration(good.count + more.count, good.ns + more.ns)
        else:
            bad = Duration(bad.count + more.count, bad.ns + more.ns)
    return good, bad
