"""A gateway's processor time goes to models by their requests; all of it goes somewhere."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serving.gateway.processor_share import ProcessorShare
from serving.telemetry.counters import SeriesSet
from serving.telemetry.metrics.inference import INFERENCE_REQUESTS
from serving.telemetry.series import Series


class Gateway:
    def __init__(self) -> None:
        self.spent = 0.0
        self.counted = SeriesSet()
        self.share = ProcessorShare(lambda: self.spent)

    def answer(self, model: str, requests: int, outcome: str = "ok") -> None:
        about = {"model": model, "version": "1", "outcome": outcome}
        self.counted.sum(INFERENCE_REQUESTS, **about).add(requests)

    def told(self) -> dict[str, float]:
        found = self.share.series(self.counted.snapshot())
        assert all(dict(item.attributes)["role"] == "gateway" for item in found)
        return {dict(item.attributes)["model"]: item.value for item in found}


def test_shares_are_those_of_the_requests_of_the_same_interval_whatever_the_outcome() -> None:
    gateway = Gateway()
    gateway.answer("a", 1)
    gateway.answer("b", 1)
    gateway.answer("b", 2, "invalid")
    gateway.spent = 8.0
    assert gateway.told() == {"a": 2.0, "b": 6.0}
    gateway.answer("a", 5)
    gateway.spent = 9.0
    assert gateway.told() == {"a": 3.0, "b": 6.0}


def test_time_without_requests_belongs_to_no_model() -> None:
    gateway = Gateway()
    gateway.spent = 2.0
    assert gateway.told() == {"": 2.0}
    gateway.answer("a", 1)
    gateway.spent = 3.0
    assert gateway.told() == {"": 2.0, "a": 1.0}
    gateway.spent = 4.0
    assert gateway.told() == {"": 3.0, "a": 1.0}


@given(
    st.lists(
        st.tuples(st.floats(0, 10), st.dictionaries(st.sampled_from("abc"), st.integers(0, 9)))
    )
)
def test_the_sum_is_what_was_spent(steps: list[tuple[float, dict[str, int]]]) -> None:
    gateway = Gateway()
    before: dict[str, float] = {}
    for spent, answered in steps:
        gateway.spent += spent
        for model, requests in answered.items():
            gateway.answer(model, requests)
        told = gateway.told()
        assert abs(sum(told.values()) - gateway.spent) < 1e-6
        assert all(told[model] >= value for model, value in before.items())
        before = told


def test_other_series_are_no_requests() -> None:
    gateway = Gateway()
    gateway.spent = 1.0
    other = Series("vigil.inference.rows", "sum", "{row}", (("model", "a"), ("version", "1")), 5.0)
    assert [item.value for item in gateway.share.series((other,))] == [1.0]
