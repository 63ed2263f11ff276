"""The law of alarms."""

import json

import numpy as np
import pytest

from monitors.alarms.cell import Cell
from monitors.alarms.law import StreamLaw
from monitors.alarms.reference import ReferenceMoments


def reference_of(k, n=50_000):
    return ReferenceMoments(mean=np.zeros(k), variance=np.ones(k), n=np.full(k, float(n)))


def cell_of(means, at, n=1000):
    means = np.asarray(means, float)
    return Cell(
        first=at,
        last=at + 599,
        n=n,
        counts=np.full(len(means), float(n)),
        sums=means * n,
        squares=(means**2 + 1) * n,
    )


def test_independent_rows_keep_within_the_budget():
    k, rng = 50, np.random.default_rng(0)
    law = StreamLaw(k, reference_of(k), rate=500.0)
    told = np.zeros(k, bool)
    alarms = 0
    for window in range(1296):  # a tenth of a quarter
        said = law.observe(cell_of(rng.normal(0, 1 / np.sqrt(1000), k), 600.0 * window), 0)
        alarms += int((said.alarm & ~told).sum())
        told = said.alarm
    assert alarms <= 50 + 4 * np.sqrt(50)


def run(law, means, start=0):
    """Show a law windows of ten minutes with these means [windows, k]; returns what it said."""
    return [law.observe(cell_of(row, 600.0 * (start + at)), 0) for at, row in enumerate(means)]


def independent(rng, windows, k, n=1000):
    return rng.normal(0, 1 / np.sqrt(n), (windows, k))


def test_a_shift_is_told_on_the_first_day_with_its_size_and_its_beginning():
    k, rng = 5, np.random.default_rng(1)
    law = StreamLaw(k, reference_of(k), rate=1.0)
    run(law, independent(rng, 100, k))
    means = independent(rng, 3, k)
    means[:, 3] += 1.0
    said = run(law, means, 100)[-1]
    assert said.alarm.tolist() == [False, False, False, True, False]
    assert said.since[3] == pytest.approx(60_000, abs=600)
    assert np.isnan(said.since[0])
    assert said.low[3] < 1 < said.high[3]
    assert said.p[3] < said.level[3]
    assert said.p[0] > said.level[0]
    assert said.basis[0].startswith("independent rows")


@pytest.mark.parametrize(("rows", "shift"), [(1000, 1.0), (100, 1.4)])
def test_a_gross_change_is_told_in_the_first_window(rows, shift):
    law = StreamLaw(3, reference_of(3), rate=1.0)
    said = law.observe(cell_of([0.0, shift, -shift], 0.0, rows), 0)
    assert said.alarm.tolist() == [False, True, True]
    assert said.since.tolist()[1:] == [0.0, 0.0]
    assert said.p[1] < said.level[1]


def test_what_a_daily_cycle_may_do_is_not_gross():
    law = StreamLaw(1, reference_of(1), rate=1.0)
    assert not law.observe(cell_of([0.6], 0.0), 0).alarm.any()


def test_a_gross_change_that_was_there_from_the_beginning_stays_told():
    law = StreamLaw(1, reference_of(1), rate=1.0)
    assert all(said.alarm.all() for said in run(law, np.full((100, 1), 2.0)))


def test_a_cell_without_rows_is_no_alarm():
    law = StreamLaw(2, reference_of(2), rate=1.0)
    zero = np.zeros(2)
    said = law.observe(Cell(first=0, last=0, n=0, counts=zero, sums=zero, squares=zero), 0)
    assert not said.alarm.any()
    assert np.isnan(said.value).all()


def test_it_goes_on_after_a_restart():
    law = StreamLaw(3, reference_of(3), rate=1.0)
    law.observe(cell_of([0.0, 3.0, 0.0], 0.0), 0)
    again = StreamLaw(3, reference_of(3), rate=1.0)
    again.restore(json.loads(json.dumps(law.state(), allow_nan=False)))
    one, other = (each.observe(cell_of([0.0, 3.0, 0.0], 600.0), 0) for each in (law, again))
    np.testing.assert_array_equal(one.since, other.since)
    np.testing.assert_array_equal(one.alarm, other.alarm)


def test_it_refuses_the_state_of_another_law():
    with pytest.raises(ValueError, match="another number of streams"):
        StreamLaw(3, reference_of(3), 1.0).restore(StreamLaw(2, reference_of(2), 1.0).state())


def test_it_refuses_a_wrong_setup():
    with pytest.raises(ValueError, match="2 statistics"):
        StreamLaw(3, reference_of(2), rate=1.0)
    with pytest.raises(ValueError, match="positive"):
        StreamLaw(2, reference_of(2), rate=0.0)
    with pytest.raises(ValueError, match="the cell has 3"):
        StreamLaw(2, reference_of(2), rate=1.0).observe(cell_of([0, 0, 0], 0.0), 0)


