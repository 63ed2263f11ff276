import json
import random
from collections import OrderedDict

import numpy as np
import pytest

from monitors.performance.prediction_entries import sorted_out, without
from monitors.performance.stored_predictions import StoredPredictions
from monitors.performance.stored_rows import EntryNumbers, KnownLabel

NOTHING: dict[str, str] = {}
SEX = {"sex": "F"}


def holds(value):
    return value is None or isinstance(value, int)


class Model:
    """The same in the plainest way: predictions in a dictionary, the oldest first."""

    def __init__(self):
        self.rows = OrderedDict()

    def add(self, keys, predicted, timestamp, groups, scores):
        replaced = 0
        told = scores.tolist() if scores is not None else [None] * len(keys)
        for key, value, names, score in zip(keys, predicted, groups, told, strict=True):
            replaced += self.rows.pop(key, None) is not None
            self.rows[key] = [value, timestamp, names, None, score]
        return replaced

    def label(self, key, truth):
        self.rows[key][3] = truth

    def recall(self, key, predicted, timestamp, groups, scores=None):
        self.rows.pop(key, None)
        self.rows[key] = [predicted, timestamp, groups, None, scores]
        self.rows.move_to_end(key, last=False)

    def forget(self, count):
        gone = [self.rows.popitem(last=False) for _ in range(min(count, len(self.rows)))]
        plain = [key for key, row in gone if row[3] is None]
        times = [row[1] for _, row in gone if row[3] is not None]
        return plain, [key for key, row in gone if row[3] is not None], max(times, default=None)

    def forget_request(self, ident):
        gone = sorted(key for key in self.rows if key[0] == ident)
        for key in gone:
            del self.rows[key]
        return gone


class Kept:
    """What is saved of them, as a journal keeps it."""

    def __init__(self):
        self.numbers = EntryNumbers()
        self.stored = StoredPredictions(self.numbers)
        self.saved = {}

    def save(self):
        for entry in json.loads(json.dumps(self.stored.changes())):
            if len(entry) == 1:
                self.saved.pop(entry[0], None)
            else:
                self.saved[entry[0]] = entry

    def restart(self, whole):
        if whole:  # as a shorter journal has it
            self.saved = {e[0]: e for e in json.loads(json.dumps(list(self.stored.entries())))}
        saved = sorted_out(self.saved.values())
        self.numbers = EntryNumbers()
        self.numbers.last = saved.last
        self.stored = StoredPredictions(self.numbers)
        self.stored.restore(saved, holds)


def told(stored, keys):
    rows = {key: stored.get(key) for key in keys}
    return {
        key: [
            row.predicted,
            row.timestamp,
            row.groups,
            row.label and row.label.truth,
            row.scores,
        ]
        for key, row in rows.items()
        if row is not None
    }


@pytest.mark.parametrize("seed", range(40))
def test_it_does_what_a_dictionary_does_also_over_restarts(seed, monkeypatch):
    monkeypatch.setattr("monitors.performance.stored_predictions._SPARE", 5)
    chance = random.Random(seed)
    model, kept = Model(), Kept()
    keys = [(ident, index) for ident in "abcdefgh" for index in (0, 1)]
    for step in range(300):
        match chance.choice(
            ["add", "add", "label", "label", "recall", "forget", "save", "restart"]
        ):
            case "add":
                some = chance.choices(keys, k=chance.randint(1, 5))
                predicted = [chance.choice([None, 0, 1]) for _ in some]
                groups = [chance.choice([NOTHING, SEX]) for _ in some]
                scores = np.arange(2.0 * len(some)).reshape(-1, 2) + step
                given = predicted, step, groups, chance.choice([scores, None])
                same = kept.stored.add(some, *given[:3], scores=given[3])
                assert same == model.add(some, *given)
            case "label" if model.rows:
                key = chance.choice(list(model.rows))
                row = kept.stored.get(key)
                row.label = KnownLabel(step, 0, {}, None)
                kept.stored.touch(row)
                model.label(key, step)
            case "recall":
                scores = chance.choice([None, [0.5, 0.5]])
                of = (chance.choice(keys), 1, step - 100, {"age": "old"}, scores)
                kept.stored.recall(*of)
                model.recall(*of)
            case "forget":
                count = chance.randint(1, 6)
                plain, labelled, latest = kept.stored.forget(count)
                expected = model.forget(count)
                assert (plain, labelled) == expected[:2]
                assert latest == (expected[2] if expected[2] is not None else float("-inf"))
            case "request":
                ident, upto = chance.choice("abcdefgh"), kept.numbers.last + 1
                gone = kept.stored.forget_requests([ident], upto)
                assert sorted([*gone.plain, *gone.labelled]) == model.forget_request(ident)
            case "save":
                kept.save()
            case "restart":
                kept.save()
                kept.restart(chance.random() < 0.5)
        assert told(kept.stored, keys) == model.rows
        assert len(kept.stored) == len(model.rows)


