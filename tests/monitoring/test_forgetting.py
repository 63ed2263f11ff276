"""Requests are taken out of what a monitor has saved, of each model its own."""

import pytest

from serving.log.subject import Subject
from serving.monitoring.checkpoint import Checkpoint
from serving.monitoring.forgetting import EVERY, forget_requests, requests_of

ENTRIES = [
    ("m/1", [3, "subject-7", 0, 1, 2.5, ["x"], None]),
    ("m/1", [1, "other", 0, 1, 2.5, [], 1]),
    ("m/1", [2, "subject-7", 1, "yes", 3.5]),
    ("m/1", [4, [["subject-7", 0], ["more", 0]], 1, [1, 0], [[2.5, 2]], [[[], 2]]]),
    ("n/2", [1, "subject-7", 0, 1, 2.5, [], None]),
    ("m", [0, 1234, 5678]),
]


@pytest.fixture
def saved(tmp_path):
    """A folder with the state of a monitor."""
    checkpoint = Checkpoint(tmp_path, "monitor", lambda: iter(ENTRIES))
    checkpoint.prepare({"count": 3}, [])()
    checkpoint.close()
    return tmp_path


def loaded(folder):
    checkpoint = Checkpoint(folder, "monitor", lambda: iter(()))
    state, entries = checkpoint.load()
    checkpoint.close()
    return state, {owner: [list(entry) for entry in found] for owner, found in entries.items()}


def test_entries_of_requests_are_taken_out_of_the_files(saved):
    assert loaded(saved)[0] == {"count": 3}
    gone = requests_of(Subject("subject-7"), {})
    assert forget_requests(saved, gone, but=["monitor"]) == 0
    assert forget_requests(saved, gone) == 3
    nobody = {"values": [{}, {}], "rows": [[0, 1], [1, 1]]}
    left = [4, [["", -1], ["more", 0]], 1, [None, 0], [[2.5, 2]], nobody]
    assert loaded(saved) == ({"count": 3}, {"m/1": [ENTRIES[1][1], left], "m": [ENTRIES[5][1]]})
    assert forget_requests(saved, gone) == 0
    assert forget_requests(saved / "missing", gone) == 0


@pytest.mark.parametrize(
    ("subject", "found"),
    [(Subject("subject-7", model="m"), {}), (Subject("x", "principal"), {"m": {"subject-7"}})],
)
def test_a_request_of_the_same_id_of_another_model_stays(saved, subject, found):
    assert forget_requests(saved, requests_of(subject, found)) == 2
    assert loaded(saved)[1]["n/2"] == [ENTRIES[4][1]]


def test_whose_requests_are_meant():
    found = {"m": {"a"}, "n": {"b"}}

    def of(subject, mine=lambda _model: True):
        return [set(requests_of(subject, found, mine).of(model)) for model in "mnk"]

    assert of(Subject("x")) == [{"a", "x"}, {"b", "x"}, {"x"}]
    assert of(Subject("x", "principal")) == [{"a"}, {"b"}, set()]
    assert of(Subject("x", model="n")) == [set(), {"b", "x"}, set()]
    assert of(Subject("x"), lambda model: model == "k") == [set(), set(), {"x"}]


def test_of_models_of_other_monitors_all_requests_may_be_meant(saved):
    gone = requests_of(Subject("x", "principal"), {}, lambda model: model == "m", of_others=EVERY)
    assert gone.of("n")
    assert forget_requests(saved, gone) == 1
    assert set(loaded(saved)[1]) == {"m/1", "m"}
    gone = requests_of(Subject("x", "principal"), {}, lambda _model: False, of_others=EVERY)
    assert forget_requests(saved, gone) == 4  # keys
    nobody = {"values": [{}], "rows": [[0, 2]]}
    left = [[4, [["", -1], ["", -1]], 1, [None, None], [[2.5, 2]], nobody]]
    assert loaded(saved)[1] == {"m/1": left, "m": [ENTRIES[5][1]]}
    assert forget_requests(saved, gone) == 0


def test_a_text_too_short_to_be_looked_for_is_none():
    texts = [requests_of(Subject(text), {}).text for text in ("five5", "sixsix")]
    assert texts == [b"", b"sixsix"]
