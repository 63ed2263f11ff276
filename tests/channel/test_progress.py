"""What a peer that is gone was at work on."""

from __future__ import annotations

import os
import time

import msgspec
import pytest

from serving.channel.progress import Progress, ProgressSheet


def test_only_what_was_begun_and_has_not_ended_was_worked_on() -> None:
    sheet = ProgressSheet()
    assert sheet.begun(1) is None  # the peer has not reached the memory
    progress = Progress(sheet.offer)
    assert sheet.begun(1) is False
    assert sheet.busy_s == 0
    now = time.monotonic()
    progress.begin(1, now - 5)
    assert [sheet.begun(ident) for ident in (1, 2)] == [True, False]
    assert 5 <= sheet.busy_s < 60
    progress.end(1, now)
    assert [sheet.begun(ident) for ident in (1, 2)] == [False, False]
    progress.begin(4, now)
    assert [sheet.begun(ident) for ident in (1, 4, 5)] == [False, True, False]
    sheet.close()


def test_several_may_be_under_way() -> None:
    sheet = ProgressSheet()
    progress = Progress(sheet.offer)
    for ident in (3, 4, 6):
        progress.begin(ident, 1.0)
    progress.end(3, 2.0)
    assert [sheet.begun(ident) for ident in (3, 4, 6, 7)] == [False, True, True, False]
    progress.end(6, 3.0)
    assert [sheet.begun(ident) for ident in (3, 4)] == [False, True]
    progress.end(4, 4.0)
    assert sheet.begun(4) is False
    sheet.close()


def test_the_numbers_outlive_the_process_that_wrote_them() -> None:
    sheet = ProgressSheet()
    pid = os.fork()
    if pid == 0:
        Progress(sheet.offer).begin(9, time.monotonic())
        os._exit(0)
    os.waitpid(pid, 0)
    assert sheet.begun(9)
    sheet.close()


def test_memory_that_is_not_what_was_offered_is_refused() -> None:
    sheet = ProgressSheet()
    replace = msgspec.structs.replace
    for wrong in ({"size": 1}, {"inode": sheet.offer.inode + 1}):
        with pytest.raises(ValueError, match="offered memory"):
            Progress(replace(sheet.offer, **wrong))
    sheet.close()
    with pytest.raises((OSError, ValueError)):
        Progress(sheet.offer)