def test_what_is_gone_leaves_no_entry():
    kept = Kept()
    for step in range(50):
        kept.stored.add([(str(step), at) for at in range(1000)], [0] * 1000, step)
        kept.save()
        kept.stored.forget(len(kept.stored) - 3000)
    kept.save()
    assert len(kept.saved) == 1 + 3  # what is kept, and three spans
    assert sum(len(entry[1]) for number, entry in kept.saved.items() if number) == 3000


def test_what_comes_and_goes_between_two_saves_is_never_saved():
    kept = Kept()
    kept.stored.add([("a", 0), ("b", 0)], [0, 1], 1.0)
    kept.stored.forget(2)
    kept.save()
    assert list(kept.saved) == [0]


def test_rows_of_another_kind_are_left_out():
    kept = Kept()
    kept.stored.add([("a", 0), ("b", 0), ("c", 0)], [0, 0.5, 1], 1.0)
    kept.save()
    kept.restart(whole=False)
    assert list(told(kept.stored, [("a", 0), ("b", 0), ("c", 0)])) == [("a", 0), ("c", 0)]
    assert kept.stored.forget(9).plain == [("a", 0), ("c", 0)]


def test_what_an_earlier_release_has_saved_is_read_and_saved_as_now():
    earlier = [
        [-1, "old", 0, 1, 5.0, ["sex"], None],
        [3, "a", 0, 0, 10.0, [], None],
        [4, "b", 1, 2, 10.0, ["sex"], 1, 7, ["age"], 11.0],
        [5, "c", 0, None, 11.0, [], 0],
        [6, "d", 0, 0.5, 11.0, [], None],
    ]
    kept = Kept()
    kept.saved = {entry[0]: entry for entry in earlier}
    kept.restart(whole=False)
    keys = [("old", 0), ("a", 0), ("b", 1), ("c", 0), ("d", 0)]
    before = told(kept.stored, keys)
    assert before == {
        ("old", 0): [1, 5.0, {"sex": None}, None, None],
        ("a", 0): [0, 10.0, NOTHING, None, None],
        ("b", 1): [2, 10.0, {"sex": None}, 1, None],
        ("c", 0): [None, 11.0, NOTHING, 0, None],
    }
    assert kept.stored.get(("b", 1)).label == KnownLabel(1, 7, {"age": None}, 11.0)
    kept.save()
    assert not {entry[0] for entry in earlier} & set(kept.saved)
    kept.restart(whole=False)
    assert told(kept.stored, keys) == before
    assert kept.stored.forget(1).plain == [("old", 0)]


