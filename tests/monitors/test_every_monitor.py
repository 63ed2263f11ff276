"""What holds for every monitor, whatever it measures."""

import copy
import json

import numpy as np
from numpy.testing import assert_equal


def test_no_findings_before_the_first_complete_window(make_monitor, mixed_event):
    monitor = make_monitor()
    monitor.update(mixed_event(99, seed=1))
    assert monitor.evaluate() == []
    monitor.update(mixed_event(1, seed=2))
    assert monitor.evaluate()


def test_findings_do_not_depend_on_how_rows_are_batched(make_monitor, mixed_event, make_event):
    whole = mixed_event(250, seed=3)
    in_one, in_parts = make_monitor(), make_monitor()
    in_one.update(whole)
    findings = []
    for start in range(0, 250, 7):
        part = slice(start, start + 7)
        in_parts.update(
            make_event(
                {k: v[part] for k, v in whole.inputs.items()},
                {k: v[part] for k, v in whole.outputs.items()},
                {k: v[part].tolist() for k, v in whole.sensitive_features.items()},
            )
        )
        now = in_parts.evaluate()
        if now and (not findings or now[0] is not findings[-1]):
            findings += now[:1]
    per_window = len(in_parts.evaluate())
    assert [repr(f) for f in in_one.evaluate()[::per_window]] == [repr(f) for f in findings]
    assert in_one.state()["window"] == in_parts.state()["window"]


def test_is_deterministic(make_monitor, mixed_event):
    one, two = make_monitor(), make_monitor()
    for seed in range(5):
        one.update(mixed_event(33, seed))
        two.update(mixed_event(33, seed))
    assert one.state() == two.state()


def test_does_not_write_to_events(make_monitor, mixed_event):
    event = mixed_event(150, seed=4)
    before = copy.deepcopy(event)
    for array in (*event.inputs.values(), *event.outputs.values()):
        array.flags.writeable = False
    make_monitor().update(event)
    for name in ("inputs", "outputs", "sensitive_features"):
        assert_equal(getattr(event, name), getattr(before, name))


def test_an_event_without_rows_changes_nothing(make_monitor, mixed_event, make_event):
    monitor = make_monitor()
    monitor.update(mixed_event(10, seed=5))
    before = monitor.state()
    monitor.update(make_event(ids=[]))
    assert monitor.state() == before


def test_nan_is_counted_and_does_not_raise(make_monitor, mixed_event):
    monitor = make_monitor()
    event = mixed_event(100, seed=6)
    event.inputs["x"][:] = np.nan
    event.outputs["y"][:50] = np.nan
    monitor.update(event)
    assert monitor.evaluate()


def test_goes_on_after_a_restart_as_if_nothing_had_happened(make_monitor, mixed_event):
    steady, stopped = make_monitor(), make_monitor()
    for seed in range(9):
        steady.update(mixed_event(37, seed, timestamp=float(seed)))
        stopped.update(mixed_event(37, seed, timestamp=float(seed)))
        saved = json.dumps(stopped.state(), allow_nan=False)
        stopped = make_monitor()
        stopped.restore(json.loads(saved))
        assert repr(stopped.evaluate()) == repr(steady.evaluate())
        assert stopped.state() == steady.state()


def test_findings_say_when_and_how_much(make_monitor, mixed_event):
    monitor = make_monitor()
    monitor.update(mixed_event(60, seed=7, timestamp=20.0))
    monitor.update(mixed_event(40, seed=8, timestamp=10.0))
    for finding in monitor.evaluate():
        assert finding.window == (10.0, 20.0)
        assert 0 < finding.n_current <= 100
        assert finding.direction in ("above", "below")
