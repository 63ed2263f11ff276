import json

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from monitors.drift.features.vector import FeatureVector, Stream, Tally
from monitors.reference.profile import ReferenceProfile


def columns(rng, rows):
    return {
        "x": np.where(rng.random(rows) < 0.1, np.nan, rng.normal(size=rows)),
        "y": rng.normal(size=rows),
        "c": rng.choice(["a", "b", "c"], rows),
        "k": np.ones(rows),
    }


@pytest.fixture
def reference():
    rng = np.random.default_rng(0)
    return ReferenceProfile.fit(columns(rng, 2000), times=np.arange(2000.0))


def tally_of(features, values, rows):
    tally = Tally(features.codes, paired=features.paired)
    tally.add(features.codes.codes(values, rows))
    return tally


def test_sums_are_those_of_the_rows(reference):
    features = FeatureVector(reference)
    values = columns(np.random.default_rng(1), 300)
    cell = features.cell((1.0, 2.0), 300, tally_of(features, values, 300))
    found = dict(zip(features.streams, cell.sums, strict=True))
    defined = dict(zip(features.streams, cell.counts, strict=True))
    missing = int(np.isnan(values["x"]).sum())
    assert found[Stream("x", "missing")] == missing
    assert (defined[Stream("x", "missing")], defined[Stream("x", "location")]) == (
        300,
        300 - missing,
    )
    assert found[Stream("c", "share of 'a'")] == (values["c"] == "a").sum()
    x = reference.columns["x"]
    ranks = x.midranks()[x.codes(values["x"])]
    at = features.streams.index(Stream("x", "location"))
    assert_allclose(cell.sums[at], np.nansum(ranks))
    assert_allclose(cell.squares[at], np.nansum(ranks**2))
    assert defined[Stream("", "correlation", 0)] == 300  # the one pair
    assert (np.abs(cell.sums) <= cell.counts).all()
    assert (cell.first, cell.last, cell.n) == (1.0, 2.0, 300)


def test_correlation_is_between_minus_one_and_one(reference):
    features = FeatureVector(reference)
    at = features.streams.index(Stream("", "correlation", 0))
    rows = {"x": np.array([9.0, -9.0]), "y": np.array([9.0, 9.0])}
    for part, expected in ((slice(0, 1), 1.0), (slice(1, 2), -1.0)):
        tally = tally_of(features, {name: each[part] for name, each in rows.items()}, 1)
        cell = features.cell((0.0, 0.0), 1, tally)
        assert (cell.sums[at], cell.squares[at]) == (expected, 1.0)


def test_moments_are_those_of_the_reference_and_what_it_never_had_is_possible(reference):
    features = FeatureVector(reference)
    moments = features.moments()
    mean = dict(zip(features.streams, moments.mean, strict=True))
    assert mean[Stream("x", "location")] == pytest.approx(0.5)
    assert mean[Stream("x", "missing")] == pytest.approx(0.1, abs=0.02)
    assert mean[Stream("y", "missing")] == pytest.approx(0.5 / 2001)
    assert mean[Stream("y", "outside the reference's range")] == pytest.approx(2 / 2004)
    assert (moments.variance[:-1] > 0).all()
    assert moments.streams == len(features.streams)


def test_cells_of_the_reference_add_up_to_it(reference):
    features = FeatureVector(reference)
    moments = features.moments()
    assert len(moments.cells) == 80
    whole = moments.cells[0]
    for cell in moments.cells[1:]:
        whole = whole.merged(cell)
    named = [at for at, one in enumerate(features.streams) if one.statistic == "location"]
    named.append(features.streams.index(Stream("", "correlation", 0)))
    mean = whole.sums[named] / whole.counts[named]
    assert_allclose(mean, moments.mean[named], atol=0.02)
    unseen = features.streams.index(Stream("c", "unseen"))
    assert whole.counts[unseen] == 0


def test_how_rows_are_batched_changes_no_bit(reference):
    features = FeatureVector(reference)
    values = columns(np.random.default_rng(2), 333)
    whole, parts = (Tally(features.codes, paired=True) for _ in range(2))
    codes = features.codes.codes(values, 333)
    whole.add(codes)
    for start in range(0, 333, 7):
        parts.add(codes[:, start : start + 7])
    assert parts.state() == whole.state()
    again = Tally(features.codes, paired=True)
    again.restore(json.loads(json.dumps(whole.state())))
    assert_array_equal(again.pairs.products, whole.pairs.products)
    assert_array_equal(again.pairs.sketch, whole.pairs.sketch)
    assert_array_equal(again.counts, whole.counts)


def test_a_profile_without_pairs_has_none(reference):
    old = ReferenceProfile(reference.n, reference.columns)
    features = FeatureVector(old)
    assert not features.paired
    assert all(stream.bucket is None for stream in features.streams)
    values = columns(np.random.default_rng(3), 50)
    tally = tally_of(features, values, 50)
    assert features.cell((0.0, 0.0), 50, tally).streams == len(features.streams)
    with pytest.raises(ValueError, match="other columns"):
        tally.restore({"counts": [1], "pairs": None})
