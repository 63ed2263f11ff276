import json
from dataclasses import replace

import numpy as np
import pytest

from monitors.performance.forgotten_keys import ForgottenKeys
from monitors.performance.label_join import TICK_S, LabelCounts, LabelJoin
from monitors.performance.label_kinds import ClassLabels, NumberLabels
from monitors.performance.labels import (
    CorrectedRow,
    JoinedRow,
    LabelEvent,
    LoggedPrediction,
    corrections,
)
from monitors.performance.prediction_entries import prediction_keys, sorted_out


@pytest.fixture
def predict(make_rows):
    def make(ids, classes, timestamp=0.0, sensitive=None):
        scores = np.eye(3)[classes]
        return make_rows(
            outputs={"y": scores}, ids=list(ids), timestamp=timestamp, groups=sensitive
        )

    return make


OWN = 13
"""Values of the entry of a row that has its own."""


def label(ident, y_true, index=0, **sensitive):
    return LabelEvent(ident, index, y_true, sensitive)


def test_joins_by_id_and_row(predict):
    join = LabelJoin(ClassLabels(["cat", "dog", "cow"]))
    assert join.add(predict("ab", [0, 2])) == []
    counts, rows, _ = join.add_labels([label("a", "dog"), label("b", 2)], now=1)
    assert counts == LabelCounts(accepted=2)
    assert rows == [JoinedRow(0, 1), JoinedRow(2, 2)]


def test_the_same_label_is_a_duplicate_and_another_replaces(predict):
    join = LabelJoin()
    join.add(predict("a", [0]))
    join.add_labels([label("a", 1)], now=1)
    assert join.add_labels([label("a", 1)], now=2) == (LabelCounts(duplicate=1), [], [])
    counts = LabelCounts(accepted=1, replaced=1)
    assert join.add_labels([label("a", 2)], now=3) == (counts, [], [CorrectedRow(0, 1, 2)])
    assert join.add_labels([label("a", 2)], now=4) == (LabelCounts(duplicate=1), [], [])


def test_a_label_waits_for_its_prediction(predict):
    join = LabelJoin()
    assert join.add_labels([label("a", 1)], now=0) == (LabelCounts(unknown=1), [], [])
    assert join.add_labels([label("a", 1)], now=1) == (LabelCounts(duplicate=1), [], [])
    assert join.add_labels([label("b", 1, index=7)], now=1)[0] == LabelCounts(unknown=1)
    assert join.add(predict("ab", [1, 1])) == [JoinedRow(1, 1)]
    assert join.add_labels([label("a", 1)], now=2)[0] == LabelCounts(duplicate=1)


def test_waiting_ends(predict):
    join = LabelJoin(pending_ttl=60)
    join.add_labels([label("a", 1)], now=0)
    join.expire(now=60)
    assert join.expired == 0
    join.expire(now=61)
    assert join.expired == 1
    assert join.add(predict("a", [1])) == []


def test_late_is_older_than_the_retention(predict):
    join = LabelJoin(retention=100)
    join.add(predict("a", [1], timestamp=0))
    assert join.add_labels([label("a", 1)], now=101) == (LabelCounts(late=1), [], [])
    assert join.add_labels([label("a", 1)], now=100)[0] == LabelCounts(accepted=1)


def test_the_newest_prediction_of_an_id_wins(predict):
    join = LabelJoin()
    join.add(predict("1", [0]))
    join.add(predict("1", [2]))
    assert join.ambiguous == 1
    assert join.add_labels([label("1", 2)], now=0)[1] == [JoinedRow(2, 2)]


def test_memory_is_bounded_oldest_first(predict):
    join = LabelJoin(max_rows=3)
    join.add(predict("abcde", [0] * 5))
    counts, _, _ = join.add_labels([label(ident, 0) for ident in "abcde"], now=0)
    assert counts == LabelCounts(accepted=3, late=2)
    counts, _, _ = join.add_labels([label(ident, 0) for ident in "vwxyz"], now=0)
    assert counts == LabelCounts(unknown=5)
    assert join.expired == 2
    assert kept(join) == (["c", "d", "e"], ["x", "y", "z"])


