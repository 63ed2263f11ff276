import json

import pytest

from loadtest.scheduling import __main__ as experiment
from loadtest.scheduling import real, simulation
from loadtest.scheduling.setting import CURVES, GOAL_S, POLICIES, Case, arrivals, cases


@pytest.mark.parametrize("policy", POLICIES)
def test_with_nothing_to_do_everybody_is_in_time(policy):
    for curve in CURVES:
        assert simulation.goodput(Case(curve, 0.5, policy), 20, 0) > 0.99


@pytest.mark.parametrize("policy", POLICIES)
def test_the_simulation_is_deterministic_and_a_share(policy):
    case = Case(CURVES[0], 0.95, policy)
    assert 0 < simulation.goodput(case, 10, 1) == simulation.goodput(case, 10, 1) <= 1


def test_both_policies_get_the_same_arrivals_at_the_asked_rate():
    times = [arrivals(Case(CURVES[1], 0.8, policy), 100, 3) for policy in POLICIES]
    assert (times[0] == times[-1]).all()
    assert len(times[0]) / 100 == pytest.approx(0.8 * CURVES[1].capacity, rel=0.1)


def test_capacity_is_that_of_batches_of_half_the_goal():
    for curve in CURVES:
        assert curve.seconds(curve.most_rows(GOAL_S / 2)) <= GOAL_S / 2 + 1e-9
        assert curve.seconds(curve.most_rows(GOAL_S / 2) + 1) > GOAL_S / 2


@pytest.mark.parametrize("policy", POLICIES)
def test_the_real_batcher_answers(policy, monkeypatch):
    monkeypatch.setattr(real, "WARM_UP_S", 0.1)
    assert 0 <= real.goodput(Case(CURVES[1], 0.5, policy), 0.3, 0) <= 1


def test_results_are_written(tmp_path, monkeypatch, capsys):
    for module in (real, simulation):
        monkeypatch.setattr(module, "goodput", lambda case, seconds, seed: case.load)
    assert experiment.main(["--out", str(tmp_path), "--seeds", "1"]) == 0
    rows = json.loads((tmp_path / "scheduling.json").read_text())["rows"]
    assert len(rows) == 2 * len(list(cases()))
    assert (tmp_path / "scheduling.md").read_text().count("95.0%") == 6 * len(CURVES)
    assert (tmp_path / "scheduling.svg").stat().st_size > 1000
