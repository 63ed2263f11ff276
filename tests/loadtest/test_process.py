import subprocess
import sys

import pytest

from loadtest.process import cpu_seconds

PARENT = """
import subprocess, sys, time
subprocess.run([sys.executable, "-c", sys.argv[1]], check=True)
print("ended", flush=True)
sys.stdin.read()
"""
BUSY = "import time\nwhile time.process_time() < 0.5: pass"


def test_a_child_that_has_ended_counts_where_it_is_wanted():
    command = [sys.executable, "-c", PARENT, BUSY]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == b"ended\n"
        living, all_of_it = cpu_seconds(parent.pid), cpu_seconds(parent.pid, ended=True)
        parent.communicate()
    assert all_of_it - living == pytest.approx(0.5, abs=0.2)