def test_memory_is_bounded_where_all_predictions_have_one_id(predict, monkeypatch):
    monkeypatch.setattr("monitors.performance.stored_predictions._SPARE", 10)
    join = LabelJoin(max_rows=10)
    for step in range(500):
        join.add(predict("xx", [0, 1], timestamp=float(step)))
    assert join.ambiguous == 999
    entries = list(join.entries())
    assert len(list(prediction_keys(entries))) <= 15
    assert join.add_labels([label("x", 1)], now=500)[1] == [JoinedRow(1, 1)]


def test_forgotten_is_late_and_never_seen_is_unknown(predict):
    forgotten = ForgottenKeys()
    join, successor = (LabelJoin(forgotten=forgotten) for _ in range(2))
    join.add(predict("ab", [0, 1]))
    join.add_labels([label("z", 1)], now=0)
    join.forget()
    assert kept(join) == ([], [])
    counts, _, _ = successor.add_labels([label("a", 0), label("a", 0, index=1)], now=0)
    assert counts == LabelCounts(late=1, unknown=1)
    successor.add(predict("a", [2]))
    assert successor.add_labels([label("a", 2)], now=0)[1] == [JoinedRow(2, 2)]


def test_requests_are_forgotten_and_others_stay(predict):
    join = LabelJoin()
    join.add(predict("abac", [0, 1, 2, 0]))
    join.add_labels([label("a", 1), label("z", 1), label("y", 1)], now=0)
    saved = {entry[0]: entry for entry in json.loads(json.dumps(join.changes()))}
    before = join.last_number
    join.add(predict("ad", [1, 1]))
    assert join.forget_requests({"z", "x", "c"}) == 2
    assert join.forget_requests({"a"}, upto=before) == 0  # it has come again since
    assert join.forget_requests({"a"}) == 1
    assert kept(join) == (["b", "d"], ["y"])
    for entry in json.loads(json.dumps(join.changes())):
        saved[entry[0]] = entry
    assert not any(f'"{ident}"' in json.dumps(saved) for ident in "acxz")
    restarted = LabelJoin()
    restarted.restore_entries([entry for entry in saved.values() if len(entry) > 1])
    assert kept(restarted) == (["b", "d"], ["y"])
    counts, rows, _ = join.add_labels([label(each, 1) for each in "abc"], now=0)
    assert (counts, rows) == (LabelCounts(accepted=1, late=2), [JoinedRow(1, 1)])


def test_sensitive_values_are_learned_only_where_the_request_had_none(predict):
    join = LabelJoin()
    join.add(predict("ab", [0, 0], sensitive={"sex": ["f", None]}))
    pushed = [label("a", 0, sex="m", age="old"), label("b", 0, sex="m")]
    _, rows, _ = join.add_labels(pushed, now=0)
    assert [row.sensitive_features for row in rows] == [{"age": "old"}, {"sex": "m"}]


def saved(entries):
    """What a journal makes of entries: the last one of each number."""
    last = {}
    for entry in json.loads(json.dumps(list(entries), allow_nan=False)):
        last[entry[0]] = entry
    return [entry for entry in last.values() if len(entry) > 1]


def kept(join):
    """Ids of the predictions that a join has, and of the labels that wait."""
    entries = list(join.entries())
    rows = [ident for ident, index in prediction_keys(entries) if join.knows(ident, index)]
    return list(dict.fromkeys(rows)), [entry[1] for entry in sorted_out(entries).waiting]


def test_what_a_correction_brings_is_no_part_of_the_label_before(predict):
    join = LabelJoin()
    join.add(predict("a", [0]))
    first = label("a", 1, age="old")
    (row,) = join.add_labels([first], now=1.0).rows
    (corrected,) = join.add_labels([label("a", 1, sex="m")], now=2.0).corrected
    assert (corrected.forgotten, corrected.learned) == ({"age": "old"}, {"age": "old", "sex": "m"})
    assert first.sensitive_features == row.sensitive_features == {"age": "old"}
    assert not join.add_labels([label("a", 1, sex="m", age="old")], now=3.0).corrected


