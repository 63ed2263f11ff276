import numpy as np
import pytest

from serving.protocol.datatypes import fp32_to_bf16
from serving.protocol.finite import has_no_finite, non_finite_rows

MIXED = np.array([[0, 1], [np.nan, 1], [np.inf, -np.inf], [3e4, -3e4]], np.float32)


def as_datatype(values, datatype):
    if datatype == "BF16":
        return fp32_to_bf16(values)
    return values.astype({"FP16": np.float16, "FP32": np.float32, "FP64": np.float64}[datatype])


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64", "BF16"])
def test_rows_with_nan_or_infinity_are_counted(datatype):
    assert non_finite_rows(as_datatype(MIXED, datatype), datatype) == 2
    assert non_finite_rows(as_datatype(MIXED[:, 1], datatype), datatype) == 1
    assert non_finite_rows(as_datatype(MIXED[[0, 3]], datatype), datatype) == 0
    assert non_finite_rows(as_datatype(MIXED[:0], datatype), datatype) == 0


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64", "BF16"])
def test_an_output_without_one_finite_number(datatype):
    assert has_no_finite(as_datatype(MIXED[2:3], datatype), datatype)
    assert not has_no_finite(as_datatype(MIXED, datatype), datatype)
    assert not has_no_finite(as_datatype(MIXED[:0], datatype), datatype)


def test_other_datatypes_have_no_such_values():
    bits = fp32_to_bf16(MIXED)  # the same bits, but numbers of their own here
    assert non_finite_rows(bits, "UINT16") == 0
    assert not has_no_finite(np.array([b"nan"], object), "BYTES")
