"""Counts rows of answers that hold NaN or infinity."""

from __future__ import annotations

from collections.abc import Mapping

from serving.dataplane.hooks.records import BatchDone
from serving.protocol.datatypes import FLOATING
from serving.protocol.finite import non_finite_rows
from serving.telemetry.counters import SeriesSet
from serving.telemetry.metrics.findings import QUALITY_VIOLATIONS


class OutputQuality:
    """Counts them for each output of one model version.

    Args:
        series: where the series are kept.
        model, version: the attributes of every series.
        outputs: datatypes of the model's outputs by name.
    """

    def __init__(
        self, series: SeriesSet, model: str, version: str, outputs: Mapping[str, str]
    ) -> None:
        self._violations = [
            (
                output,
                datatype,
                series.sum(QUALITY_VIOLATIONS, output=output, model=model, version=version),
            )
            for output, datatype in outputs.items()
            if datatype in FLOATING
        ]

    def batch_done(self, done: BatchDone) -> None:
        """Look at every row once: those of a split request are in the records of its parts."""
        if not done.output_rows or done.split:
            return
        for output, datatype, violations in self._violations:
            if rows := non_finite_rows(done.outputs[output], datatype):
                violations.value += rows
