import json
import math

import pytest

from monitors.performance import forgotten_keys
from monitors.performance.forgotten_keys import ForgottenKeys


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(forgotten_keys, "BLOCK", 8)


def keys(first, last):
    return [(f"r{number}", number % 2) for number in range(first, last)]


def test_tells_what_was_added_from_what_was_not():
    forgotten = ForgottenKeys()
    assert forgotten.among(keys(0, 3)) == set()
    for key in keys(0, 30):
        forgotten.add_all([key])
    assert forgotten.among(keys(20, 40)) == set(keys(20, 30))
    assert forgotten.among([("r0", 1), ("r1", 0), ("", 0), ("\ud800", 0)]) == set()
    assert forgotten.among([]) == set()


def test_the_oldest_go_first():
    forgotten = ForgottenKeys(most=24)
    for key in keys(0, 100):
        forgotten.add_all([key])
    assert len(forgotten) <= 24 + 8
    known = forgotten.among(keys(0, 100))
    assert known == set(keys(100 - len(forgotten), 100))


def test_changes_and_entries_bring_everything_back():
    forgotten = ForgottenKeys()
    changes = []
    for number, key in enumerate(keys(0, 30)):
        forgotten.add_all([key])
        if number % 7 == 0:
            changes += forgotten.changes()
    changes += forgotten.changes()
    assert forgotten.changes() == []
    for saved in (changes, list(forgotten.entries())):
        assert len({entry[0] for entry in saved}) == len(saved)
        other = ForgottenKeys()
        other.restore(sorted(json.loads(json.dumps(saved))))
        assert other.among(keys(0, 40)) == set(keys(0, 30))
        assert other.changes() == []


def test_many_at_once_are_as_one_after_the_other():
    one, many = ForgottenKeys(most=24), ForgottenKeys(most=24)
    added = [*keys(0, 30), *keys(20, 45), ("\ud800", 3), *keys(0, 3)]
    for key in added:
        one.add_all([key])
    many.add_all([])
    many.add_all(added[:1])
    many.add_all(added[1:])
    assert list(many.entries()) == list(one.entries())
    assert many.changes() == one.changes()
    assert many.among(added) == one.among(added)


def test_keys_with_a_label_are_told_from_others_and_saved():
    forgotten = ForgottenKeys()
    changes = []
    forgotten.add_all(keys(0, 20))
    for number in range(20, 40, 4):
        forgotten.add_labelled(keys(number, number + 4), float(number))
        changes += forgotten.changes()
    forgotten.add_labelled([], 99.0)
    assert forgotten.changes() == []
    for saved in (changes, list(forgotten.entries())):
        assert len({entry[0] for entry in saved}) == len(saved)
        other = ForgottenKeys()
        other.restore(sorted(json.loads(json.dumps(saved))))
        for one in (forgotten, other):
            assert one.labelled(keys(0, 50)) == set(keys(20, 40))
            assert one.among(keys(0, 50)) == set(keys(0, 40))
            assert one.horizon == -math.inf
        assert other.changes() == []


def test_the_horizon_is_the_time_of_what_had_a_label_and_went():
    forgotten = ForgottenKeys(most_labelled=16)
    for number in range(16):
        forgotten.add_labelled(keys(number, number + 1), 100.0 - number)
    assert forgotten.horizon == -math.inf
    forgotten.add_all(keys(100, 400))
    forgotten.add_labelled(keys(16, 24), 50.0)
    assert forgotten.labelled(keys(0, 8)) == set()
    assert forgotten.horizon == 100.0
    other = ForgottenKeys(most_labelled=16)
    other.restore(sorted(json.loads(json.dumps(list(forgotten.entries())))))
    assert other.horizon == 100.0
    assert other.labelled(keys(0, 30)) == set(keys(8, 24))