def test_entries_survive_json_with_the_sensitive_values(predict):
    join = LabelJoin()
    join.add(predict("ab", [0, 1], sensitive={"sex": ["Smurf", None]}))
    join.add_labels([label("a", 0), label("z", 2, sex="Smurf")], now=5)
    raw = json.dumps([join.state(), list(join.entries())], allow_nan=False)
    other = LabelJoin()
    state, entries = json.loads(raw)
    other.restore(state)
    other.restore_entries(entries)
    assert saved(other.entries()) == saved(join.entries())
    assert other.add_labels([label("a", 0), label("b", 0)], now=6) == (
        LabelCounts(accepted=1, duplicate=1),
        [JoinedRow(1, 0)],
        [],
    )
    (waited,) = other.add(predict("z", [2]))
    assert waited == JoinedRow(2, 2, {"sex": "Smurf"})
    (corrected,) = other.add_labels([label("a", 1)], now=7).corrected
    assert (corrected.groups, corrected.scores) == ({"sex": "Smurf"}, None)


def test_changes_add_up_to_all_entries(predict):
    join = LabelJoin(max_rows=40)
    changes = []
    random = np.random.default_rng(0)
    for step in range(50):
        idents = [str(number) for number in random.integers(0, 90, 7)]
        join.add(predict(idents, random.integers(0, 3, 7)))
        join.add_labels([label(str(n), 1) for n in random.integers(0, 120, 5)], now=step)
        if step % 3 == 0:
            changes += join.changes()
    changes += join.changes()
    assert join.changes() == []
    copied = saved(join.entries())
    for entries in (saved(changes), copied):
        other = LabelJoin(max_rows=40)
        other.restore(join.state())
        other.restore_entries(entries)
        assert kept(other) == kept(join)
        again = LabelJoin(max_rows=40)
        again.restore(join.state())
        again.restore_entries(copied)
        for step in range(50, 100):  # they go on alike
            told = [
                (one.add(predict([str(step), "7"], [step % 3, 1])),
                 one.add_labels([label(str(n), step % 3) for n in range(step, 120, 7)], now=step),
                 one.state())
                for one in (other, again)
            ]  # fmt: skip
            assert told[0] == told[1]
        assert kept(other) == kept(again)


@pytest.mark.parametrize("truth", ["horse", 0.5, [1.0], float("nan"), float("inf")])
def test_labels_that_name_no_class_change_nothing(predict, truth):
    join = LabelJoin(ClassLabels(["cat", "dog", "cow"]))
    join.add(predict("a", [0]))
    with pytest.raises(ValueError, match="y_true of 'b', row 0 must be"):
        join.add_labels([label("a", 0), label("b", truth)], now=0)
    assert join.add_labels([label("a", 0)], now=0)[0] == LabelCounts(accepted=1)


def test_events_without_rows_are_nothing(make_rows):
    assert LabelJoin().add(make_rows(ids=[])) == []


def test_joins_alike_however_rows_are_split_into_events(make_rows):
    rng = np.random.default_rng(5)
    ids = [f"r{number}" for number in rng.integers(30, size=200)]
    scores = rng.random((200, 2))
    groups = np.array(["a", None], dtype=np.object_)[rng.integers(2, size=200)]

    def fed(size):
        join = LabelJoin()
        early = [label(f"r{number}", number % 2, group="a") for number in range(5)]
        join.add_labels(early, 0.0)
        joined = []
        for start in range(0, 200, size):
            part = slice(start, start + size)
            event = make_rows(
                ids=ids[part],
                outputs={"y": scores[part]},
                groups={"group": groups[part]},
            )
            joined += join.add(event)
        return joined, join.state(), join.changes(), list(join.entries())

    assert fed(1) == fed(64) == fed(200)
    assert len(fed(1)[0]) == 5


def test_a_correction_says_what_it_replaces_and_where_that_was_counted(predict):
    join = LabelJoin()
    join.add(predict("abc", [0, 1, 2]))
    joined = join.add_labels([label("c", 0), label("a", 1, sex="f"), label("b", 1)], now=9).rows
    assert [(row.position, row.delay_s) for row in joined] == [(0, 9), (1, 9), (2, 9)]
    pushed = [
        label("a", 2, sex="m", age="old"),
        label("a", 2, sex="m"),
        label("a", 0),
        label("b", 2),
    ]
    counts, rows, corrected = join.add_labels(pushed, now=10)
    assert counts == LabelCounts(accepted=3, duplicate=1, replaced=3)
    assert rows == []
    assert corrected == [
        CorrectedRow(0, 1, 2, {"sex": "f"}, {"sex": "m", "age": "old"}),
        CorrectedRow(0, 2, 0, {"sex": "m", "age": "old"}, {"sex": "m", "age": "old"}),
        CorrectedRow(1, 1, 2),
    ]
    assert [row.position for row in corrected] == [1, 1, 2]


