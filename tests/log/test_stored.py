"""Which requests a log has already."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from serving.dataplane.hooks.record_ids import new_record_id
from serving.log.stored import Key, stored_requests

LONG_AGO = 0.0


@pytest.mark.parametrize("rolled", [False, True])
def test_requests_in_streams_and_in_parts_are_found(log: Any, rows: Any, rolled: bool) -> None:
    given = [rows(2, 1), rows(3), rows(1, model="other")]
    writer = log.writer()
    for each in given:
        writer.offer(each)
    if rolled:
        writer.close()
        assert len(log.parts()) == 2
    else:
        assert writer.flush(30)
    wanted = [key for each in given for key in each.request_keys()]
    assert len(wanted) == 4

    def found(models: set[str], keys: list[Key]) -> set[Key]:
        return stored_requests(log.store, log.spool, models, keys, LONG_AGO)

    assert found({"m", "other"}, wanted) == set(wanted)
    assert found({"m"}, wanted) == set(wanted[:3])
    # A row within a request is no request, nor is what was never written.
    never = [(wanted[0][0], 1), (new_record_id(), 0)]
    assert found({"m", "other"}, [*never, wanted[1]]) == {wanted[1]}
    assert found({"m"}, []) == found(set(), wanted) == set()


def test_parts_that_were_begun_too_early_are_left_out(log: Any, rows: Any) -> None:
    given = rows(1)
    writer = log.writer()
    writer.offer(given)
    writer.close()
    keys, now = given.request_keys(), time.time()
    for begun, expected in ((now - 60, set(keys)), (now + 60, set())):
        assert stored_requests(log.store, log.spool, {"m"}, keys, begun) == expected


def test_a_stream_that_becomes_a_part_meanwhile_is_found(
    log: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = rows(1)
    writer = log.writer()
    writer.offer(given)
    assert writer.flush(30)

    def gone(_path: object) -> Any:
        writer.close()
        raise FileNotFoundError

    monkeypatch.setattr("serving.log.stored.read_stream", gone)
    keys = given.request_keys()
    assert stored_requests(log.store, log.spool, {"m"}, keys, LONG_AGO) == set(keys)


def test_what_others_have_put_there_is_looked_at(log: Any, rows: Any) -> None:
    given = rows(1)
    writer = log.writer()
    writer.offer(given)
    writer.close()
    (part,) = log.parts()
    part.rename(part.with_name("part-compacted.parquet"))
    keys = given.request_keys()
    found: Callable[..., set[Key]] = stored_requests
    assert found(log.store, log.spool, {"m"}, keys, time.time() + 60) == set(keys)
