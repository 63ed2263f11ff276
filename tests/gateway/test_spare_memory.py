"""What large bodies have left free in a gateway process goes back to the system when they are over.

In processes of their own, since what these tests have allocated would be counted as well.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from serving.gateway.direct.process import _KEEP_MEMORY

SCRIPT = """
import asyncio, json, sys
from serving.gateway import spare_memory
from serving.gateway.body_budget import BodyBudget

BODIES, EACH = 300, 1 << 20
looks = trims = 0
resident = spare_memory._resident

def counted():
    global looks
    looks += 1
    return resident()

spare_memory._resident = counted

async def looked():
    seen = looks
    while looks == seen:
        await asyncio.sleep(0.002)

async def main():
    budget = BodyBudget(1 << 30, 1 << 20)
    spare = spare_memory.SpareMemory(budget, 0.01)
    trim = spare._trim

    def trimmed(pad):
        global trims
        trims += 1
        return trim(pad)

    spare._trim = trimmed
    spare.start()
    await looked()
    kept = []
    bodies = []
    for _ in range(BODIES):
        bodies.append(b"x" * EACH)
        kept.append(b"y" * 5000)  # between them, so that no end of the heap is free
    budget.held = BODIES * EACH
    most = resident()
    del bodies
    await looked(); await looked()
    freed = resident()
    budget.held = 0
    await looked(); await looked()
    given_back = resident()
    seen = trims
    await looked(); await looked()
    again = trims - seen
    spare.stop()
    seen = looks
    await asyncio.sleep(0.05)
    print(json.dumps([most, freed, given_back, again, looks - seen]))

asyncio.run(main())
"""


def run() -> list[Any]:
    told = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=_KEEP_MEMORY, capture_output=True, check=True, text=True
    )
    return list(json.loads(told.stdout))


def test_memory_goes_back_once_no_body_is_there() -> None:
    most, freed, given_back, again, later = run()
    assert most - freed < 50 << 20, "the allocator keeps nothing by itself: this shows nothing"
    assert most - given_back > 250 << 20
    assert again == 0  # what is in use is no reason for another time
    assert later == 0