def test_a_label_that_became_known_earlier_replaces_none(predict):
    join = LabelJoin()
    join.add(predict("a", [0]))
    first, second, third = (LabelEvent("a", 0, at, {}, float(at)) for at in (0, 1, 2))
    assert join.add_labels([second], now=9).counts == LabelCounts(accepted=1)
    assert join.add_labels([first], now=9).counts == LabelCounts(duplicate=1)
    again = LabelJoin()
    again.restore_entries(json.loads(json.dumps(list(join.entries()))))
    for one in (join, again):
        assert one.add_labels([first], now=9).counts == LabelCounts(duplicate=1)
        assert one.add_labels([third], now=9).corrected == [CorrectedRow(0, 1, 2)]
    # The same while they wait.
    join.add_labels([LabelEvent("b", 0, 1, {}, 5.0), LabelEvent("b", 0, 2, {}, 4.0)], now=9)
    assert join.add(predict("b", [1])) == [JoinedRow(1, 1)]


def test_a_duplicate_that_became_known_later_is_remembered(predict):
    join = LabelJoin()
    join.add(predict("a", [0]))
    join.add_labels([LabelEvent("a", 0, 1, {}, 1.0)], now=9)
    join.changes()
    join.add_labels([LabelEvent("a", 0, 1, {}, 5.0)], now=9)
    (entry,) = join.changes()
    again = LabelJoin()
    again.restore_entries([entry])
    for one in (join, again):
        assert one.add_labels([LabelEvent("a", 0, 2, {}, 3.0)], now=9).corrected == []


def test_sensitive_values_of_labels_that_wait_add_up(predict):
    join = LabelJoin()
    join.add_labels([label("a", 0, sex="f", age="old"), label("a", 1, sex="m")], now=0)
    assert join.add(predict("a", [0])) == [JoinedRow(0, 1, {"sex": "m", "age": "old"})]


def test_a_value_is_corrected_after_a_restart_as_before(predict):
    join = LabelJoin()
    join.add(predict("a", [0]))
    join.add_labels([label("a", 1, sex="f")], now=0)
    again = LabelJoin()
    again.restore_entries(json.loads(json.dumps(list(join.entries()))))
    (corrected,) = again.add_labels([label("a", 1, sex="m")], now=1).corrected
    assert (corrected.forgotten, corrected.learned) == ({"sex": "f"}, {"sex": "m"})


def test_of_a_value_that_was_not_saved_nothing_is_corrected(predict):
    join = LabelJoin()
    join.add(predict("a", [0]))
    join.add_labels([label("a", 1, sex="f")], now=0)
    # As releases saved them that saved no values.
    entries = [list(entry) for entry in join.entries()]
    (own,) = (entry for entry in entries if len(entry) == OWN)
    own[9] = list(own[9])
    again = LabelJoin()
    again.restore_entries([entry if entry is not own else own[:-1] for entry in entries])
    assert again.add_labels([label("a", 1, sex="m")], now=1).counts == LabelCounts(duplicate=1)
    (corrected,) = again.add_labels([label("a", 1, age="old")], now=1).corrected
    assert (corrected.forgotten, corrected.learned) == ({}, {"age": "old"})


def test_corrections_are_one_batch_for_the_monitors():
    made = corrections(
        [
            CorrectedRow(1, 0, 2, {"sex": "f"}, {"sex": "m", "age": "old"}, position=4),
            CorrectedRow(0, 1, 0, position=2),
        ],
        timestamp=5.0,
    )
    assert (made.rows.timestamp, made.rows.positions.tolist()) == (5.0, [4, 2])
    assert (made.labels.tolist(), made.rows.labels.tolist()) == ([0, 1], [2, 0])
    new = {name: values.tolist() for name, values in made.rows.groups.items()}
    assert new == {"sex": ["m", None], "age": ["old", None]}
    old = {name: values.tolist() for name, values in made.groups.items()}
    assert old == {"sex": ["f", None], "age": [None, None]}


