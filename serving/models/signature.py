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
    """The tensors that an artefact takes and gives, in its order."""

    inputs: list[Tensor]
    outputs: list[Tensor]


def placeholders(count: int) -> tuple[str, ...]:
    """Return the names of `count` outputs of an artefact that tells none."""
    return ("output",) if count == 1 else tuple(f"output_{index}" for index in range(count))


def is_features(tensor: Tensor) -> bool:
    """Whether an output is for the guards: called `features`, floating-point [rows, width]."""
    is_table = tensor.shape is not None and len(tensor.shape) == 2
    return tensor.name == FEATURES and tensor.datatype in FLOATING and is_table


def declared(path: Path, side: Side, tensors: list[Tensor]) -> list[dict[str, Any]]:
    """Return what `model.yaml` would say of the `tensors` of the artefact at `path`.

    Raises:
        ConfigError: there are none or too many, two have one name, or one cannot be declared.
    """
    if not 0 < len(tensors) <= MOST_TENSORS:
        raise ConfigError(
            f"{path}: has {len(tensors)} {side}, and 1 to {MOST_TENSORS} can be served; declare "
            f"`{side}` in model.yaml if that is not so"
        )
    if len({tensor.name for tensor in tensors}) < len(tensors):
        raise ConfigError(f"{path}: two of its {side} have one name")
    return [_declared(path, side, tensor) for tensor in tensors]


def _declared(path: Path, side: Side, tensor: Tensor) -> dict[str, Any]:
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
    if not tensor.shape or tensor.shape[0] is not None:
        raise ConfigError(
            f"{where} has a fixed number of rows, {tensor.shape[:1] or 'none'}; export it with a "
            f"first axis that is free"
        )
    shape = [-1 if size is None else size for size in tensor.shape]
    made = {"name": tensor.name, "datatype": tensor.datatype, "shape": shape}
    return made | (tensor.more or {})


def _is_size(size: int | None) -> bool:
    return size is None or 0 <= size < _MOST_SIZE
