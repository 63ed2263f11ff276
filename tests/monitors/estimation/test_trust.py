import json

import numpy as np
import pytest
from scipy import stats

from monitors.estimation.confidence_based import cbpe
from monitors.estimation.conformal_band import Estimated
from monitors.estimation.figures import realised_class_figures
from monitors.estimation.trust import Trust, miss_p_value


def estimated(value=0.9, reach=0.02, coverage=0.9, metric="accuracy"):
    return {
        metric: Estimated(
            metric=metric, value=value, low=value - reach, high=value + reach, rows=100,
            coverage=coverage,
        )
    }  # fmt: skip


def followed(realised):
    trust = Trust()
    for at, value in enumerate(realised):
        trust.add(f"chunk {at}", estimated(), {"accuracy": value})
    return trust


def test_few_chunks_are_not_enough():
    found = followed([0.9] * 4).verdict("accuracy")
    assert found.trusted is None
    assert not found.may_alert
    assert found.why == "labels of 4 of 5 chunks have come"


def test_it_is_trusted_while_it_keeps_its_word():
    found = followed([0.9] * 19 + [0.85]).verdict("accuracy")
    assert found.may_alert
    assert found.outside == ("chunk 19",)
    assert found.why == "1 of the last 20 chunks outside the band"


def test_a_change_is_seen_after_a_long_calm_and_forgotten_after_another():
    trust = followed([0.9] * 200 + [0.7] * 3)
    found = trust.verdict("accuracy")
    assert found.trusted is False
    assert "3 of the last 5 chunks outside the band (3 estimated too high, 0 too low)" in found.why
    assert "10% are stated" in found.why
    for at in range(40):
        trust.add(f"later {at}", estimated(), {"accuracy": 0.91})
    assert trust.verdict("accuracy").may_alert
    assert trust.verdict("accuracy").outside == ()


def test_metrics_are_judged_one_by_one():
    trust = Trust()
    for at in range(6):
        both = {**estimated(), **estimated(0.5, metric="f1")}
        trust.add(str(at), both, {"accuracy": 0.9, "f1": 0.6})
    accuracy, f1 = trust.verdicts()
    assert accuracy.may_alert
    assert f1.trusted is False
    assert "0 estimated too high, 6 too low" in f1.why


def test_what_is_not_defined_says_nothing():
    trust = followed([np.nan] * 9)
    assert trust.verdict("accuracy").trusted is None
    assert trust.verdict("never seen").trusted is None
    trust = Trust()
    trust.add("0", estimated(np.nan), {"accuracy": 0.9})
    assert trust.verdict("accuracy").p_value == 1


def test_the_test_is_exact_and_false_alarms_are_as_rare_as_stated():
    for misses, chunks in ((0, 5), (3, 5), (5, 40)):
        expected = stats.binomtest(misses, chunks, 0.1, "greater").pvalue
        assert miss_p_value(misses, chunks, 0.9) == pytest.approx(expected)
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(300):
        misses = rng.random(40) < 0.1
        wrong += followed(np.where(misses, 0.8, 0.9)).verdict("accuracy").trusted is False
    assert wrong <= 300 * 0.05 + 2 * (300 * 0.05 * 0.95) ** 0.5


def test_a_concept_shift_makes_it_say_no_and_a_natural_one_does_not(stream):
    said_no = {0.0: 0, 0.25: 0}
    for seed in range(12):
        estimator = cbpe(stream(seed, 30, 250, wander=0.2), chunk_rows=250, alpha=0.05)
        for flipped in said_no:
            trust = Trust()
            live = stream(seed + 50, 10, 250, wander=0.2, flipped=flipped)
            for at, rows in enumerate(np.split(np.arange(live.n), 10)):
                chunk = live.take(rows)
                truth = realised_class_figures(chunk)
                trust.add(str(at), estimator.estimate(chunk.predictions), truth)
            said_no[flipped] += trust.verdict("accuracy").trusted is False
    assert said_no[0.25] == 12
    # One in twenty is stated; a band from 30 chunks is itself not exact.
    assert said_no[0.0] <= 3


def test_state_survives_json():
    trust, other = followed([0.9] * 10 + [0.7] * 3), Trust()
    other.restore(json.loads(json.dumps(trust.state())))
    assert other.verdicts() == trust.verdicts()


def test_wrong_input_is_named():
    trust = followed([0.9])
    with pytest.raises(ValueError, match="realised value of accuracy is missing for chunk c"):
        trust.add("c", estimated(), {})
    with pytest.raises(ValueError, match=r"coverage of accuracy was 0\.9 and is 0\.8"):
        trust.add("c", estimated(coverage=0.8), {"accuracy": 1.0})
    with pytest.raises(ValueError, match="level is 0"):
        Trust(level=0)
