"""Retention is alone with finished files; orders to forget share them."""

from __future__ import annotations

import threading

import pytest

from serving.log.folder_lock import folder_lock


@pytest.mark.parametrize(
    ("first", "second", "both"), [(True, True, False), (True, False, False), (False, True, False),
                                  (False, False, True)],
)  # fmt: skip
def test_who_may_be_there_together(tmp_path, first, second, both):
    spool = tmp_path / "open"
    with folder_lock(spool, alone=first) as locked:
        assert locked
        with folder_lock(spool, alone=second) as locked:
            assert locked is both
    with folder_lock(spool, alone=True) as locked:
        assert locked


def test_who_waits_gets_it_when_the_other_has_gone(tmp_path):
    waiting, got = threading.Event(), []

    def other():
        waiting.set()
        with folder_lock(tmp_path, alone=False, timeout_s=30) as locked:
            got.append(locked)

    thread = threading.Thread(target=other)
    with folder_lock(tmp_path, alone=True):
        thread.start()
        assert waiting.wait(30)
    thread.join(30)
    assert got == [True]
