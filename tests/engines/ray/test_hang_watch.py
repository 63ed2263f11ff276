"""A replica that computes for too long is found by its own process, and ends that."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from serving.engines.ray import hang_watch
from serving.engines.ray.hang_watch import HangWatch

pytestmark = pytest.mark.ray

WAIT_S = 60
HANGS = """
import sys, time
from functools import partial
from serving.channel.messages.directory import ServedModel
from serving.engines.ray.hang_watch import HangWatch, end_hung
from serving.telemetry.logs.setup import configure

configure("replica", "json", "info")
served = ServedModel("m", "1", b"", "nowhere")
since = time.monotonic()
HangWatch(lambda: time.monotonic() - since, 0.1, partial(end_hung, served, "replica-m-1-0")).start()
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hang_watch, "LOOK_S", 0.001)


def test_the_first_batch_over_the_limit_is_told_once() -> None:
    busy = iter([0.0, 9.0, 10.0, 10.5, 11.0])
    told: list[float] = []
    watch = HangWatch(lambda: next(busy), 10.0, told.append)
    watch.start()
    watch._thread.join(WAIT_S)
    assert told == [10.5]
    assert next(busy) == 11.0


def test_it_can_be_stopped() -> None:
    looked = threading.Event()

    def busy_s() -> float:
        looked.set()
        return 0.0

    watch = HangWatch(busy_s, 10.0, lambda _busy_s: None)
    watch.start()
    assert looked.wait(WAIT_S)
    watch.stop()
    assert not watch._thread.is_alive()


def test_a_process_whose_loop_hangs_says_so_and_ends() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert done.returncode == -9, done.stderr
    assert '"event":"replica_hung"' in done.stderr.replace(" ", "")
    assert "replica-m-1-0 has computed one batch for too long" in done.stderr
