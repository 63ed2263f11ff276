"""What is saved is there after a restart, in SQLite and in PostgreSQL alike."""

from __future__ import annotations

from msgspec.structs import replace
from sqlalchemy import event, update

from serving.store.incident_store import IncidentStore
from serving.store.records import Batch, Delivery, Deployment, Kept, WatchState
from serving.store.tables import INCIDENTS


def delivery(incident, ident="d", **more):
    return Delivery(
        id=ident, receiver="r", event="opened", incident=incident, created_at=1.0, **more
    )


def test_all_is_there_again(store, incident):
    one = incident()
    state = WatchState(model="m", cause="drift", kind="unknown", since=3.0, why="no rows")
    served = Deployment(model="m", version="1", revision="r", at=4.0)
    batch = Batch(
        {"a": one}, {"d": delivery(one)}, {("m", "drift"): state}, {("m", "1", "r"): served}
    )
    assert len(batch) == 4
    for _ in range(2):  # a batch that is saved twice is there once
        store.save(batch)
    store.close()
    assert store.load(0.0) == Kept((one,), (), (), (delivery(one),), (state,), (served,))
    assert store.find("a") == one
    assert store.find("b") is None


def test_what_is_gone_is_gone(store, incident):
    one = incident()
    state = WatchState(model="m", cause="drift", kind="unknown", since=3.0)
    store.save(Batch({}, {"d": delivery(one), "e": delivery(one, "e")}, {("m", "drift"): state}))
    store.save(Batch({}, {"d": None}, {("m", "drift"): None}))
    kept = store.load(0.0)
    assert [each.id for each in kept.deliveries] == ["e"]
    assert kept.states == ()


def test_no_statement_grows_with_what_has_waited(store, incident):
    one, numbers = incident(), range(1201)
    batch = Batch(
        {str(n): incident(str(n), cause=f"c{n}") for n in numbers},
        {str(n): delivery(one, str(n)) for n in numbers},
        {
            ("m", f"c{n}"): WatchState(model="m", cause=f"c{n}", kind="unknown", since=3.0)
            for n in numbers
        },
    )
    store.save(batch)
    sizes = []

    def look(_connection, _cursor, _statement, parameters, _context, many):
        if not many:
            sizes.append(len(parameters))

    event.listen(store._database._engine, "before_cursor_execute", look)
    store.save(batch)
    assert 0 < max(sizes) < 1100
    kept = store.load(0.0)
    assert [len(each) for each in (kept.active, kept.deliveries, kept.states)] == [1201] * 3
    gone = Batch({}, dict.fromkeys(batch.deliveries), dict.fromkeys(batch.states))
    store.save(gone)
    kept = store.load(0.0)
    assert (kept.deliveries, kept.states) == ((), ())


def test_what_is_over_counts_for_its_rule_and_the_last_one_is_whole(store, incident):
    over = [
        incident(f"i{number}", state="false_alarm", closed_at=float(number))
        for number in range(1, 5)
    ]
    store.save(Batch({each.id: each for each in over}))
    kept = store.load(2.0)
    assert kept.active == ()
    assert kept.last == (over[-1],)
    assert [(each.id, each.state, each.closed_at) for each in kept.closed] == [
        ("i2", "false_alarm", 2.0), ("i3", "false_alarm", 3.0), ("i4", "false_alarm", 4.0),
    ]  # fmt: skip


def test_incidents_are_listed_newest_first(store, incident):
    many = [
        incident("a", state="resolved", closed_at=9.0, opened_at=1.0),
        incident("b", state="false_alarm", closed_at=9.0, opened_at=2.0, cause="x"),
        incident("c", state="resolved", closed_at=9.0, opened_at=3.0, model="other"),
        incident("d", opened_at=4.0),
    ]
    store.save(Batch({each.id: each for each in many}))
    over = ("resolved", "false_alarm")
    assert [each.id for each in store.closed(over, "", 10)] == ["c", "b", "a"]
    assert [each.id for each in store.closed(over, "m", 1)] == ["b"]
    assert [each.id for each in store.closed(("resolved",), "m", 9)] == ["a"]
    assert store.forget_closed(10.0) == 3
    assert store.closed(over, "", 10) == ()
    assert len(store.load(0.0).active) == 1


def test_there_is_one_active_incident_of_a_cause(store, incident):
    store.save(Batch({"a": incident("a")}))
    store.save(Batch({"b": incident("b")}))
    assert [each.id for each in store.load(0.0).active] == ["b"]
    # One that is over makes room within the batch that opens the next.
    over = replace(incident("b"), state="resolved", closed_at=20.0)
    store.save(Batch({"c": incident("c"), "b": over}))
    kept = store.load(0.0)
    assert [each.id for each in kept.active] == ["c"]
    assert [each.id for each in kept.last] == ["b"]


def test_instances_in_one_database_do_not_see_each_other(store, incident):
    other = IncidentStore(store._database, "worker-1")
    store.save(Batch({"a": incident("a")}))
    other.save(Batch({"b": incident("b")}))
    assert [each.id for each in store.load(0.0).active] == ["a"]
    assert [each.id for each in other.load(0.0).active] == ["b"]
    assert other.find("a") is None


def test_a_row_that_nobody_can_read_costs_the_others_nothing(store, incident, caplog):
    store.save(Batch({"a": incident("a"), "b": incident("b", cause="x")}))
    with store._database.write() as connection:
        connection.execute(update(INCIDENTS).where(INCIDENTS.c.id == "a").values(body="{"))
    assert [each.id for each in store.load(0.0).active] == ["b"]
    assert "is no Incident of this release" in caplog.text


def test_what_is_newer_counts_in_a_batch(incident):
    older = Batch({"a": incident("a", severity="info")}, {"d": delivery(incident())})
    newer = Batch({"a": incident("a", severity="page")}, {"d": None})
    both = older.under(newer)
    assert both.incidents["a"].severity == "page"
    assert both.deliveries == {"d": None}
    assert not Batch()
