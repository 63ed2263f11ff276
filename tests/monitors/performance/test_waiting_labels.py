import json

from monitors.performance.label_kinds import ClassLabels
from monitors.performance.labels import LabelEvent
from monitors.performance.stored_rows import EntryNumbers
from monitors.performance.waiting_labels import WaitingLabels

A, B, C = ("a", 0), ("b", 0), ("c", 1)


def make(most=10, ttl_s=60.0):
    return WaitingLabels(EntryNumbers(), most, ttl_s)


def add(labels, key, truth, now=0.0, known_at=None, **sensitive):
    event = LabelEvent(*key, truth, sensitive, known_at)
    return labels.add(key, event, truth, now)


def restarted(entries):
    kept = {entry[0]: entry for entry in json.loads(json.dumps(entries))}
    made = make()
    made.restore([kept[n] for n in sorted(kept) if len(kept[n]) > 1], ClassLabels())
    return made


def test_one_that_is_there_or_out_of_date_is_not_new():
    labels = make()
    assert add(labels, A, 1, known_at=5.0)
    assert not add(labels, A, 1, known_at=6.0)
    assert not add(labels, A, 0, known_at=4.0)
    assert add(labels, A, 0, known_at=7.0)
    assert labels.take(A).truth == 0
    assert labels.take(A) is None
    assert len(labels) == 0


def test_sensitive_values_of_labels_of_one_row_add_up():
    labels = make()
    add(labels, A, 1, sex="f", age="old")
    add(labels, A, 1, sex="m")
    assert labels.take(A).sensitive == {"sex": "m", "age": "old"}


def test_the_oldest_go_when_there_are_too_many_or_too_old_ones():
    labels = make(most=2)
    for now, key in enumerate((A, B, C)):
        add(labels, key, 0, now=float(now))
    assert labels.expire(2.0) == 1
    assert labels.take(A) is None
    assert labels.expire(61.0) == 0
    assert labels.expire(61.5) == 1
    assert labels.take(C) is not None


def test_changes_and_entries_bring_them_back_in_their_order():
    labels = make()
    add(labels, A, 1, now=1.0, known_at=0.5, sex="f")
    add(labels, B, 0, now=2.0)
    changes = labels.changes()
    assert labels.changes() == []
    add(labels, C, 1, now=3.0)
    labels.take(B)
    changes += labels.changes()
    for saved in (changes, list(labels.entries())):
        other = restarted(saved)
        assert other.expire(61.5) == 1  # the oldest is still the first
        assert other.take(C).since == 3.0
        assert len(other) == 0
    assert restarted(changes).take(A).sensitive == {"sex": "f"}


def test_those_of_another_kind_are_left_out():
    made = make()
    made.restore([[1, "a", 0, 0.5, 1.0, None], [2, "b", 0, 1, 1.0, None]], ClassLabels())
    assert made.take(A) is None
    assert made.take(B).truth == 1


def test_requests_are_forgotten_up_to_a_number_and_what_is_cleared_is_gone():
    numbers = EntryNumbers()
    labels = WaitingLabels(numbers, 10, 60.0)
    add(labels, A, 0)
    upto = numbers.last
    add(labels, ("a", 1), 0)
    add(labels, B, 0)
    assert labels.forget_requests({"a", "x"}, upto) == 1
    assert labels.take(("a", 1)) is not None
    labels.changes()
    labels.clear()
    assert labels.changes() == [(3,)]
    assert list(labels.entries()) == []