@pytest.mark.parametrize("labelled", [False, True])
def test_a_request_is_taken_out_of_what_is_saved(labelled):
    kept = Kept()
    keys = [("a", 0), ("b", 0), ("b", 1), ("c", 0)]
    kept.stored.add(keys, [0, 1, 1, 0], 1.0)
    if labelled:
        row = kept.stored.get(("b", 1))
        row.label = KnownLabel(1, 0, {}, None)
        kept.stored.touch(row)
    kept.save()
    left, count = without(kept.saved.values(), {"b"})
    assert count == 2
    kept.saved = {entry[0]: entry for entry in left}
    assert "'b'" not in str(kept.saved)
    kept.restart(whole=False)
    assert list(told(kept.stored, keys)) == [("a", 0), ("c", 0)]
    assert kept.stored.forget(9).plain == [("a", 0), ("c", 0)]
    kept.save()
    assert set(kept.saved) == {0}


def test_requests_that_came_after_a_number_stay():
    kept = Kept()
    kept.stored.add([("a", 0), ("b", 0)], [0, 0], 1.0)
    kept.save()
    upto = kept.numbers.last
    kept.stored.add([("a", 1), ("c", 0)], [0, 0], 2.0)
    kept.stored.recall(("a", 7), 0, 0.5, NOTHING)
    assert kept.stored.forget_requests(["a"], upto).plain == [("a", 7), ("a", 0)]
    kept.save()
    kept.restart(whole=False)
    keys = [("a", 0), ("b", 0), ("a", 1), ("c", 0), ("a", 7)]
    assert list(told(kept.stored, keys)) == keys[1:4]
    assert kept.stored.forget_requests(["a"]).plain == [("a", 1)]
    kept.save()
    assert "'a'" not in str(kept.saved)


def test_a_request_that_another_has_replaced_leaves_nothing_either():
    kept = Kept()
    kept.stored.add([("a", 0), ("b", 0)], [0, 0], 1.0)
    kept.stored.add([("a", 0)], [1], 2.0)
    kept.save()
    assert kept.stored.forget_requests(["a"]).plain == [("a", 0)]
    kept.save()
    assert "'a'" not in str(kept.saved)


@pytest.mark.parametrize("labelled", [False, True])
def test_ids_that_are_used_again_and_again_take_no_room(monkeypatch, labelled):
    monkeypatch.setattr("monitors.performance.stored_predictions._SPARE", 50)
    kept = Kept()
    kept.stored.add([("long ago", 0)], [1], 0.0)
    for step in range(2000):
        kept.stored.add([("x", 0), ("y", step % 3)], [0, 1], step)
        if labelled:
            row = kept.stored.get(("x", 0))
            row.label = KnownLabel(step, 0, {}, None)
            kept.stored.touch(row)
        kept.stored.forget(len(kept.stored) - 100)
        kept.save()
        places = sum(len(entry[1]) for entry in kept.saved.values() if isinstance(entry[1], list))
        assert places <= 60
        assert len(kept.saved) <= 120
    keys = [("long ago", 0), ("x", 0), ("y", 0), ("y", 1), ("y", 2)]
    before = told(kept.stored, keys)
    assert list(before) == keys
    kept.restart(whole=False)
    assert told(kept.stored, keys) == before
    gone = kept.stored.forget(9)
    assert [*gone.plain, *gone.labelled][0] == ("long ago", 0)


WRONG = [{"predicted": [0]}, {"groups": [NOTHING] * 3}, {"scores": np.ones((3, 2))}]


@pytest.mark.parametrize("wrong", WRONG)
def test_columns_that_differ_in_length_change_nothing(wrong):
    kept = Kept()
    kept.stored.add([("a", 0)], [1], 1.0)
    given = {"predicted": [0, 0], "timestamp": 2.0} | wrong
    with pytest.raises(ValueError, match="differ in length"):
        kept.stored.add([("b", 0), ("c", 0)], **given)
    assert kept.stored.add([("d", 0)], [5], 3.0) == 0
    assert told(kept.stored, [("a", 0), ("b", 0), ("d", 0)]) == {
        ("a", 0): [1, 1.0, NOTHING, None, None], ("d", 0): [5, 3.0, NOTHING, None, None],
    }  # fmt: skip
