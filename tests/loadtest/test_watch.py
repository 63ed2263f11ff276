import pytest

from loadtest.load import Measurement
from loadtest.ratios import Sample
from loadtest.watch import ALONE, WATCHED, promises


def sample(load, number, key, rate, p50, *problems):
    return Sample("watch", load, number, key, Measurement(rate, p50, p50, problems))


def test_promises_are_made_of_rounds_that_count_for_both():
    samples = [
        sample("json-1", 0, ALONE, 1000, 0.5),
        sample("json-1", 0, WATCHED, 500, 1.2),
        sample("json-1", 1, ALONE, 1000, 0.5),
        sample("json-1", 1, WATCHED, 9, 90, "broken"),
        sample("json-64", 0, ALONE, 1000, 50),
        sample("json-64", 0, WATCHED, 590, 90),
        sample("grpc-4x16", 0, ALONE, 1000, 50),
    ]
    assert promises(samples) == {
        "json-1: added p50, ms": (pytest.approx(0.7), True),
        "json-64: share of throughput": (0.59, False),
    }
