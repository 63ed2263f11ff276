"""What an instance's totals say of models, and sums and differences of it."""

from __future__ import annotations

from serving.control.cost.quantities import add, counted, grown, named, total
from serving.telemetry.counters import SeriesSet
from serving.telemetry.metrics.cost import CHECK_CPU_TIME, MODEL_CPU_TIME, MODEL_GPU_TIME
from serving.telemetry.metrics.guards import GUARD_DURATION
from serving.telemetry.metrics.inference import INFERENCE_REQUESTS, INFERENCE_ROWS


def test_all_versions_of_a_model_are_one() -> None:
    series = SeriesSet()
    for version, amount in (("1", 2.0), ("2", 3.0)):
        of = {"model": "m", "version": version}
        series.sum(INFERENCE_ROWS, **of).add(amount)
        series.sum(INFERENCE_REQUESTS, outcome="ok", **of).add(99)
        series.sum(MODEL_CPU_TIME, role="replica", **of).add(amount)
        series.sum(CHECK_CPU_TIME, check="drift", **of).add(amount)
        series.sum(MODEL_GPU_TIME, device="GPU-1", **of).add(amount)
        series.histogram(GUARD_DURATION, guard="schema", **of).record(amount)
    series.sum(MODEL_CPU_TIME, role="gateway", model="", version="").add(1)
    assert counted(series.snapshot()) == {
        "m": {
            "rows": 5, "cpu/replica": 5, "check/drift": 5, "gpu/GPU-1": 5, "guard/schema": 5,
        },
        "": {"cpu/gateway": 1},
    }  # fmt: skip


def test_what_grew_and_what_went_back() -> None:
    now = {"a": {"rows": 5.0, "cpu/replica": 1.0}, "new": {"rows": 2.0}}
    before = {"a": {"rows": 3.0, "cpu/replica": 4.0}, "gone": {"rows": 9.0}}
    assert grown(now, before) == {"a": {"rows": 2.0, "cpu/replica": 0}, "new": {"rows": 2.0}}


def test_sums_leave_out_what_is_zero() -> None:
    sums = {"a": {"rows": 1.0}}
    add(sums, {"a": {"rows": 2.0, "cpu/replica": 0.0}, "b": {"rows": 0}, "c": {"rows": 4}})
    assert sums == {"a": {"rows": 3.0}, "c": {"rows": 4}}


def test_parts_by_prefix() -> None:
    amounts = {"cpu/replica": 1.0, "cpu/gateway": 2.0, "check/cpu": 7.0}
    assert total(amounts, "cpu/") == 3.0
    assert named(amounts, "cpu/") == {"gateway": 2.0, "replica": 1.0}
