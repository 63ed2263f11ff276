import pytest

from serving.errors import VigilError
from serving.monitoring.checkpoint import Checkpoint
from serving.monitoring.forgetting import forget_requests, require_absent

ENTRIES = [
    ("m", [3, "subject-7", 0, 1, 2.5, ["x"], None]),
    ("m", [1, "other", 0, 1, 2.5, [], 1]),
    ("m", [2, "subject-7", 1, "yes", 3.5]),
    ("m", [4, [["subject-7", 0], ["more", 0]], 1, [1, 0], [[2.5, 2]], [[[], 2]]]),
    ("forgotten", [0, 1234, 5678]),
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
    assert forget_requests(saved, ["subject-7", "unknown"]) == 2
    left = [4, [["", -1], ["more", 0]], 1, [None, 0], [[2.5, 2]], [[[], 2]]]
    assert loaded(saved) == (
        {"count": 3}, {"m": [ENTRIES[1][1], left], "forgotten": [ENTRIES[4][1]]},
    )  # fmt: skip
    assert require_absent(saved, b"subject-7", but=saved / "log") == 2
    assert forget_requests(saved, ["subject-7"]) == 0
    assert forget_requests(saved / "missing", ["x"]) == 0


def test_files_that_still_hold_it_are_told(saved):
    (saved / "log").mkdir()
    (saved / "log" / "x").write_bytes(b"subject-7")
    with pytest.raises(VigilError, match=r"monitor\.1\.journal still holds it: start the instance"):
        require_absent(saved, b"subject-7", but=saved / "log")
    forget_requests(saved, ["subject-7"])
    assert require_absent(saved, b"subject-7", but=saved / "log") == 2
