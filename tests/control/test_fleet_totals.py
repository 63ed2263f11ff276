"""Totals outlive their process, are never counted twice, and never go backwards."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serving.control.fleet_totals import MAX_DEPARTED, FleetTotals
from serving.telemetry.series import Series


def rows(value: float) -> Series:
    return Series("vigil.inference.rows", "sum", "{row}", (), value)


def waiting(value: float) -> Series:
    return Series("vigil.queue.rows", "gauge", "{row}", (), value)


def began(at: float) -> Series:
    return Series("process.start_time", "gauge", "s", (), at)


def total(ledger: FleetTotals) -> float:
    return sum(item.value for item in ledger.aggregate() if item.kind == "sum")


def test_two_members_with_the_same_series_add_up() -> None:
    ledger = FleetTotals()
    for pid, member in enumerate(("a", "b")):
        ledger.join(member, pid)
        ledger.report(member, (rows(5), waiting(1)))
    assert [item.value for item in ledger.aggregate()] == [10, 2]


def test_the_dead_leave_their_totals_and_take_their_gauges() -> None:
    ledger = FleetTotals()
    ledger.join("a", 1)
    ledger.report("a", (rows(5), waiting(1)))
    ledger.leave("a", 1)
    assert ledger.aggregate() == [rows(5)]


def test_a_process_that_only_lost_its_connection_is_not_counted_twice() -> None:
    ledger = FleetTotals()
    ledger.join("a", 1)
    ledger.report("a", (rows(5),))
    ledger.leave("a", 1)
    assert not ledger.join("a", 1)
    assert total(ledger) == 5
    assert not ledger.report("a", (rows(6),))
    assert total(ledger) == 6


def test_what_was_noted_as_told_and_never_came_is_made_up_for() -> None:
    ledger = FleetTotals()
    ledger.join("a", 1)
    ledger.report("a", (), (rows(100),))  # which it told to a control plane before this one
    ledger.report("a", (rows(5),))
    ledger.leave("a", 1)  # and it had noted 107 by then
    ledger.join("a", 2)
    ledger.report("a", (rows(0),), (rows(107),))
    assert total(ledger) == 7
    ledger.report("a", (rows(3),))
    ledger.leave("a", 2)
    ledger.join("a", 2)
    ledger.report("a", (rows(3),), (rows(107),))  # only its connection broke
    assert total(ledger) == 10


def test_what_was_told_to_another_control_plane_is_not_made_up_for() -> None:
    ledger = FleetTotals()
    ledger.join("a", 2)
    ledger.report("a", (rows(1),), (rows(107),))
    assert total(ledger) == 1


def test_a_new_process_with_the_same_pid_is_known_by_what_was_told_before_it() -> None:
    ledger = FleetTotals()
    ledger.join("a", 1)
    ledger.report("a", (), ())
    ledger.report("a", (rows(5),))
    ledger.leave("a", 1)
    ledger.join("a", 1)
    assert ledger.report("a", (rows(5),), (rows(5),))
    assert total(ledger) == 10


def test_a_new_process_counts_on_top() -> None:
    ledger = FleetTotals()
    ledger.join("a", 1)
    ledger.report("a", (rows(5),))
    ledger.leave("a", 1)
    assert ledger.join("a", 2)
    ledger.report("a", (rows(6),))
    assert total(ledger) == 11


def test_a_new_process_with_the_old_pid_is_told_by_its_numbers() -> None:
    ledger = FleetTotals()
    ledger.join("a", 1)
    ledger.report("a", (rows(5),))
    ledger.leave("a", 1)
    assert not ledger.join("a", 1)
    assert ledger.report("a", (rows(2),))
    assert total(ledger) == 7


def test_leaving_before_the_first_report_forgets_nothing() -> None:
    ledger = FleetTotals()
    ledger.join("a", 1)
    ledger.report("a", (rows(5),))
    for _ in range(2):
        ledger.leave("a", 1)
        ledger.join("a", 1)
    assert total(ledger) == 5


def test_members_that_never_come_back_are_bounded() -> None:
    ledger = FleetTotals()
    for number in range(MAX_DEPARTED + 10):
        ledger.join(f"replica-{number}", number)
        ledger.report(f"replica-{number}", (rows(1),))
        ledger.leave(f"replica-{number}", number)
    assert total(ledger) == MAX_DEPARTED + 10


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["work", "die", "reconnect"]))))
def test_totals_equal_the_work_done(steps: list[tuple[str, str]]) -> None:
    ledger = FleetTotals()
    pid = {"a": 1, "b": 2}
    done = {"a": 0.0, "b": 0.0}
    work = 0.0
    for member in "ab":
        ledger.join(member, pid[member])
    for member, step in steps:
        if step == "work":
            done[member] += 1
            work += 1
        else:
            ledger.leave(member, pid[member])
            if step == "die":
                pid[member] += 2
                done[member] = 0
            ledger.join(member, pid[member])
        ledger.report(member, (rows(done[member]),))
        assert total(ledger) == work


def test_what_members_bring_from_before_the_counting_is_told_apart() -> None:
    ledger = FleetTotals(since=1000.0)
    ledger.join("old", 1)
    ledger.report("old", (began(900), rows(7), waiting(3)))
    ledger.join("new", 2)
    ledger.report("new", (began(1000.5), rows(20)))
    ledger.report("old", (began(900), rows(9), waiting(3)))
    assert ledger.inherited() == [rows(7)]
    assert total(ledger) == 29
    # A lost connection, and then another process with the same name.
    ledger.leave("old", 1)
    ledger.join("old", 1)
    ledger.report("old", (began(900), rows(11)))
    ledger.leave("old", 1)
    ledger.join("old", 3)
    ledger.report("old", (began(1500), rows(1)))
    assert ledger.inherited() == [rows(7)]
    assert total(ledger) == 32


def test_one_that_begins_with_the_counting_is_none_from_before() -> None:
    ledger = FleetTotals(since=1000.0)
    for number, series in enumerate([(began(999), rows(1)), (rows(1),), (began(0), rows(1))]):
        ledger.join(f"m-{number}", number)
        ledger.report(f"m-{number}", series)
    assert ledger.inherited() == []
