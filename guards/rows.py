"""What a guard may be shown of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class Requests(NamedTuple):
    """The requests of a batch, in order.

    Attributes:
        rows: rows of each request; they add up to the batch's.
        ids: the id of each, which its client chose.
        clients: address of who sent each; empty where nobody can say.
    """

    rows: tuple[int, ...]
    ids: tuple[str, ...]
    clients: tuple[str, ...]


class Rows(NamedTuple):
    """The rows of a batch. Nothing in it may be written to.

    Attributes:
        n: rows of the batch.
        inputs: arrays by input name, first axis n rows.
        features: penultimate activations of the model [n, width]; None for guards without need.
        outputs: the model's outputs by name, first axis n rows.
        requests: which requests the rows are of; None for guards without need.
    """

    n: int
    inputs: Mapping[str, np.ndarray] = {}
    features: np.ndarray | None = None
    outputs: Mapping[str, np.ndarray] = {}
    requests: Requests | None = None
