"""Rows of the prediction log that a benchmark writes, and which of them it looks for."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final

import numpy as np

from monitors.performance.predicted_class import predicted_class
from serving.dataplane.hooks.record_ids import new_record_id
from serving.log.layout import day_of
from serving.log.rows import LoggedBatches, LoggedRequests, LogRows

FEATURES: Final = [f"f{number}" for number in range(30)]
DAYS: Final = 10
DAY_S: Final = 86_400
NOON: Final = time.time() // DAY_S * DAY_S + DAY_S / 2
"""Of the day (UTC) when this began; the newest rows are from then."""
_DIFFERENT: Final = 65_536
"""Rows whose features differ: more than are compressed together."""


@cache
def _features(size: int) -> np.ndarray:
    made = np.random.default_rng(0).normal(size=(_DIFFERENT // size, size, len(FEATURES)))
    return made.astype(np.float32)


def _predicted(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the class of each row, as of a model that takes classes for labels."""
    return predicted_class(outputs["y"])


def batches(rows: int, size: int, days: int = DAYS) -> Iterator[LogRows]:
    """Yield batches of one-row requests, oldest day first, and today last.

    Features repeat after a while, ids do not.
    """
    made = _features(size)
    count = rows // size
    for number in range(count):
        clients = [f"client-{number}-{row}" for row in range(size)]
        requests = LoggedRequests(
            clients, [1] * size, ["ok"] * size, [0.001] * size, [0.002] * size
        )
        when = NOON - (days - 1 - number * days // count) * DAY_S + number / 1000
        yield LogRows(
            "m", "1", LoggedBatches(new_record_id(), [size], [when], [0.001]), requests,
            {"x": made[number % len(made)]}, {"y": made[number % len(made), :, :2]}, revision="1",
            predicted=_predicted,
        )  # fmt: skip


def identities(rows: int, size: int, count: int, seed: int = 0) -> list[str]:
    """Return ids of clients that are among so many rows, drawn at random."""
    drawn = random.Random(seed).sample(range(rows // size * size), count)
    return [f"client-{number // size}-{number % size}" for number in drawn]


def oldest_day(days: int = DAYS) -> str:
    """Return the first of the days that `batches` spreads rows over."""
    return day_of(NOON - (days - 1) * DAY_S)


def values_of(identity: str, size: int) -> list[float]:
    """Return the features of the row with that id of a client."""
    _, number, row = identity.split("-")
    made = _features(size)
    values: list[float] = made[int(number) % len(made), int(row)].tolist()
    return values
