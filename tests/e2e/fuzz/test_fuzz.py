"""Malformed and unusual requests, sent to `direct` and to Envoy: both refuse, or both answer alike.

Envoy reads HTTP by another program than ours, so what only one of them answers is either a hole of
ours or stands in `differences.py` with a reason. `VIGIL_FUZZ_SEED` names the cases (they are the
same for one seed), `VIGIL_FUZZ_SECONDS` how long each protocol is tried, instead of one batch
of a fixed seed. A case that fails is printed as bytes; `VIGIL_FUZZ_CASE` tries it again.
"""

import ast
import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

# `make fuzz` runs them, for longer.
pytestmark = [pytest.mark.e2e, pytest.mark.fuzz, pytest.mark.long]

SEED = int(os.environ.get("VIGIL_FUZZ_SEED", "20260102"))
SECONDS = float(os.environ.get("VIGIL_FUZZ_SECONDS", "0"))
CASE = os.environ.get("VIGIL_FUZZ_CASE")
BATCH = 400


@pytest.fixture(params=["http1", "http2"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def comparison(load: Callable[[str], ModuleType], both: Any, protocol: str) -> Any:
    return load("compare").Comparison(both, protocol, load("talk"), load("differences"))


def test_what_is_valid_is_answered_alike(
    load: Callable[[str], ModuleType], comparison: Any, protocol: str
) -> None:
    """Else both might refuse all that the other test sends, and it would say nothing."""
    cases, generator = load(protocol), random.Random(SEED)
    for _ in range(20):
        direct, envoy = asyncio.run(comparison.answers(cases.pieces(cases.valid(generator))))
        assert direct[:2] == envoy[:2]
        assert load("talk").REFUSED not in direct[:2]


def test_direct_answers_what_envoy_does(
    load: Callable[[str], ModuleType], both: Any, comparison: Any, protocol: str
) -> None:
    print(f"VIGIL_FUZZ_SEED={SEED} {protocol}")
    if CASE:
        pieces = ast.literal_eval(CASE)
        if (len(pieces) == 2) is not (protocol == "http2"):
            pytest.skip("VIGIL_FUZZ_CASE is of the other protocol")
        assert asyncio.run(comparison.problems([(pieces, frozenset())])) == []
        return
    cases, generator = load(protocol), random.Random(f"{SEED} {protocol}")
    ends, tried, wrong, count = time.monotonic() + SECONDS, Counter[str](), [], 0
    while not count or time.monotonic() < ends:
        made = [cases.case(generator) for _ in range(BATCH)]
        tried.update(name for _, used in made for name in used)
        found = asyncio.run(comparison.problems(made))
        print(*found, sep="\n", end="\n" * bool(found), flush=True)  # before anything else fails
        wrong += found
        count += BATCH
        try:
            both.still_right()
        except BaseException:
            print("it was one of these:", *(pieces for pieces, _ in made), sep="\n")
            raise
    print(f"{protocol}: {count} cases, of which {len(wrong)} wrong; {dict(tried)}")
    assert not wrong, "\n".join(wrong[:20])