def cycle(rng, windows, k, amplitude=0.4):
    phase = rng.uniform(0, 2 * np.pi, k)
    wave = amplitude * np.sin(2 * np.pi * np.arange(windows)[:, None] / 144 + phase)
    return wave + independent(rng, windows, k)


def onsets(said):
    alarms = np.stack([each.alarm for each in said])
    return int(alarms[0].sum() + (alarms[1:] & ~alarms[:-1]).sum())


def test_a_daily_cycle_is_quiet_from_the_first_day_and_a_shift_on_it_is_told():
    k, rng = 30, np.random.default_rng(2)
    law = StreamLaw(k, reference_of(k), rate=1.0)
    means = cycle(rng, 144 * 8 + 3, k)
    means[-3:, 7] += 0.5
    said = run(law, means)
    assert onsets(said[:-3]) <= 1
    assert said[-1].alarm[7]
    assert said[-1].alarm.sum() == 1
    assert said[-1].effect[7] == pytest.approx(0.5, abs=0.15)
    assert said[-1].basis[7].endswith("days of history, by time of day")


def test_the_profiles_order_is_history_on_the_first_day():
    k, rng = 30, np.random.default_rng(3)
    means = cycle(rng, 144 * 8, k)
    cells = tuple(cell_of(row, 600.0 * at) for at, row in enumerate(means[: 144 * 7]))
    law = StreamLaw(k, ReferenceMoments.of_cells(cells), rate=1.0)
    today = means[144 * 7 :]
    today[-2:, 4] += 0.5
    said = run(law, today, 144 * 100)
    assert onsets(said[:-2]) == 0
    assert np.flatnonzero(said[-1].alarm).tolist() == [4]
    assert said[-1].basis[4].startswith("order of the profile")


def test_rows_that_come_five_times_vary_five_times_as_much_and_it_says_so():
    k, rng = 20, np.random.default_rng(4)
    law = StreamLaw(k, reference_of(k), rate=1.0)
    said = run(law, independent(rng, 144 * 6, k, n=200))
    assert onsets(said) <= 1
    windows = np.stack([np.where(each.scale == 1, each.factor, np.nan) for each in said[-144:]])
    assert 4 < np.nanmedian(windows) < 8


def test_a_wander_is_quiet_and_a_jump_on_it_is_told():
    k, rng = 30, np.random.default_rng(5)
    phi, windows = np.exp(-1 / 36), 144 * 10 + 2
    level = rng.normal(0, 0.1, k)
    means = independent(rng, windows, k)
    for row in means:
        level = phi * level + rng.normal(0, 0.1 * np.sqrt(1 - phi**2), k)
        row += level
    means[-2:, 0] += 0.5
    said = run(StreamLaw(k, reference_of(k), rate=1.0), means)
    assert onsets(said[:-2]) <= 1
    assert said[-1].alarm[0]


def test_an_alarm_stays_while_the_shift_does_and_ends_when_the_stream_is_back():
    k, rng = 3, np.random.default_rng(6)
    law = StreamLaw(k, reference_of(k), rate=1.0)
    run(law, independent(rng, 144 * 5, k))
    means = independent(rng, 144 * 3, k)
    means[:, 1] += 0.5
    said = run(law, means, 144 * 5)
    assert all(each.alarm[1] for each in said[2:])
    assert said[-1].effect[1] == pytest.approx(0.5, abs=0.1)
    assert said[-1].since[1] == said[2].since[1]
    back = run(law, independent(rng, 30, k), 144 * 8)
    assert back[0].alarm[1]
    assert not back[-1].alarm[1]


def test_a_level_is_taken_as_normal_only_visibly():
    k, rng = 2, np.random.default_rng(7)
    law = StreamLaw(k, reference_of(k), rate=1.0)
    run(law, independent(rng, 144 * 4, k))
    said = run(law, independent(rng, 30, k) + np.array([0.0, 0.6]), 144 * 4)
    assert said[-1].alarm.tolist() == [False, True]
    law.accept(np.array([True, True]))
    said = run(law, independent(rng, 30, k) + np.array([0.0, 0.6]), 144 * 4 + 30)
    assert not said[-1].alarm.any()
    assert "taken as normal" in said[-1].basis[1]
    assert "taken as normal" not in said[-1].basis[0]
    assert said[-1].value[1] == pytest.approx(0.6, abs=0.15)