def test_what_was_saved_of_another_kind_is_left_out(predict):
    classes = LabelJoin()
    classes.add(predict("ab", [0, 1]))
    classes.add_labels([label("a", 1), label("z", 1)], now=0)
    numbers = LabelJoin(NumberLabels())
    numbers.restore_entries(classes.entries())
    assert kept(numbers) == ([], [])
    assert numbers.add_labels([label("a", 1.0)], now=1)[0] == LabelCounts(unknown=1)


def test_labels_tell_whose_they_are_and_a_correction_comes_later_than_what_it_replaces(predict):
    join = LabelJoin()
    join.add_labels([label("c", 1)], now=5)
    assert [(row.key, row.came) for row in join.add(predict("abc", [0, 1, 2]))] == [(("c", 0), 5)]
    _, rows, moved = join.add_labels([label("a", 1), label("b", 1), label("a", 2)], now=9)
    assert [(row.key, row.came) for row in rows] == [(("a", 0), 9), (("b", 0), 9)]
    assert [(row.key, row.came) for row in moved] == [(("a", 0), 9 + TICK_S)]
    successor = LabelJoin()
    successor.restore_entries(join.entries())
    for one in (join, successor):
        moved = one.add_labels([label("a", 0), label("b", 0), label("a", 3)], now=8).corrected
        assert [row.key for row in moved] == [("a", 0), ("b", 0), ("a", 0)]
        assert [row.came for row in moved] == pytest.approx(
            [9 + 4e-6, 9 + 2e-6, 9 + 6e-6], abs=1e-9
        )


# -- what is recalled -----------------------------------------------------------------------


def logged(idents, predicted=0, timestamp=10.0, known=()):
    return [LoggedPrediction((ident, 0), timestamp, predicted, known) for ident in idents]


def test_a_forgotten_prediction_is_recalled_and_joins_once(predict):
    join = LabelJoin(max_rows=2)
    join.add(predict("abcd", [0, 1, 2, 0], timestamp=10.0))
    assert join.missing([("a", 0), ("d", 0), ("z", 0)], now=20) == [("a", 0), ("z", 0)]
    assert join.recall(logged("a", 1), now=20) == {("a", 0)}
    counts, rows, _ = join.add_labels([label("a", 1), label("b", 1)], now=20)
    assert counts == LabelCounts(accepted=1, late=1)
    assert rows == [JoinedRow(1, 1)]
    assert [row.delay_s for row in rows] == [10.0]
    # It is forgotten first, and has had its label.
    assert kept(join)[0] == ["c", "d"]
    assert join.recall(logged("a", 1), now=21) == set()
    assert join.add_labels([label("a", 1)], now=21)[0] == LabelCounts(late=1)
    assert join.labelled == 1


def test_what_is_here_or_had_its_label_here_is_not_recalled(predict):
    join = LabelJoin(max_rows=3)
    join.add(predict("abc", [0, 0, 0], timestamp=10.0))
    join.add_labels([label("a", 1), label("b", 1)], now=11)
    join.add(predict("d", [0], timestamp=12.0))
    assert join.recall(logged("abcd"), now=13) == set()
    assert join.add_labels([label("a", 1), label("b", 1)], now=13)[0] == LabelCounts(
        late=1, duplicate=1
    )


@pytest.mark.parametrize("predicted", [0.5, [0.5, 0.5], [[1]], "cat"])
def test_what_is_of_another_kind_is_not_recalled(predict, predicted):
    join = LabelJoin(max_rows=1)
    join.add(predict("ab", [0, 0], timestamp=10.0))
    assert join.recall(logged("a", predicted), now=11) == set()


def test_rows_that_differ_in_length_are_not_recalled(make_rows):
    join = LabelJoin(NumberLabels(2), max_rows=1)
    join.add(replace(make_rows(ids=["a", "b"], timestamp=10.0), predicted=np.ones((2, 2))))
    rows = [LoggedPrediction(("a", 0), 10.0, [1.0]), LoggedPrediction(("c", 0), 10.0, [1.0, 2.0])]
    assert join.recall(rows, now=11) == set()
    assert join.recall(rows[1:], now=11) == {("c", 0)}


def test_numbers_are_recalled_as_they_are_stored(make_rows):
    join = LabelJoin(NumberLabels(), max_rows=1)
    join.add(replace(make_rows(ids=["a", "b"], timestamp=10.0), predicted=np.ones(2)))
    assert join.recall(logged("a", float("nan")), now=11) == {("a", 0)}
    assert join.add_labels([label("a", 2.0)], now=11)[1] == [JoinedRow(None, 2.0)]


