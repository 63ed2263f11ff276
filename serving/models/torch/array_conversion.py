"""Numpy arrays to torch tensors and back, by what `model.yaml` declares; nothing is copied
that need not be."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import torch

from serving.config import ConfigError, InputSpec, OutputSpec
from serving.errors import ModelFailed

TORCH_OF: Final[dict[str, torch.dtype]] = {
    "BOOL": torch.bool,
    "UINT8": torch.uint8,
    "UINT16": torch.uint16,
    "UINT32": torch.uint32,
    "UINT64": torch.uint64,
    "INT8": torch.int8,
    "INT16": torch.int16,
    "INT32": torch.int32,
    "INT64": torch.int64,
    "FP16": torch.float16,
    "FP32": torch.float32,
    "FP64": torch.float64,
    "BF16": torch.bfloat16,
}
"""Torch dtypes by OIP datatype. BYTES has none: it reaches a model as category codes."""

UNKNOWN_CATEGORY: Final = -1

ToTorch = Callable[[np.ndarray], torch.Tensor]


def is_dense(value: torch.Tensor) -> bool:
    """Tell if a tensor has an element wherever its shape says so; the protocol knows no other."""
    return value.layout is torch.strided and not value.is_nested


def _silence_read_only_warning() -> None:
    # Arrays are often read-only views on a request's body. Torch warns at the first of them
    # in a process and never again; whoever shares memory here checks that nobody wrote to it.
    frozen = np.zeros(1, np.float32)
    frozen.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.from_numpy(frozen)


_silence_read_only_warning()


def to_torch(spec: InputSpec) -> ToTorch:
    """Return the function that makes a CPU tensor of an array of the input `spec`.

    The tensor shares the array's memory wherever it can. BYTES inputs become int64 codes.

    Raises:
        ConfigError: the input is BYTES and not every column declares its categories.
    """
    if spec.datatype == "BYTES":
        return category_encoder(spec)
    if spec.datatype == "BF16":
        return lambda array: _share(array).view(torch.bfloat16)
    return _share


def _share(array: np.ndarray) -> torch.Tensor:
    # Torch knows neither negative strides nor foreign byte orders; contiguous is also faster.
    return torch.from_numpy(array if array.flags.c_contiguous else np.ascontiguousarray(array))


def category_encoder(spec: InputSpec) -> ToTorch:
    """Return the function that maps a BYTES array `[n, k]` to int64 codes `[n, k]`.

    A code is the value's position in the column's `categories`, and -1 for a value that is not
    among them: the schema guard may let such rows pass, so the module must cope with -1.

    Raises:
        ConfigError: a column has no `categories`.
    """
    columns = spec.features or []
    if not columns or any(column.categories is None for column in columns):
        raise ConfigError(
            f"input '{spec.name}': BYTES needs `features` with `categories` for every column; "
            f"torch has no strings, so the model is given their positions"
        )
    codes: Sequence[dict[bytes, int]] = [
        {value.encode(): code for code, value in enumerate(column.categories or [])}
        for column in columns
    ]

    def encode(array: np.ndarray) -> torch.Tensor:
        coded = np.empty(array.shape, np.int64)
        for index, known in enumerate(codes):
            coded[:, index] = [known.get(value, UNKNOWN_CATEGORY) for value in array[:, index]]
        return torch.from_numpy(coded)

    return encode


class OutputReader:
    """Turns one output tensor into an array, after checking that it is what was declared."""

    def __init__(self, model: str, spec: OutputSpec) -> None:
        if spec.datatype not in TORCH_OF:
            raise ConfigError(f"output '{spec.name}': torch cannot produce {spec.datatype}")
        self.name = spec.name
        self._model = model
        self._datatype = spec.datatype
        self._dtype = TORCH_OF[spec.datatype]
        self._shape = tuple(spec.shape)
        self._dynamic = -1 in self._shape[1:]

    def read(self, value: object, rows: int) -> np.ndarray:
        """Return the first `rows` rows of the output as an array, sharing memory on a CPU.

        Raises:
            ModelFailed: it is no dense tensor, or its datatype or shape is not the declared one.
        """
        if not isinstance(value, torch.Tensor):
            raise self._wrong(f"is a {type(value).__name__}, not a tensor")
        if not is_dense(value):
            raise self._wrong("is a sparse or nested tensor; return what its to_dense() gives")
        if value.dtype is not self._dtype:
            raise self._wrong(f"has {value.dtype}, model.yaml declares {self._datatype}")
        if not self._fits(value.shape, rows):
            raise self._wrong(
                f"has shape {list(value.shape)} for {rows} rows, model.yaml declares "
                f"{list(self._shape)}"
            )
        if self._dtype is torch.bfloat16:
            value = value.view(torch.uint16)
        # Torch may have noted a negation without computing it, which numpy cannot.
        return value.cpu().resolve_neg().numpy()

    def _fits(self, shape: torch.Size, rows: int) -> bool:
        if len(shape) != len(self._shape) or shape[0] != rows:
            return False
        if not self._dynamic:
            return shape[1:] == self._shape[1:]
        pairs = zip(shape[1:], self._shape[1:], strict=True)
        return all(declared in (-1, size) for size, declared in pairs)

    def _wrong(self, what: str) -> ModelFailed:
        return ModelFailed(f"model '{self._model}' failed: output '{self.name}' {what}")
