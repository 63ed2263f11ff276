"""OIP datatype names and the numpy dtypes that carry them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from serving.errors import InvalidInput

# BF16 has no numpy dtype: it travels as its 16 raw bits in uint16. BYTES travels as an
# object array of `bytes`.
NUMPY_OF: Final[dict[str, np.dtype[Any]]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BF16": np.dtype(np.uint16),
    "BYTES": np.dtype(np.object_),
}
FLOATING: Final = frozenset({"FP16", "FP32", "FP64", "BF16"})


def numpy_dtype(datatype: str) -> np.dtype[Any]:
    """Return the numpy dtype that carries `datatype`.

    Raises:
        InvalidInput: `datatype` is not an OIP datatype.
    """
    try:
        return NUMPY_OF[datatype]
    except KeyError:
        raise InvalidInput(
            f"unknown datatype '{datatype[:40]}'; use one of {', '.join(NUMPY_OF)}"
        ) from None


def bf16_to_fp32(bits: np.ndarray) -> np.ndarray:
    """Widen BF16 bit patterns (uint16, any shape) to float32 of the same shape, exactly."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def fp32_to_bf16(values: np.ndarray) -> np.ndarray:
    """Round float32 (any shape) to BF16 bit patterns, to nearest even; NaN stays NaN."""
    # Unlike `ascontiguousarray`, it leaves a scalar without axes.
    raw = np.asarray(values, dtype=np.float32, order="C").view(np.uint32)
    rounded = ((raw + 0x7FFF + ((raw >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7FC0), rounded)