def test_what_was_made_before_the_join_began_is_not_recalled(predict):
    join = LabelJoin()
    assert join.recall(logged("a"), now=11) == set()
    join.add(predict("b", [0], timestamp=100.0))
    assert join.recall(logged("a", timestamp=98.0), now=101) == set()
    # The rows of one message have the time of the last of them.
    assert join.recall(logged("a", timestamp=99.5), now=101) == {("a", 0)}


def test_what_may_have_had_a_label_that_nobody_remembers_is_not_recalled(predict, monkeypatch):
    monkeypatch.setattr("monitors.performance.forgotten_keys.BLOCK", 2)
    join = LabelJoin(max_rows=1, forgotten=ForgottenKeys(most_labelled=2))
    for at, ident in enumerate("abcdefgh"):
        join.add(predict(ident, [0], timestamp=10.0 + at))
        if ident != "g":
            join.add_labels([label(ident, 0)], now=20)
    assert join.recall(logged("a", timestamp=10.0), now=20) == set()
    assert join.recall(logged("g", timestamp=16.0), now=20) == {("g", 0)}


def test_a_recalled_prediction_takes_labels_however_old_it_is(predict):
    join = LabelJoin(retention=100)
    join.add(predict("ab", [0, 0], timestamp=10.0))
    assert join.missing([("a", 0)], now=110) == []
    assert join.missing([("a", 0)], now=111) == [("a", 0)]
    assert join.recall(logged("a"), now=111) == {("a", 0)}
    assert join.missing([("a", 0)], now=111) == []
    counts = join.add_labels([label("a", 0), label("b", 0)], now=111)[0]
    assert counts == LabelCounts(accepted=1, late=1)


def test_names_that_came_with_the_request_are_recalled(predict):
    join = LabelJoin(max_rows=1)
    join.add(predict("ab", [0, 0], timestamp=10.0))
    join.recall(logged("a", known=["sex"]), now=11)
    (row,) = join.add_labels([label("a", 0, sex="F", age="old")], now=11)[1]
    assert row.sensitive_features == {"age": "old"}


def test_a_label_that_waited_does_not_expire_when_another_meets_the_recalled_row(predict):
    join = LabelJoin(max_rows=2, pending_ttl=60)
    join.add(predict("bc", [0, 0], timestamp=10.0))
    join.add_labels([label("a", 0)], now=11)
    join.recall(logged("a"), now=12)
    assert join.add_labels([label("a", 0)], now=12)[0] == LabelCounts(accepted=1)
    join.expire(now=1000)
    assert join.expired == 0


@pytest.mark.parametrize("whole", [True, False])
def test_recalled_rows_are_forgotten_first_also_after_a_restart(predict, whole):
    join, other = LabelJoin(max_rows=4), LabelJoin(max_rows=4)
    entries = {}

    def save():
        for number, *rest in join.changes():
            entries.pop(number, None)
            if rest:
                entries[number] = [number, *rest]

    join.add(predict("abcdef", [0] * 6, timestamp=10.0))
    join.add_labels([label("f", 0)], now=11)
    save()
    join.recall(logged("ab"), now=12)
    save()
    saved = list(join.entries()) if whole else list(entries.values())
    other.restore(json.loads(json.dumps(join.state())))
    other.restore_entries(json.loads(json.dumps(saved)))
    for one in (join, other):
        assert one.recall(logged("x"), now=12) == {("x", 0)}
        numbers = [entry[0] for entry in one.entries()]
        assert len(set(numbers)) == len(numbers)
        assert sorted(kept(one)[0]) == ["a", "b", "c", "d", "e", "f", "x"]
        one.add(predict("g", [0], timestamp=12.0))
        assert kept(one)[0] == ["d", "e", "f", "g"]
        assert one.recall(logged("c"), now=13) == {("c", 0)}


def test_a_state_from_before_there_was_recalling_recalls_nothing_of_that_time(predict):
    join = LabelJoin(max_rows=1)
    join.restore({"expired": 0, "ambiguous": 0, "labelled": 3})
    assert join.recall(logged("a"), now=11) == set()
