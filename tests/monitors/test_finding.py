import json
import math

import pytest

from monitors.finding import Finding, findings_from_state, findings_to_state

LEAST = {
    "monitor": "toy", "metric": "mean", "subject": "x", "value": 0.5, "direction": "above",
    "n_reference": 0, "n_current": 10, "window": (1.0, 2.0),
}  # fmt: skip


@pytest.mark.parametrize("breached", [True, False])
def test_without_a_threshold_or_a_test_there_is_no_verdict(breached):
    assert Finding(**LEAST).breached is None
    assert Finding(**LEAST, threshold=0.0, breached=breached).breached is breached
    assert Finding(**LEAST, p_value=0.5, breached=breached).breached is breached
    with pytest.raises(ValueError, match="a verdict without a threshold"):
        Finding(**LEAST, breached=breached)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({}, "no threshold set"),
        ({"reason": "no rows"}, "no rows"),
        ({"threshold": 0.1}, "not enough is known"),
        ({"threshold": 0.1, "breached": False}, ""),
    ],
)
def test_an_unknown_verdict_always_has_a_reason(more, why):
    assert Finding(**LEAST, **more).why_unknown == why


def test_survives_json():
    found = [
        Finding(**LEAST, threshold=0.1, breached=True, ci=(0.4, 0.6), severity="page",
                window_id="3@1.000", segment="age > 60", model="loans", version="2", since=0.5,
                detail={"moved": "tail", "counts": [1, 2]}),
        Finding(**{**LEAST, "value": math.nan}),
    ]  # fmt: skip
    saved = json.loads(json.dumps(findings_to_state(found), allow_nan=False))
    again = findings_from_state(saved)
    assert again[0] == found[0]
    assert repr(again[1]) == repr(found[1])


def test_what_was_saved_with_fewer_attributes_is_read():
    saved = {
        "monitor": "drift", "metric": "psi", "subject": "x", "value": 0.3, "threshold": 0.05,
        "direction": "above", "breached": True, "n_reference": 10, "n_current": 10,
        "window": [1.0, 2.0], "p_value": 1e-6, "ci": None, "reason": "",
    }  # fmt: skip
    (found,) = findings_from_state([saved])
    assert (found.breached, found.window, found.severity, found.window_id) == (
        True,
        (1.0, 2.0),
        "info",
        "",
    )
