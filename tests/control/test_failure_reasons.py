"""Which reason stands for a revision that could not be loaded."""

from __future__ import annotations

from serving.control.failure_reasons import FailureReasons

KEY, OTHER = ("m", "1", "a"), ("m", "2", "b")


def test_what_a_replica_says_goes_before_how_it_ended() -> None:
    reasons = FailureReasons()
    reasons.told(KEY, "ValueError: Anna")
    reasons.note(KEY, "its process ended with exit code 1")
    assert (reasons.of(KEY), reasons.noted(KEY)) == ("ValueError: Anna", None)


def test_how_it_ended_stands_until_a_replica_says_more() -> None:
    reasons = FailureReasons()
    reasons.note(KEY, "its process ended with exit code 9")
    reasons.note(KEY, "its process ended with exit code 1")
    assert reasons.of(KEY) == reasons.noted(KEY) == "its process ended with exit code 9"
    reasons.told(KEY, "no weights")
    assert (reasons.of(KEY), reasons.noted(KEY)) == ("no weights", None)


def test_a_reason_is_forgotten_with_its_revision() -> None:
    reasons = FailureReasons()
    reasons.told(KEY, "no weights")
    reasons.note(OTHER, "killed")
    reasons.keep([OTHER])
    assert (reasons.of(KEY), reasons.of(OTHER)) == (None, "killed")
    reasons.forget(OTHER)
    reasons.forget(OTHER)
    assert (reasons.of(OTHER), reasons.noted(OTHER)) == (None, None)
