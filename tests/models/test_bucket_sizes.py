"""How many rows compiled graphs compute beside those that are asked for."""

from __future__ import annotations

from typing import Any

import pytest

from serving.config import ModelConfig
from serving.models.bucket_sizes import compiled_sizes, padding

SIGNATURE = {
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
}


@pytest.mark.parametrize(
    ("rows", "buckets", "more"),
    [(1, (1, 2, 4), 0), (3, (1, 2, 4), 1), (4, (1, 2, 4), 0), (9, (1, 2, 4), 0), (7, (4,), 1)],
)
def test_padding(rows: int, buckets: tuple[int, ...], more: int) -> None:
    assert padding(rows, buckets) == more


@pytest.mark.parametrize(
    ("changes", "sizes"),
    [
        ({}, ()),
        ({"compile": "default", "batching": {"buckets": [3, 8]}}, (3, 8)),
        ({"compile": "cuda-graphs", "batching": {"buckets": [4]}}, None),
        (
            {
                "compile": "cuda-graphs",
                "batching": {"buckets": [4]},
                "replicas": {"device": "cuda"},
            },
            (4,),
        ),
    ],
)
def test_to_which_sizes_a_model_is_padded(changes: dict[str, Any], sizes: Any) -> None:
    config = ModelConfig.model_validate({"format": "torch_export", **SIGNATURE, **changes})
    assert compiled_sizes(config) == sizes
