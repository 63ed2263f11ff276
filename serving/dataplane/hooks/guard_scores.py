"""What guards scored the rows of a batch, from wherever they ran."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from serving.channel.messages.inference import FLOAT32, GuardResult
from serving.dataplane.requests.batch import Batch
from serving.dataplane.requests.pending import Pending

Scores = Mapping[str, np.ndarray]
"""Float32 [rows] by guard; NaN in rows that a guard has not judged."""


def model_scores(
    batch: Batch, guards: Sequence[GuardResult], failed: Collection[int]
) -> dict[str, np.ndarray]:
    """Return what guards beside the model scored all rows of a batch; empty: they gave no score.

    Args:
        batch: its requests.
        guards: what they said of the requests that did not fail there.
        failed: positions of those that did.
    """
    found = {
        result.guard: np.frombuffer(result.scores, FLOAT32) for result in guards if result.scores
    }
    if found and failed:
        kept = np.array([position not in failed for position in range(len(batch.items))])
        answered = np.repeat(kept, batch.rows)
        for guard, given in found.items():
            found[guard] = _unjudged(batch.total)
            found[guard][answered] = given
    return found


def add_gateway_scores(found: dict[str, np.ndarray], batch: Batch) -> None:
    """Add what the gateway's guards scored the requests of a batch.

    Rows of parts hold NaN: what guards scored them is their larger request's, which has it.
    """
    start = 0
    for item in batch.items:
        stop = start + item.bound.rows
        if item.scores is not None:
            for guard, given in item.scores.items():
                if guard not in found:
                    found[guard] = _unjudged(batch.total)
                found[guard][start:stop] = given
        start = stop


def note_scores_of_parts(items: Sequence[Pending], scores: Scores) -> None:
    """Give larger requests the scores of their parts in a batch, of guards beside the model.

    Args:
        items: requests of the batch, parts and others.
        scores: float32 of all its rows; not of the gateway's guards, see `add_gateway_scores`.
    """
    start = 0
    for item in items:
        stop = start + item.bound.rows
        if item.whole is not None and item.whole.awaits(item):
            for guard, column in scores.items():
                item.scored(guard, column[start:stop])
        start = stop


def _unjudged(rows: int) -> np.ndarray:
    return np.full(rows, np.nan, np.float32)