def test_an_old_alarm_is_accepted_after_the_time_that_was_set():
    k, rng = 1, np.random.default_rng(8)
    law = StreamLaw(k, reference_of(k), rate=1.0, adapt_after=86400.0)
    run(law, independent(rng, 144 * 3, k))
    alarms = []
    for at in range(144 * 3, 144 * 5):
        shifted = rng.normal(0, 1 / np.sqrt(1000), k) + 0.6
        alarms.append(bool(law.observe(cell_of(shifted, 600.0 * at), 600.0 * at).alarm[0]))
    assert alarms[100]
    assert not alarms[-1]


def test_missing_rows_of_a_column_that_had_none_are_told_at_once():
    k = 2
    reference = ReferenceMoments(mean=np.zeros(k), variance=np.zeros(k), n=np.full(k, 5000.0))
    law = StreamLaw(k, reference, rate=1.0)
    counts = np.full(k, 1000.0)
    for at in range(5):
        zero = np.zeros(k)
        cell = Cell(
            first=600.0 * at, last=600.0 * at + 1, n=1000, counts=counts, sums=zero, squares=zero
        )
        assert not law.observe(cell, 0).alarm.any()
    missing = np.array([50.0, 0.0])
    said = law.observe(
        Cell(first=3000, last=3001, n=1000, counts=counts, sums=missing, squares=missing), 0
    )
    assert said.alarm.tolist() == [True, False]


def test_the_same_windows_give_the_same_decisions_after_a_restart_at_any_time():
    k, rng = 4, np.random.default_rng(9)
    means = cycle(rng, 144 * 4, k)
    whole = StreamLaw(k, reference_of(k), rate=1.0)
    run(whole, means)
    first = StreamLaw(k, reference_of(k), rate=1.0)
    run(first, means[:500])
    second = StreamLaw(k, reference_of(k), rate=1.0)
    second.restore(json.loads(json.dumps(first.state(), allow_nan=False)))
    said = run(second, means[500:], 500)
    again = run(whole, means[:30], 144 * 4)
    other = run(second, means[:30], 144 * 4)
    assert len(said) == 76
    np.testing.assert_allclose(again[-1].p, other[-1].p, rtol=0.2)
    np.testing.assert_array_equal(again[-1].alarm, other[-1].alarm)


def test_its_state_does_not_grow():
    k, rng = 3, np.random.default_rng(10)
    law = StreamLaw(k, reference_of(k), rate=1.0)
    sizes = []
    for day in range(3):
        run(law, independent(rng, 144 * 2, k), day * 288)
        sizes.append(sum(array.nbytes for array in law._arrays().values()))
    assert sizes[0] == sizes[2]


@pytest.mark.parametrize(
    ("part", "damaged", "said"),
    [
        ("arrays", "no base64!", "damaged"),
        ("arrays", "AAAAAAAA", "another size"),
        ("open", "AAAAAAAA", "multiple|number of streams"),
        ("blocks", ["AAAAAAAAAAA="], "number of streams"),
    ],
)
def test_a_damaged_state_is_refused_and_nothing_taken(part, damaged, said):
    law = StreamLaw(2, reference_of(2), 1.0)
    run(law, np.zeros((3, 2)))
    state = law.state()
    state[part] = damaged
    other = StreamLaw(2, reference_of(2), 1.0)
    before = other.state()
    with pytest.raises(ValueError, match=said):
        other.restore(state)
    assert other.state() == before


def test_it_goes_on_bit_by_bit_after_restarts():
    k, rng = 4, np.random.default_rng(8)
    steady, stopped = (StreamLaw(k, reference_of(k), rate=12.0) for _ in range(2))
    for window in range(160):
        cell = cell_of(rng.normal(0, 0.05, k), 1800.0 * window)
        one, other = steady.observe(cell, 0), stopped.observe(cell, 0)
        np.testing.assert_array_equal(one.p, other.p)
        np.testing.assert_array_equal(one.low, other.low)
        if window % 7:
            continue
        again = StreamLaw(k, reference_of(k), rate=12.0)
        again.restore(json.loads(json.dumps(stopped.state())))
        stopped = again
        assert stopped.state() == steady.state()


def test_what_it_saves_is_taken_anew_when_a_day_ends_and_after_many_cells():
    law = StreamLaw(2, reference_of(2), rate=1.0)
    taken = []
    for window in range(300):
        law.observe(cell_of(np.zeros(2), 600.0 * window), 0)
        state = law.state()
        taken.append(state["known"]["counts"][0])
        assert state["arrays"] is law.state()["arrays"]
    assert sorted(set(taken)) == [0, 128, 145, 273, 289]


