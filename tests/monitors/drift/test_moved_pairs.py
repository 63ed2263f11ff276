import numpy as np
import pytest
from numpy.testing import assert_allclose

from monitors.drift.features.vector import FeatureVector, Tally
from monitors.drift.moved_pairs import MovedPairs, correlations
from monitors.reference.profile import ReferenceProfile

NAMES = [f"f{at}" for at in range(9)]


def columns(rng, rows, **together):
    x = rng.normal(size=(rows, len(NAMES)))
    for name, rho in together.items():
        one, other = (NAMES.index(each) for each in name.split("_"))
        x[:, other] = rho * x[:, one] + np.sqrt(1 - rho**2) * x[:, other]
    return dict(zip(NAMES, x.T, strict=True))


def test_the_pair_that_moved_is_named_with_its_correlations():
    rng = np.random.default_rng(0)
    reference = ReferenceProfile.fit(columns(rng, 3000, f2_f3=0.8))
    features = FeatureVector(reference)
    moved = MovedPairs(reference, features)
    sketch = features.codes.sketch
    for pair, rho, before in ((["f0", "f1"], 0.7, 0.0), (["f2", "f3"], 0.0, 0.8)):
        values = columns(rng, 1000, f0_f1=0.7 * (pair[0] == "f0"), f2_f3=0.8 * (pair[0] == "f0"))
        tally = Tally(features.codes, paired=True)
        tally.add(features.codes.codes(values, 1000))
        both = [NAMES.index(each) for each in pair]
        at = int(np.flatnonzero((both == sketch.pairs.T).all(1))[0])
        (named,) = moved.named([int(sketch.bucket[at])], tally, 1000)
        assert named["columns"] == pair
        assert named["reference"] == pytest.approx(before, abs=0.08)
        assert named["current"] == pytest.approx(rho, abs=0.08)


def test_correlations_are_those_of_the_rows_and_0_with_a_constant():
    x = np.random.default_rng(1).normal(size=(3, 200))
    x[1] += x[0]
    x[2] = 5.0
    found = correlations(x @ x.T, x.sum(1), 200)
    assert_allclose(found[:2, :2], np.corrcoef(x[:2]))
    assert_allclose(found[2], 0, atol=1e-9)


def test_a_reference_without_sums_of_pairs_is_refused():
    reference = ReferenceProfile.fit(columns(np.random.default_rng(0), 100))
    old = ReferenceProfile(reference.n, reference.columns)
    with pytest.raises(ValueError, match="no sums of pairs"):
        MovedPairs(old, FeatureVector(reference))
