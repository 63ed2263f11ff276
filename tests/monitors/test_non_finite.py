import numpy as np
import pytest

from monitors.non_finite import NonFiniteMonitor


def verdicts(monitor):
    return {f.subject: (f.value, f.breached, f.n_current) for f in monitor.evaluate()}


def test_one_row_without_a_number_breaches_and_clean_windows_heal(make_event):
    monitor = NonFiniteMonitor(["scores", "label"], window=10)
    scores = np.zeros((10, 2, 2), np.float32)
    label = np.arange(10)
    monitor.update(make_event(outputs={"scores": scores, "label": label}))
    assert verdicts(monitor) == {"scores": (0.0, False, 10), "label": (0.0, False, 10)}
    for bad in (np.nan, np.inf, -np.inf):
        scores[3, 1, 0] = bad
        monitor.update(make_event(outputs={"scores": scores, "label": label}))
        assert verdicts(monitor) == {"scores": (0.1, True, 10), "label": (0.0, False, 10)}
    scores[3, 1, 0] = 0
    monitor.update(make_event(outputs={"scores": scores, "label": label}))
    assert verdicts(monitor)["scores"] == (0.0, False, 10)


def test_a_state_of_other_outputs_is_refused():
    state = NonFiniteMonitor(["scores"]).state()
    with pytest.raises(ValueError, match="other outputs"):
        NonFiniteMonitor(["probabilities"]).restore(state)
