from monitors.performance.run_lengths import runs, spread


def test_runs_and_spread_are_inverse():
    values = [1, 1, 2, 1]
    assert runs(values) == [(1, 2), (2, 1), (1, 1)]
    assert list(spread(runs(values))) == values
    assert runs([]) == []
