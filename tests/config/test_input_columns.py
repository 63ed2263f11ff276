"""Columns of inputs: named and read as monitors name and read them."""

from __future__ import annotations

from typing import Any

import numpy as np

from serving.config import ModelConfig, parse
from serving.config.input_columns import column_kinds, columns_of
from serving.models.profile.columns import fixed_columns, input_columns
from serving.protocol.datatypes import NUMPY_OF, fp32_to_bf16

INPUTS: list[dict[str, Any]] = [
    {"name": "x", "datatype": "FP32", "shape": [-1, 2],
     "features": [{"name": "age"}, {"name": "income"}]},
    {"name": "y", "datatype": "FP32", "shape": [-1, 1], "features": [{"name": "income"}]},
    {"name": "kind", "datatype": "BYTES", "shape": [-1]},
    {"name": "sex", "datatype": "BYTES", "shape": [-1], "sensitive": True},
    {"name": "z", "datatype": "INT64", "shape": [-1, 2, 2]},
    {"name": "big", "datatype": "FP32", "shape": [-1, 300]},
    {"name": "words", "datatype": "BYTES", "shape": [-1, 2]},
    {"name": "brain", "datatype": "BF16", "shape": [-1, 2]},
    {"name": "bigbrain", "datatype": "BF16", "shape": [-1, 20, 20]},
    {"name": "free", "datatype": "FP32", "shape": [-1, -1]},
]  # fmt: skip
OUTPUTS = [{"name": "p", "datatype": "FP32", "shape": [-1, 2]}]
RAW = {"format": "torch_export", "inputs": INPUTS, "outputs": OUTPUTS}
CONFIG = parse(ModelConfig, RAW, "models/m/model.yaml")


def test_columns_are_named_as_monitors_name_them() -> None:
    kinds = column_kinds(CONFIG.inputs)
    assert set(kinds) == fixed_columns(CONFIG)
    assert {kinds[name] for name in ("kind", "words[1]")} == {"text"}
    assert {kinds[name] for name in ("age", "x.income", "z[1,0]", "big.mean")} == {"numbers"}


def test_columns_are_read_as_monitors_read_them() -> None:
    rng = np.random.default_rng(0)
    batch = {}
    for spec in CONFIG.inputs:
        shape = (5, *(3 if size < 0 else size for size in spec.shape[1:]))
        numbers = rng.normal(size=shape, scale=9).astype(np.float32)
        if spec.datatype == "BYTES":
            batch[spec.name] = np.array([b"a", b"b"], np.object_)[(numbers > 0).astype(int)]
        elif spec.datatype == "BF16":
            batch[spec.name] = fp32_to_bf16(numbers)
        else:
            batch[spec.name] = numbers.astype(NUMPY_OF[spec.datatype])
    expected = input_columns(batch, CONFIG)
    columns = columns_of(CONFIG.inputs)
    for name, each in columns.items():
        found = each.read(batch[each.input])
        assert found.shape == (5,)
        assert found.dtype == expected[name].dtype, name
        if each.kind == "numbers":
            np.testing.assert_allclose(found, expected[name], rtol=1e-6, err_msg=name)
        else:
            assert found.tolist() == expected[name].tolist()
