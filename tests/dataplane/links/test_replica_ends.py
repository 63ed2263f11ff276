"""Who is told how a replica ended, and when nobody can be."""

from __future__ import annotations

import pytest

from serving.channel.messages.control import EndedMeta
from serving.dataplane.links import replica_ends
from serving.dataplane.links.replica_ends import ReplicaEnds

END = EndedMeta("r", "ended with exit code 3", by_itself=True)


async def test_the_word_may_come_before_or_after_the_question() -> None:
    ends, told = ReplicaEnds(), []
    ends.told = True
    ends.ask("r", told.append)
    ends.ask("r", told.append)
    assert told == []
    ends.note(END)
    ends.ask("r", told.append)
    assert told == [END] * 3


async def test_a_replacement_is_not_taken_for_its_predecessor() -> None:
    ends, told = ReplicaEnds(), []
    ends.told = True
    ends.note(END)
    ends.forget("r")
    ends.ask("r", told.append)
    assert told == []


async def test_nobody_waits_where_ends_are_not_told() -> None:
    told: list[EndedMeta | None] = []
    ReplicaEnds().ask("r", told.append)
    assert told == [None]


async def test_the_word_is_not_waited_for_forever(
    monkeypatch: pytest.MonkeyPatch, eventually: object
) -> None:
    monkeypatch.setattr(replica_ends, "WAIT_S", 0.01)
    ends, told = ReplicaEnds(), []
    ends.told = True
    ends.ask("r", told.append)
    await eventually(lambda: told == [None])  # type: ignore[operator]
    ends.note(END)
    assert told == [None]
