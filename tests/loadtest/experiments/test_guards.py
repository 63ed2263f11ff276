import numpy as np

from loadtest.experiments import guarded_nets, guards


def test_attacks_stay_within_their_radius_and_fool_the_model(monkeypatch):
    monkeypatch.setattr(guarded_nets, "EPOCHS", 6)
    guarded = guarded_nets.digits(0)
    clean = guarded.clean[0]
    usual = guarded.wrong(clean).mean()
    for rows in (guarded_nets.one_step(guarded), guarded_nets.many_steps(guarded)):
        assert np.abs(rows - clean).max() <= guarded.radius + 1e-6
        assert (rows.min(), rows.max()) == (0, 1)
        assert guarded.wrong(rows).mean() > usual + 0.2


def test_every_guard_is_tried_on_every_kind_of_rows_and_the_one_that_knows_it(monkeypatch):
    monkeypatch.setattr(guarded_nets, "EPOCHS", 6)
    made = guarded_nets.digits(0)
    found = list(guards.tried(made, 0))
    kinds = [each["kind"] for each in found if each["guard"] == "distance"]
    assert kinds == [each["kind"] for each in found if each["guard"] == "mahalanobis"]
    assert {"normal", "black", "photographs", "PGD that knows the guard"} <= set(kinds)
    (normal,) = (
        each for each in found if (each["guard"], each["kind"]) == ("distance", "normal")
    )  # fmt: skip
    assert 0.01 < normal["flagged"] < 0.12
    cost = {f"{name} {n}": 1.0 for name in (*guards.NAMES, "forward") for n in (1, 64)}
    text = guards.tables({"seeds": 1, "tried": found, "microseconds": cost})
    assert text.count("| digits |") == len(kinds)
