import json
from pathlib import Path

import pytest

from serving.monitoring.state_file import FORMAT, UnreadableState, read_state, write_state


def test_what_was_written_last_comes_back(tmp_path: Path):
    path = tmp_path / "new" / "state.json"
    assert read_state(path) is None
    write_state(path, b'{"a":[1,null]}')
    write_state(path, b'{"a":[2,null]}')
    assert json.loads(read_state(path)) == {"a": [2, None]}
    assert [each.name for each in path.parent.iterdir()] == ["state.json"]


def test_only_the_owner_can_read_it(tmp_path: Path):
    write_state(tmp_path / "state.json", b"{}")
    assert (tmp_path / "state.json").stat().st_mode & 0o077 == 0


def test_a_shorter_state_leaves_nothing_of_a_temporary_file_that_was_there(tmp_path: Path):
    (tmp_path / "state.new").write_bytes(b"x" * 1000)
    write_state(tmp_path / "state.json", b"{}")
    assert read_state(tmp_path / "state.json") == b"{}"


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"\xff", b'{"format": "2"}', b'{"format": 2}']
)
def test_what_is_damaged_is_not_taken_for_missing(tmp_path: Path, damage: bytes):
    (tmp_path / "state.json").write_bytes(damage)
    with pytest.raises(UnreadableState, match="damaged"):
        read_state(tmp_path / "state.json")


def test_one_changed_character_is_damage(tmp_path: Path):
    path = tmp_path / "state.json"
    write_state(path, b'{"rows":100}')
    path.write_bytes(path.read_bytes().replace(b"100", b"900"))
    with pytest.raises(UnreadableState, match="SHA-256"):
        read_state(path)


@pytest.mark.parametrize(("step", "whose"), [(1, "a newer"), (-1, "an older")])
def test_another_format_is_told_from_damage(tmp_path: Path, step: int, whose: str):
    path = tmp_path / "state.json"
    path.write_text(json.dumps({"format": FORMAT + step, "whatever": 1}))
    with pytest.raises(UnreadableState, match=f"format {FORMAT + step} is {whose} release's"):
        read_state(path)


def test_a_folder_in_its_place_is_unreadable(tmp_path: Path):
    (tmp_path / "state.json").mkdir()
    with pytest.raises(UnreadableState, match="directory"):
        read_state(tmp_path / "state.json")
