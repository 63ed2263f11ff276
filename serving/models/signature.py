"""What an artefact tells of a model's tensors, and when that can stand in `model.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from serving.config import ConfigError
from serving.protocol.datatypes import FLOATING

FEATURES: Final = "features"
"""What the penultimate activations, which guards judge, are called among the outputs."""

MOST_TENSORS: Final = 256
MOST_AXES: Final = 32
MOST_NAME: Final = 256
_MOST_SIZE: Final = 1 << 48

Side = Literal["inputs", "outputs"]


class Tensor(NamedTuple):
    """One input or output of an artefact.

    Attributes:
        name: what the artefact calls it.
        datatype: OIP's name; None for what is no tensor, or of a datatype that OIP has not.
        shape: sizes, None for a free axis; None where the artefact does not tell.
        more: further keys of `InputSpec` or `OutputSpec`.
    """

    name: str
    datatype: str | None
    shape: list[int | None] | None
    more: dict[str, Any] | None = None


class Signature(NamedTuple):
    """The tensors that an artefact takes and gives, in its order.

    Attributes:
        output_rows_told: whether the first size of an output is more than what the exporter's
            example had.
    """

    inputs: list[Tensor]
    outputs: list[Tensor]
    output_rows_told: bool = True


def placeholders(count: int) -> tuple[str, ...]:
    """Return the names of `count` outputs of an artefact that tells none."""
    return ("output",) if count == 1 else tuple(f"output_{index}" for index in range(count))


def is_features(tensor: Tensor) -> bool:
    """Whether an output is for the guards: called `features`, floating-point [rows, width]."""
    is_table = tensor.shape is not None and len(tensor.shape) == 2
    return tensor.name == FEATURES and tensor.datatype in FLOATING and is_table


def declared(
    path: Path, side: Side, signature: Signature, *, row_axis: bool = True
) -> list[dict[str, Any]]:
    """Return what `model.yaml` would say of one side of the artefact at `path`.

    Args:
        path: the artefact, for messages.
        side: which tensors.
        signature: what the artefact tells.
        row_axis: whether the first axis is the row. Then an input whose first axis is fixed, or
            that has none, is without rows where another input has some.

    Raises:
        ConfigError: there are none or too many, two have one name, or one cannot be declared.
    """
    tensors: list[Tensor] = getattr(signature, side)
    if not 0 < len(tensors) <= MOST_TENSORS:
        raise ConfigError(
            f"{path}: has {len(tensors)} {side}, and 1 to {MOST_TENSORS} can be served; declare "
            f"`{side}` in model.yaml if that is not so"
        )
    if len({tensor.name for tensor in tensors}) < len(tensors):
        raise ConfigError(f"{path}: two of its {side} have one name")
    if side == "outputs" and row_axis and not signature.output_rows_told:
        tensors = [_with_rows(tensor) for tensor in tensors]
    if not row_axis:
        tensors = [_in_one_row(tensor) for tensor in tensors]
    rowless = side == "inputs" and any(_has_rows(tensor) for tensor in tensors)
    return [_declared(path, side, tensor, may_be_rowless=rowless) for tensor in tensors]


def _has_rows(tensor: Tensor) -> bool:
    return bool(tensor.shape) and tensor.shape is not None and tensor.shape[0] is None


def _with_rows(tensor: Tensor) -> Tensor:
    return tensor._replace(shape=[None, *tensor.shape[1:]]) if tensor.shape else tensor


def _in_one_row(tensor: Tensor) -> Tensor:
    return tensor if tensor.shape is None else tensor._replace(shape=[None, *tensor.shape])


def _declared(path: Path, side: Side, tensor: Tensor, *, may_be_rowless: bool) -> dict[str, Any]:
    where = f"{path}: {side[:-1]} '{tensor.name[:80]}'"
    if not 0 < len(tensor.name) <= MOST_NAME:
        raise ConfigError(f"{where}: a name has 1 to {MOST_NAME} characters")
    if tensor.datatype is None:
        raise ConfigError(
            f"{where} is no tensor that can be served; declare in model.yaml the {side} that can"
        )
    if tensor.shape is None:
        raise ConfigError(f"{where} tells no shape; declare `{side}` in model.yaml")
    if len(tensor.shape) > MOST_AXES or not all(_is_size(size) for size in tensor.shape):
        raise ConfigError(f"{where} has a shape that no tensor has")
    rowless = not _has_rows(tensor)
    if rowless and not may_be_rowless:
        raise ConfigError(
            f"{where} has a fixed number of rows, {tensor.shape[:1] or 'none'}; export it with a "
            f"first axis that is free, or set `batching: {{row_axis: false}}` if that axis is "
            f"none of rows"
        )
    shape = [-1 if size is None else size for size in tensor.shape]
    made: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": shape}
    if rowless:
        made |= {"shape": [-1, *shape], "rowless": True}
    return made | (tensor.more or {})


def _is_size(size: int | None) -> bool:
    return size is None or 0 <= size < _MOST_SIZE
