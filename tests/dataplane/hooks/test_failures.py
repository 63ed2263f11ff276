"""Errors count by their class, or by the nearest that they are made of."""

import pytest

from serving import errors
from serving.dataplane.hooks.failures import failure_of
from serving.telemetry import outcomes


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (errors.QueueFull, outcomes.OUTCOME_OVERLOADED),
        (errors.NoReplica, outcomes.OUTCOME_UNAVAILABLE),
        (errors.Unreachable, outcomes.OUTCOME_UNAVAILABLE),
        (errors.UpstreamDenied, outcomes.OUTCOME_UNAVAILABLE),
        (errors.PayloadTooLarge, outcomes.OUTCOME_INVALID),
        (errors.LoadFailed, outcomes.OUTCOME_FAILED),
    ],
)
def test_an_outcome_follows_from_the_class(error: type[errors.VigilError], outcome: str) -> None:
    failure = failure_of(error("no"))
    assert (failure.kind, failure.outcome) == (error.__name__, outcome)
