import numpy as np
import pytest

from serving.cli.output_differences import differences
from serving.protocol.messages import Tensor


def tensor(values, datatype="FP32", dtype=np.float32, name="y"):
    array = np.array(values, dtype)
    return Tensor(name, datatype, array.shape, array)


@pytest.mark.parametrize(
    ("before", "now", "datatype", "dtype", "different", "largest"),
    [
        ([1, np.nan, np.inf], [1, np.nan, np.inf], "FP32", np.float32, 0, 0),
        ([1, 2, 3], [1, 2.5, 2], "FP32", np.float32, 2, 1),
        ([0.0], [-0.0], "FP32", np.float32, 1, 0),
        ([np.nan, 1], [1, 1], "FP64", np.float64, 1, np.inf),
        ([np.inf, 1], [-np.inf, 1], "FP32", np.float32, 1, np.inf),
        ([1.5], [1.25], "FP16", np.float16, 1, 0.25),
        ([0x3F80], [0x4000], "BF16", np.uint16, 1, 1),
        ([2**63, 5], [2**63 + 2048, 7], "UINT64", np.uint64, 2, 2048),
        ([-(2**63)], [2**63 - 1], "INT64", np.int64, 1, 2**64),
        ([True, False], [False, False], "BOOL", np.bool_, 1, 1),
        ([b"a", b"b"], [b"a", b"c"], "BYTES", object, 1, None),
        ([], [], "FP32", np.float32, 0, 0),
    ],
)
def test_values_are_compared_bit_by_bit(before, now, datatype, dtype, different, largest):
    [found] = differences([tensor(before, datatype, dtype)], [tensor(now, datatype, dtype)])
    assert (found.why, found.values, found.different) == ("", len(before), different)
    assert found.largest == largest
    assert found.equal is (different == 0)


def test_outputs_that_are_no_longer_what_they_were():
    before = [tensor([1.0]), tensor([1], "INT64", np.int64, "z"), tensor([1.0], name="w")]
    now = [tensor([[1.0]]), tensor([1.0], name="z")]
    told = [(each.name, each.why, each.equal) for each in differences(before, now)]
    assert told == [
        ("y", "has another shape: (1,) then, (1, 1) now", False),
        ("z", "has another datatype: INT64 then, FP32 now", False),
        ("w", "is not in the answer any more", False),
    ]
