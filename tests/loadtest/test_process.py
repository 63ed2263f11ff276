import multiprocessing
import subprocess
import sys

import pytest

from loadtest import process
from loadtest.process import ServerError, cpu_seconds, free_ports

PARENT = """
import subprocess, sys, time
subprocess.run([sys.executable, "-c", sys.argv[1]], check=True)
print("ended", flush=True)
sys.stdin.read()
"""
BUSY = "import time\nwhile time.process_time() < 0.5: pass"
ASKS = "import sys\nfrom loadtest.process import free_ports\nprint(*free_ports(300))"


def test_a_child_that_has_ended_counts_where_it_is_wanted():
    command = [sys.executable, "-c", PARENT, BUSY]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == b"ended\n"
        living, all_of_it = cpu_seconds(parent.pid), cpu_seconds(parent.pid, ended=True)
        parent.communicate()
    assert all_of_it - living == pytest.approx(0.5, abs=0.2)


def test_nobody_is_given_a_port_that_somebody_else_was_given():
    # Nothing is bound: a server needs seconds until it does that.
    mine = free_ports(300)
    asked = subprocess.run([sys.executable, "-c", ASKS], capture_output=True, text=True, check=True)
    theirs = [int(each) for each in asked.stdout.split()]
    assert len({*mine, *theirs}) == 600


def _ask(answer: "multiprocessing.Queue[list[int]]") -> None:
    answer.put(free_ports(100))


def test_a_child_that_was_forked_has_ports_of_its_own():
    mine = free_ports(10)
    context = multiprocessing.get_context("fork")
    answer: multiprocessing.Queue[list[int]] = context.Queue()
    child = context.Process(target=_ask, args=(answer,))
    child.start()
    theirs = answer.get(timeout=60)
    child.join()
    assert not {*mine, *free_ports(100)} & set(theirs)


def test_who_asks_for_more_than_there_are_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(process.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(process, "_PORTS", range(20000, 20100))
    monkeypatch.setattr(process, "_blocks", [])
    with pytest.raises(ServerError, match="every port from 20000 to 20099 is given away"):
        free_ports(101)
