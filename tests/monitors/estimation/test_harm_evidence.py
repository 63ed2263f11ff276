"""Evidence over windows: quiet at the threshold, awake beyond it, over when it is over."""

import json

import numpy as np
import pytest

from monitors.estimation.harm_evidence import QUARTER_S, HarmEvidence, conformal_p

DAY = 86_400.0


def test_p_is_the_share_of_reference_errors_as_far():
    errors = np.array([-0.03, -0.02, -0.01, 0.0, 0.01, 0.02, 0.03, np.nan, 0.0])
    # The estimate is .015 below a threshold that the realised value keeps: 2 of 8 errors were.
    assert conformal_p(0.885, 0.9, errors, "below") == pytest.approx(3 / 9)
    assert conformal_p(0.8, 0.9, errors, "below") == pytest.approx(1 / 9)
    assert conformal_p(0.925, 0.9, errors, "below") == pytest.approx(8 / 9)
    assert conformal_p(0.215, 0.2, errors, "above") == pytest.approx(3 / 9)


def test_few_false_alerts_a_quarter_at_the_threshold():
    """The metric is just at its threshold all the time, so p is uniform."""
    rng = np.random.default_rng(0)
    began = 0
    for _ in range(200):
        evidence = HarmEvidence(rate=3.0, least_s=3600)
        above = False
        for at in range(90 * 24):
            p = (1 + rng.integers(20)) / 20
            now = evidence.add(p, at * 3600.0, at * 3600.0)
            began += now and not above
            above = now
    assert began / 200 <= 3.0


def test_a_clear_loss_is_told_within_windows_and_ends_with_it():
    evidence = HarmEvidence(rate=3.0, least_s=3600)
    took = 0
    while not evidence.add(1 / 21, took * 3600.0, took * 3600.0 + 60):
        took += 1
    assert 5 < took < 15
    assert evidence.since == 0.0
    for at in range(100):
        evidence.add(1 / 21, (took + at) * 3600.0, (took + at) * 3600.0)
    over = 0
    while evidence.add(0.9, 1e6 + over * 3600, 1e6 + over * 3600):
        over += 1
    assert over < 8


def test_what_is_needed_follows_the_pace_of_windows():
    slow, quick = HarmEvidence(1.0, 60), HarmEvidence(1.0, 60)
    for at in range(10):
        slow.add(0.5, at * DAY, at * DAY)
        quick.add(0.5, at * 1.0, at * 1.0)
    assert quick.needed == pytest.approx(np.log(QUARTER_S / 60))
    assert slow.needed == pytest.approx(np.log(90))


def test_goes_on_after_a_restart():
    one, two = HarmEvidence(3.0, 60), HarmEvidence(3.0, 60)
    for at, p in enumerate([0.9, 0.1, 0.05, 0.2, 0.05]):
        one.add(p, at * 60.0, at * 60.0)
    two.restore(json.loads(json.dumps(one.state())))
    assert two.state() == one.state()
    assert two.needed == one.needed
