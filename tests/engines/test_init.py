"""PID 1: it reaps orphans, takes nobody's exit status, and hands signals on.

The parent here is no PID 1 but a child subreaper, which gets orphans in the same way. The command
in a PID namespace of its own is in `tests/e2e/test_container.py`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PRELUDE = """
import ctypes, os, signal, subprocess, sys, time
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
from serving.engines.init import become_init
become_init()
"""
ORPHANS = """
for _ in range(20):
    # A shell that ends before its child does: the child's end is nobody's business but PID 1's.
    made = subprocess.run(
        ["sh", "-c", "sleep 0.1 & echo $!"], stdout=subprocess.PIPE, text=True, check=True
    )
    pid = int(made.stdout)
    assert subprocess.run(["sh", "-c", "exit 7"]).returncode == 7
    child = subprocess.Popen(["sh", "-c", "exit 9"])
    late = time.monotonic() + 60
    while os.path.exists(f"/proc/{pid}"):
        assert time.monotonic() < late, open(f"/proc/{pid}/status").read()
        time.sleep(0.01)
    assert child.wait() == 9
sys.exit(5)
"""
WAITS = """
signal.signal(signal.SIGTERM, lambda *_: (print("got it", flush=True), sys.exit(0)))
print(os.getpid(), flush=True)
while True:
    time.sleep(60)
"""


def start(program: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + program], stdout=subprocess.PIPE, text=True
    )


def test_orphans_are_reaped_and_nobodys_status_is_taken() -> None:
    process = start(ORPHANS)
    process.communicate(timeout=120)
    assert process.returncode == 5


def test_signals_are_handed_on_and_the_childs_end_is_its_own() -> None:
    process = start(WAITS)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    assert child != process.pid
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "got it\n"
    assert process.wait(60) == 0
    process.stdout.close()


def test_a_child_that_is_killed_is_told_as_shells_do() -> None:
    process = start(WAITS)
    assert process.stdout is not None
    os.kill(int(process.stdout.readline()), signal.SIGKILL)
    assert process.wait(60) == 128 + signal.SIGKILL
    process.stdout.close()


def test_a_child_does_not_outlive_it() -> None:
    process = start(WAITS)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.kill()
    process.wait(60)
    late = time.monotonic() + 60
    while Path(f"/proc/{child}").exists() and "Z" not in _state(child):
        assert time.monotonic() < late
        time.sleep(0.01)
    process.stdout.close()


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"
