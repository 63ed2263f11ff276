import numpy as np
import pytest

from loadtest.experiments.causes import Size, case
from monitors.slices.causes import CAUSES, FEWEST, explain_change

SMALL = Size(cases=1, rows=1500)


def explained(cause, seed):
    given = case(cause, seed, SMALL)
    return given, explain_change(given.reference, given.before, given.now, given.after)


def test_the_planted_cause_is_told_with_the_feature_that_carries_it():
    right = features = 0
    for cause in CAUSES:
        for seed in range(2):
            given, found = explained(cause, seed)
            right += found.cause == cause
            features += bool(found.features) and found.features[0][0] == given.feature
    assert right >= 5
    assert features >= 5


def test_parts_add_up_to_the_change():
    given, found = explained("unseen region", 0)
    assert found.change.value == pytest.approx(given.after.mean() - given.before.mean())
    assert sum(part.value for part in found.parts.values()) == pytest.approx(found.change.value)
    assert 0.1 < found.unseen < 0.35
    assert sum(weight for _, weight in found.features) == pytest.approx(1)
    assert all(part.error >= 0 for part in found.parts.values())


def test_no_change_has_no_cause():
    told = [explained(None, seed)[1].cause for seed in range(2)]
    assert told == [None, None]


def test_a_gain_has_a_cause_as_well():
    given = case("concept shift", 0, SMALL)
    found = explain_change(given.now, given.after, given.reference, given.before)
    assert found.change.value < 0
    assert found.cause == "concept shift"


def test_everything_may_be_unseen():
    rng = np.random.default_rng(0)
    columns, far = {"a": np.array(["x"] * 400)}, {"a": np.array(["z"] * 400)}
    losses = rng.random(400)
    found = explain_change(columns, losses, far, losses + 1)
    assert found.cause == "unseen region"
    assert found.unseen == 1
    assert found.parts["unseen region"].value == pytest.approx(1)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"losses": np.zeros(10)}, rf"losses have shape \[10\]; needed are \[n\], n >= {FEWEST}"),
        ({"reference_losses": np.full(300, np.nan)}, "reference_losses must be finite"),
        ({"now": {"b": np.zeros(300)}}, "column a of the reference is missing"),
        ({"now": {}}, "no column beside losses"),
        ({"reference": {"a": np.zeros(3)}}, r"column a has shape \[3\]; reference_losses"),
    ],
)
def test_wrong_input_is_named(given, told):
    usual = {
        "reference": {"a": np.arange(300.0)},
        "reference_losses": np.arange(300) % 2,
        "now": {"a": np.arange(300.0)},
        "losses": np.arange(300) % 3,
    }
    with pytest.raises(ValueError, match=told):
        explain_change(**{**usual, **given})
