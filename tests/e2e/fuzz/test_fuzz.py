"""Malformed and unusual requests, sent to `direct` and to Envoy: both refuse, or both answer alike.

Envoy reads HTTP by another program than ours, so what only one of them answers is either a hole of
ours or stands in `differences.py` with a reason. `VIGIL_FUZZ_SEED` names the cases (they are the
same for one seed), `VIGIL_FUZZ_SECONDS` how long each protocol is tried, instead of a few batches
of a fixed seed. A case that fails is printed as bytes; `VIGIL_FUZZ_CASE` tries them again.
"""

import ast
import asyncio
import itertools
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.fuzz]

SEED = int(os.environ.get("VIGIL_FUZZ_SEED", "20260102"))
SECONDS = float(os.environ.get("VIGIL_FUZZ_SECONDS", "0"))
BATCH, BATCHES = 400, 1
TRIES = 3
"""A busy machine may take longer than the instances allow; what differs does so each time."""


@pytest.mark.parametrize("protocol", ["http1", "http2"])
def test_direct_answers_what_envoy_does(
    load: Callable[[str], ModuleType], both: Any, protocol: str
) -> None:
    talk, differences, cases = load("talk"), load("differences"), load(protocol)
    known = getattr(differences, protocol.upper())
    send = getattr(talk, protocol)

    async def answers(pieces: tuple[bytes, ...]) -> tuple[list[str], list[str]]:
        return await asyncio.gather(
            send(both.direct.http_port, pieces), send(both.envoy.http_port, pieces)
        )

    async def problem(pieces: tuple[bytes, ...]) -> str | None:
        for _ in range(TRIES):
            direct, envoy = await answers(pieces)
            cut = talk.until_refused(direct), talk.until_refused(envoy)
            alike = cut[0] == cut[1] or differences.explained(known, pieces, *cut)
            if alike and talk.HANGS not in direct:
                return None
        return f"direct {direct}\n  envoy  {envoy}"

    async def batch(made: list[tuple[tuple[bytes, ...], frozenset[str]]]) -> list[str]:
        found = await asyncio.gather(*(problem(pieces) for pieces, _ in made))
        return [
            f"made by {sorted(used)}, {said}\n  VIGIL_FUZZ_CASE={pieces!r}"
            for (pieces, used), said in zip(made, found, strict=True)
            if said
        ]

    print(f"VIGIL_FUZZ_SEED={SEED} {protocol}")
    if "VIGIL_FUZZ_CASE" in os.environ:
        again = ast.literal_eval(os.environ["VIGIL_FUZZ_CASE"])
        assert asyncio.run(batch([(again, frozenset())])) == []
        return
    generator = random.Random(f"{SEED} {protocol}")
    ends, tried, wrong = time.monotonic() + SECONDS, Counter[str](), []
    for number in itertools.count():
        made = [cases.case(generator) for _ in range(BATCH)]
        tried.update(name for _, used in made for name in used)
        wrong += asyncio.run(batch(made))
        both.still_right()
        if time.monotonic() >= ends and number + 1 >= BATCHES:
            break
    print(f"{protocol}: {(number + 1) * BATCH} cases, of which {len(wrong)} wrong; {dict(tried)}")
    assert not wrong, "\n".join(wrong[:20])
