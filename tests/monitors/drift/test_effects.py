import numpy as np
import pytest
from numpy.testing import assert_array_equal

from monitors.drift.effects import EffectSizes, coarse_bins
from monitors.reference.categorical_column import CategoricalColumn
from monitors.reference.numeric_column import NumericColumn
from monitors.reference.profile import ReferenceProfile
from monitors.reference.row_codes import RowCodes

SEEDS = 300


def sizes(columns):
    codes = RowCodes(ReferenceProfile.fit(columns).columns)
    return codes, EffectSizes(codes.tracks)


def effects(codes, sizes, values, rows):
    counts = np.bincount(codes.codes(values, rows).ravel(), minlength=codes.bins)
    return sizes.of(counts, np.ones(len(codes.tracks)))


@pytest.mark.parametrize(("shift", "truth"), [(0.0, 0.0), (0.2, 0.039), (0.5, 0.249)])
def test_psi_is_right_on_average_and_its_interval_covers(shift, truth):
    rng = np.random.default_rng(0)
    found, covered = [], 0
    for _ in range(SEEDS):
        codes, of = sizes({"x": rng.normal(size=1000)})
        psi, reach, _ = effects(codes, of, {"x": rng.normal(size=1000) + shift}, 1000)
        found.append(psi[0])
        covered += abs(psi[0] - truth) <= reach[0]
    assert np.mean(found) == pytest.approx(truth, abs=0.008)
    assert covered / SEEDS >= 0.93


def test_a_gap_between_the_distribution_functions():
    rng = np.random.default_rng(1)
    codes, of = sizes({"x": rng.normal(size=4000), "c": rng.choice(["a", "b"], 4000)})
    values = {"x": rng.normal(size=4000) + 0.5, "c": rng.choice(["a", "b"], 4000)}
    gap, none = effects(codes, of, values, 4000).ks
    assert gap == pytest.approx(0.197, abs=0.03)  # of two normals, half a deviation apart
    assert np.isnan(none)


def test_without_any_value_there_is_no_gap():
    codes, of = sizes({"x": np.arange(100.0)})
    psi, _, gap = effects(codes, of, {"x": np.full(50, np.nan)}, 50)
    assert np.isnan(gap[0])
    assert psi[0] > 1


def test_a_factor_widens_the_interval():
    codes, of = sizes({"x": np.arange(1000.0)})
    counts = np.bincount(codes.codes({"x": np.arange(1000.0)}, 1000).ravel(), minlength=codes.bins)
    narrow, wide = (of.of(counts, np.array([factor])) for factor in (1.0, 4.0))
    assert wide.reach[0] > 1.5 * narrow.reach[0]
    assert wide.psi[0] < narrow.psi[0] < 0


def test_thin_bins_are_counted_with_their_neighbours():
    full = [50] * 12
    column = NumericColumn(np.arange(15.0), np.array([1, 0, 5, *full, 5, 0, 0, 9]))
    inner = [*range(1, 13)]
    assert_array_equal(coarse_bins(column), [0, 1, 1, *inner, 12, 12, 13, 14])
    categories = CategoricalColumn(("a", "b"), np.array([50, 30, 4, 1]))
    assert_array_equal(coarse_bins(categories), [0, 1, 2, 3])


def test_of_few_values_each_counts_by_itself():
    codes, of = sizes({"k": np.ones(500)})
    assert effects(codes, of, {"k": np.full(500, 1.001)}, 500).psi[0] > 1
