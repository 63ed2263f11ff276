import os
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest.gateway_memory import gateways, memory, wait_idle
from loadtest.process import Server, ServerError

SLEEPS = "import setproctitle, sys, time; setproctitle.setproctitle('vigil: gateway g0'); "
SLEEPS += "held = bytearray(50_000_000); print(flush=True); time.sleep(60)"


def test_memory_that_is_held_is_counted():
    before = memory([os.getpid()])
    held = bytearray(os.urandom(1)) * 80_000_000
    after = memory([os.getpid()])
    assert after.pss - before.pss == pytest.approx(76, abs=5)
    assert after.rss >= after.pss
    del held


def test_gateways_are_found_by_their_title():
    process = subprocess.Popen([sys.executable, "-c", SLEEPS], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        server = Server("x", process, 0, None, Path())
        assert gateways(server) == [process.pid]
        assert memory(gateways(server)).pss > 45
        assert wait_idle(gateways(server))
    finally:
        process.kill()
        process.communicate()
    with pytest.raises(ServerError, match="no process"):
        gateways(Server("x", process, 0, None, Path()))
