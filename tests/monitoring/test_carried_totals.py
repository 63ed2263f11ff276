import json

from serving.monitoring.carried_totals import CarriedTotals
from serving.telemetry.series import Series


def rows(value: float, version: str = "1") -> Series:
    return Series("rows", "sum", "{row}", (("version", version),), value)


def delays(value: float, *counts: int) -> Series:
    found = tuple((bucket, count) for bucket, count in enumerate(counts) if count)
    return Series("delay", "histogram", "s", (), value, (1.0, 2.0), counts, (), found, counts[0])


LAG = Series("lag", "gauge", "s", (), 3.0)


def restarted(totals: CarriedTotals, *series: Series) -> CarriedTotals:
    again = CarriedTotals()
    again.restore(json.loads(json.dumps(totals.state(series))))
    return again


def test_the_first_process_tells_what_it_has_counted():
    totals = CarriedTotals()
    assert totals.to_tell([rows(30), LAG]) == (rows(30), LAG)


def test_what_was_told_before_the_process_died_is_not_told_again():
    first = CarriedTotals()
    first.tell([rows(50)])
    saved = restarted(first, rows(50))  # and then
    reported = first.tell([rows(80)])  # and takes in 20 more, that nobody was told of
    saved.told(reported)
    assert saved.to_tell([rows(50)]) == (rows(20),)  # 50 of these were replayed
    assert saved.told_before == (rows(80),)


def test_a_histogram_is_told_once_as_well():
    first = CarriedTotals()
    first.tell([delays(5, 1, 0, 2)])
    saved = restarted(first, delays(5, 1, 0, 2))
    saved.told(first.tell([delays(9, 1, 3, 3)]))
    assert saved.to_tell([delays(0, 0, 0, 0)]) == (delays(0, 0, 0, 0),)
    assert saved.to_tell([delays(6, 0, 4, 1)]) == (delays(2, 0, 1, 0),)


def test_what_was_never_told_is_also_when_nobody_counts_it_any_more():
    first = CarriedTotals()
    first.tell([rows(5)])
    again = restarted(first, rows(7), delays(3, 0, 2, 0))
    assert again.to_tell([LAG]) == (LAG, delays(3, 0, 2, 0), rows(2))
    again.tell([LAG])
    assert restarted(again, LAG).to_tell([LAG]) == (LAG,)


def test_what_was_saved_before_there_were_histograms_is_left_out():
    totals = CarriedTotals()
    totals.restore({"counted": [["rows", [], 5.0]], "told": []})
    assert totals.to_tell([rows(2)]) == (rows(2),)


def test_what_was_told_outlives_many_processes():
    totals, sent = CarriedTotals(), 0.0
    for counted in (10.0, 20.0, 30.0):
        (told,) = totals.to_tell([rows(counted)])
        sent += told.value
        totals.tell([rows(counted)])
        totals = restarted(totals, rows(counted))
    assert sent == 60


def test_a_series_of_another_version_is_another_one():
    totals = CarriedTotals()
    totals.tell([rows(5), rows(7, "2")])
    again = restarted(totals, rows(5), rows(7, "2"))
    assert again.to_tell([rows(1, "2")]) == (rows(1, "2"),)
    assert again.tell([rows(1, "2")]) == [rows(8, "2")]


def test_there_is_nothing_to_tell_while_nothing_is_counted():
    totals = CarriedTotals()
    assert totals.tell([rows(5)])
    assert totals.tell([rows(5), LAG]) == []
