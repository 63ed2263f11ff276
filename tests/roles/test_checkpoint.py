from pathlib import Path

import pytest

from serving.roles.checkpoint import Checkpoint


def test_round_trip(tmp_path: Path):
    checkpoint = Checkpoint(tmp_path / "new" / "state.json")
    assert checkpoint.load() is None
    checkpoint.save({"a": [1, None]})
    checkpoint.save({"a": [2, None]})
    assert checkpoint.load() == {"a": [2, None]}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["state.json"]


def test_only_the_owner_can_read_it(tmp_path: Path):
    Checkpoint(tmp_path / "state.json").save({})
    assert (tmp_path / "state.json").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff"])
def test_damage_is_as_if_there_were_none(tmp_path: Path, damage: bytes):
    (tmp_path / "state.json").write_bytes(damage)
    assert Checkpoint(tmp_path / "state.json").load() is None
