from pathlib import Path

import pytest

from serving.monitoring.journal import Journal, read_journal, to_line
from serving.monitoring.state_file import UnreadableState

LINES = [
    to_line([("loans/1", [[1, "a", 0], [2, "b", 0]]), ("iris/1", [[1, "x", 0]])]),
    to_line([("loans/1", [[1], [3, "c", 0], [2, "B", 0]])]),
    to_line([("iris/1", None), ("iris/1", [[5, "y", 0]])]),
]


def written(path: Path, lines=LINES) -> Journal:
    journal = Journal(path)
    journal.write(lines)
    journal.close()
    return journal


def test_the_last_word_on_each_number_counts(tmp_path: Path):
    journal = written(tmp_path / "new" / "1.journal")
    assert read_journal(journal.path, journal.size) == {
        "loans/1": [[2, "B", 0], [3, "c", 0]],
        "iris/1": [[5, "y", 0]],
    }
    assert journal.path.stat().st_mode & 0o077 == 0


def test_what_follows_the_size_is_not_read_and_is_cut_off(tmp_path: Path):
    journal = written(tmp_path / "1.journal")
    size = len(LINES[0])
    assert read_journal(journal.path, size)["loans/1"] == [[1, "a", 0], [2, "b", 0]]
    again = Journal(journal.path, size)
    again.write(LINES[2:])
    again.close()
    assert journal.path.read_bytes() == LINES[0] + LINES[2]


@pytest.mark.parametrize("spoil", [
    lambda content: content[:-5],
    lambda content: content.replace(b'"a"', b'"z"'),
    lambda content: b"x" + content[1:],
    lambda content: b"\n" * len(content),
])  # fmt: skip
def test_damage_is_told(tmp_path: Path, spoil):
    journal = written(tmp_path / "1.journal")
    journal.path.write_bytes(spoil(journal.path.read_bytes()))
    with pytest.raises(UnreadableState, match="damaged"):
        read_journal(journal.path, journal.size)


def test_a_missing_file_is_told(tmp_path: Path):
    with pytest.raises(UnreadableState, match="No such file"):
        read_journal(tmp_path / "1.journal", 10)
