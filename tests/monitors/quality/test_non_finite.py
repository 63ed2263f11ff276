import numpy as np
import pytest

from monitors.quality.non_finite import NonFiniteMonitor


def verdicts(found):
    judged = [f for f in found if f.metric == "non_finite_rows"]
    return {f.subject: (f.value, f.breached, f.n_current) for f in judged}


def constant(found):
    return {f.subject: (f.value, f.breached, f.threshold) for f in found if f.metric[:4] == "cons"}


def test_the_same_answer_to_whatever_is_asked_is_told(make_rows):
    monitor = NonFiniteMonitor(["p"], window=500)
    rng = np.random.default_rng(0)
    for rows, same, breached in ((500, False, False), (500, True, False), (600, True, True)):
        p = np.full(rows, 0.5) if same else rng.random(rows)
        inputs = {"x": rng.random(rows)}
        found = monitor.update(make_rows(inputs, outputs={"p": p.astype(np.float32)}), now=0)
        (value, verdict, limit) = constant(found)["p"]
        assert (verdict, limit) == (breached, 1000.0)
    assert value == 1000.0
    assert [f.severity for f in found if f.breached] == ["ticket"]


@pytest.mark.parametrize("inputs", [{}, {"x": np.ones(2000)}])
def test_the_same_answer_to_the_same_input_is_no_breach(make_rows, inputs):
    monitor = NonFiniteMonitor(["p"], window=500)
    answers = np.full(2000, 0.5, np.float32)
    found = monitor.update(make_rows(inputs, outputs={"p": answers}), now=0)
    assert constant(found)["p"] == (2000.0, False if inputs else None, 1000.0)


def test_one_row_without_a_number_breaches_and_clean_windows_heal(make_rows):
    monitor = NonFiniteMonitor(["scores", "label"], window=10)
    scores = np.zeros((10, 2, 2), np.float32)
    label = np.arange(10)
    found = monitor.update(make_rows(outputs={"scores": scores, "label": label}), now=0)
    assert verdicts(found) == {"scores": (0.0, False, 10), "label": (0.0, False, 10)}
    for bad in (np.nan, np.inf, -np.inf):
        scores[3, 1, 0] = bad
        found = monitor.update(make_rows(outputs={"scores": scores, "label": label}), now=0)
        assert verdicts(found) == {"scores": (1.0, True, 10), "label": (0.0, False, 10)}
    scores[3, 1, 0] = 0
    found = monitor.update(make_rows(outputs={"scores": scores, "label": label}), now=0)
    assert verdicts(found)["scores"] == (0.0, False, 10)


def test_a_bad_row_breaches_before_its_window_is_full(make_rows):
    monitor = NonFiniteMonitor(["scores", "risk"], window=100)
    clean = np.zeros((200, 1), np.float32)
    found = monitor.update(make_rows(outputs={"scores": clean, "risk": clean}), now=0)
    bad = np.full((50, 1), np.nan, np.float32)
    found = monitor.update(make_rows(outputs={"scores": bad, "risk": clean[:50]}), now=0)
    assert verdicts(found) == {"scores": (50.0, True, 50), "risk": (0.0, False, 50)}
    again = NonFiniteMonitor(["scores", "risk"], window=100)
    assert repr(again.restore(monitor.state())) == repr(found)
    for each in (monitor, again):
        found = each.update(make_rows(outputs={"scores": clean[:50], "risk": clean[:50]}), now=0)
        assert verdicts(found)["scores"] == (50.0, True, 100)
        found = each.update(make_rows(outputs={"scores": clean[:50], "risk": bad}), now=0)
        # What was wrong with the window before stands until a whole window is right.
        assert verdicts(found) == {"scores": (50.0, True, 100), "risk": (50.0, True, 50)}
        found = each.update(make_rows(outputs={"scores": clean[:50], "risk": clean[:50]}), now=0)
        assert verdicts(found) == {"scores": (0.0, False, 100), "risk": (50.0, True, 100)}


def test_the_first_rows_of_all_may_breach(make_rows):
    monitor = NonFiniteMonitor(["scores"], window=100)
    found = monitor.update(make_rows(outputs={"scores": np.zeros((3, 1), np.float32)}), now=0)
    assert verdicts(found) == {}
    found = monitor.update(
        make_rows(outputs={"scores": np.full((1, 1), np.inf, np.float32)}), now=0
    )
    assert verdicts(found) == {"scores": (1.0, True, 4)}


def test_a_state_of_other_outputs_is_refused():
    state = NonFiniteMonitor(["scores"]).state()
    with pytest.raises(ValueError, match="other outputs"):
        NonFiniteMonitor(["probabilities"]).restore(state)
