import json

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
