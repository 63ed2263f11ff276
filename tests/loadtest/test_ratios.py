from functools import partial

import pytest

from loadtest.load import Measurement
from loadtest.ratios import (
    BASELINE,
    CONTROL,
    Ratio,
    Sample,
    better,
    compared,
    paired,
    ratio,
    summarize,
)


def samples(rates: dict[str, list[float | None]], load: str = "json-1") -> list[Sample]:
    """One sample per rate and round; None is an invalid round."""
    made = []
    for key, each in rates.items():
        for number, rate in enumerate(each):
            measurement = (
                Measurement(rate, 1.0, 2.0)
                if rate is not None
                else Measurement(0, 0, 0, ("3 status errors",))
            )
            made.append(Sample("main", load, number, key, measurement))
    return made


def test_ratio_is_made_inside_each_round():
    # The machine halves its speed in the second round: the ratio does not notice.
    found = ratio(samples({"a": [200, 100, 300], "t": [100, 50, 100]}), "a", "t")
    assert found
    assert (found.median, found.low, found.high, found.rounds) == (2, 2, 3, 3)


def test_invalid_rounds_of_either_side_are_left_out():
    found = ratio(samples({"a": [200, None, 300], "t": [100, 50, None]}), "a", "t")
    assert found
    assert (found.median, found.rounds) == (2, 1)


def test_no_common_round_gives_no_ratio():
    assert ratio(samples({"a": [None, 200], "t": [100, None]}), "a", "t") is None


def test_better_goes_by_the_median():
    rates: dict[str, list[float | None]] = {"t1": [10, 10, 90], "t2": [20, 20, 20]}
    assert better(samples(rates), ["t1", "t2"]) == "t2"
    assert better(samples(rates), ["absent"]) is None


def test_the_better_reference_is_chosen_for_each_load():
    found = summarize(
        samples({"t1": [100], "t2": [50], "a": [100]}, "json-1")
        + samples({"t1": [100], "t2": [200], "a": [100]}, "json-64"),
        ["t1", "t2"],
    )
    of_a = {s.load: s for s in found if s.key == "a"}
    assert of_a["json-1"].reference == "t1"
    assert of_a["json-64"].reference == "t2"
    assert of_a["json-1"].ratio
    assert of_a["json-1"].ratio.median == 1
    assert of_a["json-64"].ratio
    assert of_a["json-64"].ratio.median == 0.5


def test_the_control_is_compared_with_what_it_repeats():
    found = summarize(samples({"a": [100], "t": [400], CONTROL: [102]}), ["t"])
    control = next(s for s in found if s.key == CONTROL)
    assert control.reference == "a"
    assert control.ratio
    assert control.ratio.median == pytest.approx(1.02)
    assert control.to_baseline is None


def test_variants_are_compared_with_the_baseline_too():
    found = summarize(samples({BASELINE: [100], "x": [80]}), ["absent"])
    x = next(s for s in found if s.key == "x")
    assert x.ratio is None
    assert x.to_baseline
    assert x.to_baseline.median == pytest.approx(0.8)


def test_all_rounds_invalid_gives_no_figures_and_keeps_the_reasons():
    (found,) = summarize(samples({"a": [None, None]}), [])
    assert found.requests_per_s is None
    assert found.valid_rounds == 0
    assert found.problems == ("3 status errors", "3 status errors")


def test_a_server_is_compared_with_its_neighbours_in_time():
    first, other = iter([10.0, 20.0, 30.0, 30.0]), iter([30.0, 15.0])
    told = paired(lambda _: next(first), lambda _: next(other), 2)
    assert told.first == 20
    assert told.ratio == Ratio(1.25, 0.5, 2.0, rounds=2)
    assert told.control == Ratio(1.5, 1.0, 2.0, rounds=2)


def test_all_measurements_of_a_round_know_its_number():
    asked: list[tuple[str, int]] = []

    def measured(name: str, number: int) -> float:
        asked.append((name, number))
        return 1.0

    paired(partial(measured, "first"), partial(measured, "other"), 2)
    of_a_round = ["first", "other", "first"]
    assert asked == [(name, number) for number in range(2) for name in of_a_round]


def test_several_servers_share_their_neighbours_and_take_turns():
    asked: list[str] = []

    def measured(name: str, value: float, _number: int) -> float:
        asked.append(name)
        return value

    others = {name: partial(measured, name, value) for name, value in (("a", 5.0), ("b", 20.0))}
    told = compared(partial(measured, "first", 10.0), others, 2)
    assert asked == ["first", "a", "b", "first", "first", "b", "a", "first"]
    assert {name: found.median for name, found in told.ratios.items()} == {"a": 0.5, "b": 2.0}
    assert told.control == Ratio(1.0, 1.0, 1.0, rounds=2)
