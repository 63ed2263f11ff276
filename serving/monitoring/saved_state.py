"""The saved state of a model version's consumers, as it is and as it once was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving.models.consumers import LABELS, PERFORMANCE


def by_consumer(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a saved state with an item for each consumer.

    The join of labels and the accuracy that lives on it were one item once.
    """
    joined = state.get(PERFORMANCE)
    if not isinstance(joined, Mapping) or "join" not in joined:
        return dict(state)
    saved = {name: item for name, item in state.items() if name != PERFORMANCE}
    saved[LABELS] = {name: item for name, item in joined.items() if name != "accuracy"}
    if joined.get("accuracy") is not None:
        saved[PERFORMANCE] = joined["accuracy"]
    return saved