def test_it_goes_on_bit_by_bit_after_a_level_was_accepted():
    k, rng = 2, np.random.default_rng(11)
    law, again = (StreamLaw(k, reference_of(k), rate=1.0) for _ in range(2))
    run(law, independent(rng, 20, k) + np.array([0.0, 2.0]))
    law.accept(np.array([True, True]))
    run(law, independent(rng, 3, k) + np.array([0.0, 2.0]), 20)
    again.restore(json.loads(json.dumps(law.state(), allow_nan=False)))
    means = independent(rng, 1, k) + np.array([0.0, 2.0])
    one, other = (run(each, means, 23)[-1] for each in (law, again))
    np.testing.assert_array_equal(one.p, other.p)
    assert not other.alarm.any()
    assert law.state() == again.state()


def shares(at, n, found):
    found = np.array(found, float)
    counts = np.full(len(found), float(n))
    return Cell(
        first=600.0 * at, last=600.0 * at + 599, n=n, counts=counts, sums=found, squares=found
    )


def test_a_rare_event_in_few_rows_is_no_gross_change_and_many_are():
    rare = np.full(3, 1e-4)
    reference = ReferenceMoments(mean=rare, variance=rare * (1 - rare), n=np.full(3, 5000.0))
    few, many = (StreamLaw(3, reference, rate=12.0) for _ in range(2))
    assert not few.observe(shares(0, 50, [1, 0, 5]), 0).alarm.any()  # one row, sent five times
    assert many.observe(shares(0, 1000, [50, 1, 5]), 0).alarm.tolist() == [True, False, False]


def test_a_state_whose_long_text_is_lost_is_refused():
    law = StreamLaw(2, reference_of(2), 1.0)
    lost = {**law.state(), "arrays": {"$text": "0" * 64}}
    with pytest.raises(TypeError):
        StreamLaw(2, reference_of(2), 1.0).restore(lost)


@pytest.mark.parametrize("apart", [3, 6])
def test_an_order_in_coarser_cells_is_history_too(apart):
    k, rng = 30, np.random.default_rng(12)
    means = cycle(rng, 144 * 9, k)
    coarse = means[: 144 * 8].reshape(-1, apart, k).mean(1)
    cells = tuple(
        Cell(first=600.0 * apart * at, last=600.0 * apart * (at + 1) - 1, n=1000 * apart,
             counts=np.full(k, 1000.0 * apart), sums=row * 1000 * apart,
             squares=(row**2 + 1) * 1000 * apart)
        for at, row in enumerate(coarse)
    )  # fmt: skip
    law = StreamLaw(k, ReferenceMoments.of_cells(cells), rate=1.0)
    assert law.interval == 600
    today = means[144 * 8 :]
    today[-6:, 4] += 0.5
    said = run(law, today, 144 * 100)
    assert onsets(said[:-6]) == 0
    assert np.flatnonzero(said[-1].alarm).tolist() == [4]
    assert said[0].basis[4].startswith("order of the profile")


def test_an_order_with_hours_between_its_cells_is_no_history():
    k, rng = 3, np.random.default_rng(13)
    cells = tuple(cell_of(row, 7200.0 * at) for at, row in enumerate(independent(rng, 100, k)))
    law = StreamLaw(k, ReferenceMoments.of_cells(cells), rate=1.0)
    assert run(law, independent(rng, 1, k))[0].basis[0].startswith("independent rows")


def test_bursts_of_rare_events_are_quiet_from_the_first_days_and_lasting_ones_are_told():
    k, rng = 60, np.random.default_rng(14)
    usual = np.full(k, 1e-3)
    reference = ReferenceMoments(mean=usual, variance=usual * (1 - usual), n=np.full(k, 5000.0))
    law = StreamLaw(k, reference, rate=12.0)
    said = []
    for at in range(144 * 5):
        share = np.where(rng.random(k) < 0.01, 0.05, usual)
        said.append(law.observe(shares(at, 1000, rng.binomial(1000, share)), 0))
    assert onsets(said) <= 4
    for at in range(144 * 5, 144 * 5 + 5):
        share = np.where(np.arange(k) == 9, 0.05, usual)
        said.append(law.observe(shares(at, 1000, rng.binomial(1000, share)), 0))
    assert np.flatnonzero(said[-1].alarm).tolist() == [9]


def test_a_rare_share_that_grows_is_told_at_once_as_soon_as_days_are_known():
    k, rng = 20, np.random.default_rng(15)
    usual = np.full(k, 5e-4)
    reference = ReferenceMoments(mean=usual, variance=usual * (1 - usual), n=np.full(k, 5000.0))
    law = StreamLaw(k, reference, rate=1.0)
    for at in range(144 * 3 + 20):
        said = law.observe(shares(at, 1000, rng.binomial(1000, usual)), 0)
        assert not said.alarm.any()
    share = np.where(np.arange(k) == 9, 0.05, usual)
    said = law.observe(shares(144 * 3 + 20, 1000, rng.binomial(1000, share)), 0)
    assert np.flatnonzero(said.alarm).tolist() == [9]
